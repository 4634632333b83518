"""Looking at rows, as an expert does who wants to know what became of them."""

import csv
import json
from pathlib import Path

import pytest

from tasks.lib.formulas import harmless
from tests.conftest import Run


@pytest.fixture
def prepared(toy: Path, cli: Run) -> Run:
    with (toy / "data/colours.csv").open("a") as file:
        file.write('=HYPERLINK("http://x"),green\n[/bold] :smile: \\d[a-z]+,\n')
    assert cli("check", "toy").returncode == 0
    return cli


def test_rows_set_aside_are_shown_with_their_reason_and_place(prepared: Run) -> None:
    said = prepared("rows", "toy", "--set-aside", "unknown-value").stdout
    assert "colours:203" in said
    assert "data/colours.csv, row 203" in said
    assert "column 'a' (`response` of the map) gives 'green', which is none of the choices" in said
    assert "1 of 1 rows shown" in said
    everything = prepared("rows", "toy", "--set-aside").stdout
    assert "holdout" not in everything, "what the pipeline keeps for itself is not shown"
    assert "[/bold] :smile: \\d[a-z]+" in everything
    assert "bom-only" in everything


def test_a_reason_that_is_none_names_those_that_are(prepared: Run) -> None:
    done = prepared("rows", "toy", "--set-aside", "nonsense")
    assert done.returncode == 2
    assert "empty-answer (2)" in done.stderr


def test_rows_in_use_are_shown_as_the_model_will_see_them(prepared: Run) -> None:
    lines = prepared("rows", "toy", "--dataset", "colours", "--limit", "1000", "--json").stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    assert {row["dataset"] for row in rows} == {"colours"}
    assert {row["part"] for row in rows} == {"tune-train", "tune-valid", "eval"}
    assert all(row["record"]["response"] in ("red", "blue") for row in rows)


def test_a_csv_export_holds_every_row_and_no_formula(prepared: Run, workplace: Path) -> None:
    assert prepared("rows", "toy", "--set-aside", "--csv", "out.csv").returncode == 0
    with (workplace / "out.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["q"] for row in rows if row["id"] == "colours:203"] == ['\'=HYPERLINK("http://x")']
    done = prepared("rows", "toy", "--set-aside", "--csv", "out.csv")
    assert done.returncode == 2
    assert "there already" in done.stderr


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_what_a_spreadsheet_would_run_is_made_text(cell: str) -> None:
    assert harmless(cell) == f"'{cell}"


def test_rows_before_a_check_say_what_to_do(toy: Path, cli: Run) -> None:
    done = cli("rows", "toy")
    assert done.returncode == 2
    assert "slmforge check toy" in done.stderr
