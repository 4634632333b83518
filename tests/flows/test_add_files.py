"""`slmforge add`, then `check`: the same questions in every format and packing, and nested documents."""

import bz2
import csv
import gzip
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result
from ruamel.yaml import YAML

from flows import template
from flows.cli import main
from tasks.lib import digests, domain, readers
from tasks.lib.errors import DataError
from tasks.lib.rows import SourceRow
from tasks.lib.sources import ResolvedDataset, SourceFile
from tests.conftest import ROOT

DATA = Path(__file__).resolve().parents[1] / "data"
SAID = ("--licence", "CC0-1.0", "--kind", "user", "--yes")
ROWS = [{"question": f"Who pays for item {i}?", "answer": f"The tenant pays it on day {i}."} for i in range(12)]


@pytest.fixture
def legal(workplace: Path) -> Path:
    return template.write("legal")


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def entry(folder: Path, name: str) -> dict[str, Any]:
    card = YAML(typ="safe", pure=True).load((folder / "domain.yaml").read_text())
    return next(found for found in card["datasets"] if found["name"] == name)


def read(name: str) -> tuple[str, list[SourceRow]]:
    """The role of a dataset of the card, and all of its rows."""
    (dataset,) = [found for found in domain.load("legal").card.datasets if found.name == name]
    file = Path("domains/legal") / dataset.file_name
    source = SourceFile(name=dataset.file_name, sha256=digests.of_file(file), bytes=file.stat().st_size, path=file)
    return dataset.role, list(readers.read(ResolvedDataset.of(dataset, [source])))


def table() -> bytes:
    stream = io.StringIO()
    csv.writer(stream).writerows([("question", "answer"), *(row.values() for row in ROWS)])
    return stream.getvalue().encode()


def tar(mode: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:  # type: ignore[call-overload]  # the mode is a parameter here
        info = tarfile.TarInfo("set/a.csv")
        info.size = len(table())
        archive.addfile(info, io.BytesIO(table()))
    return stream.getvalue()


def zipped() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.csv", table())
    return stream.getvalue()


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue())


def xlsx() -> bytes:
    book, stream = openpyxl.Workbook(), io.BytesIO()
    sheet = book.worksheets[0]
    for row in [("question", "answer"), *(tuple(row.values()) for row in ROWS)]:
        sheet.append(row)
    book.save(stream)
    return stream.getvalue()


GOOD = {
    "a.csv.gz": lambda: gzip.compress(table()),
    "a.csv.bz2": lambda: bz2.compress(table()),
    "a.zip": zipped,
    "a.tar": lambda: tar("w"),
    "a.tar.gz": lambda: tar("w:gz"),
    "a.tar.bz2": lambda: tar("w:bz2"),
    "a.tar.zst": lambda: zstd(tar("w")),
    "a.xlsx": xlsx,
    "a.pdf": (DATA / "office.pdf").read_bytes,
    "a.json": lambda: json.dumps(ROWS).encode(),
    "listed.json": lambda: json.dumps({"version": 1, "data set": ROWS}).encode(),
    "keyed.json": lambda: json.dumps({f"id{i}": row for i, row in enumerate(ROWS)}).encode(),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_file_that_is_added_is_read_whole(name: str, legal: Path, workplace: Path) -> None:
    (workplace / name).write_bytes(GOOD[name]())
    done = run("add", "legal", name, *SAID)
    assert done.exit_code == 0, (done.output, done.exception)
    role, rows = read(name.split(".", maxsplit=1)[0])
    assert role == ("corpus" if name == "a.pdf" else "tune")
    assert name == "a.pdf" or [{key: row.columns[key] for key in ("question", "answer")} for row in rows] == ROWS


@pytest.mark.parametrize("records", [".data", ".data[]", "'[.data[]]'"])
def test_records_may_be_a_stream_or_one_list(records: str, legal: Path, workplace: Path) -> None:
    (workplace / "a.json").write_text(json.dumps({"data": ROWS}))
    assert run("add", "legal", "a.json", *SAID).exit_code == 0
    card = legal / "domain.yaml"
    assert '.["data"][]' in card.read_text()
    card.write_text(card.read_text().replace('.["data"][]', records))
    assert [row.columns for row in read("a")[1]] == ROWS


def test_what_records_yields_and_is_no_row_is_told(legal: Path, workplace: Path) -> None:
    (workplace / "a.json").write_text(json.dumps({"data": ROWS}))
    assert run("add", "legal", "a.json", *SAID).exit_code == 0
    card = legal / "domain.yaml"
    card.write_text(card.read_text().replace('.["data"][]', ".data | length"))
    with pytest.raises(DataError, match=re.escape("what `records: .data | length` yields")) as refused:
        read("a")
    assert "`records: .data[]`" in str(refused.value)


def test_what_the_map_leaves_out_and_how_the_file_is_read_are_shown(legal: Path, workplace: Path) -> None:
    rows = [{**row, "id": i, "source": "desk"} for i, row in enumerate(ROWS)]
    (workplace / "a.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    done = run("add", "legal", "a.jsonl.gz", *SAID)
    assert done.exit_code == 0, (done.output, done.exception)
    assert "not used: 'id', 'source'" in done.output
    assert "read as jsonl in utf-8, packed with gzip" in done.output


def test_a_map_that_most_rows_do_not_fit_is_not_written_unasked(legal: Path, workplace: Path) -> None:
    before = (legal / "domain.yaml").read_bytes()
    rows = [{"question": f"{i}?", "answer": "" if i % 3 else "so"} for i in range(12)]
    (workplace / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = run("add", "legal", "a.jsonl", *SAID)
    assert done.exit_code == 2
    assert "4 of the first 12, 8 set aside: empty-answer" in done.output
    assert (legal / "domain.yaml").read_bytes() == before


def titled(kind: str) -> bytes:
    """Two lines above the header, of which one is empty; in a workbook also a sheet of something else."""
    top = [("Ward list 2025",), (), ("question", "answer"), *(tuple(row.values()) for row in ROWS)]
    if kind != "xlsx":
        mark = ";" if kind == "semicolons" else ","
        return "".join(f"{mark.join(row)}\n" for row in top).encode()
    book, stream = openpyxl.Workbook(), io.BytesIO()
    for name, lines in (("data", top), ("more", [("x",), ("y",)])):
        sheet = book.create_sheet(name)
        for line in lines:
            sheet.append(line)
    book.save(stream)
    return stream.getvalue()


@pytest.mark.parametrize(("kind", "sheet"), [("csv", ()), ("semicolons", ("--delimiter", ";")), ("xlsx", ("--sheet", "data"))])
def test_what_a_file_does_not_say_is_said_by_options_that_its_error_names(
    kind: str, sheet: tuple[str, ...], legal: Path, workplace: Path
) -> None:
    name = "a.xlsx" if kind == "xlsx" else "a.csv"
    (workplace / name).write_bytes(titled(kind))
    if kind == "xlsx":
        done = run("add", "legal", name, *SAID)
        assert (done.exit_code, "say which one with --sheet VALUE" in done.output) == (3, True), done.output
    done = run("add", "legal", name, *SAID, *sheet)
    assert (done.exit_code, f"which row is the header: --header {'N' if kind == 'xlsx' else '3'}" in done.output) == (3, True), done.output
    done = run("add", "legal", name, *SAID, *sheet, "--header", "3", "--holdout", "2")
    assert done.exit_code == 0, (done.output, done.exception)
    assert {key: entry(legal, "a").get(key) for key in ("header", "holdout")} == {"header": 3, "holdout": 2}
    _, rows = read("a")
    assert [row.columns for row in rows] == ROWS
    assert rows[0].number == 4, "as a spreadsheet shows it"


def test_where_the_rows_of_a_document_are_can_be_said(legal: Path, workplace: Path) -> None:
    (workplace / "a.json").write_text(json.dumps({"one": ROWS, "two": ROWS}))
    done = run("add", "legal", "a.json", *SAID)
    assert (done.exit_code, "--records .data[]" in done.output) == (3, True), done.output
    assert run("add", "legal", "a.json", *SAID, "--records", ".two[]").exit_code == 0
    assert entry(legal, "a")["records"] == ".two[]"
    assert [row.columns for row in read("a")[1]] == ROWS


def test_a_text_that_is_a_table_is_proposed_as_one(legal: Path, workplace: Path) -> None:
    (workplace / "a.txt").write_text("question\tanswer\n" + "".join(f"{row['question']}\t{row['answer']}\n" for row in ROWS))
    done = run("add", "legal", "a.txt", *SAID)
    assert done.exit_code == 0, (done.output, done.exception)
    assert entry(legal, "a")["format"] == "tsv"
    assert "looks like a table" in done.output
    assert [row.columns for row in read("a")[1]] == ROWS


FULL_DISK = """
import resource, sys
from pathlib import Path
from flows import add

resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
add._copy(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_copy_that_cannot_be_finished_leaves_nothing(kind: str, tmp_path: Path) -> None:
    """A second try would find half a file, and take it for another dataset's."""
    given = tmp_path / "given" / "rows.csv"
    given.parent.mkdir()
    given.write_text("q,a\n" * 20_000)
    (tmp_path / "data").mkdir()
    source = given if kind == "file" else given.parent
    command = [sys.executable, "-c", FULL_DISK, str(source), str(tmp_path / "data" / source.name)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False)
    assert "File too large" in done.stderr
    assert list((tmp_path / "data").iterdir()) == []
