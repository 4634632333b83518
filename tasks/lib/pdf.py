"""PDF files become paragraphs; what is printed at the edge of the pages is told from their text."""

import re
import struct
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from typing import Any, NamedTuple

from pdfminer.high_level import extract_pages
from pdfminer.layout import LTChar, LTTextContainer
from pdfminer.pdfexceptions import PDFException
from pdfminer.psexceptions import PSException

from tasks.lib.domain import Dataset
from tasks.lib.errors import DataError
from tasks.lib.files import Readable
from tasks.lib.outline import Outline, broken
from tasks.lib.rows import Placed

LARGER = 1.15  # a line this much larger than most text is a heading
HEADING_CHARS = 150
EDGE = 0.07  # of a page's height: the margin in which headers and footers are printed
OFTEN = 0.4  # of the pages: left and right pages may have headers of their own
FURNITURE = "page-furniture"
# what pdfminer lets through where a file is not what it says
FAULTS = (PDFException, PSException, ValueError, KeyError, TypeError, IndexError, AttributeError, AssertionError, RecursionError,
          struct.error, zlib.error)  # fmt: skip


class Line(NamedTuple):
    """A line of a page; an empty one stands for a page without any."""

    page: int
    box: int
    text: str
    size: float  # points
    edge: str | None  # the margin in which it stands

    @property
    def mark(self) -> tuple[str, str]:
        """What is the same on every page: the margin and the words; numbers count pages."""
        return str(self.edge), re.sub(r"\d+", "#", " ".join(self.text.split()))


def pdf(file: Readable, dataset: Dataset) -> Iterator[Placed]:
    """The text boxes of a PDF in reading order; short boxes in larger type are headings.

    A page without text gives one empty row, so that it is counted: a scan needs text recognition first. Headers and footers,
    which stand in the margin of many pages, are one row a page, to be set aside.
    """
    with file.local() as path:
        try:
            lines = [line for number, page in enumerate(extract_pages(path), start=1) for line in _lines(page, number)]
        except FAULTS as error:
            raise broken(file, dataset, "PDF", error) from error
    pages = len({line.page for line in lines})
    body = _body(lines)
    repeated = _repeated(lines, pages, body)
    if all(line.mark in repeated or not line.text for line in lines):
        beside = " but the same headers" if repeated else ""
        raise DataError(
            f"dataset {dataset.name!r}: a PDF with text",
            f"{pages} pages without any{beside}: scanned pictures, or an empty file",
            "recognise its text first (OCR), and add the result",
            file=file.place,
        )
    larger = sorted({line.size for line in lines if line.size > LARGER * body and line.mark not in repeated}, reverse=True)
    outline, page = Outline(), 1
    for page, of_page in groupby(lines, lambda line: line.page):
        for kept, text, size in _boxes(list(of_page), repeated):
            if not kept:
                yield from outline.aside(text, page, FURNITURE)
            elif size in larger and 0 < len(text) <= HEADING_CHARS:
                yield from outline.heading(larger.index(size) + 1, text, page)
            else:
                yield from outline.paragraph(text, page)
    yield from outline.flush(page)


def _lines(page: Any, number: int) -> list[Line]:
    found = []
    for place, box in enumerate(page):
        for line in box if isinstance(box, LTTextContainer) else ():
            if (text := line.get_text()).strip():
                low, high = line.y0 - page.y0, page.y1 - line.y1
                room = EDGE * page.height - line.height  # the whole line stands in the margin
                edge = "top" if high <= room else "bottom" if low <= room else None
                found.append(Line(number, place, text, _size(line), edge))
    return found or [Line(number, 0, "", 0.0, None)]


def _body(lines: list[Line]) -> float:
    """The size of most of the text, in points."""
    sizes: Counter[float] = Counter()
    for line in lines:
        sizes[line.size] += len(line.text)
    return sizes.most_common(1)[0][0] if sizes else 0.0


def _repeated(lines: list[Line], pages: int, body: float) -> set[tuple[str, str]]:
    """The marks of headers and footers: short lines, no larger than the text, that stand in the same margin of many pages."""
    short = (line for line in lines if line.edge is not None and len(line.text) <= HEADING_CHARS and line.size <= LARGER * body)
    seen = Counter(mark for mark, _ in {(line.mark, line.page) for line in short})
    return {mark for mark, count in seen.items() if count >= max(2, OFTEN * pages)}


def _boxes(lines: list[Line], repeated: set[tuple[str, str]]) -> Iterator[tuple[bool, str, float]]:
    """(whether it is text, text, type size in points) of a page: its header and footer, then its boxes, divided where the size changes."""
    if aside := [_joined(line.text) for line in lines if line.mark in repeated]:
        yield False, "\n".join(aside), 0.0
    kept = [line for line in lines if line.mark not in repeated]
    for (_, size), together in groupby(kept, lambda line: (line.box, line.size)):
        yield True, _joined("".join(line.text for line in together)), size
    if not kept:
        yield True, "", 0.0


def _size(line: Any) -> float:
    """The most frequent type size of a line, in half points."""
    sizes = Counter(round(2 * char.size) / 2 for char in line if isinstance(char, LTChar))
    return sizes.most_common(1)[0][0] if sizes else 0.0


def _joined(text: str) -> str:
    """The lines of a paragraph as one; a word divided at a line's end is whole again, a ligature is its letters."""
    whole = re.sub(r"(?<=[^\W\d_])-\n(?=[^\W\d_A-Z])", "", text)
    plain = re.sub("[\ufb00-\ufb06]", lambda found: unicodedata.normalize("NFKC", found.group()), whole)
    return re.sub(r"\s+", " ", plain).strip()
