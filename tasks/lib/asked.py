"""What a row asks, as digests: by these, rows to train on are compared with rows to measure with."""

from collections.abc import Iterable, Iterator, Sequence

from tasks.lib import digests
from tasks.lib.cleaning import folded
from tasks.lib.records import Row


def compared(row: Row) -> Row:
    """A row as it is compared: molecules in their canonical spelling."""
    return {**row, **{spelt["field"]: spelt["text"] for spelt in row.get("canonical") or []}}


def shown(row: Row, erase: bool | str) -> Row:
    """A row as a training sees it: itself, or without its own system message, or with the text `erase` in its place."""
    return {**row, "system": "" if erase is True else erase} if erase and row.get("system") else row


class Messages:
    """The system messages of rows to measure with, by dataset.

    Where all rows of a dataset have one message, it does not tell questions apart: a row to train on asks the same under any
    other message, and tuning may erase or replace that. Where messages differ, they may hold what a question is about.
    """

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._several: set[str] = set()

    def add(self, row: Row) -> None:
        """Take a row's message into account."""
        if self._first.setdefault(row["dataset"], _system(row)) != _system(row):
            self._several.add(row["dataset"])

    def differ(self, row: Row) -> bool:
        """Whether the rows of its dataset have different messages."""
        return row["dataset"] in self._several


def measured(row: Row, *, told_apart: bool) -> list[str]:
    """What is asked of a model by a row: its question, after those before it; once as written and once with molecules spelt canonically.

    Both, because not every dataset says where its molecules are: two that do not are still compared as they are written.
    Unless questions are `told_apart` by their system messages, also without it.
    """
    asks = ([system, *_before(one), one["prompt"]] for one in spellings(row) for system in _systems(one, alone=not told_apart))
    return _digests(asks)


def trained(row: Row) -> list[str]:
    """All that a row to train on asks, spelt as in `measured`: of a conversation each question, after those before it and also alone.

    With and without the system message, which tuning may erase.
    """
    every = ((system, one) for one in spellings(row) for system in _systems(one))
    return _digests(key for system, one in every for key in _questions(system, [*_before(one), one["prompt"]]))


def begun(row: Row, *, told_apart: bool) -> list[str]:
    """The exchanges before the prompt of a conversation, as far as each answer: a row that is one of these is a part of it."""
    said, systems = _said(row), _systems(row, alone=not told_apart)
    return _digests([system, *said[:end]] for system in systems for end in range(2, len(said) + 1, 2))


def whole(row: Row) -> list[str]:
    """All that is said in a row, with and without its system message, to be looked for in what others have `begun`."""
    return _digests([system, *_said(row), row["prompt"], row.get("response", "")] for system in _systems(row))


def _questions(system: str, questions: list[str]) -> Iterator[Sequence[str]]:
    for place, question in enumerate(questions):
        yield [system, *questions[: place + 1]]
        yield [system, question]


def spellings(row: Row) -> list[Row]:
    """A row as it is written, and with molecules in their canonical spelling where it has some."""
    return [row, compared(row)] if row.get("canonical") else [row]


def _system(row: Row) -> str:
    return str(row.get("system", ""))


def _systems(row: Row, *, alone: bool = True) -> list[str]:
    """A row's system message, and none, if it is to be looked at `alone`."""
    return [_system(row), ""] if alone else [_system(row)]


def _said(row: Row) -> list[str]:
    return [turn["content"] for turn in row.get("history") or []]


def _before(row: Row) -> list[str]:
    return [turn["content"] for turn in row.get("history") or [] if turn["role"] == "user"]


def _digests(keys: Iterable[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(digests.of_text("\x1f".join(map(folded, key))) for key in keys))
