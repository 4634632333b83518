"""What the cells of columns say beyond their names: molecules, objects, sides of a comparison, votes, grades with words."""

import re
from typing import Any

from tasks.lib import chemistry, nested
from tasks.lib.errors import ConfigError
from tasks.lib.rows import SourceRow

SIDES = (("_a", "_b"), ("_i", "_j"), ("_1", "_2"), ("_left", "_right"), ("1", "2"))
CHOSEN = ("label", "winner", "choice", "preferred", "preference", "better")
VALUES = (("0", "1"), ("1", "2"), ("a", "b"), ("A", "B"), ("i", "j"))  # of the first side, of the second
VOTE = re.compile(r"(.+)_\d+")
GRADE = re.compile(r"\s*([+-]?\d{1,3}(?:[.,]\d{1,2})?)(?![\d.,])(.*)", re.DOTALL)
MEASURED = re.compile(r"(measured|expt|exp|experimental|observed|target|value|activity|y)(_.*)?")
NAME = 60  # characters of a text that is a name rather than a document, at most
GRADES, MANY = 20, 3  # different ones at most; voters at least
Entry = dict[str, Any]


def values(rows: list[SourceRow], name: str) -> list[str]:
    """The different cells of a column, as text, in their order; empty ones aside."""
    cells = (str(cell).strip() for row in rows if row.aside is None and (cell := row.columns.get(name)) is not None)
    return list(dict.fromkeys(cell for cell in cells if cell))


def are_molecules(rows: list[SourceRow], name: str) -> bool:
    """Whether most cells of a column, which is called so, are SMILES that can be read."""
    found = values(rows, name)
    return "smiles" in name.lower() and bool(found) and sum(chemistry.smiles_fault(cell) is None for cell in found) * 2 > len(found)


def are_objects(rows: list[SourceRow], name: str) -> bool:
    """Whether a column holds objects of several parts, none of which seems to be its text."""
    found = [cell for row in rows if isinstance(cell := row.columns.get(name), dict)]
    found += [part for row in rows if isinstance(cell := row.columns.get(name), list) for part in cell if isinstance(part, dict)]
    return bool(found) and not any(nested.text_keys(cell, name) for cell in found) and len({key for cell in found for key in cell}) > 1


def sides(names: list[str]) -> tuple[str, str] | None:
    """Two columns that are called alike, but for the mark of a side."""
    for first, second in SIDES:
        for name in names:
            if name.endswith(first) and (other := name.removesuffix(first) + second) in names and name != first:
                return name, other
    return None


def comparison(rows: list[SourceRow], names: list[str]) -> Entry | None:
    """How a column, or the votes of several people, say which side was chosen: `values:`, and `records:` where votes are counted."""
    for name in names:
        if name.lower() in CHOSEN and (pair := next((p for p in VALUES if {*values(rows, name)} == {*p}), None)):
            return {"winner": name, "values": {name: {pair[0]: "a", pair[1]: "b"}}}
    stems: dict[str, list[str]] = {}
    for name in names:
        if found := VOTE.fullmatch(name):
            stems.setdefault(found[1], []).append(name)
    for stem, voters in stems.items():
        if len(voters) >= MANY and all({*values(rows, name)} <= {"0", "1", "0.0", "1.0"} for name in voters):
            return {"winner": "vote", "values": {"vote": {"0": "a", "1": "b"}}, "records": _majority(stem)}
    return None


def _majority(stem: str) -> str:
    """A row with the side that most people chose; a tie is no side, and set aside."""
    taken = f'select(.key | test("^{re.escape(stem)}_[0-9]+$")) | .value | select(. != null and . != "") | tonumber'
    return (
        f"([to_entries[] | {taken}]) as $votes | ([$votes[] | select(. == 1)] | length * 2) as $second"
        ' | . + {vote: (if $second > ($votes | length) then "1" elif $second < ($votes | length) then "0" else "tie" end)}'
    )


def require_texts(rows: list[SourceRow]) -> None:
    """Refuse a list of names, which nobody meant to learn as documents.

    Raises:
        ConfigError: saying what they may be, and how to take them all the same.
    """
    found = values(rows, "text")
    if found and all(len(cell) <= NAME for cell in found):
        raise ConfigError(
            "documents, or questions with answers",
            f"a list of {len(found):,} texts of at most {max(map(len, found))} characters, such as {found[0]!r}: names, perhaps of labels",
            "write them as `choices:` of the dataset whose answers they are; if they are documents, add --role corpus",
        )


def grades(rows: list[SourceRow], name: str) -> dict[str, str] | None:
    """The number that each grade such as `4-Excellent` begins with; None where the cells are numbers, or no such grades."""
    found = [(cell, GRADE.fullmatch(cell)) for cell in values(rows, name)]
    read = {cell: match[1].replace(",", ".") for cell, match in found if match}
    worded = any(match and match[2].strip() for _, match in found)
    return read if 1 < len(found) <= GRADES and len(read) == len(found) and worded else None


def measured(names: dict[str, str]) -> str | None:
    """The one column whose name says that it was measured; `names` are columns by what they are called in small letters."""
    found = [name for key, name in names.items() if MEASURED.fullmatch(key)]
    return found[0] if len(found) == 1 else None
