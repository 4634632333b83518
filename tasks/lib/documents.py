"""Documents become paragraphs, each with the page and the heading under which it stands."""

import re
import struct
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import docx as python_docx
from docx.opc.exceptions import PackageNotFoundError
from docx.table import Table
from lxml import etree
from lxml import html as lxml_html
from markdown_it import MarkdownIt
from pdfminer.high_level import extract_pages
from pdfminer.layout import LTChar, LTTextContainer
from pdfminer.pdfexceptions import PDFException
from pdfminer.psexceptions import PSException

from tasks.lib import files
from tasks.lib.domain import Dataset
from tasks.lib.errors import DataError
from tasks.lib.files import Readable
from tasks.lib.rows import Placed

MAX_PAGE = 200_000_000  # bytes of one Markdown or HTML file
LARGER = 1.15  # a line this much larger than most text is a heading
HEADING_CHARS = 150
# what pdfminer lets through where a file is not what it says
PDF_FAULTS = (PDFException, PSException, ValueError, KeyError, TypeError, IndexError, AttributeError, AssertionError, RecursionError,
              struct.error, zlib.error)  # fmt: skip
SKIPPED = {"script", "style", "template", "noscript", "head"}  # in a page, but not of its text
INLINE = {"a", "abbr", "b", "bdi", "bdo", "cite", "code", "data", "del", "dfn", "em", "font", "i", "ins", "kbd", "label", "mark", "q",
          "s", "samp", "small", "span", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr", "img", "math"}  # fmt: skip


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

    def flush(self, page: int | None) -> Iterator[Placed]:
        """The last heading, if nothing stood below it."""
        if self._bare is not None:
            yield from self.paragraph(self._bare, page)


def markdown(file: Readable, dataset: Dataset) -> Iterator[Placed]:
    """Blocks of a Markdown file (CommonMark and tables) as they are written; lists and tables are one block each."""
    outline = Outline()
    text = _text(file, dataset)
    lines = text.splitlines()
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    for place, token in enumerate(tokens):
        if token.level or token.map is None:
            continue
        if token.type == "heading_open":
            yield from outline.heading(int(token.tag[1]), tokens[place + 1].content.strip(), None)
        elif token.nesting >= 0 and token.type != "hr":
            yield from outline.paragraph("\n".join(lines[token.map[0] : token.map[1]]).strip(), None)
    yield from outline.flush(None)


def html(file: Readable, dataset: Dataset) -> Iterator[Placed]:
    """The paragraphs of a page; a table gives a line for each of its rows."""
    with file.open() as stream:
        content = _capped(stream.read(MAX_PAGE + 1), file, dataset)
    parser = lxml_html.HTMLParser(encoding=dataset.encoding or _declared(content), remove_comments=True, remove_pis=True, no_network=True)
    try:
        page = lxml_html.document_fromstring(content, parser=parser)
    except (etree.ParserError, etree.XMLSyntaxError) as error:
        raise _broken(file, dataset, "HTML", error) from error
    outline = Outline()
    buffer: list[str] = []
    for level, text in [*_blocks(page, buffer), (0, "".join(buffer))]:
        if words := re.sub(r"\s+", " ", text).strip(" |"):
            yield from outline.heading(level, words, None) if level else outline.paragraph(words, None)
    yield from outline.flush(None)


def _blocks(element: Any, buffer: list[str]) -> Iterator[tuple[int, str]]:
    """(heading level or 0, text) of every block below an element; text since the last block stays in the buffer."""
    for child in [element, *element.iterchildren()] if element.tag == "html" else element.iterchildren():
        if child is element or not isinstance(child.tag, str):
            continue
        inline = child.tag in INLINE
        if child.tag not in SKIPPED:
            if not inline and child.tag not in ("td", "th"):
                yield 0, "".join(buffer)
                buffer.clear()
            buffer.append(child.text or "")
            yield from _blocks(child, buffer)
            if child.tag in ("td", "th"):
                buffer.append(" | ")
            elif not inline:
                yield int(child.tag[1]) if re.fullmatch(r"h[1-6]", child.tag) else 0, "".join(buffer)
                buffer.clear()
        buffer.append(child.tail or "")


def _declared(content: bytes) -> str | None:
    """UTF-8 where the page is valid UTF-8; else what the page itself declares, which the parser finds."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return "utf-8"


def pdf(file: Readable, dataset: Dataset) -> Iterator[Placed]:
    """The text boxes of a PDF in reading order; short boxes in larger type are headings.

    A page without text gives one empty row, so that it is counted: a scan needs text recognition first.
    """
    with file.local() as path:
        try:
            boxes = [box for number, page in enumerate(extract_pages(path), start=1) for box in _boxes(page, number)]
        except PDF_FAULTS as error:
            raise _broken(file, dataset, "PDF", error) from error
    if not any(text for _, text, _ in boxes):
        raise DataError(
            f"dataset {dataset.name!r}: a PDF with text",
            f"{len(boxes)} pages without any: scanned pictures, or an empty file",
            "recognise its text first (OCR), and add the result",
            file=file.place,
        )
    sizes: Counter[float] = Counter()
    for _, text, size in boxes:
        sizes[size] += len(text)
    body = sizes.most_common(1)[0][0]
    larger = sorted({size for size in sizes if size > LARGER * body}, reverse=True)
    outline, page = Outline(), 1
    for page, text, size in boxes:
        if size in larger and 0 < len(text) <= HEADING_CHARS:
            yield from outline.heading(larger.index(size) + 1, text, page)
        else:
            yield from outline.paragraph(text, page)
    yield from outline.flush(page)


def _boxes(page: Any, number: int) -> list[tuple[int, str, float]]:
    """(page, text, type size in points) of every text box, divided where the size changes; an empty one for a page without."""
    found = []
    for box in page:
        if not isinstance(box, LTTextContainer):
            continue
        for size, lines in groupby(box, _size):
            if text := _joined("".join(line.get_text() for line in lines)):
                found.append((number, text, size))
    return found or [(number, "", 0.0)]


def _size(line: Any) -> float:
    """The most frequent type size of a line, in half points."""
    sizes = Counter(round(2 * char.size) / 2 for char in line if isinstance(char, LTChar))
    return sizes.most_common(1)[0][0] if sizes else 0.0


def _joined(text: str) -> str:
    """The lines of a paragraph as one; a word divided at a line's end is whole again, a ligature is its letters."""
    whole = re.sub(r"(?<=[^\W\d_])-\n(?=[^\W\d_A-Z])", "", text)
    plain = re.sub("[\ufb00-\ufb06]", lambda found: unicodedata.normalize("NFKC", found.group()), whole)
    return re.sub(r"\s+", " ", plain).strip()


def docx(file: Readable, dataset: Dataset) -> Iterator[Placed]:
    """Paragraphs and table rows of a Word document's body, in order; page numbers where the writing program left them."""
    with file.local() as path:
        files.require_safe_zip(path, dataset.name)
        try:
            with path.open("rb") as stream:  # by its content: the copy of an archive's member has no suffix
                document = python_docx.Document(stream)
        except (PackageNotFoundError, KeyError, ValueError, etree.XMLSyntaxError, *files.BROKEN) as error:
            raise _broken(file, dataset, "DOCX", error) from error
    outline = Outline()
    breaks = bool(document.element.xpath("//w:lastRenderedPageBreak"))
    page = 1 if breaks else None
    for block in document.iter_inner_content():
        if isinstance(block, Table):
            for row in block.rows:
                if text := " | ".join(cell.text.strip() for cell in row.cells).strip(" |"):
                    yield from outline.paragraph(text, page)
            continue
        if page is not None and block.rendered_page_breaks:
            page += len(block.rendered_page_breaks)
        text = block.text.strip()
        if level := _level(block.style):
            yield from outline.heading(level, text, page) if text else ()
        elif text:
            yield from outline.paragraph(text, page)
    yield from outline.flush(page)


def _level(style: Any) -> int | None:
    """The level of a heading, by its style or the one that its style is made from; None for other text."""
    while style is not None:
        if found := re.fullmatch(r"(?:Title|Heading (\d))", style.name or ""):
            return int(found.group(1) or 0) + 1
        style = style.base_style
    return None


def _text(file: Readable, dataset: Dataset) -> str:
    """A whole text file in UTF-8 or the declared encoding."""
    with file.open() as stream:
        content = _capped(stream.read(MAX_PAGE + 1), file, dataset)
    encoding = dataset.encoding or "utf-8-sig"
    try:
        return content.decode(encoding, "strict" if dataset.undecodable == "refuse" else "surrogateescape")
    except UnicodeDecodeError as error:
        raise DataError(
            f"dataset {dataset.name!r}: text in {dataset.encoding or 'UTF-8'}",
            f"the byte 0x{content[error.start]:02x} at position {error.start}",
            "say `encoding:` in domain.yaml, or save the file as UTF-8",
            file=file.place,
        ) from error


def _capped(content: bytes, file: Readable, dataset: Dataset) -> bytes:
    if len(content) > MAX_PAGE:
        raise DataError(
            f"dataset {dataset.name!r}: documents of at most {MAX_PAGE:,} bytes", "a longer one", "split the document", file=file.place
        )
    return content


def _broken(file: Readable, dataset: Dataset, form: str, error: BaseException) -> DataError:
    found = f"it cannot be read ({type(error).__name__}: {str(error)[:200]})"
    remedy = "open it in the program that made it, and save or export it again"
    return DataError(f"dataset {dataset.name!r}: a whole {form} file", found, remedy, file=file.place)
