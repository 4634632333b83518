"""Tracked facts go to a local spool first; `tasks.lib.delivery` brings them to MLflow when it is there.

A spool is one JSON-lines file per run. Its owner holds a kernel lock on it, so a run whose owner was
killed can be told from one that goes on. Training never waits for, and never fails because of, MLflow.
"""

import contextvars
import fcntl
import json
import os
import re
import time
import urllib.parse
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, TextIO, TypeVar

from tasks.lib import places
from tasks.lib.errors import ConfigError

V = TypeVar("V")
UNNAMEABLE = re.compile(r"[^/\w.\- :]")  # MLflow's rule for the names of metrics, parameters and tags
NAME_LENGTH = 240  # MLflow takes 250
NO_SCHEME = re.compile(r"[\w.-]+:\d+(/|$)")


def spool() -> Path:
    """The folder of runs that are not delivered to the end yet."""
    return places.runs() / "spool"


def server() -> str:
    """`MLFLOW_TRACKING_URI` as a spool file may keep it, without a password and with a whole path; "" for the default store.

    Raises:
        ConfigError: for a host and a port alone, which MLflow takes for a kind of store, or for a folder.
    """
    given = os.environ.get("MLFLOW_TRACKING_URI", "")
    if given.startswith("sqlite:///"):
        return f"sqlite:///{Path(given.removeprefix('sqlite:///')).absolute()}"
    if NO_SCHEME.match(given):
        raise ConfigError(
            "MLFLOW_TRACKING_URI with the address of a server", f"{given!r}, which does not say how to speak to it", f"write http://{given}"
        )
    address = urllib.parse.urlsplit(given)
    if "@" not in address.netloc and "password" not in address.query:
        return given
    query = "&".join(part for part in address.query.split("&") if not part.lower().startswith("password="))
    return address._replace(netloc=address.netloc.rpartition("@")[2], query=query).geturl()


class RunWriter:
    """Writes what happens in one run to its spool file.

    It notes for which MLflow it is: whoever delivers it later may have been told of another one.
    With `begun=False` nothing is on disk until `begin()`: a run in which nothing happens leaves no trace.
    """

    def __init__(self, experiment: str, name: str, parent: str | None, tags: dict[str, str], *, begun: bool = True) -> None:
        self.key = uuid.uuid4().hex
        self._file: TextIO | None = None
        self._early: list[str] = []
        given = {**named(tags), "slmforge.key": self.key}
        self._write("start", server=server(), experiment=experiment, name=name, parent=parent, tags=given)
        if begun:
            self.begin()

    def begin(self) -> None:
        """Make the spool file; it gets its name last, so that whoever sees it finds it locked and with its first line."""
        if self._file is not None:
            return
        spool().mkdir(parents=True, exist_ok=True)
        place = spool() / f"{time.time_ns()}-{self.key}.jsonl"
        new = place.with_suffix(".new")
        self._file = new.open("w", encoding="utf-8")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._file.writelines(self._early)
        self._file.flush()
        new.rename(place)

    def _write(self, event: str, **fields: Any) -> None:
        line = json.dumps({"event": event, "time": int(time.time() * 1000), **fields}) + "\n"
        if self._file is None:
            self._early.append(line)
        else:
            self._file.write(line)
            self._file.flush()

    def params(self, values: dict[str, Any]) -> None:
        """Parameters; nested mappings become dotted names."""
        self._write("params", values=named(flatten(values)))

    def metrics(self, values: dict[str, float], step: int = 0) -> None:
        """Metrics at one step."""
        self._write("metrics", values=named(values), step=step)

    def tags(self, values: dict[str, str]) -> None:
        """Tags."""
        self._write("tags", values=named(values))

    def dataset(self, name: str, digest: str, source: dict[str, Any], context: str) -> None:
        """A dataset that went in, with our own digest (36 characters, as MLflow's column allows)."""
        self._write("dataset", name=name, digest=digest[:36], source=source, context=context)

    def file(self, path: Path, folder: str = "") -> None:
        """A file to keep with the run; it must stay in place until it is delivered."""
        self._write("file", path=str(path), folder=folder)

    def end(self, status: str) -> None:
        """Close the run: FINISHED or FAILED; one that never began is forgotten."""
        self._write("end", status=status)
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()


class MetricWriter(Protocol):
    """Where metrics go: a run, or the process that waits for this one."""

    key: str

    def metrics(self, values: dict[str, float], step: int = 0) -> None:
        """Metrics at one step."""


class Active:
    """The stage that is running: its writer and what it measured."""

    def __init__(self, writer: MetricWriter | None) -> None:
        self.writer = writer
        self.measured: dict[str, Any] = {}


ACTIVE: contextvars.ContextVar[Active | None] = contextvars.ContextVar("active", default=None)


@contextmanager
def active(writer: MetricWriter | None) -> Iterator[Active]:
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


def named(values: dict[str, V]) -> dict[str, V]:
    """The same values under names that MLflow takes: what it refuses becomes `_`, and no two names become one."""
    found: dict[str, V] = {}
    for key, value in values.items():
        parts = [part for part in UNNAMEABLE.sub("_", key).split("/") if part not in ("", ".", "..")]
        name = "/".join(parts)[:NAME_LENGTH] or "_"
        while name in found:
            name += "_"
        found[name] = value
    return found


def run_id(key: str) -> str | None:
    """The MLflow run of a spool key, if it has been created."""
    # the note in done/ is looked for after the state, which goes when the note is there
    for pattern in (f"*-{key}.state", f"done/{key}.json"):
        for file in spool().glob(pattern):
            with suppress(FileNotFoundError):
                found: str | None = json.loads(file.read_text())["run_id"]
                return found
    return None


def run_page(key: str) -> str | None:
    """The page of a spool key's run on MLflow's screen, if a browser can reach it and the run has been created."""
    address, run = server(), run_id(key)
    return f"{address.rstrip('/')}/#/runs/{run}" if run and urllib.parse.urlsplit(address).scheme in ("http", "https") else None


def is_spooled(key: str) -> bool:
    """Whether a run has events that are not delivered to the end yet."""
    return any(spool().glob(f"*-{key}.jsonl"))


def is_alive(file: Path) -> bool:
    """Whether the owner of a spool file still holds it."""
    with file.open("r") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
