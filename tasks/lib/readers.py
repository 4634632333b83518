"""Files become rows: one reader per format, each refusing what it cannot read, by file and row."""

import csv
import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import jq
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.lib.domain import Dataset
from tasks.lib.errors import DataError
from tasks.lib.sources import ResolvedDataset, builtin_documents

MAX_LINE = 32_000_000  # bytes of one line or cell
MAX_DOCUMENT = 2_000_000_000  # bytes of one JSON document or unpacked file
PARQUET_ROWS = 1_000  # rows decoded at once
Numbered = tuple[int, dict[str, Any]]


def read(resolved: ResolvedDataset) -> Iterator[Numbered]:
    """The rows of a dataset's file as (row number from 1, columns).

    Raises:
        DataError: naming file and row, if the bytes are not what the format says.
    """
    dataset = resolved.dataset
    if resolved.file is None:
        yield from enumerate(({"name": name, "text": text} for name, text in builtin_documents()), start=1)
        return
    form = dataset.format or _format_of(resolved.file, dataset)
    if form == "json":
        yield from _json(resolved.file, dataset)
        return
    rows = READERS[form](resolved.file, dataset)
    yield from rows if dataset.records is None else _each(rows, resolved.file, dataset)


def _format_of(file: Path, dataset: Dataset) -> str:
    suffix = file.name.removesuffix(".gz").rsplit(".", 1)[-1].lower()
    suffix = {"ndjson": "jsonl", "md": "txt"}.get(suffix, suffix)
    if suffix in READERS or suffix == "json":
        return suffix
    raise DataError(
        f"dataset {dataset.name!r}: a format that can be read ({', '.join(sorted([*READERS, 'json']))})",
        f"the suffix of {file.name}",
        "rename the file, or say `format:` in domain.yaml",
        file=file,
    )


def _open(file: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(file, "rb")) if file.name.endswith(".gz") else file.open("rb")


def _lines(file: Path, dataset: Dataset) -> Iterator[tuple[int, str]]:
    """Decoded physical lines with their numbers."""
    total, number = 0, 0
    try:
        with _open(file) as stream:
            while line := stream.readline(MAX_LINE + 1):
                number += 1
                total += len(line)
                if len(line) > MAX_LINE or total > MAX_DOCUMENT:
                    raise DataError(
                        f"dataset {dataset.name!r}: lines of at most {MAX_LINE:,} bytes, {MAX_DOCUMENT:,} in all",
                        "a longer one",
                        "split the line into records of a sensible size",
                        file=file,
                        row=number,
                    )
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise _encoding(file, dataset, number, error) from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"dataset {dataset.name!r}: a whole gzip file",
            f"it ends or breaks after line {number} ({error})",
            "copy the file again from where it came",
            file=file,
            row=number,
        ) from error


def _encoding(file: Path, dataset: Dataset, row: int, error: UnicodeDecodeError) -> DataError:
    bad = error.object[error.start : error.start + 1].hex()
    return DataError(
        f"dataset {dataset.name!r}: text in UTF-8",
        f"the byte 0x{bad} at position {error.start} of line {row}",
        "save the file as UTF-8 (in a spreadsheet: 'CSV UTF-8')",
        file=file,
        row=row,
    )


def _jsonl(file: Path, dataset: Dataset) -> Iterator[Numbered]:
    for number, line in _lines(file, dataset):
        if not line.strip():
            continue
        value = _parse(line, file, dataset, number)
        if not isinstance(value, dict):
            raise DataError(
                f"dataset {dataset.name!r}: one JSON object a line",
                f"a {type(value).__name__}",
                'write {"column": value, …} on each line',
                file=file,
                row=number,
            )
        yield number, value


def _parse(text: str, file: Path, dataset: Dataset, row: int) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise DataError(f"dataset {dataset.name!r}: JSON", f"{error}", "correct the JSON there", file=file, row=row) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; a key that stands twice would lose one of its values."""
    made = dict(pairs)
    if len(made) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} stands twice in one object")
    return made


def _json(file: Path, dataset: Dataset) -> Iterator[Numbered]:
    """A JSON document: a list of objects, or whatever the jq expression `records` makes of it."""
    document = _parse("".join(line for _, line in _lines(file, dataset)), file, dataset, 1)
    values = document if dataset.records is None else _jq(dataset, document, file, None)
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise DataError(
            f"dataset {dataset.name!r}: a list of JSON objects",
            "something else at the top of the document",
            "say with `records:` (a jq expression) where the rows are",
            file=file,
        )
    yield from enumerate(values, start=1)


def _each(rows: Iterator[Numbered], file: Path, dataset: Dataset) -> Iterator[Numbered]:
    """The jq expression applied to each row; it may change a row but neither drop nor add one."""
    for number, row in rows:
        made = _jq(dataset, row, file, number)
        if len(made) != 1 or not isinstance(made[0], dict):
            raise DataError(
                f"dataset {dataset.name!r}: `records:` yields one object for each row",
                f"{len(made)} results",
                "change the expression; rows that shall not be used are set aside by `columns:` and `values:`",
                file=file,
                row=number,
            )
        yield number, made[0]


def _jq(dataset: Dataset, value: Any, file: Path, row: int | None) -> list[Any]:
    try:
        found: list[Any] = _program(dataset.records or ".").input_value(value).all()
    except ValueError as error:
        raise DataError(
            f"dataset {dataset.name!r}: the jq expression in `records:`",
            str(error),
            "correct the expression (https://jqlang.org/manual)",
            file=file,
            row=row,
        ) from error
    return found


PROGRAMS: dict[str, Any] = {}


def _program(text: str) -> Any:
    if text not in PROGRAMS:
        PROGRAMS[text] = jq.compile(text)
    return PROGRAMS[text]


def _csv(file: Path, dataset: Dataset, delimiter: str = ",") -> Iterator[Numbered]:
    csv.field_size_limit(MAX_LINE)
    lines = (line for _, line in _lines(file, dataset))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    number = 0
    try:
        header = [name.strip() for name in next(reader, [])]
        _require_each_once(header, file, dataset)
        for cells in reader:
            if not cells:
                continue  # an empty line is no row
            number += 1
            if len(cells) != len(header):
                raise DataError(
                    f"dataset {dataset.name!r}: {len(header)} cells in every row, as in the header",
                    f"{len(cells)} cells (line {reader.line_num})",
                    "quote the cell that holds the delimiter, or complete the row",
                    file=file,
                    row=number,
                )
            yield number, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise DataError(
            f"dataset {dataset.name!r}: CSV",
            f"{error} (line {reader.line_num})",
            "correct the quotes there",
            file=file,
            row=number + 1,
        ) from error


def _require_each_once(header: list[str], file: Path, dataset: Dataset) -> None:
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise DataError(
            f"dataset {dataset.name!r}: each column once",
            f"the column {twice[0]!r} more than once in the header",
            "rename the column that stands twice",
            file=file,
        )


def _tsv(file: Path, dataset: Dataset) -> Iterator[Numbered]:
    return _csv(file, dataset, delimiter="\t")


def _txt(file: Path, dataset: Dataset) -> Iterator[Numbered]:
    """Paragraphs, separated by blank lines."""
    paragraph: list[str] = []
    number = 0
    for _, line in _lines(file, dataset):
        if line.strip():
            paragraph.append(line)
        elif paragraph:
            number += 1
            yield number, {"text": "".join(paragraph)}
            paragraph = []
    if paragraph:
        yield number + 1, {"text": "".join(paragraph)}


def _parquet(file: Path, dataset: Dataset) -> Iterator[Numbered]:
    number = 0
    try:
        with pq.ParquetFile(file) as parquet:
            _require_each_once(parquet.schema_arrow.names, file, dataset)
            for batch in parquet.iter_batches(PARQUET_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except UnicodeDecodeError as error:
        raise DataError(
            f"dataset {dataset.name!r}: text in UTF-8",
            f"the byte 0x{error.object[error.start]:02x} in a cell of the {PARQUET_ROWS:,} rows from this one on",
            "write the file again with text in UTF-8",
            file=file,
            row=number + 1,
        ) from error
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"dataset {dataset.name!r}: a whole parquet file",
            str(error).splitlines()[0],
            "copy the file again from where it came",
            file=file,
            row=number or None,
        ) from error


READERS = {"jsonl": _jsonl, "csv": _csv, "tsv": _tsv, "txt": _txt, "parquet": _parquet}
