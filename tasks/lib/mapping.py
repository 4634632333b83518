"""A row's columns become a record: typed cells, replaced values, templates."""

import difflib
import json
import math
import re
from collections.abc import Sequence
from functools import lru_cache
from string import Formatter
from typing import Any

from tasks.lib import chats, chemistry, nested
from tasks.lib.domain import Dataset
from tasks.lib.errors import DataError
from tasks.lib.records import CONTENT, SURROGATE, Row
from tasks.lib.rows import FormulaWithoutValue, SheetError, SourceRow, TooDeep

DECIMAL_COMMA = re.compile(r"([+-]?(?:\d+(?=,\d{1,2}$)|0)),(\d+)")


class SetAside(Exception):  # noqa: N818  # not an error, as it says
    """A row that cannot be used; not an error, a reason, and the column of the file that is at fault, where it is one."""

    def __init__(self, reason: str, detail: str, where: str = "") -> None:
        self.reason, self.detail, self.where = reason, detail, where
        super().__init__(reason)


@lru_cache(maxsize=1024)
def _parts(template: str) -> tuple[tuple[str, str | None], ...]:
    return tuple((literal, name) for literal, name, _, _ in Formatter().parse(template))


def columns_used(dataset: Dataset) -> list[str]:
    """Every column that the types, the replaced values or the map name.

    In the order of the card: the first fault of a row is its reason, so the order must be the same every time.
    """
    mapped = [name for template in dataset.map.values() for _, name in _parts(template) if name is not None]
    return list(dict.fromkeys([*dataset.columns, *dataset.values, *mapped]))


def column_of(dataset: Dataset, field: str) -> str:
    """The column of the file that a field is taken from, as people know it, with the field beside it."""
    names = list(dict.fromkeys(name for _, name in _parts(dataset.map[field]) if name is not None))
    if not names:
        return f"`{field}` of the map"
    columns = f"column{'s' * (len(names) > 1)} {', '.join(map(repr, names))}"
    return columns if names == [field] else f"{columns} (`{field}` of the map)"


def require_columns(dataset: Dataset, source: SourceRow) -> None:
    """Refuse a map that names a column which the file does not have."""
    if (fault := missing_column(dataset, source)) is not None:
        raise DataError(*fault, file=source.file, row=source.number)


def missing_column(dataset: Dataset, source: SourceRow) -> tuple[str, str, str] | None:
    """What was asked, found and is to do where a row lacks a column that the map names; None where it has all."""
    row = source.columns
    for name in (name for name in columns_used(dataset) if not nested.has(row, name)):
        near = difflib.get_close_matches(name, row.keys(), 1)
        mark = _other_delimiter(source)
        return (
            f"dataset {dataset.name!r}: a column {name!r}, which its map names",
            f"the columns {', '.join(map(repr, row.keys())) or 'none'}",
            mark or (f"did you mean {near[0]!r}?" if near else "correct the map"),
        )
    return None


def _other_delimiter(source: SourceRow) -> str | None:
    """What to do where a table's only column seems to be a whole line of cells."""
    names, written = list(source.columns), source.file.lower()
    if len(names) != 1 or not any(f".{form}" in written for form in ("csv", "tsv", "tab", "txt")):
        return None
    marks = [mark for mark in ";\t|" if mark in names[0]]
    return f"set `delimiter: {json.dumps(max(marks, key=names[0].count))}` in the dataset's entry in domain.yaml" if marks else None


def place_of(dataset: Dataset, source: SourceRow) -> Row:
    """Where a row is from, and the id by which it is known ever after."""
    file = "" if source.file == dataset.file_name else f"{source.file}:"
    return {"id": f"{dataset.name}:{file}{source.number}", "dataset": dataset.name, "file": source.file, "row": source.number}


def to_record(dataset: Dataset, source: SourceRow, columns: Sequence[str] | None = None) -> Row:
    """Map one row; `columns` are those that the dataset uses, where they are known already.

    Raises:
        SetAside: with the reason, if a cell is missing, unreadable or not among the values listed.
    """
    columns = columns_used(dataset) if columns is None else columns
    if source.aside is not None:
        raise SetAside(source.aside, source.detail or "printed in the margin of many pages: a header or a footer", source.detail)
    if missing := [name for name in columns if not nested.has(source.columns, name)]:
        raise SetAside("missing-column", f"the row has no column {missing[0]!r}", f"column {missing[0]!r}")
    _require_text(source.heading or "", "the heading above it")
    chat = [name for _, name in _parts(dataset.map["messages"])] if "messages" in dataset.map else []
    cells = {name: _cell(dataset, name, nested.cell(source.columns, name)) for name in columns if name not in chat}
    record: Row = {
        **place_of(dataset, source),
        "role": dataset.role,
        "page": source.page,
        "heading": source.heading,
        "group": "",
        "holdout": dataset.holdout,
        "choices": dataset.choices,
    }
    for key, template in dataset.map.items():
        if key != "messages":
            record[key] = "".join(literal + ("" if name is None else cells[name]) for literal, name in _parts(template))
    record["canonical"] = _canonical(dataset, cells) or None
    record["smiles"] = [cells[name] for name, kind in dataset.columns.items() if kind == "smiles" and name in cells] or None
    if chat:
        record |= _conversation(dataset, nested.cell(source.columns, str(chat[0])), record.get("system", ""))
    if "rating" in record:
        record["rating"] = _rating(record["rating"], column_of(dataset, "rating"))
    if "winner" in record and record["winner"] not in ("a", "b"):
        raise _unknown(column_of(dataset, "winner"), f"gives {record['winner'][:80]!r}, not a or b")
    if dataset.choices and record["response"].strip() and record["response"].strip() not in dataset.choices:
        raise _unknown(column_of(dataset, "response"), f"gives {record['response'][:80]!r}, which is none of the choices")
    return record


def _conversation(dataset: Dataset, value: Any, system: str) -> Row:
    """The fields of a conversation; its own system message goes before the map's."""
    where = column_of(dataset, "messages")
    _require_depth(value, where)
    try:
        said = chats.conversation(value)
    except chats.Malformed as fault:
        raise SetAside(fault.reason, f"{where}: {fault.detail}", where) from fault
    for text in (said.system, said.prompt, said.response, *(turn["content"] for turn in said.history)):
        _cell(dataset, "", text)  # half a character is as wrong here as in a cell
    made: Row = {"prompt": said.prompt, "response": said.response, "history": said.history or None}
    return made | ({"system": said.system or system} if said.system or system else {})


def _canonical(dataset: Dataset, cells: dict[str, str]) -> list[dict[str, str]]:
    """The fields in which a molecule stands, with its canonical spelling: by it, two rows are compared."""
    molecules = {
        name: chemistry.canonical(cells[name]) or cells[name]
        for name, kind in dataset.columns.items()
        if kind == "smiles" and name in cells
    }
    spelt = {**cells, **molecules}
    return [
        {"field": key, "text": "".join(literal + ("" if name is None else spelt[name]) for literal, name in _parts(template))}
        for key, template in dataset.map.items()
        if key in CONTENT and any(name in molecules for _, name in _parts(template))
    ]


def _unknown(where: str, found: str) -> SetAside:
    return SetAside("unknown-value", f"{where} {found}", where)


def _cell(dataset: Dataset, name: str, value: Any) -> str:
    kind, where = dataset.columns.get(name), f"column {name!r}"
    if kind == "json":
        value = _json(value, where)
    _require_plain(value, name)
    text = _text(value, where)
    if isinstance(value, SheetError):
        raise SetAside("spreadsheet-error", f"{where} shows {value}", where)
    _require_text(text, where)
    if kind is not None and not text.strip():
        raise SetAside("missing-value", f"{where} is empty", where)
    if name in dataset.values:
        replaced = dataset.values[name].get(text.strip())
        if replaced is None:
            raise _unknown(where, f"holds {text[:80]!r}")
        text = replaced
    if kind == "number":
        _number(text, where)
    if kind == "smiles":
        text = text.strip()
        if (fault := chemistry.smiles_fault(text)) is not None:
            raise SetAside("unreadable-smiles", f"{where}: {fault}", where)
    return text


def _require_text(text: str, where: str) -> None:
    """Refuse what no file can hold as UTF-8: JSON may escape half a character, and a byte may be no text."""
    if text.isascii() or not (found := SURROGATE.search(text)):
        return
    if "\udc80" <= found.group() <= "\udcff":  # what reading left of a byte that is no text
        raise SetAside(
            "undecodable", f"{where} holds the byte 0x{ord(found.group()) - 0xDC00:02x}, which is no text in its encoding", where
        )
    raise SetAside("broken-text", f"{where} holds half a character (a lone surrogate)", where)


def _require_depth(value: Any, where: str) -> None:
    if isinstance(value, TooDeep):
        raise SetAside("nested-value", f"{where} holds {value}", where)


def _require_plain(value: Any, name: str) -> None:
    """Set aside what would not be text: an object, or a formula that nothing has computed."""
    _require_depth(value, f"column {name!r}")
    if isinstance(value, FormulaWithoutValue):
        raise SetAside("formula-without-value", f"column {name!r} holds {value}, and the file keeps no result of it", f"column {name!r}")
    if (path := nested.path_into(value, name)) is not None:
        where = f"column {name!r}"
        raise SetAside("nested-value", f"{where} holds an object; its parts can be mapped, such as {{{path}}}", where)


def _json(value: Any, where: str) -> Any:
    """An object, a list or a value as its JSON; text that is JSON already as it would be written here. Nothing stays nothing."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        made = json.loads(value) if isinstance(value, str) else value
        return json.dumps(made, ensure_ascii=False, default=str, allow_nan=False)
    except ValueError as error:
        raise SetAside("not-json", f"{where} holds {str(value)[:80]!r}", where) from error


def _rating(text: str, where: str) -> float:
    """A number, also one with a decimal comma; what may be thousands, such as 1,000, is none."""
    decimal = DECIMAL_COMMA.fullmatch(text.strip())
    return _number(text if decimal is None else f"{decimal[1]}.{decimal[2]}", where)


def _number(text: str, where: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise SetAside("not-a-number", f"{where} holds {text[:80]!r}", where)
    return number


def _text(value: Any, where: str) -> str:
    """A cell as text: lists by line, lists of lists as rows of a table, whole reals without '.0'."""
    match value:
        case None:
            return ""
        case str():
            return value
        case bytes():
            return value.decode("utf-8", "surrogateescape")  # a binary column is text or nothing that can be used
        case bool():
            return "yes" if value else "no"
        case float() if not math.isfinite(value):
            raise SetAside("not-a-number", f"{where} holds {value}", where)
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        case list() if any(isinstance(item, list) for item in value):
            return "\n".join(" | ".join(_text(cell, where) for cell in (item if isinstance(item, list) else [item])) for item in value)
        case list():
            return "\n".join(_text(item, where) for item in value)
        case _:
            return str(value)
