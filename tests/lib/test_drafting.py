"""What a draft is made of: passages with their places, the model's two lines, the answer's place; and the sheet."""

import csv
import io
from pathlib import Path

import openpyxl
import pytest

from tasks.lib import sheets
from tasks.lib.cleaning import clean
from tasks.lib.drafting import Reply, parsed
from tasks.lib.drafts import About, Batch, Draft
from tasks.lib.errors import ConfigError, DataError
from tasks.lib.formulas import harmless, meant
from tasks.lib.passages import BETWEEN, MAX_CHARS, Passages
from tasks.lib.support import located
from tests.datasets import resolved

PASSAGE = "The dose is 1.5 mg a day. Adults take −5 drops; c1ccccc1 is benzene, and the Upper Limit is 25 mg."


@pytest.mark.parametrize(
    ("answer", "quote", "share"),
    [
        ("1.5 mg a day", "1.5 mg a day", 1.0),
        ("the upper  limit is 25 MG.", "the Upper Limit is 25 mg", 1.0),
        ("“25 mg”", "25 mg", 1.0),
        ("5 mg", "", 0.6667),
        ("C1CCCCC1", "", 0.0),
        ("5 drops", "", 0.8333),
        ("the dose is 1.5 mg a week", "The dose is 1.5 mg a", 0.7895),
        ("nothing of the kind", "", 0.1875),
        ("…", "", 0.0),
    ],
)
def test_an_answer_is_found_as_it_stands_or_in_part(answer: str, quote: str, share: float) -> None:
    found = located(answer, PASSAGE)
    assert found.share == share
    assert ("" if found.start is None else PASSAGE[found.start : found.end]) == quote


def test_passages_cover_their_documents_and_know_their_places(tmp_path: Path) -> None:
    long = "\n\n".join(f"Part {i}. " + "This sentence is here to be read, and no other. " * 40 for i in range(3))
    rows = [{"text": long}, {"text": "short"}, {"text": "no blanks" + "x" * 3_000}, {"text": "odd \uffff " + "word " * 40}]
    found = Passages(resolved(tmp_path, "long", "corpus", rows), None)
    made = list(found)
    assert found.left_out == {"shorter than 80 characters": 1, "with characters that no spreadsheet holds": 1}
    for passage in made:
        text = clean(rows[int(passage.row.rpartition(":")[2]) - 1]["text"])
        assert text[passage.start : passage.end] == passage.text
        assert len(passage.text) <= MAX_CHARS
    first = [passage for passage in made if passage.row == "long:1"]
    assert "".join("".join(passage.text.split()) for passage in first) == "".join(long.split())
    assert all(passage.text.endswith(".") for passage in first)
    assert {passage.document for passage in made} == {"long:1", "long:3"}
    few = Passages(resolved(tmp_path, "long", "corpus", rows), 1)
    assert [passage.document for passage in few] == ["long:1", "long:3"]
    assert few.left_out["beyond 1 of their document"] == len(made) - 2


def test_paragraphs_of_a_file_are_one_document(tmp_path: Path) -> None:
    lines = [f"Line {i} of the first part, which is of a middling length." for i in range(4)]
    (tmp_path / "one.md").write_text("# A\n\n" + "\n\n".join(lines) + "\n\n# B\n\n" + lines[0] + "\n\n" + lines[1])
    given = resolved(tmp_path, "x", "corpus", [])
    source = given.files[0].model_copy(update={"name": "one.md", "path": tmp_path / "one.md"})
    made = list(Passages(given.model_copy(update={"files": [source]}), None))
    whole = BETWEEN.join([*lines, *lines[:2]])
    assert [passage.heading for passage in made] == ["A", "B"]
    assert [whole[passage.start : passage.end] for passage in made] == [BETWEEN.join(lines), BETWEEN.join(lines[:2])]
    assert {passage.document for passage in made} == {"x:one.md"}


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("Question: What?\nAnswer: This.", ("What?", "This.", False)),
        ("Sure!\n\n**Question:** What?\n**Answer:** *This.*\n\nQuestion: More?\nAnswer: no", ("What?", "This.", False)),
        ("1. question : What\n2. ANSWER: -5 mg\nPassage: x", ("What", "-5 mg", False)),
        ("Question: =1+1?\nAnswer: two\nlines", ("=1+1?", "two lines", False)),
        ("Question: What?\nAnswer: cut", ("What?", "cut", True)),
        ("Question: What?", None),
        ("Question: What?\nAnswer:", None),
        ("What? This.", None),
        ("", None),
    ],
)
def test_two_labelled_lines_are_read_and_nothing_else(text: str, read: tuple[str, str, bool] | None) -> None:
    assert parsed(Reply(text, ended=not (read and read[2]))) == read


@pytest.mark.parametrize("text", ["=1+1", "'=1", "''=1", "'tis", "-5 mg", "@a", "+", "plain", "", "'"])
def test_text_that_looks_like_a_formula_comes_back_as_it_was(text: str) -> None:
    assert meant(harmless(text)) == text
    assert not harmless(text).startswith(("=", "+", "-", "@"))


def batch(**given: str) -> Batch:
    draft = Draft(
        row="x:1", document="x:1", file="x.jsonl", page=3, heading=given.get("heading", ""), passage=given.get("passage", "p"),
        passage_start=0, question=given.get("question", "q"), answer=given.get("answer", "a"), quote="", start=None, end=None,
        supported=0.25, note="",
    )  # fmt: skip
    about = About(
        domain="x", dataset="x", licence="CC0-1.0", edition=None, source_sha256="0", model="m", model_sha256="0", instruction="i",
        date="2026-01-01",
    )  # fmt: skip
    return Batch(about=about, asked=1, too_long=0, drafts=[draft], unread=[])


@pytest.mark.parametrize("suffix", [".xlsx", ".csv"])
@pytest.mark.parametrize("text", ["=1+1", "-5 mg", "'=x", "#N/A", "12", "1-2", "TRUE", "_x0041_ a_x000D_b", 'two\nlines; and, "more" ü'])
def test_a_sheet_comes_back_as_it_was_written(text: str, suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"sheet{suffix}"
    sheets.write(file, batch(question=text, passage=text))
    (row,), columns = sheets.read(file)
    assert columns == list(sheets.COLUMNS)
    assert (row.number, row.errors) == (2, [])
    assert (row.cells["question"], row.cells["passage"], row.cells["page"]) == (text, text, "3")


def test_the_workbook_guides_the_one_who_fills_it_in(tmp_path: Path) -> None:
    sheets.write(tmp_path / "a.xlsx", batch(question="=1+1"))
    book = openpyxl.load_workbook(tmp_path / "a.xlsx")
    sheet = book["drafts"]
    (allowed,) = sheet.data_validations.dataValidation
    assert (str(allowed.sqref), allowed.formula1) == ("M2", '"accept,correct,reject"')
    assert sheet["M1"].value == "verdict"
    assert sheet.freeze_panes == "B2"
    assert sheet["E2"].alignment.wrap_text
    assert (sheet["F2"].value, sheet["F2"].data_type, sheet["F2"].quotePrefix) == ("=1+1", "s", True)
    assert sheet["O2"].number_format == "@", "what is typed there stays text"
    about = {key.value: value.value for key, value in book["about"].iter_rows()}
    assert about["synthetic"].startswith("yes: ")
    assert (about["model"], about["without a span"], about["date"]) == ("m", "1", "2026-01-01")


def test_a_csv_sheet_is_what_spreadsheets_read_with_its_origin_beside_it(tmp_path: Path) -> None:
    sheets.write(tmp_path / "a.csv", batch(question="=1+1"))
    content = (tmp_path / "a.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbfid,")
    assert next(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))["question"] == "'=1+1"
    assert "synthetic,yes" in (tmp_path / "a-about.csv").read_text().replace('"', "")


@pytest.mark.parametrize("there", ["a.xlsx", "b.csv", "b-about.csv"])
def test_a_sheet_is_never_written_over(there: str, tmp_path: Path) -> None:
    (tmp_path / there).write_text("work of hours")
    with pytest.raises(ConfigError, match="there already"):
        sheets.write(tmp_path / f"{there[0]}{Path(there).suffix}", batch())
    assert [file.name for file in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "work of hours"


def test_a_text_longer_than_a_cell_is_refused_and_not_cut(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 2: 40,000 in column 'heading'"):
        sheets.write(tmp_path / "a.xlsx", batch(heading="h" * 40_000))
    assert not list(tmp_path.iterdir())
    sheets.write(tmp_path / "a.csv", batch(heading="h" * 40_000))


def test_drafts_have_the_same_id_whatever_the_day() -> None:
    other = batch().model_copy(update={"about": batch().about.model_copy(update={"date": "2027-01-01"})})
    assert other.id == batch().id
    assert batch(answer="b").id != batch().id
