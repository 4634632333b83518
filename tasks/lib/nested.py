"""Cells inside of cells: `{answer.text}` in a map is the `text` of an object in the column `answer`."""

from collections.abc import Mapping
from typing import Any

from tasks.lib.rows import TooDeep

DEEPEST = 100  # lists and objects in one another


def has(columns: Mapping[str, Any], name: str) -> bool:
    """Whether a row has a column of that name, or an object in a column with that path of keys."""
    return name in columns or _found(columns, name) is not None


def cell(columns: Mapping[str, Any], name: str) -> Any:
    """The value of a column, or at a path inside of one: keys of objects and places in lists, from 0, with points between.

    Raises:
        KeyError: if there is neither.
    """
    if name in columns:
        return columns[name]
    found = _found(columns, name)
    if found is None:
        raise KeyError(name)
    return found[0]


def _found(columns: Mapping[str, Any], name: str) -> tuple[Any] | None:
    """The value at a path; None where the path ends early."""
    value: Any = columns
    for key in name.split("."):
        match value:
            case dict() | Mapping() if key in value:
                value = value[key]
            case list() if key.isdecimal() and int(key) < len(value):
                value = value[int(key)]
            case _:
                return None
    return (value,)


def text_keys(value: Mapping[str, Any], name: str) -> list[str]:
    """Keys of an object under which its text seems to stand."""
    return [key for key in ("text", "content", "value", name.rpartition(".")[2]) if key in value]


def shallow(columns: dict[str, Any]) -> dict[str, Any]:
    """A row in which what is nested too deep, to be walked through or shown, is replaced by a note of it."""
    deep = [name for name, value in columns.items() if isinstance(value, list | tuple | dict) and _is_deep(value)]
    return {**columns, **dict.fromkeys(deep, TooDeep(f"lists or objects in one another more than {DEEPEST} deep"))} if deep else columns


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            part for one in level for part in (one.values() if isinstance(one, dict) else one) if isinstance(part, list | tuple | dict)
        ]
        if not level:
            return False
    return True


def path_into(value: Any, name: str) -> str | None:
    """How a map would name a part of an object, or of a list with one in it; None where there is no object."""
    match value:
        case dict():
            keys = text_keys(value, name) or list(value)
            return f"{name}.{keys[0]}" if keys else name
        case list():
            paths = (path_into(item, f"{name}.{place}") for place, item in enumerate(value))
            return next((path for path in paths if path is not None), None)
        case tuple():  # a key and its value, of a map whose keys stand twice
            return name
        case _:
            return None
