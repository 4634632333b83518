"""Content digests: canonical JSON, files, and a memory of files that have not changed."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rfc8785

from tasks.lib import places
from tasks.lib.errors import StageError

PIECE = 1 << 22  # bytes that are read at a time where progress is shown


def canonical(value: Any) -> bytes:
    """Canonical JSON (RFC 8785).

    Raises:
        StageError: if the value has no single JSON form (an object, a set, NaN).
    """
    try:
        return rfc8785.dumps(value)
    except rfc8785.CanonicalizationError as error:
        raise StageError(
            "an identity that is the same every time",
            f"a value that cannot be hashed the same way twice: {error}",
            "use text, whole and real numbers, booleans, lists and mappings",
        ) from error


def of_value(value: Any) -> str:
    """sha256 (hex) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical(value)).hexdigest()


def of_text(text: str) -> str:
    """sha256 (hex) of UTF-8 text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def of_file(path: Path, told: Callable[[int], object] | None = None) -> str:
    """sha256 (hex) of a file's bytes; `told` hears of the bytes that were read, for a bar."""
    with path.open("rb") as file:
        if told is None:
            return hashlib.file_digest(file, "sha256").hexdigest()
        found = hashlib.sha256()
        while piece := file.read(PIECE):
            found.update(piece)
            told(len(piece))
        return found.hexdigest()


class Remembered:
    """Digests of files outside the store, looked up by (size, inode, mtime, ctime), as git does."""

    def __init__(self) -> None:
        self._place = places.runs() / "digests.json"
        self._known: dict[str, list[Any]] = {}
        self._changed = False
        if self._place.is_file():
            try:
                self._known = json.loads(self._place.read_text())
            except ValueError:
                self._known = {}  # a torn cache is only a slower start

    def of(self, path: Path) -> str:
        """sha256 of the file, read again only when its stat differs from the last time."""
        stat = path.stat()
        stamp = [stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns]
        key = str(path.resolve())
        known = self._known.get(key)
        if known is not None and known[:4] == stamp:
            return str(known[4])
        digest = of_file(path)
        self._known[key] = [*stamp, digest]
        self._changed = True
        return digest

    def save(self) -> None:
        """Write the memory beside the runs (atomically; losing it costs only time)."""
        if not self._changed:
            return
        self._place.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._place.with_name(f".digests.{os.getpid()}")
        temporary.write_text(json.dumps(self._known))
        temporary.replace(self._place)
        self._changed = False
