"""Comparing what lies in the store with its records, and a version's lineage with what it was registered with."""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from tasks.lib import digests, evidence, local_registry, store
from tasks.lib.errors import DataError
from tasks.lib.lineage import LINEAGE
from tasks.lib.store import RECORD, Record

ANEW = "restore it from a copy; or delete the folder {folder}: the next command that needs it makes it anew"
CHANGED = "somebody changed it: find out who, and restore it from a copy"


@dataclass(frozen=True)
class Difference:
    """Something that is not as it was recorded."""

    file: str
    expected: str
    found: str
    remedy: str


@dataclass
class Result:
    """What was read, and what differs."""

    artifacts: int = 0
    files: int = 0
    bytes: int = 0
    versions: list[dict[str, Any]] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)


def size(identifiers: Iterable[str]) -> int:
    """How many bytes there are to read."""
    records = (evidence.readable(one) for one in identifiers)
    return sum(entry.bytes for record in records if record for entry in record.files)


def verify(identifiers: Iterable[str], told: Callable[[int], object] | None = None) -> Result:
    """Read every file of these artifacts again; of those that are model versions, the lineage and the registry's tag too.

    Args:
        identifiers: of artifacts.
        told: hears how many bytes were read, for a bar.
    """
    result = Result()
    for identifier in identifiers:
        result.artifacts += 1
        try:
            record = store.find(identifier)
        except DataError as error:
            result.differences.append(_differs(identifier, RECORD, "a record", f"something else ({error.found})"))
            continue
        if record is None:
            result.differences.append(_differs(identifier, RECORD, "a record", "nothing"))
            continue
        result.files += len(record.files)
        result.bytes += sum(entry.bytes for entry in record.files)
        result.differences += [*_record(record), *_files(record, told)]
        if record.stage == "register":
            said, found = _version(record)
            result.versions.append(said)
            result.differences += found
    return result


def _differs(identifier: str, file: str, expected: str, found: str, remedy: str = ANEW) -> Difference:
    folder = store.root() / identifier
    return Difference(str(folder / file), expected, found, remedy.format(folder=folder))


def _record(record: Record) -> Iterator[Difference]:
    """Whether the record itself is as it was: its id and its digest follow from what it holds."""
    for name, kept, made in (
        ("digest of files and facts", record.digest, store.content_digest(record.files, record.facts)),
        ("identity", record.id.split("/")[-1], digests.of_value(record.identity)[:16]),
    ):
        if kept != made:
            yield _differs(record.id, RECORD, f"{name} {_short(kept)}", f"{_short(made)}, from what the record holds now")


def _files(record: Record, told: Callable[[int], object] | None) -> Iterator[Difference]:
    for entry, found in store.differing(record, told):
        yield _differs(record.id, entry.path, f"{entry.bytes:,} bytes with sha256 {_short(entry.sha256)}", found)
    known = {RECORD, *(entry.path for entry in record.files)}
    folder = store.root() / record.id
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if not file.is_dir() and name not in known:
            yield _differs(record.id, name, "no such file: the record does not name it", "a file", "look at it, and remove it")


def _version(record: Record) -> tuple[dict[str, Any], list[Difference]]:
    """What a registered version is, and how its lineage differs from the digest in its record and in the registry."""
    name, version, digest = (str(record.facts[key]) for key in ("name", "version", "lineage_sha256"))
    file = store.root() / record.id / LINEAGE
    found = []
    if not file.is_file() or (now := digests.of_file(file)) != digest:
        said = "nothing" if not file.is_file() else f"sha256 {_short(now)}"
        remedy = f"it is kept in MLflow as well, as evidence/{LINEAGE} of run {record.facts['run']}; {CHANGED}"
        found.append(_differs(record.id, LINEAGE, f"sha256 {_short(digest)}, as the record of register says", said, remedy))
    else:
        found += _named(record)
    tag, why = _tag(name, version, record.measured.get("registered_in"))
    if not why and tag != digest:
        where = f"tag {local_registry.TAG} of version {version} of {name!r} in MLflow"
        found.append(Difference(where, f"{_short(digest)}, as the record of register says", _short(tag) if tag else "no such tag", CHANGED))
    told = {"name": name, "version": version, "artifact": record.id, "lineage_sha256": digest, "registry": why or tag}
    return told, found


def _named(record: Record) -> Iterator[Difference]:
    """Artifacts whose content is not the one that the lineage names."""
    stages = json.loads((store.root() / record.id / LINEAGE).read_bytes())["stages"]
    for identifier, then in stages.items():
        now = evidence.readable(identifier)
        if now is not None and now.digest != then["digest"]:
            expected = f"digest {_short(then['digest'])}, as the lineage of version {record.facts['version']} says"
            yield _differs(identifier, RECORD, expected, f"digest {_short(now.digest)}")


def _tag(name: str, version: str, registered: str | None) -> tuple[str | None, str]:
    """The lineage digest that the registry keeps; or why it could not be asked."""
    if (other := local_registry.elsewhere(registered)) is not None:
        return None, f"not compared: {other}"
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        gone = local_registry.missing_version(name, version)
        return (None, f"not compared: {gone}") if gone else (local_registry.lineage_tag(name, version), "")
    from tasks.lib import delivery, tracking_store

    try:
        found = tracking_store.client().get_model_version(name, version)
    except delivery.AWAY as error:
        return None, f"not compared: {delivery.first_line(error)}"
    return found.tags.get(local_registry.TAG), ""


def _short(digest: str) -> str:
    return f"{digest[:12]}…" if len(digest) > 16 else digest
