"""The history of flow runs: one that goes on, one that was killed, one that failed, and lines of older versions."""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from flows import screen
from tasks.lib import journal
from tasks.lib.errors import DataError
from tasks.lib.flow import Order
from tests.conftest import ROOT, Run

OLD = {
    "at": "2026-11-21T19:17:58+00:00", "flow": "adapt", "status": "FINISHED", "domain": "toy", "config": None, "settings": [],
    "edition": None, "mirror": None, "made": ["ingest"], "cached": [],
}  # fmt: skip
GOES_ON = """
import time
from tasks.lib import journal
from tasks.lib.flow import Order
with journal.opened(Order("toy"), "adapt", journal.SCHEDULE, "f" * 36) as entry:
    entry.note(stage="ingest", state="started")
    entry.note(stage="ingest", state="made")
    entry.note(stage="check", state="started", mlflow_key="k")
    print("there", flush=True)
    time.sleep(600)
"""


def test_a_run_that_goes_on_is_listed_and_once_killed_it_is_kept_as_killed(workplace: Path) -> None:
    command = [sys.executable, "-c", GOES_ON]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert process.stdout is not None
    process.stdout.readline()
    (line,), _ = journal.read("toy")
    assert (line["status"], line["stage"], line["made"], line["seconds"]) == ("RUNNING", "check", ["ingest"], None)
    assert (line["trigger"], line["prefect_flow_run"]) == ("schedule", "f" * 36)
    assert not journal.history().exists()
    process.send_signal(signal.SIGKILL)
    process.wait()
    for _ in range(2):  # the first closes it, the second finds it closed
        (line,), _ = journal.read()
        assert (line["status"], line["made"], line["seconds"]) == ("KILLED", ["ingest"], None)
        assert line["error"] == f"its process is gone; its last sign was at {line['at']}, in check"
    assert len(journal.history().read_text().splitlines()) == 1
    assert list(journal.history().parent.glob("going-on/*")) == []


def test_a_run_that_is_killed_behind_its_line_has_no_second_one(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = journal.Entry(Order("toy"), "adapt")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: None)  # as if it died before this
        entry.end(None)
    assert [line["status"] for line in journal.read()[0]] == ["FINISHED"]
    assert list(journal.history().parent.glob("going-on/*")) == []


def test_a_failed_run_keeps_its_error_in_a_line_and_the_stage(workplace: Path) -> None:
    def ingest() -> None:
        with journal.opened(Order("toy"), "adapt") as entry:
            entry.note(stage="ingest", state="started")
            raise DataError("two cells", "three", "quote\nthem", file="a.csv", row=7)

    with pytest.raises(DataError):
        ingest()
    with pytest.raises(ZeroDivisionError), journal.opened(Order("toy"), "adapt"):
        _ = 1 / 0
    first, second = journal.read()[0]
    assert (first["status"], first["stage"]) == ("FAILED", "ingest")
    assert first["error"] == "two cells; found: a.csv, row 7: three; to do: quote them"
    assert second["error"] == "ZeroDivisionError: division by zero"


def test_older_lines_and_torn_ones_do_not_hide_the_others(workplace: Path) -> None:
    journal.history().parent.mkdir()
    journal.history().write_text(json.dumps(OLD) + '\n{"at": "2026-11')
    with journal.opened(Order("toy"), "adapt") as entry:
        entry.all_cached("CACHED", [("ingest", "ingest/1"), ("report", "report/2")])
    lines, torn = journal.read()
    assert torn == 1
    assert [line["status"] for line in lines] == ["FINISHED", "CACHED"]
    assert lines[0] == {**dict.fromkeys(journal.LATER), **OLD, "mlflow_run": None}
    assert (lines[1]["cached"], lines[1]["report"]) == (["ingest", "report"], "report/2")
    assert journal.read("other") == ([], 1)


def test_the_command_shows_all_of_it(workplace: Path, cli: Run) -> None:
    done = workplace / "runs/spool/done"
    done.mkdir(parents=True)
    (done / "k.json").write_text('{"run_id": "m1234567890"}')
    with journal.opened(Order("toy"), "adapt", journal.DEPLOYMENT, "p1234567890") as entry:
        entry.note(stage="report", state="made", report="report/0123456789abcdef", mlflow_key="k")
    with pytest.raises(DataError), journal.opened(Order("toy"), "check"):
        raise DataError("two cells", "three", "quote them")
    told = json.loads(cli("runs", "toy", "--json").stdout)["runs"]
    assert [line["error"] for line in told] == [None, "two cells; found: three; to do: quote them"]
    assert (told[0]["mlflow_run"], told[0]["prefect_flow_run"], told[0]["trigger"]) == ("m1234567890", "p1234567890", "deployment")
    assert told[0]["seconds"] >= 0
    text = cli("runs").stdout
    for word in ("deployment", "m1234567", "p1234567", "report/0123456789abcdef", told[0]["began"][:19].replace("T", " ")):
        assert word in text
    assert "FAILED  two cells; found: three; to do: quote them" in text
    assert "2 runs; 0 events wait for MLflow" in text
    assert cli("runs", "other").stdout.endswith("0 runs; 0 events wait for MLflow\n")


@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_list_fits_the_terminal(width: int, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with journal.opened(Order("healthcare"), "retrain", journal.COMMAND, "prefect8-") as entry:
        entry.all_cached("NOTHING CHANGED", [(f"stage{number}", "") for number in range(18)] + [("report", "report/0123456789abcdef")])
    with pytest.raises(DataError), journal.opened(Order("healthcare"), "adapt"):
        raise DataError("two cells " * 20, "three", "quote them")
    shown = io.StringIO()
    made = Console(file=shown, force_terminal=True, width=width, no_color=True, highlight=False, markup=False, emoji=False)
    monkeypatch.setattr(screen, "console", made)
    screen.runs(journal.read()[0])
    text = Text.from_ansi(shown.getvalue()).plain
    assert all(len(line) <= width for line in text.splitlines())
    for word in ("NOTHING", "CHANGED", "command", "healthcare", "19", "prefect8", "report/0123456789abcdef", "quote", "FAILED"):
        assert word in text.split() or f"{word}," in text.split(), text


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.123, "0.1 s"), (9.99, "10.0 s"), (42.4, "42 s"), (99.9, "100 s"), (150, "2 min"), (7300, "2 h 02 min")]
)
def test_a_duration_is_said_for_people(seconds: float, said: str) -> None:
    assert screen.duration(seconds) == said
