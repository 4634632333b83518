"""Overlap with declared conversations, and where a system message may not be seen in training; what is kept in memory meanwhile."""

import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from tasks.lib.errors import DataError
from tasks.lib.holding import Questions
from tasks.lib.records import Records, RecordWriter, iterate
from tasks.split import SplitConfig, _held_out, split
from tests.datasets import ingested, reasons, resolved
from tests.tasks.test_overlap import TALKS, talk

ASIDE = SplitConfig(overlap="set-aside")
TOLD = {"map": {"prompt": "{q}", "response": "{a}", "system": "{s}"}}
SPOKEN = {"map": {**TALKS["map"], "system": "{s}"}}


def asked(*rows: tuple[str, str]) -> list[dict[str, Any]]:
    """Rows of a system message and a question."""
    return [{"s": system, "q": question, "a": f"answer {number}"} for number, (system, question) in enumerate(rows)]


def test_the_beginning_of_a_declared_conversation_is_not_trained_on(workplace: Path) -> None:
    """Whatever the setting: it is a part of the row, and does not ask what the row asks."""
    judged = resolved(workplace, "judged", "eval", [talk("who?", "me", "when?", "now", "why?", "so")], **TALKS)
    rows = [talk("Who?", "me"), talk("who?", "me", "when?", "now"), talk("who?", "you"), talk("where?", "here")]
    made = split(SplitConfig(), ingested(judged, resolved(workplace, "talks", "tune", rows, **TALKS)))
    assert reasons(made) == dict.fromkeys(("talks:1", "talks:2"), "eval-overlap")
    assert {row["detail"] for row in iterate(made.path, "set_aside")} == {"is the beginning of a held-out conversation"}


def test_a_question_is_found_under_a_system_message_that_tuning_may_erase(workplace: Path) -> None:
    judged = resolved(workplace, "judged", "eval", asked(("", "who?"), ("", "what?")), **TOLD)
    given = ingested(judged, resolved(workplace, "train", "tune", asked(("Be brief.", "Who?"), ("Be brief.", "where?")), **TOLD))
    with pytest.raises(DataError, match="judged:1"):
        split(SplitConfig(), given)
    assert set(reasons(split(ASIDE, given))) == {"train:1"}


def test_a_question_is_found_that_tuning_may_put_under_the_message_of_all_that_is_asked(workplace: Path) -> None:
    judged = resolved(workplace, "judged", "eval", asked(("Be kind.", "who?"), ("Be kind.", "what?")), **TOLD)
    rows = asked(("Be brief.", "who?"), ("", "what?"), ("Be brief.", "where?"))
    made = split(ASIDE, ingested(judged, resolved(workplace, "train", "tune", rows, **TOLD)))
    assert set(reasons(made)) == {"train:1", "train:2"}


def test_messages_that_differ_within_what_is_asked_are_part_of_the_questions(workplace: Path) -> None:
    """A text that the question is about, for example."""
    judged = resolved(workplace, "judged", "eval", asked(("On apples.", "who?"), ("On pears.", "who?")), **TOLD)
    rows = asked(("On plums.", "who?"), ("On pears.", "who?"))
    made = split(ASIDE, ingested(judged, resolved(workplace, "train", "tune", rows, **TOLD)))
    assert set(reasons(made)) == {"train:2"}


@pytest.mark.parametrize(("held", "left"), [("", True), ("Be kind.", True), ("On {i}.", False)])
def test_the_same_goes_for_what_is_held_out_and_its_beginnings(held: str, left: bool, workplace: Path) -> None:
    first = [talk(f"who {i}?", "me", "when?", "now", s=held.format(i=i)) for i in range(6)]
    other = [talk(f"who {i}?", "me", "when?", "never", s="Be brief.") for i in range(6)]
    other += [talk(f"who {i}?", "me", s="Be brief.") for i in range(6)]
    given = [resolved(workplace, "held", "tune", first, **SPOKEN, holdout=3), resolved(workplace, "other", "tune", other, **SPOKEN)]
    made = split(SplitConfig(), ingested(*given))
    numbers = [int(row["id"].split(":")[1]) for row in iterate(made.path, "eval")]
    assert len(numbers) == 3
    assert set(reasons(made)) == ({f"other:{number + more}" for number in numbers for more in (0, 6)} if left else set())


def test_what_is_held_out_is_chosen_without_the_texts_in_memory(workplace: Path) -> None:
    said = "x" * 1_000
    records = Records(id="dedup/1", digest="1" * 64, ledger=[])
    records.path.mkdir(parents=True)
    with RecordWriter(records.path) as writer:
        for i in range(12_000):
            turns = [{"role": role, "content": f"{i} {said}"} for role in ("user", "assistant")]
            row = {"id": f"d:{i}", "dataset": "d", "role": "tune", "file": "f", "row": i, "prompt": "?", "response": "!", "holdout": 5}
            writer.put({**row, "history": turns}, "tune")
    tracemalloc.start()
    _held_out(records, Questions())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12_000 * len(said), "the texts are twice that; a batch of rows is a third of it"
