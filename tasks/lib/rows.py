"""What a reader hands on: one row of one file."""

from typing import Any, NamedTuple

Numbered = tuple[int, dict[str, Any]]  # a row's number in its file, from 1, and its columns
Placed = (  # with the page and the heading under which it stands, and, where it is no text of the document, why not
    tuple[int, dict[str, Any], int | None, str | None]
    | tuple[int, dict[str, Any], int | None, str | None, str]
    | tuple[int, dict[str, Any], int | None, str | None, str, str]
)


class SourceRow(NamedTuple):
    """One row as it was read."""

    file: str  # as ledgers call it
    number: int  # from 1, within the file
    columns: dict[str, Any]
    page: int | None = None
    heading: str | None = None
    aside: str | None = None  # why its reader says that it is not to be used
    detail: str = ""  # more on that


class SheetError(str):
    """What a spreadsheet shows where a formula failed, such as #DIV/0!."""

    __slots__ = ()


class TooDeep(str):
    """In the place of a value whose lists and objects stand in one another deeper than any text has reason to."""

    __slots__ = ()


class FormulaWithoutValue(str):
    """A formula of which the file keeps no result: no spreadsheet program has computed it."""

    __slots__ = ()
