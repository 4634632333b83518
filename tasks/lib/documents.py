"""Markdown and HTML become paragraphs, each with the heading under which it stands."""

import re
from collections.abc import Iterator
from typing import Any

from lxml import etree
from lxml import html as lxml_html
from markdown_it import MarkdownIt

from tasks.lib.domain import Dataset
from tasks.lib.errors import DataError
from tasks.lib.files import Readable
from tasks.lib.outline import Outline, broken, line_of, raised
from tasks.lib.rows import Placed

MAX_PAGE = 200_000_000  # bytes of one Markdown or HTML file
TABLE = -1  # beside the levels of headings
# in a page, but not of its text
SKIPPED = {"script", "style", "template", "noscript", "head", "svg", "button", "select", "option", "datalist", "textarea", "iframe", "canvas", "audio", "video"}  # fmt: skip
HIDDEN = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)\b", re.IGNORECASE)
# `[^1]: word` would be taken for the target of a link, which is no text
FOOTNOTE = re.compile(r"^( {0,3})(?=\[\^[^\]\n]+\]:)", re.MULTILINE)
FRONT_MATTER = re.compile(r"\A---[ \t]*\n((?:[ \t#-].*\n|[\w.-]+[ \t]*:.*\n|\n)*?)(?:---|\.\.\.)[ \t]*(?:\n|\Z)")
INLINE = {"a", "abbr", "b", "bdi", "bdo", "cite", "code", "data", "del", "dfn", "em", "font", "i", "ins", "kbd", "label", "mark", "q",
          "s", "samp", "small", "span", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr", "img", "math"}  # fmt: skip


def markdown(file: Readable, dataset: Dataset) -> Iterator[Placed]:
    """Blocks of a Markdown file (CommonMark and tables) as they are written; lists and tables are one block each.

    YAML at the top of the file is no text: it is the column `front_matter` of every row.
    """
    text, front = _divided(re.sub(r"\r\n?", "\n", _text(file, dataset)))
    for number, columns, *place in _markdown(text):
        yield number, {**columns, "front_matter": front}, *place


def _divided(text: str) -> tuple[str, str]:
    """A Markdown file without its front matter, and the front matter."""
    found = FRONT_MATTER.match(text)
    if found is None or ":" not in found.group(1) or not found.group(1).split("\n")[0].strip():
        return text, ""  # a line across the page, and then text
    return text[found.end() :], found.group(1).strip()


def _markdown(text: str) -> Iterator[Any]:
    outline = Outline()
    lines = text.split("\n")
    tokens = MarkdownIt("commonmark").enable("table").parse(FOOTNOTE.sub(r"\1\\", text))
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
    parser = lxml_html.HTMLParser(
        encoding=dataset.encoding or _declared(content), remove_comments=True, remove_pis=True, no_network=True, huge_tree=True
    )
    try:
        page = lxml_html.document_fromstring(content, parser=parser)
    except (etree.ParserError, etree.XMLSyntaxError) as error:
        raise broken(file, dataset, "HTML", error) from error
    _require_all(parser.error_log, file, dataset)
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


def _is_shown(element: Any) -> bool:
    """Whether a browser shows it as text of the page, as far as the element itself says."""
    return element.tag not in SKIPPED and element.get("hidden") is None and not HIDDEN.search(element.get("style", ""))


def _table(element: Any) -> Iterator[tuple[int, str]]:
    """A table's caption, then its rows, one a line."""
    for caption in element.findall("caption"):
        yield 0, _cell(caption)
    shown = (row for row in element.iter("tr") if all(map(_is_shown, [row, row.getparent()])))
    rows = ([_cell(cell) for cell in row if cell.tag in ("td", "th") and _is_shown(cell)] for row in shown)
    yield TABLE, "\n".join(line_of(cells) for cells in rows)


def _cell(cell: Any) -> str:
    """A cell's text on one line: its blocks divided by a space, its words as they stand."""
    buffer: list[str] = [cell.text or ""]
    blocks = [text for _, text in _blocks(cell, buffer)]
    return _words(" ".join([*blocks, "".join(buffer)]))


def _blocks(element: Any, buffer: list[str]) -> Iterator[tuple[int, str]]:
    """(heading level, TABLE or 0; text) of every block below an element; text since the last block stays in the buffer.

    Pages that close nothing are nested as deep as they are long: the walk is a loop.
    """
    walker = etree.iterwalk(element, events=("start", "end"))
    begun: list[int | None] = []  # of the elements around: where in the buffer they begin; None of what is not looked into
    for event, child in walker:
        if child is element:
            continue
        block = child.tag not in INLINE and child.tag not in ("td", "th")
        if event == "start":
            shown = _is_shown(child)
            if shown and block:
                yield 0, "".join(buffer)
                buffer.clear()
            if not shown or _is_table(child):
                yield from _table(child) if shown else ()
                walker.skip_subtree()
                begun.append(None)
                continue
            begun.append(len(buffer))
            buffer.append(child.text or "")
            continue
        start = begun.pop()
        if start is not None:
            if child.tag == "sup" and start < len(buffer):
                before = next((buffer[place] for place in range(start - 1, -1, -1) if buffer[place]), "")
                buffer[start:] = [raised(before, "".join(buffer[start:]))]
            if child.tag in ("td", "th"):
                buffer.append(" | ")
            elif block:
                yield int(child.tag[1]) if re.fullmatch(r"h[1-6]", child.tag) else 0, "".join(buffer)
                buffer.clear()
        buffer.append(child.tail or "")


def _require_all(log: Any, file: Readable, dataset: Dataset) -> None:
    """Refuse a page of which the parser has left something out: it does not fail, it only says so."""
    if cut := log.filter_types(etree.ErrorTypes.ERR_RESOURCE_LIMIT):
        raise DataError(
            f"dataset {dataset.name!r}: a page that can be read whole",
            f"{cut[0].message.partition(',')[0]} (line {cut[0].line:,})",
            "close the elements there (such as <b>, <font> and <div>), or save the page again from a browser",
            file=file.place,
        )


def _declared(content: bytes) -> str | None:
    """UTF-8 where the page is valid UTF-8; else what the page itself declares, which the parser finds."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return "utf-8"


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
