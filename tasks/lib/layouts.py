"""Where the rows of a JSON or XML document seem to be: an expression for `records:`, told from its first ones."""

import json
from typing import Any

from tasks.lib import markup, nested
from tasks.lib.errors import DataError
from tasks.lib.files import Readable

ASKED = frozenset({"question", "prompt", "query", "instruction"})
ANSWERED = frozenset({"answer", "answers", "response", "output"})
LOOKED_AT = 20  # rows
TEXTS = ".[] | {text: .}"  # of a list of texts
ELEMENTS = 5_000


def of_json(document: Any, file: Readable) -> str | None:
    """A jq expression for where the rows of a JSON document are; None where they are the list at its top.

    Raises:
        DataError: where an object holds none, or several lists of them.
    """
    if isinstance(document, list) and document and all(isinstance(value, str) for value in document):
        return TEXTS
    if not isinstance(document, dict):
        return None if not isinstance(document, list) else _inner(".[]", document)  # its reader says so where it is no list
    lists = [key for key, value in document.items() if isinstance(value, list) and value and all(isinstance(v, dict) for v in value)]
    if len(lists) == 1:
        found = f".[{json.dumps(lists[0])}][]"
        return _inner(found, document[lists[0]]) or found
    if document and all(isinstance(value, dict) for value in document.values()):
        found = "to_entries[] | {key} + .value"
        return _inner(found, list(document.values())) or found
    told = f"an object with the keys {', '.join(map(repr, list(document)[:8]))}"
    raise DataError(
        "rows in a JSON document",
        told,
        "write the entry into domain.yaml by hand, with `records:` (jq), such as `records: .data[]`",
        file=file.place,
    )


def _inner(rows_at: str, rows: list[Any]) -> str | None:
    """An expression for the questions that each row holds a list of, with what stands beside the list; None where there are none."""
    looked = [row for row in rows[:LOOKED_AT] if isinstance(row, dict)]
    key = next((key for row in looked for key, value in row.items() if _asks(value)), None)
    if key is None:
        return None
    listed = dict.fromkeys(name for row in looked for name, value in row.items() if name != key and _texts(value))
    flat = "".join(f" | .[{json.dumps(name)}] |= map(.text)" for name in listed)
    quoted = json.dumps(key)
    return f"{rows_at} | . as $row | .[{quoted}][] | ($row | del(.[{quoted}]){flat}) + ."


def _asks(value: Any) -> bool:
    """Whether a value is a list of questions with their answers."""
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict) and {*value[0]} & ASKED != set() != {*value[0]} & ANSWERED


def _texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(part, dict) and "text" in part for part in value)


def of_xml(file: Readable) -> str | None:
    """The name of the elements, further down than the root's children, that hold a question and its answer; None where there are none."""
    for name, depth, below in markup.elements(file, ELEMENTS):
        inside = {word.lower() for word in below}
        if depth > 2 and inside & ASKED and inside & ANSWERED:
            return name
    return None


def parts_left(value: Any, path: str) -> list[str]:
    """Parts of an object, or of a list, that a path into it leaves out; named as a map would."""
    name, _, rest = path.partition(".")
    key = rest.partition(".")[0]
    match value:
        case dict():
            return [f"{name}.{other}" for other in value if other != key]
        case list() if key.isdecimal():
            inside = nested.cell({name: value}, f"{name}.{key}") if int(key) < len(value) else None
            further = parts_left(inside, rest) if isinstance(inside, dict) and "." in rest else []
            return [f"{name}.{part}" for part in further] + ([f"the others of {name}"] if len(value) > 1 else [])
        case _:
            return []
