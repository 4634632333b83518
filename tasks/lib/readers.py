"""Files become rows: one reader per format, each refusing what it cannot read, by file and row."""

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import IO, Any

from tasks.lib import broken, delimited, documents, encodings, files, json_text, markup, nested, ole, pdf, reshape, tables, word
from tasks.lib.domain import Dataset
from tasks.lib.errors import DataError
from tasks.lib.files import Readable, Span
from tasks.lib.rows import Numbered, SourceRow
from tasks.lib.sources import ResolvedDataset, SourceFile, builtin_documents

MAX_LINE = 32_000_000  # bytes of one line or cell
MAX_DOCUMENT = 200_000_000  # characters of one JSON document
SAMPLE = 200_000  # bytes from which an encoding is told
TEXTS = ("csv", "tsv", "jsonl", "json", "txt", "md")  # formats whose encoding nothing else says


def read(resolved: ResolvedDataset) -> Iterator[SourceRow]:
    """The rows of a dataset's files, in the order of the files; members of archives are files.

    Raises:
        DataError: naming file and row, if the bytes are not what the format says.
    """
    for source in resolved.files:
        yield from read_file(resolved.dataset, source)


def read_file(dataset: Dataset, source: SourceFile, span: Span | None = None) -> Iterator[SourceRow]:
    """The rows of one file, or of a stretch of it."""
    if source.path is None:
        for number, (name, text) in enumerate(builtin_documents(), start=1):
            yield SourceRow(source.name, number, {"name": name, "text": text})
        return
    ole.refuse_other(source.path, source.name, dataset.name)
    for file in files.members(source.path, source.name, dataset.name):
        ole.refuse(file, dataset.name)
        for number, columns, *origin in _rows(replace(file, span=span), dataset):
            yield SourceRow(file.name, number, nested.shallow(columns), *origin)


def _rows(file: Readable, dataset: Dataset) -> Iterator[Any]:
    form = dataset.format or format_of(file, dataset.name)
    broken.require_known_ends(form, file, dataset)
    if form == "json":
        return _json(file, dataset)
    rows = READERS[form](file, dataset)
    return rows if dataset.records is None or form == "xml" else reshape.each(rows, file, dataset)


def format_of(file: Readable, dataset: str) -> str:
    """The format that a file's name says.

    Raises:
        DataError: for a suffix that is none of the formats.
    """
    stem, _, suffix = file.name.lower().rpartition(".")
    if file.packed and suffix in files.PACKED_SUFFIXES:
        suffix = stem.rpartition(".")[2]
    suffix = {"ndjson": "jsonl", "htm": "html", "markdown": "md", "text": "txt", "tab": "tsv", "feather": "arrow"}.get(suffix, suffix)
    if suffix in READERS or suffix == "json":
        return suffix
    raise DataError(
        f"dataset {dataset!r}: a format that can be read ({', '.join(sorted([*READERS, 'json']))})",
        f"the suffix of {file.name}",
        "rename the file, or say `format:` in domain.yaml",
        file=file.place,
    )


def _lines(file: Readable, dataset: Dataset, *, throughout: bool = False, longest: int | None = None) -> Iterator[tuple[int, str]]:
    """Decoded physical lines with their numbers, in UTF-8 or the encoding that the card declares."""
    total, number, end, longest = 0, 0, files.MAX_UNPACKED, longest or MAX_LINE
    encoding = dataset.encoding or "utf-8"
    errors = "strict" if dataset.undecodable == "refuse" else "surrogateescape"  # the map sets such rows aside
    if encoding.replace("-", "").replace("_", "").lower() in ("utf16", "utf32"):
        yield from _wide_lines(file, dataset, encoding, longest)
        return
    _require_encoding(file, dataset)
    try:
        with file.open() as stream:
            lines = _raw(stream, file, throughout, longest)
            if file.span is not None:
                stream.seek(file.span.start)
                number, end = (file.span.line or file.span.first) - 1, file.span.stop - file.span.start
            while (file.span is None or total < end) and (line := next(lines, b"")):
                number += 1
                total += len(line)
                if len(line) > longest or total > end:
                    raise _too_long(file, dataset, number, longest)
                yield number, line.decode("utf-8-sig" if number == 1 and encoding == "utf-8" else encoding, errors)
    except UnicodeDecodeError as error:
        raise _encoding(file, dataset, number, error) from error
    except DataError as error:  # a packed file that breaks off
        raise error.at(error.row or number + 1) from error


def _require_encoding(file: Readable, dataset: Dataset) -> None:
    """Refuse UTF-8 where another encoding is declared, as for an archive of which one file needs it: it would be read, as wrong letters."""
    if dataset.encoding is None or not encodings.is_of_one_byte(dataset.encoding) or (file.span is not None and file.span.start > 0):
        return
    head = _beyond_ascii(file)
    if not head.isascii() and encodings.told(head) == "utf-8":
        raise DataError(
            f"dataset {dataset.name!r}: text in {dataset.encoding}, as `encoding:` says",
            "UTF-8, by every letter beyond ASCII at its beginning",
            "leave `encoding:` out; of files in several encodings, save the others as UTF-8, or make a dataset of each encoding",
            file=file.place,
        )


def _raw(stream: IO[bytes], file: Readable, throughout: bool, longest: int) -> Iterator[bytes]:
    """Lines as they lie; a stretch behind the first line shows that line feeds end them."""
    if file.span is None or file.span.start == 0:
        with file.open() as head:
            if encodings.returned(head, longest, throughout=throughout):
                return encodings.split(stream, longest)
    return iter(partial(stream.readline, longest + 1), b"")


def _wide_lines(file: Readable, dataset: Dataset, encoding: str, longest: int) -> Iterator[tuple[int, str]]:
    """Lines of an encoding in which a line end is more than one byte."""
    number = 0
    try:
        with file.open() as stream, io.TextIOWrapper(stream, encoding=encoding, newline="") as text:
            while line := text.readline(longest):
                number += 1
                if len(line) == longest:
                    raise _too_long(file, dataset, number, longest)
                yield number, line.removeprefix("\ufeff") if number == 1 else line
    except UnicodeDecodeError as error:
        raise _encoding(file, dataset, number + 1, error) from error


def _too_long(file: Readable, dataset: Dataset, number: int, longest: int) -> DataError:
    return DataError(
        f"dataset {dataset.name!r}: lines of at most {longest:,} bytes, {files.MAX_UNPACKED:,} in all",
        "a longer one",
        "split the line into records of a sensible size, such as one JSON object a line (JSONL)",
        file=file.place,
        row=number,
    )


def _encoding(file: Readable, dataset: Dataset, row: int, error: UnicodeDecodeError) -> DataError:
    bad = error.object[error.start : error.start + 1].hex()
    guess = encoding_of(file)
    say = f"say `encoding: {guess}`, which it looks like, or " if guess not in (None, "utf-8", dataset.encoding) else ""
    return DataError(
        f"dataset {dataset.name!r}: text in {dataset.encoding or 'UTF-8'}",
        f"the byte 0x{bad} at position {error.start} of line {row}",
        f"{say}save the file as UTF-8 (in a spreadsheet: 'CSV UTF-8'), or say `undecodable: set-aside`",
        file=file.place,
        row=row,
    )


def encoding_of(file: Readable) -> str | None:
    """The encoding that the first bytes of a text beyond ASCII look like; None where nothing fits."""
    return encodings.told(_beyond_ascii(file))


def _beyond_ascii(file: Readable) -> bytes:
    """The first stretch with a byte beyond ASCII; the last stretch where there is none."""
    with file.open() as stream:
        head = stream.read(SAMPLE)
        while head.isascii() and (more := stream.read(SAMPLE)):
            head = more
    return head


def _jsonl(file: Readable, dataset: Dataset) -> Iterator[Any]:
    for number, line in _lines(file, dataset, throughout=True):
        if not line.strip():
            continue
        try:
            value = _parse(line, file, dataset, number)
            if not isinstance(value, dict):
                raise DataError(
                    f"dataset {dataset.name!r}: one JSON object a line",
                    f"a {type(value).__name__}",
                    'write {"column": value, …} on each line',
                    file=file.place,
                    row=number,
                )
        except DataError as error:
            yield broken.row(error, dataset, number, line)
            continue
        yield number, value


def _parse(text: str, file: Readable, dataset: Dataset, row: int) -> Any:
    try:
        return (json_text.FOR_JQ if dataset.records else json_text.AS_IT_IS).decode(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"dataset {dataset.name!r}: JSON", f"{error}", "correct the JSON there", file=file.place, row=row) from error


def _json(file: Readable, dataset: Dataset) -> Iterator[Numbered]:
    """A JSON document: a list of objects, or what the jq expression `records` makes of it: objects, or one list of them."""
    document = json_document(file, dataset)
    values = document if dataset.records is None else reshape.results(dataset, document, file, None)
    if dataset.records is not None and len(values) == 1 and isinstance(values[0], list):
        (values,) = values
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise DataError(
            f"dataset {dataset.name!r}: a list of JSON objects",
            "something else at the top of the document" if dataset.records is None else f"what `records: {dataset.records}` yields",
            "say with `records:` (a jq expression) where the rows are, such as `records: .data[]` or `records: to_entries[] | .value`",
            file=file.place,
        )
    yield from enumerate(values, start=1)


def json_document(file: Readable, dataset: Dataset) -> Any:
    """All of a JSON file.

    Raises:
        DataError: if it is no JSON.
    """
    return _parse(_whole(file, dataset), file, dataset, 1)


def _whole(file: Readable, dataset: Dataset) -> str:
    """All of a text that can only be understood as a whole."""
    parts, size = [], 0
    for number, line in _lines(file, dataset, longest=MAX_DOCUMENT):  # many programs write a document in one line
        size += len(line)
        if size > MAX_DOCUMENT:
            raise DataError(
                f"dataset {dataset.name!r}: a JSON document of at most {MAX_DOCUMENT:,} characters",
                "a longer one",
                "write one object a line (JSONL), which is read line by line",
                file=file.place,
                row=number,
            )
        parts.append(line)
    return "".join(parts)


def _csv(file: Readable, dataset: Dataset, delimiter: str = ",") -> Iterator[Any]:
    csv.field_size_limit(MAX_LINE)
    behind = file.span is not None and file.span.start > 0  # the header stands before the stretch
    top = (line for _, line in _lines(replace(file, span=None) if behind else file, dataset))
    body = (line for _, line in _lines(file, dataset)) if behind else top
    return delimited.rows(top, body, file, dataset, dataset.delimiter or delimiter)


def _tsv(file: Readable, dataset: Dataset) -> Iterator[Any]:
    return _csv(file, dataset, delimiter="\t")


def _txt(file: Readable, dataset: Dataset) -> Iterator[Numbered]:
    """Paragraphs, separated by blank lines."""
    paragraph: list[str] = []
    number = size = 0
    for place, line in _lines(file, dataset):
        if line.strip():
            paragraph.append(line)
            size = len(line) + (size if len(paragraph) > 1 else 0)
            if size > MAX_LINE:
                raise _endless(file, dataset, number + 1, place)
        elif paragraph:
            number += 1
            yield number, {"text": "".join(paragraph)}
            paragraph = []
    if paragraph:
        yield number + 1, {"text": "".join(paragraph)}


def _endless(file: Readable, dataset: Dataset, row: int, line: int) -> DataError:
    return DataError(
        f"dataset {dataset.name!r}: paragraphs of at most {MAX_LINE:,} characters, with blank lines between them",
        f"a longer one, which goes on in line {line:,}",
        "put a blank line between any two texts; where each line is a text of its own, write them as JSONL or as CSV under a header",
        file=file.place,
        row=row,
    )


READERS: dict[str, Callable[[Readable, Dataset], Iterator[Any]]] = {
    "jsonl": _jsonl,
    "csv": _csv,
    "tsv": _tsv,
    "txt": _txt,
    "parquet": tables.parquet,
    "arrow": tables.arrow,
    "xlsx": tables.xlsx,
    "xml": markup.xml,
    "md": documents.markdown,
    "html": documents.html,
    "pdf": pdf.pdf,
    "docx": word.docx,
}
