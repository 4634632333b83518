"""Documents become paragraphs, each with the page and the heading under which it stands."""

import re
from collections.abc import Iterator
from typing import Any

import docx as python_docx
from docx.opc.exceptions import PackageNotFoundError
from docx.table import Table
from lxml import etree
from lxml import html as lxml_html
from markdown_it import MarkdownIt

from tasks.lib import files
from tasks.lib.domain import Dataset
from tasks.lib.errors import DataError
from tasks.lib.files import Readable
from tasks.lib.outline import Outline, broken, line_of
from tasks.lib.rows import Placed

MAX_PAGE = 200_000_000  # bytes of one Markdown or HTML file
TABLE = -1  # beside the levels of headings
SKIPPED = {"script", "style", "template", "noscript", "head"}  # in a page, but not of its text
INLINE = {"a", "abbr", "b", "bdi", "bdo", "cite", "code", "data", "del", "dfn", "em", "font", "i", "ins", "kbd", "label", "mark", "q",
          "s", "samp", "small", "span", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr", "img", "math"}  # fmt: skip


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
            continue
        block = lines[token.map[0] : token.map[1]]
        if token.type == "table_open":
            yield from outline.table([line.strip() for line in block if line.strip()], None, head=2)
        elif token.nesting >= 0 and token.type != "hr":
            yield from outline.paragraph("\n".join(block).strip(), None)
    yield from outline.flush(None)


def html(file: Readable, dataset: Dataset) -> Iterator[Placed]:
    """The paragraphs of a page; a table is one paragraph with a line for each of its rows."""
    with file.open() as stream:
        content = _capped(stream.read(MAX_PAGE + 1), file, dataset)
    parser = lxml_html.HTMLParser(encoding=dataset.encoding or _declared(content), remove_comments=True, remove_pis=True, no_network=True)
    try:
        page = lxml_html.document_fromstring(content, parser=parser)
    except (etree.ParserError, etree.XMLSyntaxError) as error:
        raise broken(file, dataset, "HTML", error) from error
    outline = Outline()
    buffer: list[str] = []
    for kind, text in [*_blocks(page, buffer), (0, "".join(buffer))]:
        if kind == TABLE:
            yield from outline.table([line for line in text.split("\n") if line], None)
        elif words := _words(text):
            yield from outline.heading(kind, words, None) if kind else outline.paragraph(words, None)
    yield from outline.flush(None)


def _words(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip(" |")


def _is_table(element: Any) -> bool:
    """Whether a table holds data: with one cell in each row, a heading or a table inside, it only lays out a page."""
    if element.tag != "table" or any(True for _ in element.iterdescendants("table", "h1", "h2", "h3", "h4", "h5", "h6")):
        return False
    return any(len(row.findall("td") + row.findall("th")) > 1 for row in element.iter("tr"))


def _table(element: Any) -> Iterator[tuple[int, str]]:
    """A table's caption, then its rows, one a line."""
    for caption in element.findall("caption"):
        yield 0, " ".join(caption.itertext())
    rows = ([_cell(cell) for cell in row if cell.tag in ("td", "th")] for row in element.iter("tr"))
    yield TABLE, "\n".join(line_of(cells) for cells in rows)


def _cell(cell: Any) -> str:
    """A cell's text on one line: its blocks divided by a space, its words as they stand."""
    buffer: list[str] = []
    blocks = [text for _, text in _blocks(cell, buffer)]
    return _words(" ".join([cell.text or "", *blocks, "".join(buffer)]))


def _blocks(element: Any, buffer: list[str]) -> Iterator[tuple[int, str]]:
    """(heading level, TABLE or 0; text) of every block below an element; text since the last block stays in the buffer."""
    for child in [element, *element.iterchildren()] if element.tag == "html" else element.iterchildren():
        if child is element or not isinstance(child.tag, str):
            continue
        inline = child.tag in INLINE
        if child.tag not in SKIPPED:
            if not inline and child.tag not in ("td", "th"):
                yield 0, "".join(buffer)
                buffer.clear()
            if _is_table(child):
                yield from _table(child)
                buffer.append(child.tail or "")
                continue
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


def docx(file: Readable, dataset: Dataset) -> Iterator[Placed]:
    """Paragraphs and tables of a Word document's body, in order; page numbers where the writing program left them."""
    with file.local() as path:
        files.require_safe_zip(path, dataset.name)
        try:
            with path.open("rb") as stream:  # by its content: the copy of an archive's member has no suffix
                document = python_docx.Document(stream)
        except (PackageNotFoundError, KeyError, ValueError, etree.XMLSyntaxError, *files.BROKEN) as error:
            raise broken(file, dataset, "DOCX", error) from error
    outline = Outline()
    breaks = bool(document.element.xpath("//w:lastRenderedPageBreak"))
    page = 1 if breaks else None
    for block in document.iter_inner_content():
        if isinstance(block, Table):
            yield from outline.table(_rows(block), page)
            if page is not None:
                page += len(block._element.xpath(".//w:lastRenderedPageBreak"))  # a table does not tell its page breaks
            continue
        if page is not None and block.rendered_page_breaks:
            page += len(block.rendered_page_breaks)
        text = block.text.strip()
        if level := _level(block.style):
            yield from outline.heading(level, text, page) if text else ()
        elif text:
            yield from outline.paragraph(text, page)
    yield from outline.flush(page)


def _rows(table: Table) -> list[str]:
    """The rows of a table as lines; a merged cell once a row, a table in a cell with its cell."""
    lines = []
    for row in table.rows:
        cells = {cell._tc: _inside(cell) for cell in row.cells}  # a merged cell comes once for each column
        lines.append(line_of(list(cells.values())))
    return [line for line in lines if line]


def _inside(cell: Any) -> str:
    blocks = ("; ".join(_rows(block)) if isinstance(block, Table) else block.text for block in cell.iter_inner_content())
    return " ".join(" ".join(blocks).split())


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
