"""Documents of a corpus as passages of a readable length, each with its place in the document's text."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from tasks.lib.cleaning import clean
from tasks.lib.files import PACKED_SUFFIXES
from tasks.lib.mapping import SetAside, require_columns, to_record
from tasks.lib.readers import read
from tasks.lib.records import Row
from tasks.lib.sources import ResolvedDataset

MAX_CHARS, MIN_CHARS = 1_200, 80  # of a passage
BETWEEN = "\n\n"  # paragraphs of one document
PARAGRAPHS = {"txt", "text", "md", "markdown", "html", "htm", "pdf", "docx"}  # formats of which a file is one document
SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|\n+")
UNWRITABLE = re.compile("[\ufffe\uffff]")  # no XML file, and so no spreadsheet, can hold them


class Passage(NamedTuple):
    """A piece of a document.

    The document's text is, for a file of paragraphs (text, Markdown, HTML, PDF, DOCX), its paragraphs with a blank line
    between each two; for any other file, that of one row. Both are cleaned as the pipeline cleans them.
    """

    row: str  # id of the record it begins in
    document: str
    file: str
    page: int | None
    heading: str
    start: int  # in the document's text, in characters from 0
    text: str

    @property
    def end(self) -> int:
        """Behind its last character."""
        return self.start + len(self.text)


class Passages:
    """The passages of a dataset, in the order of its files; what is not one is counted in `left_out`, by reason."""

    def __init__(self, resolved: ResolvedDataset, per_document: int | None) -> None:
        self._resolved, self._per_document = resolved, per_document
        self.left_out: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Passage]:
        """Read the files.

        Raises:
            DataError: as ingest does.
        """
        self.left_out.clear()
        taken: Counter[str] = Counter()
        for passage in self._joined():
            if len(passage.text) < MIN_CHARS:
                self.left_out[f"shorter than {MIN_CHARS} characters"] += 1
            elif UNWRITABLE.search(passage.text):
                self.left_out["with characters that no spreadsheet holds"] += 1
            elif self._per_document is not None and taken[passage.document] >= self._per_document:
                self.left_out[f"beyond {self._per_document} of their document"] += 1
            else:
                taken[passage.document] += 1
                yield passage

    def _joined(self) -> Iterator[Passage]:
        """Pieces that follow each other under one heading on one page, together as long as they are short."""
        last: Passage | None = None
        for piece in self._pieces():
            if last is not None and _follows(last, piece):
                last = last._replace(text=last.text + BETWEEN + piece.text)
                continue
            if last is not None:
                yield last
            last = piece
        if last is not None:
            yield last

    def _pieces(self) -> Iterator[Passage]:
        dataset = self._resolved.dataset
        file, offset = "", 0
        for source in read(self._resolved):
            if source.file != file:
                require_columns(dataset, source)
                file, offset = source.file, 0
            try:
                record = to_record(dataset, source)
            except SetAside as aside:
                self.left_out[f"set aside when read ({aside.reason})"] += 1
                continue
            text = clean(record["text"])
            whole = _is_one_document(file, dataset.format)
            document = record["group"] or (f"{dataset.name}:{file}" if whole else record["id"])
            yield from _cut(record, document, text, offset if whole else 0)
            offset += len(text) + len(BETWEEN) if text else 0


def _is_one_document(file: str, form: str | None) -> bool:
    parts = file.lower().split(".")
    suffix = parts[-2] if parts[-1] in PACKED_SUFFIXES and len(parts) > 1 else parts[-1]
    return (form or suffix) in PARAGRAPHS


def _follows(last: Passage, piece: Passage) -> bool:
    same = (last.document, last.file, last.page, last.heading) == (piece.document, piece.file, piece.page, piece.heading)
    return same and piece.start == last.end + len(BETWEEN) and len(last.text) + len(BETWEEN) + len(piece.text) <= MAX_CHARS


def _cut(record: Row, document: str, text: str, offset: int) -> Iterator[Passage]:
    """A text in pieces of at most MAX_CHARS, cut where a sentence ends, else between words."""
    start = 0
    while start < len(text):
        end = len(text)
        if end - start > MAX_CHARS:
            window = text[start : start + MAX_CHARS]
            ends = [found.start() for found in SENTENCE_END.finditer(window) if found.start() >= MIN_CHARS]
            word = window.rfind(" ")
            end = start + (ends[-1] if ends else word if word >= MIN_CHARS else MAX_CHARS)
        piece = text[start:end].rstrip()
        yield Passage(record["id"], document, record["file"], record["page"], record["heading"] or "", offset + start, piece)
        while end < len(text) and text[end].isspace():
            end += 1
        start = end
