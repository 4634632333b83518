"""XML files become rows: elements with their text in order, whatever mark-up stands in it."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from lxml import etree

from tasks.lib.domain import Dataset
from tasks.lib.errors import DataError
from tasks.lib.files import Readable
from tasks.lib.outline import raised
from tasks.lib.rows import Numbered
from tasks.lib.tables import broken

# what stands in a sentence, by its name in JATS, PubMed, HTML and TEI
MARKUP = {
    "b", "bold", "i", "italic", "em", "strong", "u", "underline", "sub", "sup", "sc", "tt", "monospace", "span", "hi", "a", "ext-link",
}  # fmt: skip


def xml(file: Readable, dataset: Dataset) -> Iterator[Numbered]:
    """The children of the root element, or every element whose name `records:` gives, as rows.

    A row's columns are its attributes (`@name`), its children's text by their names (`child`, `child/grandchild`;
    repeated ones one a line) and its own text (`text`). Text with elements in it is whole, and they are columns besides.
    Entities are not resolved but stand as they are written, and nothing is fetched.
    """
    number = 0
    wanted = dataset.records
    try:
        with file.open() as stream:
            walker = etree.iterparse(
                stream, events=("start", "end"), resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False,
                remove_pis=True, remove_comments=True,
            )  # fmt: skip
            depth = around = 0  # `around`: rows that an element stands in, whose text it is, too
            for event, element in walker:
                step = 1 if event == "start" else -1
                depth += step
                if not (_name(element) == wanted if wanted else depth == (2 if event == "start" else 1)):
                    continue
                around += step
                if event == "end":
                    number += 1
                    yield number, _columns(element)
                    if not around:
                        _forget(element)
    except etree.XMLSyntaxError as error:
        raise broken(file, dataset, "xml", error, number or None) from error
    if number == 0 and wanted:
        raise DataError(
            f"dataset {dataset.name!r}: elements called {wanted!r}, which `records:` names",
            "none in the file",
            "correct `records:` in domain.yaml",
            file=file.place,
        )


def elements(file: Readable, most: int) -> Iterator[tuple[str, int, list[str]]]:
    """The first elements with children: name, depth (the root's is 1), names of the children. Nothing more where the file breaks off."""
    depth = 0
    with file.open() as stream:
        walker = etree.iterparse(
            stream, events=("start", "end"), resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False,
            remove_pis=True, remove_comments=True,
        )  # fmt: skip
        try:
            for event, element in islice(walker, 2 * most):
                depth += 1 if event == "start" else -1
                if event == "end" and len(element):
                    yield _name(element), depth + 1, [_name(child) for child in element.iterchildren(etree.Element)]
        except etree.XMLSyntaxError:
            return  # whoever reads the rows says what is wrong with it


def _forget(element: Any) -> None:
    """Free what was read, so that a file of any size is read in little memory."""
    element.clear()
    while element.getprevious() is not None:
        del element.getparent()[0]


def _name(element: Any) -> str:
    return etree.QName(element).localname if isinstance(element.tag, str) else ""


def _columns(element: Any) -> dict[str, Any]:
    columns: dict[str, Any] = {f"@{etree.QName(key).localname}": value for key, value in element.attrib.items()}
    texts = {"text": [_own(element)]}
    for key, child in _below(element, ""):
        texts.setdefault(key, []).append(_own(child))
    return columns | {key: "\n".join(found).lstrip("\n") for key, found in texts.items()}


def _below(element: Any, above: str) -> Iterator[tuple[str, Any]]:
    """Every element below another one, in order, with the names that lead to it."""
    for child in element.iterchildren(etree.Element):
        yield f"{above}{_name(child)}", child
        yield from _below(child, f"{above}{_name(child)}/")


def _own(element: Any) -> str:
    """An element's text: all that is in it where text and elements are mixed, else what is not in its children."""
    return (_whole(element) if _is_mixed(element) else element.text or "").strip()


def _is_mixed(element: Any) -> bool:
    """Whether text stands beside its children, or all of them are mark-up; one with no tag is an entity that is not resolved."""
    if len(element) and (element.text or "").strip():
        return True
    if any((child.tail or "").strip() or not isinstance(child.tag, str) for child in element):
        return True
    return len(element) > 0 and all(_name(child) in MARKUP for child in element)


def _whole(element: Any) -> str:
    """All text in an element, in order; children that stand in no sentence, such as those of a list, each on a line."""
    parts, sentence = [element.text or ""], _is_mixed(element)
    for child in element:
        text = _whole(child) if isinstance(child.tag, str) else child.text
        before = next((part for part in reversed(parts) if part), "")
        if not sentence or (isinstance(child.tag, str) and len(child) and not _is_mixed(child)):
            parts += ["" if before.endswith("\n") else "\n", text.strip(), "\n"]
        else:
            parts.append(raised(before, text) if _name(child) == "sup" else text)
        parts.append((child.tail or "") if sentence else "")
    return "".join(parts)
