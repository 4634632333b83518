"""Tracked facts go to a local spool first; `tasks.lib.delivery` brings them to MLflow when it is there.

A spool is one JSON-lines file per run. Its owner holds a kernel lock on it, so a run whose owner was
killed can be told from one that goes on. Training never waits for, and never fails because of, MLflow.
"""

import contextvars
import fcntl
import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from tasks.lib import places


def spool() -> Path:
    """The folder of runs that are not delivered to the end yet."""
    return places.runs() / "spool"


class RunWriter:
    """Writes what happens in one run to its spool file."""

    def __init__(self, experiment: str, name: str, parent: str | None, tags: dict[str, str]) -> None:
        self.key = uuid.uuid4().hex
        spool().mkdir(parents=True, exist_ok=True)
        self._file: TextIO = (spool() / f"{time.time_ns()}-{self.key}.jsonl").open("w", encoding="utf-8")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._write("start", experiment=experiment, name=name, parent=parent, tags={**tags, "slmforge.key": self.key})

    def _write(self, event: str, **fields: Any) -> None:
        line = json.dumps({"event": event, "time": int(time.time() * 1000), **fields})
        self._file.write(line + "\n")
        self._file.flush()

    def params(self, values: dict[str, Any]) -> None:
        """Parameters; nested mappings become dotted names."""
        self._write("params", values=flatten(values))

    def metrics(self, values: dict[str, float], step: int = 0) -> None:
        """Metrics at one step."""
        self._write("metrics", values=values, step=step)

    def tags(self, values: dict[str, str]) -> None:
        """Tags."""
        self._write("tags", values=values)

    def dataset(self, name: str, digest: str, source: dict[str, Any], context: str) -> None:
        """A dataset that went in, with our own digest (36 characters, as MLflow's column allows)."""
        self._write("dataset", name=name, digest=digest[:36], source=source, context=context)

    def file(self, path: Path, folder: str = "") -> None:
        """A file to keep with the run; it must stay in place until it is delivered."""
        self._write("file", path=str(path), folder=folder)

    def end(self, status: str) -> None:
        """Close the run: FINISHED or FAILED."""
        self._write("end", status=status)
        os.fsync(self._file.fileno())
        self._file.close()


class Active:
    """The stage that is running: its writer and what it measured."""

    def __init__(self, writer: RunWriter | None) -> None:
        self.writer = writer
        self.measured: dict[str, Any] = {}


ACTIVE: contextvars.ContextVar[Active | None] = contextvars.ContextVar("active", default=None)


@contextmanager
def active(writer: RunWriter | None) -> Iterator[Active]:
    """Make `writer` the run that `metric` and `measure` write to."""
    current = Active(writer)
    token = ACTIVE.set(current)
    try:
        yield current
    finally:
        ACTIVE.reset(token)


def metric(values: dict[str, float], step: int) -> None:
    """Log metrics of the running stage over time."""
    current = ACTIVE.get()
    if current is not None and current.writer is not None:
        current.writer.metrics(values, step)


def measure(**values: Any) -> None:
    """Note what is measured and may differ from run to run (seconds, tokens/s, series): in the record, not in the digest."""
    current = ACTIVE.get()
    if current is None:
        return
    current.measured.update(values)
    numbers = {k: float(v) for k, v in values.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
    if numbers and current.writer is not None:
        current.writer.metrics(numbers)


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested mappings as dotted names; other values as JSON."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            flat.update(flatten(value, f"{name}."))
        else:
            flat[name] = value if isinstance(value, str) else json.dumps(value)
    return flat


def run_id(key: str) -> str | None:
    """The MLflow run of a spool key, if it has been created."""
    for file in [*spool().glob(f"*-{key}.state"), *spool().glob(f"done/{key}.json")]:
        found: str | None = json.loads(file.read_text())["run_id"]
        return found
    return None


def is_alive(file: Path) -> bool:
    """Whether the owner of a spool file still holds it."""
    with file.open("r") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
