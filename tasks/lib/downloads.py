"""Files from elsewhere: kept below runs/downloads, each called by its sha256."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.lib import places

CAP = 20_000_000_000  # bytes of one file


def folder() -> Path:
    """Where they are kept."""
    return places.runs() / "downloads"


def kept(sha256: str) -> Path | None:
    """The file with that digest, if it was fetched before."""
    file = folder() / sha256
    return file if file.is_file() else None


@contextmanager
def arriving(what: str = "file") -> Iterator[Path]:
    """A place for a file on its way in; what was not kept at the end is removed."""
    folder().mkdir(parents=True, exist_ok=True)
    temporary = folder() / f".{what}.{os.getpid()}"
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def keep(file: Path, sha256: str) -> Path:
    """Give a file that has arrived its place."""
    return file.replace(folder() / sha256)
