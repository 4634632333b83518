"""Looking at rows, as an expert does who wants to know what became of them."""

import csv
import json
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pytest

from flows import rows as looking
from tasks.lib.formulas import harmless
from tasks.lib.records import RecordWriter
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


def test_a_rated_row_is_found_in_the_pairs_that_it_is_in(prepared: Run) -> None:
    for number in (1, 2):  # the better one of a pair, and the worse one
        (pair,) = (json.loads(line) for line in prepared("rows", "toy", "--id", f"ratings:{number}", "--json").stdout.splitlines())
        assert pair["id"] == "ratings:1>2"
        assert set(pair["record"]) >= {"prompt", "chosen", "rejected"}
    assert prepared("rows", "toy", "--id", "ratings:100000").returncode == 2


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


@pytest.mark.parametrize("out", [None, "all.csv"])
def test_rows_are_not_held_to_show_some_or_to_write_all(out: str | None, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """80 MB of rows, of which the peak is a small part."""
    with RecordWriter(workplace) as writer:
        for number in range(20_000):
            writer.put(
                {"id": f"d:{number}", "dataset": "d", "file": "a", "row": number + 1, "prompt": f"{number} " + "x" * 4_000}, "tune-train"
            )
    pa.default_memory_pool().release_unused()
    tracemalloc.start()
    looking.rows({"split": workplace}, None, None, 3, out, as_json=False)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 45_000_000  # two batches of 2,000 rows, and their texts once more
    assert ("20,000 rows written" if out else "3 of 20,000 rows shown; in all: 20,000 used") in capsys.readouterr().out
    assert out is None or (workplace / out).stat().st_size > 80_000_000
