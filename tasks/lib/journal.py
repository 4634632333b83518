"""The history of flow runs: one line for each that has ended, and a file that each holds for as long as it goes on.

The kernel gives the hold back when a process dies, so a run that was killed can be told from one that goes on.
"""

import fcntl
import json
import os
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.lib import places, tracking
from tasks.lib.errors import SlmforgeError
from tasks.lib.flow import Order

COMMAND, SCHEDULE, DEPLOYMENT = "command line", "schedule", "deployment"  # what starts a run
RUNNING, KILLED = "RUNNING", "KILLED"
LATER = ("id", "began", "seconds", "trigger", "error", "report", "prefect_flow_run", "mlflow_key", "stage")  # older lines lack them
UNDONE = ("started", "refused")  # states of a stage in which a run goes on, or has failed
Line = dict[str, Any]


def history() -> Path:
    """The file of runs that have ended."""
    return places.runs() / "history.jsonl"


def _going_on() -> Path:
    return places.runs() / "going-on"


class Entry:
    """A flow run that goes on; what is noted is on disk at once, so that a kill leaves it."""

    def __init__(self, order: Order, flow: str, trigger: str = COMMAND, prefect_flow_run: str | None = None) -> None:
        self.status = "FINISHED"  # what it is when no error ends it
        self._clock = time.monotonic()
        began = _now()
        first = {"id": uuid.uuid4().hex, "at": began, "began": began, "flow": flow, "status": RUNNING, **order.parameters()}
        self._notes: list[Line] = [{**first, "trigger": trigger, "prefect_flow_run": prefect_flow_run}]
        _going_on().mkdir(parents=True, exist_ok=True)
        self._place = _going_on() / f"{time.time_ns()}-{first['id']}.jsonl"
        new = self._place.with_suffix(".new")  # it gets its name last: whoever sees it finds it held
        self._file = new.open("w", encoding="utf-8")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._write(self._notes[0])
        new.rename(self._place)

    def note(self, **fields: Any) -> None:
        """Add what is known by now: `stage` with its `state`, or fields of the line."""
        self._notes.append({"at": _now(), **fields})
        self._write(self._notes[-1])

    def _write(self, note: Line) -> None:
        self._file.write(json.dumps(note) + "\n")
        self._file.flush()

    def all_cached(self, status: str, stages: Iterable[tuple[str, str]]) -> None:
        """Note that there is nothing to do: every stage (name, artifact) is cached."""
        for name, artifact in stages:
            self.note(stage=name, state="cached", **({"report": artifact} if name == "report" else {}))
        self.status = status

    def end(self, error: BaseException | None) -> None:
        """Write the line of the run that has ended."""
        status = self.status if error is None else "FAILED"
        said = {"error": None if error is None else in_a_line(error), "seconds": round(time.monotonic() - self._clock, 3)}
        with _held():
            _append(_folded([*self._notes, {"at": _now(), "status": status, **said}]))
            self._place.unlink(missing_ok=True)
        self._file.close()


@contextmanager
def opened(order: Order, flow: str, trigger: str = COMMAND, prefect_flow_run: str | None = None) -> Iterator[Entry]:
    """An entry that ends with the block: FAILED with its error, or with the status that it was given."""
    entry = Entry(order, flow, trigger, prefect_flow_run)
    done = False
    try:
        yield entry
        done = True
    finally:
        entry.end(None if done else sys.exception())


def in_a_line(error: BaseException) -> str:
    """What went wrong, without line breaks."""
    if isinstance(error, SlmforgeError):
        return error.sentence
    return " ".join(f"{type(error).__name__}: {error}".removesuffix(": ").split())


def read(domain: str | None = None) -> tuple[list[Line], int]:
    """Every run, the oldest first, of one domain or all, and how many lines of the file are torn.

    Runs that go on have the status RUNNING and no seconds; ones whose process is gone are closed as KILLED first.
    Each line names its MLflow run, once that is known (`mlflow_run`).
    """
    with _held():
        going_on = _close_killed()
        text = history().read_text(encoding="utf-8", errors="replace") if history().is_file() else ""
    lines, torn = [], 0
    for written in text.splitlines():
        try:
            lines.append({**dict.fromkeys(LATER), **json.loads(written)})
        except ValueError:
            torn += 1
    lines += [{**dict.fromkeys(LATER), **line} for line in going_on]
    for line in lines:
        line["mlflow_run"] = tracking.run_id(line["mlflow_key"]) if line["mlflow_key"] else None
    return [line for line in lines if domain in (None, line["domain"])], torn


def _close_killed() -> list[Line]:
    """Write the lines of runs whose process is gone; returns those of runs that go on (call with the history held)."""
    going_on = []
    for file in sorted(_going_on().glob("*.jsonl")):
        with suppress(FileNotFoundError):  # its run ends at this moment
            alive = tracking.is_alive(file)
            line = _folded(_notes(file))
            if alive:
                going_on.append(line)
                continue
            if not _is_written(line["id"]):  # killed between its line and the end of its file
                _append({**line, "status": KILLED, "error": _last_words(line)})
            file.unlink()
    return going_on


def _last_words(line: Line) -> str:
    """Of `at`, which is when a killed run gave its last sign."""
    return f"its process is gone; its last sign was at {line['at']}" + (f", in {line['stage']}" if line["stage"] else "")


def _notes(file: Path) -> list[Line]:
    """The notes of a run; a kill can tear the last."""
    notes = []
    for written in file.read_text(encoding="utf-8", errors="replace").splitlines():
        with suppress(ValueError):
            notes.append(json.loads(written))
    return notes


def _folded(notes: list[Line]) -> Line:
    """The notes of a run as one line of history."""
    line: Line = {**dict.fromkeys(LATER)}
    states: dict[str, str] = {}
    for note in notes:
        line |= note
        if "stage" in note and states.get(note["stage"]) != "made":  # one that is asked for again is cached by then
            states[note["stage"]] = note["state"]
    stage, state = line.pop("stage", None), line.pop("state", None)
    done = {state: [name for name, known in states.items() if known == state] for state in ("made", "cached")}
    return {**line, **done, "stage": stage if state in UNDONE and line["status"] in (RUNNING, "FAILED") else None}


def _is_written(identifier: str) -> bool:
    return history().is_file() and f'"id": "{identifier}"' in history().read_text(encoding="utf-8", errors="replace")


def _append(line: Line) -> None:
    """Add a line, behind a whole one: what a full disk has torn stays a line of its own."""
    with history().open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            torn = file.read(1) != b"\n"
            file.write(b"\n" * torn)
        file.write(json.dumps(line).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _held() -> Iterator[None]:
    """The one right to change the history and its open entries."""
    place = history().with_suffix(".lock")
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
