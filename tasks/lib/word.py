"""Word documents become paragraphs, by their XML: whatever is written in them stands at its place (importer of python-docx)."""

import re
from collections.abc import Iterator
from typing import Any

import docx as python_docx
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.opc.exceptions import PackageNotFoundError
from docx.oxml import parse_xml
from lxml import etree

from tasks.lib import files
from tasks.lib.domain import Dataset
from tasks.lib.files import Readable
from tasks.lib.outline import Outline, broken, line_of, raised
from tasks.lib.rows import Placed

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
# what says how something looks, and what a tracked change has taken away
NO_TEXT = {f"{W}{name}" for name in ("pPr", "rPr", "sdtPr", "sdtEndPr", "tblPr", "tblGrid", "trPr", "tcPr", "sectPr", "del", "moveFrom")}
NO_TEXT |= {f"{M}{name}Pr" for name in ("oMathPara", "f", "sSup", "sSub", "sSubSup", "d", "nary", "rad", "r", "ctrl", "func", "m", "acc")}
BOX = f"{W}txbxContent"
SIGNS = {f"{W}tab": "\t", f"{W}ptab": "\t", f"{W}cr": "\n", f"{W}noBreakHyphen": "-"}
UNKNOWN = "\ufffd"  # a sign of a font with a code of its own
# in the order of a block: where a page may end, and text; but nothing of a text box or of what a tracked change took away
MARKS = "|".join(
    f".//w:{name}[not(ancestor::w:txbxContent or ancestor::w:del or ancestor::w:moveFrom)]"
    for name in ("lastRenderedPageBreak", "br[@w:type='page']", "t")
)
NOTES = {"footnote": RELATIONSHIP_TYPE.FOOTNOTES, "endnote": RELATIONSHIP_TYPE.ENDNOTES}
COMMENTS = "comments"
MOST_COLUMNS = 1_000  # of a table; Word allows 63
# what this walk and python-docx let through where a document is not what it says
FAULTS = (PackageNotFoundError, KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError, RecursionError,
          etree.XMLSyntaxError, *files.BROKEN)  # fmt: skip


def docx(file: Readable, dataset: Dataset) -> Iterator[Placed]:
    """Paragraphs and tables of a Word document's body, in order, then its notes; page numbers where the writing program left them.

    Tracked insertions, links, content controls and equations are text of their paragraph; what is in a text box follows the
    paragraph that holds it. Tracked deletions are no text. Comments are one row, to be set aside.
    """
    number = 0
    with file.local() as path:
        files.require_safe_zip(path, dataset.name)
        try:
            with path.open("rb") as stream:  # by its content: the copy of an archive's member has no suffix
                document = python_docx.Document(stream)
            for row in _rows_of(document):
                number = row[0]
                yield row
        except FAULTS as error:
            raise broken(file, dataset, "DOCX", error, number + 1 if number else None) from error


def _rows_of(document: Any) -> Iterator[Placed]:
    styles = {style.style_id: style for style in document.styles}
    outline, pages = Outline(), Pages(known=bool(document.element.xpath("//w:lastRenderedPageBreak | //w:br[@w:type='page']")))
    referred: dict[tuple[str, str], int | None] = {}  # by kind and number of a note: the page that refers to it
    for block in _blocks(document.element.body):
        page = pages.of(block)
        for kind in NOTES:
            referred |= {(kind, number): page for number in _references(block, kind)}
        if block.tag == f"{W}tbl":
            yield from outline.table(_rows(block), page)
        elif text := _text(block).strip():
            level = _level(styles.get(block.style))
            yield from outline.heading(level, text, page) if level else outline.paragraph(text, page)
    yield from outline.flush(pages.page)
    yield from _notes(document, outline, referred)


class Pages:
    """The page on which each block begins; a document without any break does not tell its pages."""

    def __init__(self, *, known: bool) -> None:
        self.page = 1 if known else None
        self._asked = False  # a break that a person has set, with no text behind it yet

    def of(self, block: Any) -> int | None:
        """The page of a block's first word, or where it has none, its own."""
        if self.page is None:
            return None
        first: int | None = None
        for mark in block.xpath(MARKS):
            if mark.tag == f"{W}t":
                if mark.text:
                    first, self._asked = first or self.page, False
            elif mark.tag == f"{W}br":
                self.page, self._asked = self.page + 1, True
            elif self._asked:
                self._asked = False  # where the program has seen it: the same break
            else:
                self.page += 1
        return first or self.page


def _references(block: Any, kind: str) -> list[str]:
    """The numbers of the notes that a block refers to, in the order of its text."""
    found: list[str] = block.xpath(f".//w:{kind}Reference[not(ancestor::w:del or ancestor::w:moveFrom)]/@w:id")
    return found


def _notes(document: Any, outline: Outline, referred: dict[tuple[str, str], int | None]) -> Iterator[Placed]:
    """Footnotes and endnotes that the text refers to, under a heading of their own; all comments as one row."""
    for kind, relation in NOTES.items():
        notes = {note.get(f"{W}id"): note for part in _parts(document, relation) for note in part.iterchildren(f"{W}{kind}")}
        texts = [(_inside(notes[number]), page) for (of, number), page in referred.items() if of == kind and number in notes]
        if texts := [(text, page) for text, page in texts if text]:
            yield from outline.heading(1, f"{kind.capitalize()}s", texts[0][1])
        for text, page in texts:
            yield from outline.paragraph(text, page)
    comments = [_inside(comment) for part in _parts(document, RELATIONSHIP_TYPE.COMMENTS) for comment in part.iterchildren(f"{W}comment")]
    if comments := [text for text in comments if text]:
        said = f"{len(comments):,} comment{'s' * (len(comments) > 1)} in the margin, which are about the text and not of it"
        yield from outline.aside("\n".join(comments), None, COMMENTS, said)


def _parts(document: Any, relation: str) -> Iterator[Any]:
    """The XML of a document's parts of a kind."""
    for found in document.part.rels.values():
        if found.reltype == relation and not found.is_external:
            yield parse_xml(found.target_part.blob)


def _blocks(element: Any) -> Iterator[Any]:
    """Paragraphs and tables below an element, in whatever they are wrapped, and those of text boxes behind their paragraph."""
    for child in _found(element, {f"{W}p", f"{W}tbl"}):
        yield child
        if child.tag == f"{W}p":
            for box in _found(child, {BOX}):
                yield from _blocks(box)


def _found(element: Any, tags: set[str]) -> Iterator[Any]:
    """The nearest elements of a kind below an element: those of an alternative content once, none that are deleted."""
    for child in _children(element):
        if child.tag in tags:
            yield child
        else:
            yield from _found(child, tags)


def _children(element: Any) -> Iterator[Any]:
    alternatives = element.tag == f"{MC}AlternateContent"
    if element.tag == f"{W}sdt" and element.find(f"{W}sdtPr/{W}showingPlcHdr") is not None:
        return  # the invitation to type something
    for child in element.iterchildren(etree.Element):
        if child.tag not in NO_TEXT:
            yield child
            if alternatives:
                return  # the same for older programs follows


def _text(paragraph: Any) -> str:
    """The text of a paragraph without its text boxes; a superscript number behind a number as ^."""
    made, last = "", False
    for text, high in _pieces(paragraph):
        made += raised(made, text) if high and not last else text
        last = high
    return made


def _pieces(element: Any) -> Iterator[tuple[str, bool]]:
    """(text, whether it is superscript) in order."""
    high = bool(element.xpath("./w:rPr/w:vertAlign[@w:val='superscript']")) if element.tag == f"{W}r" else False
    for child in _children(element):
        if child.tag == BOX:
            continue
        if child.tag in (f"{W}t", f"{M}t"):
            yield child.text or "", high
        elif child.tag in SIGNS:
            yield SIGNS[child.tag], False
        elif child.tag == f"{W}br":
            yield "\n" if child.get(f"{W}type", "textWrapping") == "textWrapping" else "", False
        elif child.tag == f"{W}sym":
            code = int(child.get(f"{W}char", "FFFD"), 16)
            yield UNKNOWN if 0xD800 <= code < 0xF900 else chr(code), high
        elif child.tag.startswith(M):
            yield _formula(child), False
        else:
            yield from _pieces(child)


def _formula(element: Any) -> str:
    """An equation on one line: fractions with /, powers with ^, brackets, roots and sums with their signs."""
    match element.tag.removeprefix(M):
        case "f":
            return f"{_part(element, 'num')}/{_part(element, 'den')}"
        case "sSup":
            return f"{_part(element, 'e')}^{_part(element, 'sup')}"
        case "sSubSup":
            return f"{_part(element, 'e')}_{_part(element, 'sub')}^{_part(element, 'sup')}"
        case "rad":
            return f"√{_part(element, 'e')}"
        case "nary":
            return f"{_sign(element, 'nary', 'chr', '∫')}_{_part(element, 'sub')}^{_part(element, 'sup')} {_part(element, 'e')}"
        case "d":
            parts = ", ".join(_formula_text(child) for child in _children(element))
            return _sign(element, "d", "begChr", "(") + parts + _sign(element, "d", "endChr", ")")
        case _:
            return _formula_text(element)


def _part(element: Any, name: str) -> str:
    """A part of an equation that stays one, in brackets where it is not a single name or number."""
    part = element.find(f"{M}{name}")
    text = "" if part is None else _formula_text(part)
    return text if re.fullmatch(r"\w*|[+\-−]?\d+(?:[.,]\d+)?", text) else f"({text})"


def _sign(element: Any, kind: str, name: str, usual: str) -> str:
    found = element.find(f"{M}{kind}Pr/{M}{name}")
    return usual if found is None else str(found.get(f"{M}val", ""))


def _formula_text(element: Any) -> str:
    return "".join(text for text, _ in _pieces(element))


def _rows(table: Any) -> list[str]:
    """The rows of a table as lines; a cell over several rows stands in each, a table in a cell with its cell."""
    lines, above = [], dict[int, str]()
    for row in _found(table, {f"{W}tr"}):
        before = row.find(f"{W}trPr/{W}gridBefore")
        column = 0 if before is None else int(before.get(f"{W}val", "0"))
        if column > MOST_COLUMNS:
            raise ValueError(f"a table of {column:,} columns")
        cells = [""] * column
        for cell in _found(row, {f"{W}tc"}):
            merged, span = cell.find(f"{W}tcPr/{W}vMerge"), cell.find(f"{W}tcPr/{W}gridSpan")
            goes_on = merged is not None and merged.get(f"{W}val", "continue") == "continue"
            above[column] = above.get(column, "") if goes_on else _inside(cell)
            cells.append(above[column])
            column += 1 if span is None else int(span.get(f"{W}val", "1"))
        lines.append(line_of(cells))
    return [line for line in lines if line]


def _inside(cell: Any) -> str:
    blocks = ("; ".join(_rows(block)) if block.tag == f"{W}tbl" else _text(block) for block in _blocks(cell))
    return " ".join(" ".join(blocks).split())


def _level(style: Any) -> int | None:
    """The level of a heading, by its style or the one that its style is made from; None for other text."""
    while style is not None:
        if found := re.fullmatch(r"(?:Title|Heading (\d))", style.name or ""):
            return int(found.group(1) or 0) + 1
        style = getattr(style, "base_style", None)  # a style of lists has none
    return None
