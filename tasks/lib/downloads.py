"""Files from elsewhere: kept below runs/downloads, each called by its sha256."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.lib import places
from tasks.lib.digests import Remembered

CAP = 20_000_000_000  # bytes of one file


def folder() -> Path:
    """Where they are kept."""
    return places.runs() / "downloads"


def kept(sha256: str, remembered: Remembered | None = None) -> Path | None:
    """The file with that digest, if it was fetched before and still is what it was.

    One that is not is to be fetched again, and is replaced then.

    Args:
        sha256: what it is called, and what it must be.
        remembered: digests, for a caller that asks often and saves them itself.
    """
    file = folder() / sha256
    if not file.is_file():
        return None
    known = remembered or Remembered()
    found = known.of(file)
    if remembered is None:
        known.save()
    return file if found == sha256 else None


@contextmanager
def arriving(what: str = "file") -> Iterator[Path]:
    """A place for a file on its way in; what was not kept at the end is removed."""
    folder().mkdir(parents=True, exist_ok=True)
    # not told apart by process ids: containers that share this folder may have the same
    with tempfile.TemporaryDirectory(prefix=f".{what}.", dir=folder()) as workspace:
        yield Path(workspace) / what


def keep(file: Path, sha256: str) -> Path:
    """Give a file that has arrived its place."""
    return file.replace(folder() / sha256)
