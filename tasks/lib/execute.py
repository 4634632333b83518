"""Runs one stage call: cached, or made, tracked and committed."""

import importlib
import json
import os
import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.lib import history, machine, store, tracking
from tasks.lib.config import StageConfig
from tasks.lib.environment import muted
from tasks.lib.errors import DataError
from tasks.lib.stage import Call, items
from tasks.lib.store import Artifact, Record


@dataclass
class Event:
    """One line of a flow's story, for whoever shows it."""

    name: str
    state: str  # cached | started | made | refused
    seconds: float = 0.0
    artifact: Artifact | None = None
    record: Record | None = None
    cause: str = ""


@dataclass
class Session:
    """What the stages of one flow run share."""

    domain: str
    flow: str
    writer: tracking.RunWriter | None = None
    tags: dict[str, str] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    listener: Callable[[Event], None] = lambda event: None
    noted: Callable[[Event], None] = lambda event: None
    events: list[Event] = field(default_factory=list)

    def tell(self, event: Event) -> None:
        """Keep an event, note it and pass it on."""
        self.events.append(event)
        self.noted(event)
        self.listener(event)


class Direct:
    """Runs every call at once, in this process."""

    def __init__(self, session: Session | None = None) -> None:
        self.session = session or Session(domain="", flow="")

    def call(self, call: Call) -> Artifact:
        """Return the artifact, from the store or newly made.

        Raises:
            SlmforgeError: if the artifact says that nothing may be built on it.
        """
        started = time.monotonic()
        identifier = call.identifier()
        cause = ""
        record, gone = _standing(call, identifier)
        if record is None:
            cause = gone or history.cause(self.session.domain, call)
            with store.lock(identifier):
                record, _ = _standing(call, identifier)  # another process may have made it while we waited
                if record is None:
                    self.session.tell(Event(call.name, "started", cause=cause))
                    record = self._make(call, identifier, cause)
                    state = "made"
                else:
                    state = "cached"
        else:
            state = "cached"
        artifact: Artifact = call.stage.load(record)
        history.remember(self.session.domain, call, record, cause)
        refusal = artifact.refusal()
        event = Event(call.name, "refused" if refusal else state, time.monotonic() - started, artifact, record, cause)
        self.session.tell(event)
        if refusal:
            raise DataError(f"stage {call.name}", refusal, artifact.remedy(self.session.domain))
        return artifact

    def _make(self, call: Call, identifier: str, cause: str) -> Record:
        for needed in call.artifacts():
            found = store.find(needed.id)
            if found is None:
                raise DataError(f"the artifact {needed.id}", "it is gone", "run the same command again")
            store.verify(found)
        with muted():
            for module in call.stage.needs:
                importlib.import_module(f"tasks.lib.{module}")
        writer = self._open(call, identifier)
        folder = store.workspace(identifier)
        started, clock = datetime.now(UTC), time.monotonic()
        status = "FAILED"
        try:
            with tracking.active(writer) as current:
                anew = machine.begin_peak()
                made = call.stage.fn(folder, **call.arguments)
                current.measured["seconds"] = round(time.monotonic() - clock, 3)
                current.measured["peak_memory"] = machine.peak(anew=anew) + current.measured.get("processes_peak_memory", 0)
                current.measured["peak_memory_since"] = "the stage began" if anew else "the process began"
                record = _record(call, identifier, made, folder, current.measured)
                record.made.update(
                    started=started.isoformat(),
                    cause=cause,
                    key=None if writer is None else writer.key,
                    **self.session.tags,
                    **self.session.provenance,
                )
                store.commit(folder, record)
                if writer is not None:
                    _track(writer, record)
            status = "FINISHED"
        finally:
            if status == "FAILED":
                shutil.rmtree(folder, ignore_errors=True)
            if writer is not None:
                writer.end(status)
        return record

    def _open(self, call: Call, identifier: str) -> tracking.RunWriter | None:
        if self.session.writer is None:
            return None
        self.session.writer.begin()
        tags = {**self.session.tags, "slmforge.stage": call.stage.name, "slmforge.artifact": identifier}
        writer = tracking.RunWriter(self.session.domain, call.name, self.session.writer.key, tags)
        writer.params(call.config())
        return writer


def _standing(call: Call, identifier: str) -> tuple[Record | None, str | None]:
    """The record of a call; none where what it stands for outside the store is gone, and why."""
    record = store.find(identifier)
    gone = None if record is None else call.stage.load(record).gone()
    return (None if gone else record), gone


def _record(call: Call, identifier: str, made: Artifact, folder: Path, measured: dict[str, Any]) -> Record:
    files = store.list_files(folder)
    facts = made.model_dump(mode="json", exclude={"id", "digest"})
    return Record(
        stage=call.stage.name,
        version=call.stage.version,
        id=identifier,
        digest=store.content_digest(files, facts),
        identity=call.identity(),
        config=call.config(),
        inputs={key: _describe(value) for key, value in call.arguments.items() if not isinstance(value, StageConfig)},
        facts=facts,
        measured=measured,
        files=files,
        libraries=store.libraries(),
        made={
            "ended": datetime.now(UTC).isoformat(),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "cpus": os.cpu_count(),
        },
    )


def _describe(value: Any) -> Any:
    """An input as the record keeps it: artifacts by id and digest, declared values in full, with addresses and places."""
    if isinstance(value, (tuple, list)):
        return [_describe(item) for item in value]
    if isinstance(value, Artifact):
        return {"id": value.id, "digest": value.digest}
    return None if value is None else value.model_dump(mode="json")


def _track(writer: tracking.RunWriter, record: Record) -> None:
    numbers = {k: float(v) for k, v in record.facts.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
    if numbers:
        writer.metrics(numbers)
    writer.tags({"slmforge.digest": record.digest, "slmforge.cause": record.made["cause"][:5000]})
    for name, given in record.inputs.items():
        for item in items(given):
            if isinstance(item, dict) and "digest" in item:
                writer.dataset(item["id"], item["digest"], item, name)
    for resolved in (record.inputs.get("sources") or {}).get("datasets", []):
        dataset = resolved["dataset"]
        source = {"sha256": resolved["sha256"], "licence": dataset["licence"], "source": dataset["source"]}
        writer.dataset(dataset["name"], resolved["sha256"], json.loads(json.dumps(source)), dataset["role"])
    folder = store.root() / record.id
    writer.file(folder / store.RECORD)
    for entry in record.files:
        if entry.path.startswith(f"{store.VIEW}/"):
            writer.file(folder / entry.path, str(Path(entry.path).parent))
