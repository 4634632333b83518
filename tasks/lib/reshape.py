"""The `records:` of a dataset: jq expressions that find rows in a document, or reshape a row (importer of jq)."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import jq

from tasks.lib.domain import Dataset
from tasks.lib.errors import DataError
from tasks.lib.files import Readable
from tasks.lib.rows import Numbered


def each(rows: Iterator[Numbered], file: Readable, dataset: Dataset) -> Iterator[Numbered]:
    """The jq expression applied to each row; it may change a row but neither drop nor add one."""
    for number, row in rows:
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
        DataError: naming file and row, where the expression fails.
    """
    try:
        found: list[Any] = _program(dataset.records or ".").input_value(value).all()
    except ValueError as error:
        raise DataError(
            f"dataset {dataset.name!r}: the jq expression in `records:`",
            str(error),
            "correct the expression (https://jqlang.org/manual)",
            file=file.place,
            row=row,
        ) from error
    return found


@lru_cache(maxsize=64)
def _program(text: str) -> Any:
    return jq.compile(text)
