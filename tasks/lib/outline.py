"""Paragraphs, tables and headings of a document, numbered as they come (shared by the readers of documents)."""

import re
from collections.abc import Iterator

from tasks.lib.domain import Dataset
from tasks.lib.errors import DataError
from tasks.lib.files import Readable
from tasks.lib.rows import Placed

MAX_TABLE = 2_000  # characters of one paragraph; a longer table becomes several
MAX_HEAD = MAX_TABLE // 4  # a longer first line is no header to repeat


class Outline:
    """Numbers paragraphs and knows the headings above them."""

    def __init__(self) -> None:
        self._levels: dict[int, str] = {}
        self._bare: str | None = None  # a heading under which nothing stands yet
        self._number = 0

    @property
    def path(self) -> str:
        """The headings above, outermost first."""
        return " > ".join(self._levels[level] for level in sorted(self._levels))

    def heading(self, level: int, text: str, page: int | None) -> Iterator[Placed]:
        """Go on under a heading; one that had nothing below it becomes a paragraph, so that no word is lost."""
        yield from self.flush(page)
        self._levels = {known: name for known, name in self._levels.items() if known < level}
        self._levels[level] = self._bare = text

    def paragraph(self, text: str, page: int | None) -> Iterator[Placed]:
        """One paragraph."""
        self._bare = None
        self._number += 1
        yield self._number, {"text": text, "heading": self.path, "page": page}, page, self.path or None

    def table(self, lines: list[str], page: int | None, head: int = 1) -> Iterator[Placed]:
        """A table as one paragraph, a line for each of its rows; a long one in several, its first `head` lines above each."""
        for piece in _pieces(lines, head):
            yield from self.paragraph("\n".join(piece), page)

    def aside(self, text: str, page: int | None, reason: str, detail: str = "") -> Iterator[Placed]:
        """A row that is no text of the document: it is counted, and set aside for that reason."""
        self._number += 1
        yield self._number, {"text": text, "heading": "", "page": page}, page, None, reason, detail

    def flush(self, page: int | None) -> Iterator[Placed]:
        """The last heading, if nothing stood below it."""
        if self._bare is not None:
            yield from self.paragraph(self._bare, page)


def line_of(cells: list[str]) -> str:
    """A row of a table as a line; nothing of a row without text."""
    return " | ".join(cells).rstrip(" |").lstrip(" ")


def raised(before: str, text: str) -> str:
    """A superscript behind other text: a number or a sign behind a number with ^, for 10 to the 5th is not 105; else as it is."""
    return f"^{text}" if before[-1:].isdigit() and re.match(r"[+\-\u2212\u2013]?(?:\d|$)", text.strip()) and text.strip() else text


def _pieces(lines: list[str], head: int) -> Iterator[list[str]]:
    """Lines of a table in pieces of at most MAX_TABLE characters, as far as its lines allow."""
    above = lines[:head] if sum(map(len, lines[:head])) <= MAX_HEAD else []
    piece: list[str] = []
    for line in lines:
        if len(piece) > len(above) and sum(len(known) + 1 for known in piece) + len(line) > MAX_TABLE:
            yield piece
            piece = list(above)
        piece.append(line)
    if piece:
        yield piece


def broken(file: Readable, dataset: Dataset, form: str, error: BaseException, row: int | None = None) -> DataError:
    """What to say of a document that its reader does not understand, from a paragraph on where others were read."""
    found = f"it cannot be read ({type(error).__name__}: {str(error)[:200]})"
    remedy = "open it in the program that made it, and save or export it again"
    return DataError(f"dataset {dataset.name!r}: a whole {form} file", found, remedy, file=file.place, row=row)
