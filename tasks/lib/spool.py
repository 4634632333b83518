"""Spool files as a delivery reads them: what MLflow has not seen yet, why it waits, and what MLflow refused."""

import itertools
import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tasks.lib import tracking

Event = dict[str, Any]
STALE = 3600.0  # seconds after which a file that never became a spool file is a leftover of a kill


@dataclass
class State:
    """How far the delivery of one file has come; it lies beside the file."""

    run_id: str | None = None
    offset: int = 0
    ended: bool = False
    gone: str = ""  # why nothing more can be written to the run
    refused: int = 0
    waits: str = ""  # why the last delivery could not go on here, though MLflow answered
    server: str | None = None  # where it goes in place of the MLflow for which it was begun


def read_state(file: Path) -> State:
    """The state of a spool file; the first one when nothing has been delivered."""
    try:
        return State(**json.loads(file.with_suffix(".state").read_text()))
    except FileNotFoundError:
        return State()


class SpoolFile:
    """One run's events, from where the last delivery stopped (read with the store lock held)."""

    def __init__(self, path: Path) -> None:
        self.path, self.key = path, path.stem.split("-")[-1]
        self.state = read_state(path)

    @property
    def server(self) -> str | None:
        """The MLflow to which it goes, as `tracking.server` names it; None where the file does not say."""
        if self.state.server is not None:
            return self.state.server
        with self.path.open("rb") as lines:
            found: str | None = _event(lines.readline()).get("server")
        return found

    def redirect(self, server: str) -> None:
        """Let it go to another MLflow, from its first event on."""
        if self.server not in (None, server):
            self.state = State(server=server)
            self.save()

    def next(self, limit: int) -> list[tuple[Event, int]]:
        """Up to `limit` whole lines and the offset behind each; a line torn by a kill ends the reading."""
        events: list[tuple[Event, int]] = []
        offset = self.state.offset
        with self.path.open("rb") as lines:
            lines.seek(offset)
            for line in lines:
                if not line.endswith(b"\n") or len(events) == limit:
                    break
                offset += len(line)
                events.append((_event(line), offset))
        return events

    def advance(self, offset: int) -> None:
        """Note that everything before `offset` is done."""
        self.state.offset, self.state.waits = offset, ""
        self.save()

    def hold_up(self, reason: str) -> None:
        """Note why this file has to wait."""
        if self.state.waits != reason:
            self.state.waits = reason
            self.save()

    def refuse(self, events: list[tuple[Event, str]]) -> None:
        """Set aside events that MLflow will never take, each with the reason, so that what follows can go on."""
        place = refusals() / self.path.name
        place.parent.mkdir(exist_ok=True)
        with place.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps({"refused": reason, **event}) + "\n" for event, reason in events)
        self.state.refused += len(events)

    def save(self) -> None:
        """Keep the state, whole or not at all."""
        _write(self.path.with_suffix(".state"), asdict(self.state))

    def close(self) -> None:
        """The run has ended and all of it is delivered: keep only which MLflow run it is."""
        done = self.path.parent / "done"
        done.mkdir(exist_ok=True)
        _write(done / f"{self.key}.json", {"run_id": self.state.run_id})
        # in this order: whoever finds no state finds no file either, or the note above
        self.path.unlink()
        self.path.with_suffix(".state").unlink(missing_ok=True)


def _event(line: bytes) -> Event:
    """A line as an event; what a full or a failing disk has left of one is an event of its own kind."""
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    return (
        event if isinstance(event, dict) and "event" in event else {"event": "unreadable", "line": line.decode("utf-8", "backslashreplace")}
    )


def grouped(events: list[tuple[Event, int]]) -> list[list[tuple[Event, int]]]:
    """Neighbours of one kind together, in order."""
    return [list(group) for _, group in itertools.groupby(events, key=lambda event: event[0]["event"])]


def text(value: Any) -> str:
    """A value as text that every store takes: half a character becomes its escape."""
    return str(value).encode("utf-8", "backslashreplace").decode()


def _write(place: Path, content: dict[str, Any]) -> None:
    temporary = place.with_suffix(".tmp")
    temporary.write_text(json.dumps(content))
    temporary.replace(place)


def refusals() -> Path:
    """The folder of events that MLflow refused, a file per run."""
    return tracking.spool() / "refused"


def refused() -> int:
    """How many events MLflow refused; whoever has read their files may delete them."""
    return sum(len(file.read_bytes().splitlines()) for file in refusals().glob("*.jsonl"))


def files() -> list[Path]:
    """Spool files, the oldest first (call with the store lock held)."""
    for leftover in tracking.spool().glob("*.new"):
        with suppress(FileNotFoundError):  # it has become a spool file just now
            if time.time() - leftover.stat().st_mtime > STALE and not tracking.is_alive(leftover):
                leftover.unlink()  # killed between its first line and its name: the run never began
    return sorted(tracking.spool().glob("*.jsonl"))


def pending(*, going_on: bool = True) -> int:
    """Events that MLflow has not seen, those of runs that go on included or not; a file that is delivered meanwhile has none."""
    total = 0
    for file in tracking.spool().glob("*.jsonl"):
        try:
            if not going_on and tracking.is_alive(file):
                continue
            state = read_state(file)  # before the file: it goes later
            total += len(file.read_bytes()[state.offset :].splitlines())
        except FileNotFoundError:
            continue
    return total


def waits() -> str | None:
    """Why a run has to wait although MLflow answers, or None."""
    reasons = (read_state(file).waits for file in sorted(tracking.spool().glob("*.jsonl")))
    return next(filter(None, reasons), None)
