"""Packed files and archives: read as what they hold, refused for what they might do."""

import bz2
import gzip
import io
import json
import lzma
import stat
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from tasks.lib import files
from tasks.lib.errors import DataError
from tasks.lib.readers import read
from tasks.lib.sources import matched
from tests.tasks.test_readers import given, lines

ROWS = [{"text": f"row {number}"} for number in range(50)]
CONTENT = lines(ROWS)


def zstd(content: bytes) -> bytes:
    return bytes(pa.compress(content, codec="zstd", asbytes=True))


@pytest.mark.parametrize(("suffix", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress), ("zst", zstd)])
@pytest.mark.parametrize("named", [True, False])
def test_a_packed_file_is_known_by_its_bytes(suffix: str, pack: Callable[[bytes], bytes], named: bool, tmp_path: Path) -> None:
    file = tmp_path / (f"a.jsonl.{suffix}" if named else "a.jsonl")
    file.write_bytes(pack(CONTENT))
    assert [row.columns for row in read(given(file))] == ROWS


def zipped(file: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file


def tarred(file: Path, members: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(file, mode) as archive:  # type: ignore[call-overload]  # tarfile's literal modes
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file


MEMBERS = {
    "notes/a.jsonl": lines(ROWS[:20]),
    "b.csv": b"text\nfrom a table\n",
    "__MACOSX/._b.csv": b"junk",
    "notes/c.jsonl": lines(ROWS[20:]),
}


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tgz"])
def test_every_member_of_an_archive_is_a_file_of_its_own(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    found = list(read(given(zipped(file, MEMBERS) if name == "a.zip" else tarred(file, MEMBERS, "w" if name == "a.tar" else "w:gz"))))
    assert [row.columns["text"] for row in found] == [r["text"] for r in ROWS[:20]] + ["from a table"] + [r["text"] for r in ROWS[20:]]
    assert list(dict.fromkeys(row.file for row in found)) == [f"{name}/notes/a.jsonl", f"{name}/b.csv", f"{name}/notes/c.jsonl"]
    assert [row.number for row in found if row.file.endswith("c.jsonl")] == list(range(1, 31))


def refused(file: Path, folder: Path) -> DataError:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with pytest.raises(DataError) as caught:
        list(read(given(file)))
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before, "something was written"
    assert str(file) in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    "name", ["../x.jsonl", "/tmp/x.jsonl", "a/../../x.jsonl", "..\\x.jsonl", "C:x.jsonl", "a\tb.jsonl", "n" * 600 + ".jsonl"]
)
@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_name_that_leads_out_of_an_archive_is_refused(name: str, kind: str, tmp_path: Path) -> None:
    file = tmp_path / f"a.{kind}"
    made = {"good.jsonl": CONTENT, name: CONTENT}
    error = refused(zipped(file, made) if kind == "zip" else tarred(file, made), tmp_path)
    assert "member called" in error.found


def test_a_name_that_is_not_utf_8_is_refused_in_an_archive_and_in_a_folder(tmp_path: Path) -> None:
    name = b"m\xf6bel.jsonl".decode(errors="surrogateescape")
    error = refused(tarred(tmp_path / "a.tar.gz", {"good.jsonl": CONTENT, name: CONTENT}), tmp_path)
    assert r"'m\udcf6bel.jsonl'" in error.found
    assert "in UTF-8" in error.remedy
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).write_bytes(CONTENT)
    with pytest.raises(DataError, match=r"(?s)m\\udcf6bel.jsonl.*rename the file"):
        matched(tmp_path, "data", "asked")


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_names_that_differ_in_case_alone_are_refused(kind: str, tmp_path: Path) -> None:
    file = tmp_path / f"a.{kind}"
    made = {"a.jsonl": CONTENT, "A.jsonl": CONTENT}
    assert "'a.jsonl' and 'A.jsonl'" in refused(zipped(file, made) if kind == "zip" else tarred(file, made), tmp_path).found


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused_before_anything_is_read(kind: bytes, tmp_path: Path) -> None:
    file = tmp_path / "a.tar"
    with tarfile.open(file, "w") as archive:
        good = tarfile.TarInfo("good.jsonl")
        good.size = len(CONTENT)
        archive.addfile(good, io.BytesIO(CONTENT))
        bad = tarfile.TarInfo("bad.jsonl")
        bad.type, bad.linkname = kind, "/etc/passwd"
        archive.addfile(bad)
    assert "'bad.jsonl' is a link, a device" in refused(file, tmp_path).found


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.zip"
    with zipfile.ZipFile(file, "w") as archive:
        info = zipfile.ZipInfo("bad.jsonl")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    assert "'bad.jsonl' is a link" in refused(file, tmp_path).found


def test_an_archive_in_an_archive_is_refused(tmp_path: Path) -> None:
    inner = zipped(tmp_path / "inner.zip", MEMBERS).read_bytes()
    (tmp_path / "inner.zip").unlink()
    assert "itself packed (zip)" in refused(zipped(tmp_path / "a.zip", {"inner.zip": inner}), tmp_path).found


def test_a_bomb_is_refused_by_what_it_declares(tmp_path: Path) -> None:
    file = zipped(tmp_path / "a.zip", {"a.txt": b"\0" * (files.FREE + 1)})
    assert file.stat().st_size < files.FREE / files.MAX_RATIO
    assert "unpack to" in refused(file, tmp_path).found


@pytest.mark.parametrize(("suffix", "pack"), [("gz", gzip.compress), ("xz", lzma.compress), ("zst", zstd)])
def test_a_bomb_that_declares_nothing_is_refused_while_it_unpacks(suffix: str, pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    file = tmp_path / f"a.txt.{suffix}"
    file.write_bytes(pack((b" " * 1_000_000 + b"\n") * 200))
    assert "unpack to more than" in refused(file, tmp_path).found


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_MEMBERS", 100)
    file = zipped(tmp_path / "a.zip", {f"{number}.txt": b"" for number in range(101)})
    assert "more than 100 members" in refused(file, tmp_path).found


@pytest.mark.parametrize("told", ["all", "one", "zip64"])
def test_too_many_members_are_refused_before_they_are_listed_in_memory(told: str, tmp_path: Path) -> None:
    """A zip of empty members has little but its directory, and of that its end may say what it likes."""
    many, file = 300_000, tmp_path / "a.zip"
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 33, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0)
    directory = b"".join(entry + b"%05x" % number for number in range(many))
    said = {"all": 0xFFFE, "one": 1, "zip64": 0xFFFF}[told]
    wide = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, many, many, len(directory), 0)
    wide += struct.pack("<4sLQL", b"PK\6\7", 0, len(directory), 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, said, said, len(directory), 0, 0)
    head = b"PK\3\4" if told == "all" else b""  # bytes before the directory, as self-extracting archives have them
    file.write_bytes(head + directory + (wide if told == "zip64" else b"") + end)
    tracemalloc.start()
    with pytest.raises(DataError, match="more than 100,000 members"):
        files.require_safe_zip(file, "d")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_a_truncated_archive_is_refused(kind: str, tmp_path: Path) -> None:
    file = tmp_path / f"a.{kind}"
    _ = zipped(file, MEMBERS) if kind == "zip" else tarred(file, MEMBERS, "w" if kind == "tar" else "w:gz")
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3 if kind != "tar" else 2_000])
    refused(file, tmp_path)


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    file = zipped(tmp_path / "a.zip", {"a.jsonl": json.dumps(ROWS[0]).encode()})
    content = bytearray(file.read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + place] |= 1
    file.write_bytes(bytes(content))
    assert "encrypted" in refused(file, tmp_path).found
