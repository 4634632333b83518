"""Drafting by a model: one that has learnt three passages by heart, and one that has learnt nothing."""

import json
import shutil
from pathlib import Path

import openpyxl
import pytest

from tasks.lib import drafts, sheets
from tests.conftest import Run, slmforge
from tests.drafting import DRAFTED, fill, passages, train, untrained, write_domain


@pytest.fixture(scope="module")
def drafted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with the domain, the models, and a sheet drafted by the one with a chat template."""
    place = tmp_path_factory.mktemp("drafted")
    write_domain(place)
    train(place / "chat", place / "plain")
    untrained(place / "untrained")
    done = slmforge("draft", "clinic", "handbook", "--model", "chat", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "3 passages asked: 3 drafted, of which 1 without a span in the passage; 0 with unreadable output" in done.stdout
    return place


@pytest.fixture
def place(drafted: Path, workplace: Path) -> Path:
    """A copy of it."""
    shutil.copytree(drafted, workplace, dirs_exist_ok=True)
    return workplace


def content(file: Path) -> list[list[object]]:
    return [[cell.value for cell in row] for sheet in openpyxl.load_workbook(file) for row in sheet.iter_rows()]


def test_every_draft_carries_the_place_of_its_answer(drafted: Path) -> None:
    rows, _ = sheets.read(drafted / "clinic-handbook-drafts.xlsx")
    assert [(row.cells["question"], row.cells["answer"]) for row in rows] == list(DRAFTED)
    assert [row.cells["passage"] for row in rows] == passages()
    assert [row.cells["quote"] for row in rows] == ["5 mg once a day", "Children under twelve", ""]
    assert [row.cells["heading"] for row in rows] == ["Dosing > Adults", "Dosing > Children", ""]
    assert [row.cells["note"] for row in rows] == ["", "", "reject? the answer does not stand in the passage"]
    assert all(row.cells["verdict"] == "" for row in rows)
    whole = "\n\n".join(["Dosing", *passages()[:2]])
    for row in rows[:2]:
        assert whole[int(row.cells["start"]) : int(row.cells["end"])] == row.cells["quote"]
    assert (rows[2].cells["start"], rows[2].cells["end"], rows[2].cells["supported"]) == ("", "", "0")


def test_the_same_command_gives_the_same_sheet(place: Path, cli: Run) -> None:
    (record,) = (place / "domains/clinic/drafts").iterdir()
    kept = json.loads(record.read_text())
    kept["about"]["date"] = "2020-01-01"  # first drafted on another day
    record.write_text(json.dumps(kept))
    assert cli("draft", "clinic", "handbook", "--model", "chat", "--out", "again.xlsx").returncode == 0
    assert len(list((place / "domains/clinic/drafts").iterdir())) == 1
    first, again = content(place / "clinic-handbook-drafts.xlsx"), content(place / "again.xlsx")
    assert [a for a, b in zip(first, again, strict=True) if a != b] == [row for row in first if row[0] == "date"]
    assert ["date", "2020-01-01"] in [row[:2] for row in again]


def test_a_model_without_a_chat_template_goes_on_from_plain_text(place: Path, cli: Run) -> None:
    assert not (place / "plain/chat_template.jinja").exists()
    done = cli("draft", "clinic", "handbook", "--model", "plain", "--per-document", "1", "--limit", "2", "--out", "plain.csv")
    assert done.returncode == 0, done.stderr
    assert "not asked: 1 beyond 1 of their document" in done.stdout
    rows, _ = sheets.read(place / "plain.csv")
    assert [(row.cells["question"], row.cells["answer"]) for row in rows] == [DRAFTED[0], DRAFTED[2]]
    about = (place / "plain-about.csv").read_text(encoding="utf-8-sig")
    assert "model,plain\n" in about.replace("\r\n", "\n")


def test_a_model_that_is_not_there_is_asked_for_by_its_option(clinic: Path, cli: Run) -> None:
    done = cli("draft", "clinic", "handbook", "--model", "nowhere")
    assert done.returncode == 2
    assert done.stderr.startswith("error\n  wanted: a model nowhere to draft with\n  found: no such folder")
    assert "--model" in done.stderr.partition("to do: ")[2]
    assert "base.source" not in done.stderr


def test_limit_asks_about_the_first_passages(place: Path, cli: Run) -> None:
    done = cli("draft", "clinic", "handbook", "--model", "chat", "--limit", "1", "--out", "one.csv")
    assert "not asked: 2 beyond --limit 1" in done.stdout
    assert len(sheets.read(place / "one.csv")[0]) == 1


def test_output_that_is_not_two_lines_is_counted_and_no_sheet_is_written(place: Path, cli: Run) -> None:
    before = sorted(place.rglob("*.*"))
    done = cli("draft", "clinic", "handbook", "--model", "untrained", "--out", "none.xlsx")
    assert done.returncode == 4
    assert "3 replies without the two lines, 0 passages that do not fit" in done.stderr
    untrained(place / "small", positions=256)
    short = cli("draft", "clinic", "handbook", "--model", "small", "--out", "none.xlsx")
    assert "0 replies without the two lines, 3 passages that do not fit" in short.stderr
    after = {file for file in place.rglob("*.*") if not file.is_relative_to(place / "small") and not file.is_relative_to(place / "runs")}
    assert after == {file for file in before if not file.is_relative_to(place / "runs")}


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("clinic", "nothing", "--model", "chat"), 2, "give one with the role corpus: handbook"),
        (("clinic", "asked", "--model", "chat"), 2, "it has the role tune"),
        (("clinic", "handbook", "--model", "nowhere", "--out", "x.csv"), 2, "no such folder"),
        (("clinic", "handbook", "--model", "chat"), 2, "there already, and may hold a person's work"),
        (("clinic", "handbook", "--model", "chat", "--out", "x.ods"), 2, "the suffix '.ods'"),
        (("clinic", "handbook", "--model", "chat", "--out", "no/x.csv"), 2, "no folder no"),
    ],
)
def test_what_cannot_be_drafted_is_refused_before_any_work(words: tuple[str, ...], code: int, says: str, place: Path, cli: Run) -> None:
    done = cli("draft", *words)
    assert done.returncode == code
    assert says in done.stderr


def test_from_documents_to_data_that_balance(place: Path, cli: Run) -> None:
    sheet = place / "clinic-handbook-drafts.xlsx"
    fill(sheet, {2: {"verdict": "accept"}, 3: {"verdict": "correct", "corrected_answer": "Children younger than twelve"},
                 4: {"verdict": "reject", "comment": "made up"}})  # fmt: skip
    done = cli("review", "clinic", sheet.name, "--reviewer", "Dr. A. Example", "--yes")
    assert done.returncode == 0, done.stderr
    assert "1 accepted, 1 corrected (1 pair for preference tuning), 1 rejected, 0 open" in done.stdout
    checked = cli("check", "clinic", "--json", "dedup.near=false")
    assert checked.returncode == 0, checked.stderr
    lines = {line["name"]: line for line in json.loads(checked.stdout)["datasets"]}
    name = "review-clinic-handbook-drafts"
    assert (lines[name]["rows_in"], lines[name]["rows_used"], lines[name]["licence"]) == (2, 2, "CC0-1.0")
    assert (lines[f"{name}-preference"]["rows_in"], lines[f"{name}-preference"]["rows_used"]) == (1, 1)
    assert all(line["rows_in"] == line["rows_used"] + sum(line["set_aside"].values()) for line in lines.values())
    record = json.loads(next((place / "runs/artifacts/split").glob("*/artifact.json")).read_text())
    ledger = {line["dataset"]: line for line in record["facts"]["ledger"]}
    assert (ledger[name]["publisher"], ledger[name]["kind"]) == ("Dr. A. Example", "synthetic")


def test_a_record_of_drafts_that_was_changed_is_refused(place: Path, cli: Run) -> None:
    (record,) = (place / "domains/clinic/drafts").iterdir()
    record.write_text(record.read_text().replace("5 mg once", "6 mg once"))
    done = cli("review", "clinic", "clinic-handbook-drafts.xlsx", "--reviewer", "R", "--yes")
    assert done.returncode == 3
    assert "restore the file, or draft again" in done.stderr
    assert drafts.FOLDER in done.stderr
