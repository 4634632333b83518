"""The artifact store: a folder per identity, its record written last, committed by rename.

The existence of `artifact.json` in its final place means done; nothing else does.
"""

import fcntl
import functools
import importlib.metadata
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from tasks.lib import digests, places, replacing
from tasks.lib.errors import ConfigError, DataError, StageError

RECORD = "artifact.json"
VIEW = "view"  # renderings for people: recorded, but not part of what the artifact is
LIBRARIES = (
    "slmforge", "torch", "transformers", "trl", "peft", "accelerate", "datasets", "pyarrow", "tokenizers",
    "great-expectations", "python-stdnum", "rensa", "rdkit", "torchao", "lm-eval", "mlflow", "prefect", "numpy",
)  # fmt: skip


class Artifact(BaseModel):
    """What a stage made: facts in its fields, files in its folder.

    `id` and `digest` are set by the store; subclasses add facts that are the same every time.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = ""
    digest: str = ""

    @property
    def path(self) -> Path:
        """The artifact's folder."""
        return root() / self.id

    @property
    def stage(self) -> str:
        """The name of the stage that made it."""
        return self.id.split("/")[0]

    def refusal(self) -> str | None:
        """Why nothing may be built on this artifact, or None."""
        return None

    def remedy(self, domain: str) -> str:
        """What to do about a refusal."""
        return "correct the data or the domain folder, then run the same command again"

    def gone(self) -> str | None:
        """Why what this artifact stands for outside the store is no longer there, or None."""
        return None


class FileEntry(BaseModel):
    """One file of an artifact: path relative to its folder, bytes, sha256."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    bytes: int
    sha256: str


class Record(BaseModel):
    """`artifact.json`: everything that is known about how an artifact came to be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: str
    version: str
    id: str
    digest: str
    identity: dict[str, Any]
    config: dict[str, Any]
    inputs: dict[str, Any]
    facts: dict[str, Any]
    measured: dict[str, Any]
    files: list[FileEntry]
    libraries: dict[str, str]
    made: dict[str, Any]


def root() -> Path:
    """The folder of all artifacts."""
    return places.runs() / "artifacts"


def find(identifier: str) -> Record | None:
    """The record of a committed artifact, or None.

    Raises:
        DataError: if the record is there but is not one.
    """
    file = root() / identifier / RECORD
    try:
        return Record.model_validate_json(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError as error:
        found = f"{error.error_count()} field(s) that no record has"
        raise DataError(
            f"the record of {identifier} as it was committed", found, f"delete the folder {file.parent} and run again", file=file
        ) from error


def verify(record: Record) -> None:
    """Compare every file with the record.

    Raises:
        DataError: naming the file that is missing or differs.
    """
    for entry, found in differing(record):
        folder = root() / record.id
        raise DataError(
            f"the artifact {record.id} as it was committed",
            f"{found} in place of {entry.bytes:,} bytes with sha256 {entry.sha256[:12]}…",
            f"delete the folder {folder} and run the same command again: the stage will make it anew",
            file=folder / entry.path,
        )


def differing(record: Record, told: Callable[[int], object] | None = None) -> Iterator[tuple[FileEntry, str]]:
    """Files that are not as the record says, and what is there; `told` hears of the bytes that were read."""
    for entry in record.files:
        file = root() / record.id / entry.path
        if not file.is_file():
            yield entry, "nothing"
        elif file.stat().st_size != entry.bytes:
            yield entry, f"{file.stat().st_size:,} bytes"
        elif (found := digests.of_file(file, told)) != entry.sha256:
            yield entry, f"{entry.bytes:,} bytes with sha256 {found[:12]}…"


def identifiers() -> list[str]:
    """The ids of all committed artifacts."""
    return sorted(record.parent.relative_to(root()).as_posix() for record in root().glob(f"[!.]*/[!.]*/{RECORD}"))


@contextmanager
def lock(identifier: str) -> Iterator[None]:
    """Hold the one right to make `identifier`; the kernel gives it back when the process dies."""
    place = root() / f"{identifier}.lock"
    _require_own(place.parent)
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _require_own(folder: Path) -> None:
    """Refuse a stage's folder that lies elsewhere: what is made, and what is removed, stays below the folder that the operator named.

    That folder itself may be a link: it is where the operator wants it.
    """
    for place in (root(), folder):
        if place.is_symlink():
            raise ConfigError(
                f"a folder for artifacts below {places.runs()}",
                f"{place} is a link to {place.readlink()}",
                "remove the link; to keep runs elsewhere, name that place: SLMFORGE_RUNS",
            )


def workspace(identifier: str) -> Path:
    """An empty folder beside the artifact's place (call with the lock held; leftovers are removed)."""
    stage, name = identifier.split("/")
    for leftover in (root() / stage).glob(f".{name}.*"):
        shutil.rmtree(leftover)
    folder = root() / stage / f".{name}.{os.getpid()}"
    folder.mkdir(parents=True)
    return folder


def parts(workspace: Path) -> Path:
    """A folder for what a stage has finished of its work: a kill leaves it, and the next run of the same identity goes on there."""
    name = workspace.name.split(".")[1]
    folder = workspace.parent / f"{name}.parts"
    folder.mkdir(exist_ok=True)
    return folder


def list_files(folder: Path) -> list[FileEntry]:
    """Every file below `folder` with its digest, in path order.

    Raises:
        StageError: if there is a link among them.
    """
    entries = []
    for file in sorted(folder.rglob("*")):
        if file.is_symlink():
            raise StageError(f"plain files below {folder}", f"a link: {file.name}", "write the content itself")
        if file.is_file() and file.name != RECORD:
            relative = file.relative_to(folder).as_posix()
            entries.append(FileEntry(path=relative, bytes=file.stat().st_size, sha256=digests.of_file(file)))
    return entries


def content_digest(files: list[FileEntry], facts: dict[str, Any]) -> str:
    """What an artifact is: its files (renderings aside) and its facts."""
    content = {entry.path: entry.sha256 for entry in files if not entry.path.startswith(f"{VIEW}/")}
    return digests.of_value({"files": content, "facts": facts})


def publish(domain: str, flow: str, report: str) -> Path:
    """Put a report artifact's page where it is easy to find: the domain's last one, a classifier's under a name of its own."""
    file = root() / report / VIEW / "report.html"
    place = places.runs() / "reports" / f"{domain}{'-classifier' if flow == 'classify' else ''}.html"
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.is_file() or place.read_bytes() != file.read_bytes():
        replacing.replace({place: file.read_text(encoding="utf-8")})
    return place


def commit(folder: Path, record: Record) -> None:
    """Write the record, push everything to disk, and rename the folder to its place."""
    (folder / RECORD).write_text(json.dumps(record.model_dump(mode="json"), indent=1, sort_keys=True))
    for place in sorted(folder.rglob("*")):  # folders too: a file is on disk when its name is
        _sync(place)
    _sync(folder)
    final = root() / record.id
    # what may lie there: a folder whose record was taken away, or a committed one that stands for something that is
    # gone. It leaves by rename, because a kill while its files are removed could leave a record without its files
    old = final.with_name(f".{final.name}.{os.getpid()}.old")
    if final.exists():
        final.rename(old)
    folder.rename(final)
    _sync(final.parent)
    if old.exists():
        shutil.rmtree(old)  # what a kill leaves of it, the next workspace removes


@functools.cache
def libraries() -> dict[str, str]:
    """Installed versions of the libraries that shape results; nobody changes what is returned."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # an optional one that is not installed shaped nothing
    return found


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
