"""Expectations that are not met, for people: what was expected in plain words, and the first rows that are at fault."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from tasks.lib.expectations_result import Verdict
from tasks.lib.judgments import PACKED
from tasks.lib.records import Row, files

SHOWN = 3  # rows of one expectation
AROUND = 120  # characters before and behind what is at fault
LISTED = 8  # values of a set
CHARS = "_chars"
Arguments = Mapping[str, Any]


class FailingRow(NamedTuple):
    """One row that fails: where it is, by which id it is known, what is wrong with it, and the place in its text."""

    place: str
    id: str
    fault: str
    excerpt: str


class Failure(NamedTuple):
    """One verdict that is not met, with the rows shown of it."""

    verdict: Verdict
    told: str
    found: str
    rows: list[FailingRow]

    @property
    def more(self) -> int:
        """Failing rows that are not shown."""
        return self.verdict.failing - len(self.rows)


def failures(verdicts: Sequence[Verdict], folder: Path | None, *, withheld: bool) -> list[Failure]:
    """Every verdict that is not met and not waived.

    Args:
        verdicts: what the expectations said.
        folder: of the records that were judged; None where they are not at hand: then rows are named by id alone.
        withheld: show no content of a row, and no fault, which may quote it.
    """
    made = []
    for verdict in verdicts:
        if verdict.passed or verdict.waived:
            continue
        ids = verdict.failing_ids[:SHOWN]
        known = {} if folder is None or not ids else {row["id"]: row for row in _by_id(folder, verdict.role, ids)}
        made.append(Failure(verdict, told(verdict), _found(verdict), [_failing(verdict, one, known.get(one), withheld) for one in ids]))
    return made


def told(verdict: Verdict) -> str:
    """What was expected, in plain words."""
    name, arguments = verdict.expectation, verdict.kwargs
    if not name.startswith("expect_"):
        return f"{name}, dataset {arguments['dataset']}" if "dataset" in arguments else name
    column = _column(arguments)
    if name in PACKED:
        said = f"{column}: {PACKED[name].words}"
    elif name in WORDS:
        said = f"{column} {WORDS[name](arguments)}"
    else:
        said = _spelt(name, arguments)
    share = arguments.get("mostly", 1)
    return said if share in (None, 1) else f"{said}, in at least {100 * share:.4g} % of the rows"


def _found(verdict: Verdict) -> str:
    ran_out = f" ({verdict.lapsed})" if verdict.lapsed else ""
    if verdict.failing:
        return f"{verdict.failing:,} of {verdict.judged:,} rows fail{ran_out}"
    rounded = re.sub(r"\d+\.\d{4,}", lambda number: f"{float(number[0]):.3f}", verdict.remark)
    return (rounded or "it does not hold") + ran_out


def _column(arguments: Arguments) -> str:
    names = [arguments[key] for key in ("column", "column_A", "column_B") if arguments.get(key)] + list(arguments.get("column_list") or [])
    return " and ".join(f"the length of {name.removesuffix(CHARS)}, in characters," if name.endswith(CHARS) else name for name in names)


def _spelt(name: str, arguments: Arguments) -> str:
    """A name of Great Expectations as words, with its arguments."""
    given = {key: value for key, value in arguments.items() if key not in ("column", "mostly", "meta", "notes", "severity")}
    words = name.removeprefix("expect_").replace("_", " ")
    said = f"{arguments['column']}: {words}" if "column" in arguments else words
    listed = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in given.items())
    return f"{said} ({listed})" if listed else said


def _between(what: str) -> Callable[[Arguments], str]:
    def words(arguments: Arguments) -> str:
        least, most = arguments.get("min_value"), arguments.get("max_value")
        limits = ["" if least is None else f"at least {_plain(least)}", "" if most is None else f"at most {_plain(most)}"]
        return f"{what} {' and '.join(limit for limit in limits if limit) or 'anything'}".strip()

    return words


def _plain(value: Any) -> str:
    """A limit as people write it; one may also be a date."""
    return f"{int(value) if float(value).is_integer() else value:,}" if isinstance(value, (int, float)) else str(value)


def _listed(arguments: Arguments) -> str:
    values = list(arguments.get("value_set") or [])
    return ", ".join(map(str, values[:LISTED])) + (" …" if len(values) > LISTED else "")


WORDS: dict[str, Callable[[Arguments], str]] = {
    "expect_column_values_to_not_be_null": lambda _: "is filled in every row",
    "expect_column_values_to_be_null": lambda _: "is empty in every row",
    "expect_column_values_to_be_unique": lambda _: "says something else in every row",
    "expect_column_values_to_be_in_set": lambda given: f"is one of {_listed(given)}",
    "expect_column_values_to_not_be_in_set": lambda given: f"is none of {_listed(given)}",
    "expect_column_values_to_be_between": _between("is"),
    "expect_column_value_lengths_to_be_between": _between("is, in characters,"),
    "expect_column_values_to_match_regex": lambda given: f"holds what the pattern {given.get('regex')} describes",
    "expect_column_values_to_not_match_regex": lambda given: f"holds nothing of what the pattern {given.get('regex')} describes",
    "expect_column_pair_values_to_be_equal": lambda _: "say the same",
    "expect_column_mean_to_be_between": _between("is, on average,"),
    "expect_column_median_to_be_between": _between("is, in the middle,"),
    "expect_column_min_to_be_between": _between("is, where least,"),
    "expect_column_max_to_be_between": _between("is, where most,"),
    "expect_column_unique_value_count_to_be_between": _between("has different values:"),
    "expect_table_row_count_to_be_between": _between("rows:"),
}


def _failing(verdict: Verdict, identifier: str, row: Row | None, withheld: bool) -> FailingRow:
    if row is None:
        return FailingRow("", identifier, "", "")
    place = f"{row['file']}, row {row['row']}" + (f", page {row['page']}" if row.get("page") else "")
    if withheld:
        return FailingRow(place, identifier, "", "")
    names = [str(verdict.kwargs[key]) for key in ("column", "column_A", "column_B") if verdict.kwargs.get(key)]
    names += [str(name) for name in verdict.kwargs.get("column_list") or []]
    texts = [_text(row.get(name.removesuffix(CHARS))) for name in names]
    fault = fault_of(verdict, texts[0]) if len(texts) == 1 else ""
    said = " | ".join(_excerpt(text, fault) for text in texts)
    return FailingRow(place, identifier, fault, "" if said and fault.endswith(said) else said)


def fault_of(verdict: Verdict, text: str) -> str:
    """What is wrong with one text that fails; "" where nothing but the text can say it."""
    name, arguments = verdict.expectation, verdict.kwargs
    if name in PACKED:
        return PACKED[name].of(text, arguments) or ""
    if not text:
        return "empty"
    if "lengths" in name or str(arguments.get("column")).endswith(CHARS):
        return f"{len(text):,} characters"
    if name == "expect_column_values_to_not_match_regex" and (found := re.search(str(arguments.get("regex")), text)):
        return f"it holds {found[0]!r}"
    return ""


def _text(value: Any) -> str:
    """A value as it is judged."""
    if isinstance(value, list):
        return "\n".join(part["content"] if isinstance(part, dict) else str(part) for part in value)
    return "" if value is None else str(value)


def _excerpt(text: str, fault: str) -> str:
    """The piece of a text around what its fault quotes, or its beginning, on one line."""
    quoted = [piece for piece in (*re.findall(r"'([^']+)'", fault), fault.rpartition(": ")[2]) if piece and piece in text]
    at = text.index(max(quoted, key=len)) if quoted else 0
    start, end = max(0, at - AROUND), min(len(text), at + 2 * AROUND)
    if start and (gap := text.find(" ", start, at)) > 0:
        start = gap  # between words
    piece = " ".join(text[start:end].split())
    return f"{'… ' if start else ''}{piece}{' …' if end < len(text) else ''}"


def _by_id(folder: Path, role: str, ids: Sequence[str]) -> Iterator[Row]:
    """Rows of a role by their ids; other rows are not made into objects."""
    for file in files(folder, role):
        for row in pq.read_table(file, filters=[("id", "in", list(ids))]).to_pylist():
            yield {key: value for key, value in row.items() if value is not None}
