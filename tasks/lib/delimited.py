"""CSV and TSV: rows of cells under a header, and where a file can be cut between two rows."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from tasks.lib import broken, tables
from tasks.lib.domain import Dataset
from tasks.lib.errors import DataError
from tasks.lib.files import Readable, Span

BLOCK = 1 << 20
FEW = 20  # lines
MAX_ROW, TOO_LARGE = 100_000_000, "row larger"  # characters
LONGEST = 32_000_000  # bytes in which a row must end, for a file to be cut behind it
MARK = "\ufeff".encode()
QUOTE, END = b'"\n'


def rows(header: Iterator[str], body: Iterator[str], file: Readable, dataset: Dataset, delimiter: str) -> Iterator[Any]:
    """Rows with their numbers, as a spreadsheet shows them: the header has one, and an empty line has one and is no row.

    Args:
        header: lines from the file's start; the first row of them that holds anything is the header, or the one that the card names.
        body: lines behind it: the same iterator, unless a later stretch of the file is read.
        file: what is read.
        dataset: which it is of.
        delimiter: what stands between cells.

    Raises:
        DataError: naming file and row, for quotes that are none and rows of another length; even where such rows are to be
            set aside, unless it is sure where they end.
    """
    top = csv.reader(header, delimiter=delimiter, strict=True)
    names, head = _header(top, file, dataset)
    number, above = (head, top.line_num) if body is header or file.span is None else (file.span.first - 1, (file.span.line or 1) - 1)
    said: list[str] = []  # the lines of the row that is read
    reader = csv.reader(_heard(body, said), delimiter=delimiter, strict=True)
    while True:
        said.clear()
        first = above + reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            number += 1
            fault = _no_csv(file, dataset, error, above + reader.line_num, number)
            if str(error).startswith(("field larger", TOO_LARGE)):
                raise _unsure(fault) from error
            yield broken.row(_sure(fault, said, body, delimiter), dataset, number, "".join(said))
            continue
        if cells is None:
            return
        number += 1
        if not cells or number <= head:
            continue
        if len(cells) == len(names):
            yield number, dict(zip(names, cells, strict=True))
        else:
            last = above + reader.line_num
            found = f"{len(cells)} cells ({f'line {last}' if first == last else f'lines {first} to {last}'})"
            fault = _ragged(file, dataset, found, (len(names), len(cells)), number)
            yield broken.row(_sure(fault, said, body, delimiter), dataset, number, "".join(said))


def _header(top: Any, file: Readable, dataset: Dataset) -> tuple[list[str], int]:
    """The names of the columns, and the row in which they stand; the last row of all where there are none."""
    number = 0
    try:
        for number, cells in enumerate(top, start=1):  # used behind the loop
            if cells and number >= (dataset.header or 1):
                names = [name.strip() for name in cells]
                tables.require_each_once(names, file, dataset)
                return names, number
    except csv.Error as error:
        raise _no_csv(file, dataset, error, top.line_num, number + 1) from error
    return [], number


def _heard(lines: Iterator[str], said: list[str]) -> Iterator[str]:
    """The lines, the first few of a row also kept for who has to see what is wrong with it.

    Raises:
        csv.Error: for a row of many lines that is more than memory should hold.
    """
    size = 0
    for line in lines:
        size = len(line) + (size if said else 0)
        if size > MAX_ROW:
            raise csv.Error(f"{TOO_LARGE} than {MAX_ROW:,} characters")
        if len(said) < FEW:
            said.append(line)
        yield line


def _sure(fault: DataError, said: list[str], body: Iterator[str], delimiter: str) -> DataError:
    """The fault of a row that surely ends with its only line; in several lines, a missing quote may have joined good rows.

    Raises:
        DataError: the fault, where the end is not sure.
    """
    if len(said) > 1 or not (broken.is_closed(said[0], delimiter) or _at_end(body)):
        raise _unsure(fault)
    return fault


def _unsure(fault: DataError) -> DataError:
    remedy = f"{fault.remedy}; where this row ends is not sure, so that it cannot be set aside: a quote may be missing or too many"
    return DataError(fault.asked, fault.fault, remedy, file=fault.file, row=fault.row)


def _at_end(body: Iterator[str]) -> bool:
    """Whether nothing but empty lines follows; what follows is not read again, for the row before it is refused."""
    try:
        return not any(line.strip() for line in body)
    except DataError:  # something follows, and has a fault of its own
        return False


def _ragged(file: Readable, dataset: Dataset, found: str, cells: tuple[int, int], row: int) -> DataError:
    wanted, there = cells
    titled = wanted == 1 < there and dataset.header is None
    remedy = "quote the cell that holds the delimiter, or complete the row"
    return DataError(
        f"dataset {dataset.name!r}: {wanted} {'cell' if wanted == 1 else 'cells'} in every row, as in the header",
        found,
        f"{tables.TITLE.replace('N`', f'{row}`')} (row {row} looks like it); else {remedy}" if titled else remedy,
        file=file.place,
        row=row,
    )


def _no_csv(file: Readable, dataset: Dataset, error: csv.Error, line: int, row: int) -> DataError:
    return DataError(f"dataset {dataset.name!r}: CSV", f"{error} (line {line})", "correct the quotes there", file=file.place, row=row)


def stretches(path: Path, size: int, delimiter: str, marked: bool) -> Iterator[tuple[Span, int]]:
    """Stretches of whole rows, of `size` bytes or little more, each with its size in bytes.

    As long as every quote opens a cell, closes one or is doubled in one, a line end behind an even number of quotes ends
    a row. The rest of the file is one stretch from the first quote on that does none of these (such as the one of 5" in a
    cell without quotes), from a carriage return alone, or from a row that does not end.

    Args:
        path: a file in an encoding that writes ASCII as ASCII.
        size: bytes.
        delimiter: an ASCII character.
        marked: whether a byte order mark at the start is none of the text.
    """
    start, first, line, done, rows, lines = 0, 1, 1, 0, 0, 0
    with path.open("rb") as stream:
        for block in _whole_rows(stream, min(BLOCK, size)):
            text = block.removeprefix(MARK) if marked and not done else block
            found = _count(text, delimiter.encode())
            if found is None:
                break
            done, rows, lines = done + len(block), rows + found, lines + block.count(b"\n")
            if done - start >= size:
                yield Span(start, done, first, line), done - start
                start, first, line = done, rows + 1, lines + 1
    if (end := path.stat().st_size) > start:
        yield Span(start, end, first, line), end - start


def _whole_rows(stream: IO[bytes], width: int) -> Iterator[bytes]:
    """Blocks of whole rows, as far as rows end; the last row may have no end, and is left out."""
    rest = b""
    while len(rest) <= LONGEST and (block := stream.read(width)):
        text = rest + block
        stop = _last_end(text)
        if stop:
            yield text[:stop]
        rest = text[stop:]


def _last_end(text: bytes) -> int:
    """Where the last whole row ends, if `text` begins with a row: behind a line end with an even number of quotes before it."""
    stop = text.rfind(b"\n")
    quotes = text.count(b'"', 0, max(stop, 0))
    while stop >= 0 and quotes % 2:
        before = text.rfind(b"\n", 0, text.rfind(b'"', 0, stop))
        quotes -= text.count(b'"', max(before, 0), stop)
        stop = before
    return stop + 1


def _count(text: bytes, delimiter: bytes) -> int | None:
    """How many rows there are, empty lines among them; None where a quote or a carriage return stands alone."""
    if text.count(b"\r") != text.count(b"\r\n"):
        return None
    held = np.frombuffer(text, np.uint8)
    quotes = np.flatnonzero(held == QUOTE)
    opening, closing = quotes[::2], quotes[1::2]
    if not _only(held[opening[opening > 0] - 1], delimiter + b'\n"') or not _only(
        held[closing[closing < len(held) - 1] + 1], delimiter + b'\r\n"'
    ):
        return None
    ends = np.flatnonzero(held == END)
    return int((np.searchsorted(quotes, ends) % 2 == 0).sum())  # a line end in quotes ends no row


def _only(found: Any, allowed: bytes) -> bool:
    """Whether there is no byte but those."""
    return bool(np.isin(found, np.frombuffer(allowed, np.uint8)).all())
