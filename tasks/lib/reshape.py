"""The `records:` of a dataset: jq expressions that find rows in a document, or reshape a row (importer of jq)."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import jq

from tasks.lib.domain import Dataset
from tasks.lib.errors import DataError
from tasks.lib.files import Readable
from tasks.lib.records import SURROGATE, visible


def each(rows: Iterator[Any], file: Readable, dataset: Dataset) -> Iterator[Any]:
    """The jq expression applied to each row; it may change a row but neither drop nor add one."""
    for number, row, *aside in rows:
        if aside:  # it could not be read, and is handed on as it is
            yield number, row, *aside
            continue
        made = results(dataset, row, file, number)
        if len(made) != 1 or not isinstance(made[0], dict):
            raise DataError(
                f"dataset {dataset.name!r}: `records:` yields one object for each row",
                f"{len(made)} results",
                "change the expression; rows that shall not be used are set aside by `columns:` and `values:`",
                file=file.place,
                row=number,
            )
        yield number, made[0]


def results(dataset: Dataset, value: Any, file: Readable, row: int | None) -> list[Any]:
    """What the expression makes of a value: none, one or several results.

    Raises:
        DataError: naming file and row, where the expression fails, or where it would meet half a character, which jq
            refuses or replaces by another.
    """
    try:
        _require_whole(dataset, value, file, row)
        found: list[Any] = _program(dataset.records or ".").input_value(value).all()
    except RecursionError as error:
        raise DataError(
            f"dataset {dataset.name!r}: JSON, for `records:` to work on",
            "lists or objects in one another deeper than can be walked through",
            "write the value with fewer levels",
            file=file.place,
            row=row,
        ) from error
    except ValueError as error:
        raise DataError(
            f"dataset {dataset.name!r}: the jq expression in `records:`",
            str(error),
            "correct the expression (https://jqlang.org/manual)",
            file=file.place,
            row=row,
        ) from error
    return found


def _require_whole(dataset: Dataset, value: Any, file: Readable, row: int | None) -> None:
    """Refuse half a character, by its place: jq would blame the expression, or write U+FFFD for it unseen."""
    if (half := next(_halves(value, ""), None)) is None:
        return
    where, found = half
    byte = "\udc80" <= found <= "\udcff" and dataset.undecodable == "set-aside"  # what reading left of it
    shown = visible(found) if byte else f"\\u{ord(found):04x}"
    raise DataError(
        f"dataset {dataset.name!r}: whole characters, for `records:` to work on",
        f"{shown}, {'a byte that is no text in its encoding' if byte else 'half a surrogate pair'}, in {visible(where) or 'the value'}",
        "write the character whole there, or take it out; the expression is not at fault",
        file=file.place,
        row=row,
    )


def _halves(value: Any, where: str) -> Iterator[tuple[str, str]]:
    """Half characters in keys and values, each with its place as a path."""
    match value:
        case str():
            if not value.isascii() and (found := SURROGATE.search(value)):
                yield where, found.group()
        case dict():
            for key, part in value.items():
                yield from _halves(key, f"the key {key!r} of {where or 'the row'}")
                yield from _halves(part, f"{where}.{key}")
        case list():
            for place, part in enumerate(value):
                yield from _halves(part, f"{where}[{place}]")


@lru_cache(maxsize=64)
def _program(text: str) -> Any:
    return jq.compile(text)
