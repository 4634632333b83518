"""A sheet that comes back: every fault at once, data and decisions, the same again, another time, and through LibreOffice."""

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from tasks.lib import reviewing, sheets
from tasks.lib.drafts import keep
from tests.conftest import ROOT
from tests.drafting import ALL, DRAFTED, WHO, batch, card, entries, files, fill, lines

Review = Callable[..., subprocess.CompletedProcess[str]]


def test_verdicts_become_rows_pairs_and_decisions(clinic: Path, review: Review) -> None:
    done = review(fill(Path("drafts.xlsx"), ALL))
    assert done.returncode == 0, done.stderr
    accepted, corrected = lines(clinic, "review-drafts")
    assert (accepted["question"], accepted["answer"], accepted["quote"]) == (*DRAFTED[0], "5 mg once a day")
    assert (accepted["start"], accepted["end"]) == (52, 67)
    assert (corrected["question"], corrected["answer"]) == (DRAFTED[1][0], "=Children below 12")
    assert (corrected["quote"], corrected["start"]) == ("", None), "the draft's place is not that of another answer"
    assert {row["reviewer"] for row in (accepted, corrected)} == {"Dr. A. Example"}
    assert accepted["document"] == corrected["document"] == "handbook:docs/handbook.md"
    (pair,) = lines(clinic, "review-drafts-preference")
    assert (pair["question"], pair["chosen"], pair["rejected"]) == (DRAFTED[1][0], "=Children below 12", "Children under twelve")
    decided = lines(clinic, "review-drafts-decisions")
    assert [row["verdict"] for row in decided] == ["accept", "correct", "reject"]
    assert (decided[2]["comment"], decided[2]["quote"], decided[2]["reviewer"]) == ("made up", "", "Dr. A. Example")
    assert decided[1]["drafted_answer"] == "Children under twelve"
    assert all(row["date"] and row["source_sha256"] and row["model"] == "tune/0123" for row in decided)
    card = (clinic / "domain.yaml").read_text()
    assert "# the only one" in card, "comments are kept"
    entry = entries(clinic)["review-drafts"]
    assert (entry["role"], entry["kind"], entry["publisher"], entry["licence"]) == ("tune", "synthetic", "Dr. A. Example", "CC0-1.0")
    assert entry["map"]["group"] == "{document}"
    assert entries(clinic)["review-drafts-preference"]["role"] == "preference"


def test_every_fault_is_named_by_row_and_nothing_is_written(clinic: Path, review: Review) -> None:
    before = files(clinic)
    sheet = fill(Path("drafts.xlsx"), {
        2: {"verdict": "accept", "answer": "6 mg", "corrected_question": "More?"},
        3: {"verdict": "correct", "passage": "Another text."},
        4: {"verdict": "maybe"},
        5: {"id": "d0-0001", "verdict": "accept"},
    })  # fmt: skip
    done = review(sheet)
    assert done.returncode == 3
    for fault in (
        "6 faults",
        "drafts.xlsx, row 2 (",
        "answer is not what was drafted ('5 mg once a day'): restore it; write what it should be into corrected_answer",
        "corrected_question is written, but the verdict is accept",
        "row 3 (",
        "passage is not what was drafted",
        "neither corrected_question nor corrected_answer is written",
        "the verdict 'maybe' is none of accept, correct, reject",
        "row 5 (d0-0001): no draft has this id",
    ):
        assert fault in done.stderr
    assert files(clinic) == before


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({3: {"corrected_answer": "x"}}, "corrected_answer is written, but there is no verdict"),
        ({3: {"verdict": "reject", "corrected_answer": "x"}}, "corrected_answer is written, but the verdict is reject"),
        ({3: {"verdict": "correct", "corrected_answer": "Children under twelve"}}, "corrected_answer says what was drafted"),
        ({3: {"question": "Changed?"}}, "question is not what was drafted"),
        ({1: {"verdict": "judgment"}}, "row 1: no column 'verdict'"),
        ({3: {"id": None, "verdict": "accept"}}, "row 3 (no id): no draft has this id"),
    ],
)
def test_one_fault_is_enough(said: dict[int, dict[str, Any]], fault: str, clinic: Path, review: Review) -> None:
    before = files(clinic)
    done = review(fill(Path("drafts.xlsx"), said))
    assert done.returncode == 3
    assert "1 fault\n" in done.stderr
    assert fault in done.stderr
    assert files(clinic) == before


def test_a_workbook_from_elsewhere_is_no_sheet_of_drafts(clinic: Path, review: Review) -> None:
    book = openpyxl.Workbook()
    book.active.append(["id", "verdict"])
    book.save("other.xlsx")
    done = review(Path("other.xlsx"))
    assert done.returncode == 3
    assert "wanted: the sheet 'drafts' that `slmforge draft` wrote" in done.stderr
    assert "other.xlsx: the sheets 'Sheet'" in done.stderr
    assert "dataset" not in done.stderr
    assert "domain.yaml" not in done.stderr


def test_the_comment_column_may_be_taken_out(clinic: Path, review: Review) -> None:
    book = openpyxl.load_workbook(fill(Path("drafts.xlsx"), ALL))
    book["drafts"].delete_cols(list(sheets.COLUMNS).index("comment") + 1)
    book.save("drafts.xlsx")
    assert review(Path("drafts.xlsx")).returncode == 0
    decided = lines(clinic, "review-drafts-decisions")
    assert [(row["verdict"], row["comment"]) for row in decided] == [("accept", ""), ("correct", ""), ("reject", "")]


def test_an_id_stands_once(clinic: Path, review: Review) -> None:
    rows, _ = sheets.read(Path("drafts.xlsx"))
    done = review(fill(Path("drafts.xlsx"), {5: {**rows[0].cells, "verdict": "accept"}}))
    assert "the id stands in row 2 already" in done.stderr


def test_rows_without_a_verdict_stay_open(clinic: Path, review: Review) -> None:
    done = review(fill(Path("drafts.xlsx"), {2: {"verdict": "accept"}}))
    assert "1 accepted, 0 corrected (0 pairs for preference tuning), 0 rejected, 2 open" in done.stdout
    assert len(lines(clinic, "review-drafts")) == len(lines(clinic, "review-drafts-decisions")) == 1
    assert not (clinic / "data/review-drafts-preference.jsonl").exists()
    assert "review-drafts-preference" not in entries(clinic)


def test_a_rejected_draft_is_the_worse_one_where_another_answers_the_same_and_else_says_that_it_feeds_nothing(clinic: Path) -> None:
    made = batch(clinic)
    first = made.drafts[0]
    drafts = [first, first.model_copy(update={"answer": "twice an hour"}), made.drafts[1]]
    made = made.model_copy(update={"drafts": drafts})
    right, wrong, alone = made.numbered().items()
    judged = [
        reviewing.Judged(key, draft, verdict, draft.question, draft.answer, "")
        for (key, draft), verdict in ((right, "accept"), (wrong, "reject"), (alone, "reject"))
    ]
    (pair,) = reviewing.preference_rows(judged, made, "A")
    assert (pair["id"], pair["chosen"], pair["rejected"]) == (wrong[0], first.answer, "twice an hour")
    feeds = [line["feeds"] for line in reviewing.decisions(judged, made, "drafts", "A", "2026-01-01", {})]
    assert feeds[:2] == ["tune", f"preference, below {right[0]}"]
    assert feeds[2].startswith("nothing: no draft")


def test_a_corrected_question_makes_no_pair(clinic: Path, review: Review) -> None:
    said = {"verdict": "correct", "corrected_question": "Until when?", "corrected_answer": "six weeks"}
    assert review(fill(Path("drafts.xlsx"), {4: said})).returncode == 0
    (row,) = lines(clinic, "review-drafts")
    assert (row["question"], row["answer"], row["quote"]) == ("Until when?", "six weeks", "six weeks")
    assert not (clinic / "data/review-drafts-preference.jsonl").exists()


def test_the_same_sheet_again_changes_nothing_even_on_another_day(clinic: Path, review: Review) -> None:
    review(fill(Path("drafts.xlsx"), ALL))
    decided = clinic / "data/review-drafts-decisions.jsonl"
    made = {row["date"] for row in lines(clinic, "review-drafts-decisions")}.pop()
    decided.write_text(decided.read_text().replace(f'"date": "{made}"', '"date": "2020-01-01"'))
    card = clinic / "domain.yaml"
    card.write_text(
        card.read_text().replace("    publisher: Dr. A. Example\n", "    publisher: Dr. A. Example\n    choices: []   # mine\n", 1)
    )
    before = files(clinic)
    done = review("drafts.xlsx")
    assert done.returncode == 0, done.stderr
    assert "nothing to do" in done.stdout
    assert files(clinic) == before


def test_a_changed_sheet_says_what_changes_and_asks(clinic: Path, review: Review, workplace: Path) -> None:
    review(fill(Path("drafts.xlsx"), ALL))
    before = files(clinic)
    fill(Path("drafts.xlsx"), {3: {"verdict": "reject", "corrected_answer": None}})
    command = [sys.executable, "-m", "flows.cli", "review", "clinic", "drafts.xlsx", *WHO]
    there = {"cwd": workplace, "env": {**os.environ, "PYTHONPATH": str(ROOT)}}
    asked: Any = subprocess.run(command, input="n\n", capture_output=True, text=True, check=False, **there)
    assert "decisions that change: 1" in asked.stdout
    assert "-0002: correct -> reject" in asked.stdout
    assert "data/review-drafts-preference.jsonl: removed" in asked.stdout
    assert "nothing was written" in asked.stdout
    assert files(clinic) == before
    assert review("drafts.xlsx").returncode == 0
    assert [row["verdict"] for row in lines(clinic, "review-drafts-decisions")] == ["accept", "reject", "reject"]
    assert len(lines(clinic, "review-drafts")) == 1
    assert not (clinic / "data/review-drafts-preference.jsonl").exists()
    assert "review-drafts-preference" not in entries(clinic)


def test_another_reviewer_is_another_publisher(clinic: Path, review: Review) -> None:
    review(fill(Path("drafts.xlsx"), ALL))
    done = review("drafts.xlsx", "--reviewer", "B. Second")
    assert "decisions that change: 3" in done.stdout
    assert {entry["publisher"] for name, entry in entries(clinic).items() if name.startswith("review-")} == {"B. Second"}
    assert {row["reviewer"] for row in lines(clinic, "review-drafts")} == {"B. Second"}


def test_a_draft_is_decided_in_one_sheet(clinic: Path, review: Review) -> None:
    review(fill(Path("drafts.xlsx"), {2: {"verdict": "accept"}}))
    shutil.copy("drafts.xlsx", "Drafts (2).xlsx")
    done = review("Drafts (2).xlsx")
    assert done.returncode == 3
    assert "review-drafts-decisions.jsonl has a decision on it" in done.stderr
    assert "the name it had then (drafts)" in done.stderr
    rest = fill(Path("Drafts (2).xlsx"), {2: {"verdict": None}, 3: {"verdict": "accept"}})
    assert review(rest).returncode == 0
    (decided,) = lines(clinic, f"{reviewing.dataset_name('Drafts (2)')}-decisions")
    assert decided["sheet"] == "Drafts (2)"


@pytest.mark.parametrize("mark", [",", ";"])
def test_csv_comes_back_from_any_spreadsheet(mark: str, clinic: Path, review: Review, workplace: Path) -> None:
    sheets.write(workplace / "drafts.csv", batch(clinic))
    with (workplace / "drafts.csv").open(encoding="utf-8-sig", newline="") as stream:
        header, *rows = list(csv.reader(stream))
    for row, verdict in zip(rows, ("accept", "correct", "reject"), strict=True):
        row[header.index("verdict")] = verdict
    rows[1][header.index("corrected_answer")] = 'Children; all, "below" 12'
    with (workplace / "drafts.csv").open("w", encoding="utf-8-sig", newline="") as stream:
        csv.writer(stream, delimiter=mark).writerows([[*header, "mine"], *[[*row, "x"] for row in rows], [""] * (len(header) + 1)])
    done = review("drafts.csv")
    assert done.returncode == 0, done.stderr
    assert "not read: the column(s) 'mine'" in done.stdout
    assert lines(clinic, "review-drafts")[1]["answer"] == 'Children; all, "below" 12'
    fill_in = (workplace / "drafts.csv").read_text(encoding="utf-8-sig").replace("accept", "perhaps")
    (workplace / "drafts.csv").write_text(fill_in, encoding="utf-8-sig")
    assert "drafts.csv, row 2 (" in review("drafts.csv").stderr


@pytest.mark.parametrize(
    ("change", "words", "says"),
    [
        (lambda folder: folder.joinpath("data/review-drafts.jsonl").write_text("{}"), WHO, "those of other drafts"),
        (lambda folder: card(folder, "CC0-1.0]", "MIT]"), WHO, "licence 'CC0-1.0'"),
        (lambda folder: card(folder, "data/asked.csv", "data/*"), WHO, "dataset 'asked' reads every file of 'data/*'"),
        (lambda folder: card(folder, "name: asked", "name: review-drafts"), WHO, "one with the source 'data/asked.csv'"),
        (lambda folder: None, ("--reviewer", " "), "the reviewer's name"),
        (lambda folder: shutil.rmtree(folder / "drafts"), WHO, "no draft has this id"),
    ],
)
def test_what_is_refused_leaves_everything_as_it_was(
    change: Callable[[Path], object], words: tuple[str, ...], says: str, clinic: Path, review: Review
) -> None:
    change(clinic)
    before = files(clinic)
    done = review(fill(Path("drafts.xlsx"), ALL), *words)
    assert done.returncode in (2, 3)
    assert says in done.stderr
    assert files(clinic) == before


# a program of half a gigabyte that no package registry has; without it the sheets of the other tests are openpyxl's own
@pytest.mark.skipif(shutil.which("soffice") is None, reason="needs LibreOffice (soffice on the PATH)")
@pytest.mark.parametrize(("written", "saved"), [("xlsx", "xlsx"), ("csv", "csv"), ("xlsx", "csv")])
def test_a_sheet_survives_libreoffice(written: str, saved: str, clinic: Path, review: Review, workplace: Path) -> None:
    odd = batch(clinic)
    texts = ["=1+1", "-5 mg", "@home _x0041_ 'x' 1-2"]
    drafts = [draft.model_copy(update={"answer": text, "question": f"{text}?"}) for draft, text in zip(odd.drafts, texts, strict=True)]
    kept, _ = keep(clinic, odd.model_copy(update={"drafts": drafts}))
    sheets.write(workplace / f"odd.{written}", kept)
    if written == "xlsx":
        fill(workplace / "odd.xlsx", {2: {"verdict": "accept"}, 3: {"verdict": "correct", "corrected_answer": "+10 mg"}})
    kind = {"xlsx": "xlsx:Calc MS Excel 2007 XML", "csv": "csv:Text - txt - csv (StarCalc):59,34,76,1"}[saved]
    profile = f"-env:UserInstallation={(workplace / 'office').as_uri()}"
    opened = ["--infilter=CSV:44,34,76,1"] if written == "csv" else []  # UTF-8, which its window tells from the mark at the start
    command = ["soffice", profile, "--headless", *opened, "--convert-to", kind, "--outdir", "back", f"odd.{written}"]
    done = subprocess.run(command, cwd=workplace, capture_output=True, text=True, check=False, timeout=300)
    assert (workplace / f"back/odd.{saved}").is_file(), done.stderr + done.stdout
    rows, columns = sheets.read(workplace / f"back/odd.{saved}")
    assert columns == list(sheets.COLUMNS)
    assert [row.cells["answer"] for row in rows] == texts
    assert [row.cells["passage"] for row in rows] == [draft.passage for draft in drafts]
    reviewed = review(f"back/odd.{saved}")
    assert reviewed.returncode == 0, reviewed.stderr
    if written == "xlsx":
        assert [row["answer"] for row in lines(clinic, "review-odd")] == ["=1+1", "+10 mg"]
