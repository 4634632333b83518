"""Files as they lie, packed, or in archives: opened within limits, one at a time, nothing unpacked on trust."""

import bz2
import gzip
import io
import lzma
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

import pyarrow as pa

from tasks.lib import zip_directory
from tasks.lib.errors import DataError

MAX_UNPACKED = 20_000_000_000  # bytes that one file may unpack to
MAX_RATIO, FREE = 1_000, 100_000_000  # more than FREE bytes may not be MAX_RATIO times what was packed
MAX_MEMBERS, MAX_NAME = 100_000, 512
MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
PACKED_SUFFIXES = {"gz", "bz2", "xz", "zst"}
OFFICE = (".xlsx", ".docx")  # zip files that are one document
SYSTEM = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")  # what operating systems leave in archives
BROKEN = (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError)
# what zipfile raises besides: a header that lies (ValueError), a method of packing that it does not know (NotImplementedError)
UNREADABLE = (*BROKEN, OSError, ValueError, NotImplementedError)
UNPACKERS: dict[str, Callable[[Path], Any]] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}  # zstd is Arrow's
Opener = Callable[[], IO[bytes]]


@dataclass(frozen=True)
class Span:
    """A stretch of one file: of lines, from a byte to a byte, or of row groups of a Parquet file."""

    start: int
    stop: int
    first: int  # the number of its first line or row, from 1
    line: int | None = None  # the number of its first line, where `first` counts rows of several lines


@dataclass(frozen=True)
class Readable:
    """One file's bytes, wherever they lie: `name` is what ledgers call it, `place` what errors call it."""

    name: str
    place: str
    packed: str | None  # how it is packed, as detected from its first bytes
    open: Opener
    path: Path | None  # where it lies, if it lies there as it is
    span: Span | None = None  # what is read of it; None for all

    @contextmanager
    def local(self) -> Iterator[Path]:
        """A file that can be sought in: itself, or a copy for as long as it is needed."""
        if self.path is not None:
            yield self.path
            return
        with tempfile.TemporaryDirectory(prefix="slmforge-") as folder:
            copy = Path(folder) / "member"
            with self.open() as stream, copy.open("wb") as out:
                shutil.copyfileobj(stream, out, 1 << 20)
            yield copy


class Limited(io.RawIOBase):
    """An unpacked stream that ends in an error where a packed file grows beyond reason."""

    def __init__(self, inner: Any, packed_bytes: int, kind: str, place: str, dataset: str) -> None:
        self._inner, self._packed, self._kind, self._place, self._dataset = inner, packed_bytes, kind, place, dataset
        self._done = 0

    def readable(self) -> bool:
        """It is for reading."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read on, and count."""
        try:
            content = self._inner.read(len(buffer))
        except (*BROKEN, OSError) as error:  # bzip2 and zstd raise OSError
            raise DataError(
                f"dataset {self._dataset!r}: a whole {self._kind} file",
                f"it ends or breaks after {self._done:,} unpacked bytes ({error})",
                "copy the file again from where it came",
                file=self._place,
            ) from error
        self._done += len(content)
        if self._done > MAX_UNPACKED or (self._done > FREE and self._done > MAX_RATIO * self._packed):
            raise _bomb(self._dataset, self._place, self._packed, f"more than {self._done:,}")
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        """Close what is below, too."""
        self._inner.close()
        super().close()


def members(path: Path, name: str, dataset: str) -> Iterator[Readable]:
    """The files in a file: itself, unpacked if it is packed, or every member of an archive, in its order.

    Args:
        path: where it lies.
        name: what ledgers call it, and what tells its format.
        dataset: the dataset's name, for errors.

    Raises:
        DataError: before any member is opened, if an archive holds a name that leaves it, a link, a device, one name
            twice, another archive, or more than it says; while reading, if it breaks or grows beyond reason.
    """
    packed = packing(path)
    if packed == "zip" and not name.lower().endswith(OFFICE):
        yield from _zip(path, name, dataset)
    elif packed == "tar" or (packed is not None and packed != "zip" and _is_tar(_unpacked(path, packed, dataset)())):
        yield from _tar(path, name, packed, dataset)
    elif packed in MAGIC.values():
        yield Readable(name, str(path), packed, _unpacked(path, str(packed), dataset), None)
    else:
        if packed == "zip":
            require_safe_zip(path, dataset)  # an office document is refused for what any archive is refused for
        yield Readable(name, str(path), None, lambda: path.open("rb"), path)


def packing(path: Path) -> str | None:
    """How a file is packed, by its first bytes: gzip, bzip2, xz, zstd, zip, tar, or None."""
    with path.open("rb") as stream:
        head = stream.read(512)
    return packing_of(head)


def packing_of(head: bytes) -> str | None:
    """How a file is packed that begins so."""
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return "zip"
    if head[257:262] == b"ustar":
        return "tar"
    return next((kind for magic, kind in MAGIC.items() if head.startswith(magic)), None)


def first_bytes(path: Path) -> tuple[str | None, bytes]:
    """How a file is packed, and what it begins with inside, where it is packed in a way that Python undoes in little memory."""
    packed = packing(path)
    if packed not in (None, "gzip", "bzip2"):
        return packed, b""
    with suppress(DataError), path.open("rb") if packed is None else _unpacked(path, packed, "")() as stream:
        return packed, stream.read(512)
    return packed, b""


def _is_tar(stream: IO[bytes]) -> bool:
    with stream, suppress(DataError):  # one that breaks at once is told by whoever reads it, with the row
        return packing_of(stream.read(512)) == "tar"
    return False


def _unpacked(path: Path, kind: str, dataset: str) -> Opener:
    def open_it() -> IO[bytes]:
        inner = UNPACKERS[kind](path) if kind in UNPACKERS else pa.input_stream(str(path), compression=kind)
        return _buffered(Limited(inner, path.stat().st_size, kind, str(path), dataset))

    return open_it


def _buffered(limited: Limited) -> IO[bytes]:
    return cast("IO[bytes]", io.BufferedReader(limited, 1 << 20))


def _zip(path: Path, name: str, dataset: str) -> Iterator[Readable]:
    infos = require_safe_zip(path, dataset)
    with zipfile.ZipFile(path) as archive:  # its directory is parsed once, not for each member
        for info in infos:
            if info.is_dir() or _is_system(info.filename):
                continue
            try:
                member = _member(path, name, info.filename, info.compress_size, dataset, partial(archive.open, info))
            except UNREADABLE as error:
                raise _broken(dataset, path, error) from error
            yield member


def require_safe_zip(path: Path, dataset: str) -> list[zipfile.ZipInfo]:
    """The members of a zip file, none of them opened.

    Raises:
        DataError: for names that lead out of it or stand twice, links, encryption, and sizes beyond reason.
    """
    try:
        _require_few(zip_directory.entries(path, MAX_MEMBERS), path, dataset)
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except UNREADABLE as error:
        raise _broken(dataset, path, error) from error
    _require_names([info.filename for info in infos], path, dataset)
    for info in infos:
        if info.flag_bits & 0x1:
            raise _refused(dataset, path, f"{info.filename!r} is encrypted", "unpack it, and add the files as they are")
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refused(dataset, path, f"{info.filename!r} is a link or a device", "pack plain files only")
    whole = sum(info.file_size for info in infos)
    if whole > MAX_UNPACKED or (whole > FREE and whole > MAX_RATIO * path.stat().st_size):
        raise _bomb(dataset, str(path), path.stat().st_size, f"{whole:,}")
    return infos


def _tar(path: Path, name: str, packed: str | None, dataset: str) -> Iterator[Readable]:
    """Members of a tar file, packed or not; each is found again from the start, so that nothing is written."""
    opener = (lambda: path.open("rb")) if packed == "tar" else _unpacked(path, str(packed), dataset)
    infos = []
    try:
        with opener() as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for info in archive:
                infos.append(info)
                if len(infos) > MAX_MEMBERS:
                    break
    except (*BROKEN, OSError, ValueError) as error:
        raise _broken(dataset, path, error) from error
    _require_names([info.name for info in infos], path, dataset)
    if odd := next((info for info in infos if not (info.isreg() or info.isdir()) or info.issparse()), None):
        raise _refused(dataset, path, f"{odd.name!r} is a link, a device or a sparse file", "pack plain files only")
    with opener() as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        for info in archive:
            if info.isreg() and not _is_system(info.name):
                content = archive.extractfile(info)
                if content is not None:
                    yield from _tar_member(path, name, info, content, dataset)


def _tar_member(path: Path, name: str, info: tarfile.TarInfo, content: IO[bytes], dataset: str) -> Iterator[Readable]:
    """A member of a tar stream, which can be read only in its turn: kept in a temporary file for that long."""
    with tempfile.TemporaryDirectory(prefix="slmforge-") as folder:
        copy = Path(folder) / "member"
        with copy.open("wb") as out:
            shutil.copyfileobj(content, out, 1 << 20)
        made = _member(path, name, info.name, info.size, dataset, lambda: copy.open("rb"))
        yield replace(made, path=copy)


def _member(path: Path, archive: str, member: str, packed_bytes: int, dataset: str, opener: Opener) -> Readable:
    place = f"{path}!{member}"
    with opener() as stream:
        inner = packing_of(stream.read(512))
    if inner is not None and not (inner == "zip" and member.lower().endswith(OFFICE)):
        raise _refused(dataset, path, f"{member!r} is itself packed ({inner})", "unpack it, and pack the files once")
    kind = packing(path) or "tar"
    return Readable(
        f"{archive}/{member}", place, kind, lambda: _buffered(Limited(opener(), max(packed_bytes, 1), kind, place, dataset)), None
    )


def _require_names(names: list[str], path: Path, dataset: str) -> None:
    """Refuse names that leave the archive, that some system reads otherwise, or that stand twice."""
    _require_few(len(names), path, dataset)
    seen: dict[str, str] = {}
    for name in names:
        parts = PurePosixPath(name).parts
        if name.startswith("/") or ".." in parts or "\\" in name or re.match(r"^[A-Za-z]:", name):
            raise _refused(dataset, path, f"a member called {name!r}, which leads out of the archive", "pack it again with plain names")
        if len(name) > MAX_NAME or re.search("[\0-\x1f\ud800-\udfff]", name) or not parts:  # half characters: no UTF-8
            raise _refused(dataset, path, f"a member called {name[:80]!r}", f"use names of 1 to {MAX_NAME} printing characters in UTF-8")
        if (key := name.rstrip("/").casefold()) in seen:
            raise _refused(dataset, path, f"both {seen[key]!r} and {name!r}", "give every member a name of its own, case aside")
        seen[key] = name


def _require_few(count: int, path: Path, dataset: str) -> None:
    if count > MAX_MEMBERS:
        raise _refused(dataset, path, f"more than {MAX_MEMBERS:,} members", "pack fewer files, or join them")


def _is_system(name: str) -> bool:
    return any(part in SYSTEM or part.startswith("._") for part in PurePosixPath(name).parts)


def _refused(dataset: str, path: Path, found: str, remedy: str) -> DataError:
    return DataError(f"dataset {dataset!r}: an archive of plain files", found, remedy, file=path)


def _broken(dataset: str, path: Path, error: BaseException) -> DataError:
    found = f"it ends or breaks ({error})"
    return DataError(f"dataset {dataset!r}: a whole archive", found, "copy the file again from where it came", file=path)


def _bomb(dataset: str, place: str, packed: int, unpacked: str) -> DataError:
    return DataError(
        f"dataset {dataset!r}: a file that unpacks to at most {MAX_UNPACKED:,} bytes, and not to {MAX_RATIO:,} times its size",
        f"{packed:,} bytes that unpack to {unpacked}",
        "look at the file; if it is what it should be, unpack it and add the files as they are",
        file=place,
    )
