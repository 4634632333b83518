"""What a row asks, as digests: by these, rows to train on are compared with rows to measure with."""

from collections.abc import Iterable, Iterator, Sequence

from tasks.lib import digests
from tasks.lib.cleaning import folded
from tasks.lib.records import Row


def compared(row: Row) -> Row:
    """A row as it is compared: molecules in their canonical spelling."""
    return {**row, **{spelt["field"]: spelt["text"] for spelt in row.get("canonical") or []}}


def measured(row: Row) -> list[str]:
    """What is asked of a model by a row: its question, after those before it; once as written and once with molecules spelt canonically.

    Both, because not every dataset says where its molecules are: two that do not are still compared as they are written.
    """
    return _digests(key for one in _spellings(row) for key in [[_system(one), *_before(one), one["prompt"]]])


def trained(row: Row) -> list[str]:
    """All that a row to train on asks, spelt as in `measured`: of a conversation each question, after those before it and also alone."""
    return _digests(key for one in _spellings(row) for key in _questions(_system(one), [*_before(one), one["prompt"]]))


def begun(row: Row) -> list[str]:
    """The exchanges before the prompt of a conversation, as far as each answer: a row that is one of these is a part of it."""
    said = [turn["content"] for turn in row.get("history") or []]
    return _digests([_system(row), *said[:end]] for end in range(2, len(said) + 1, 2))


def whole(row: Row) -> str:
    """All that is said in a row, to be looked for in what others have `begun`."""
    said = [turn["content"] for turn in row.get("history") or []]
    return _digests([[_system(row), *said, row["prompt"], row.get("response", "")]])[0]


def _questions(system: str, questions: list[str]) -> Iterator[Sequence[str]]:
    for place, question in enumerate(questions):
        yield [system, *questions[: place + 1]]
        yield [system, question]


def _spellings(row: Row) -> list[Row]:
    return [row, compared(row)] if row.get("canonical") else [row]


def _system(row: Row) -> str:
    return str(row.get("system", ""))


def _before(row: Row) -> list[str]:
    return [turn["content"] for turn in row.get("history") or [] if turn["role"] == "user"]


def _digests(keys: Iterable[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(digests.of_text("\x1f".join(map(folded, key))) for key in keys))
