"""What is measured with is not trained on: compared by molecules, and in conversations by what went before."""

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.dedup import DedupConfig, dedup
from tasks.lib.errors import DataError
from tasks.lib.records import iterate
from tasks.split import SplitConfig, split
from tests.datasets import ingested, reasons, resolved

ASKED = {"map": {"prompt": "Is {s} toxic?", "response": "{a}"}}
MOLECULES: dict[str, Any] = {**ASKED, "columns": {"s": "smiles"}}
TRAIN = [{"s": s, "a": "no, it is not"} for s in ("OCC", "CCCCO", "c1ccccc1C")]  # ethanol, butanol, toluene
EVAL = [{"s": s, "a": "no"} for s in ("C(C)O", "C1CCCCC1")]  # ethanol, cyclohexane


def test_two_spellings_of_one_molecule_are_one_question(workplace: Path) -> None:
    given = ingested(resolved(workplace, "train", "tune", TRAIN, **MOLECULES), resolved(workplace, "judged", "eval", EVAL, **MOLECULES))
    with pytest.raises(DataError, match="judged:1") as caught:
        split(SplitConfig(), given)
    assert (caught.value.file, caught.value.row) == ("train.jsonl", 1)
    assert reasons(split(SplitConfig(overlap="set-aside"), given)) == {"train:1": "eval-overlap"}


@pytest.mark.parametrize(("train", "judged", "spelt"), [(MOLECULES, ASKED, "CCO"), (ASKED, MOLECULES, "C(C)O"), (ASKED, ASKED, "C(C)O")])
def test_spellings_are_compared_where_a_dataset_says_what_is_a_molecule(
    train: dict[str, Any], judged: dict[str, Any], spelt: str, workplace: Path
) -> None:
    """Where one side does not say so, only its canonical spelling is known to be the other's molecule."""
    rows = [{"s": s, "a": "a b"} for s in ("CCCCO", "OCC" if train is MOLECULES else "CCO")]
    given = ingested(
        resolved(workplace, "train", "tune", rows, **train), resolved(workplace, "judged", "eval", [{"s": spelt, "a": "no"}], **judged)
    )
    found = set(reasons(split(SplitConfig(overlap="set-aside"), given)))
    assert found == (set() if train is judged else {"train:2"})


def test_what_is_written_alike_is_one_question_whatever_the_datasets_say(workplace: Path) -> None:
    for number, (train, judged) in enumerate([(MOLECULES, ASKED), (ASKED, MOLECULES)]):
        rows = [{"s": s, "a": "a b"} for s in ("CCCCO", "OCC")]
        given = ingested(
            resolved(workplace, f"train-{number}", "tune", rows, **train),
            resolved(workplace, f"judged-{number}", "eval", rows[1:], **judged),
        )
        assert set(reasons(split(SplitConfig(overlap="set-aside"), given))) == {f"train-{number}:2"}


def test_a_molecule_that_is_held_out_is_not_trained_on_in_another_spelling(workplace: Path) -> None:
    held = [{"s": "C" * i + "O", "a": "no"} for i in range(2, 12)]
    other = [{"s": "O" + "C" * i, "a": "a b"} for i in range(2, 12)]
    made = split(
        SplitConfig(),
        dedup(
            DedupConfig(),
            ingested(
                resolved(workplace, "held", "tune", held, **MOLECULES, holdout=3), resolved(workplace, "other", "tune", other, **MOLECULES)
            ),
        ),
    )
    assert len(reasons(made)) == made.eval_sets["held-heldout"] == 3
    assert {name.split(":")[0] for name in reasons(made)} == {"other"}


def talk(*turns: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(turns)], **more}


TALKS = {"map": {"messages": "{messages}"}}


def test_a_conversation_is_held_out_whole_with_all_that_begin_alike(workplace: Path) -> None:
    """Also where a file has a row for each answer of it."""
    rows = [
        talk(*(f"{word} {i}?" for word in ("who", "me", "when", "now", "why", "so")[:length])) for i in range(20) for length in (2, 4, 6)
    ]
    made = split(SplitConfig(), ingested(resolved(workplace, "talks", "tune", rows, **TALKS, holdout=7)))
    opening = {f"talks:{number}": row["messages"][0]["content"] for number, row in enumerate(rows, start=1)}
    sides = {part: {row["id"] for row in iterate(made.path, part)} for part in ("tune-train", "tune-valid", "eval")}
    assert sum(map(len, sides.values())) == len(rows)
    beginnings = [{opening[name] for name in ids} for ids in sides.values()]
    assert sum(map(len, beginnings)) == 20
    assert made.eval_sets == {"talks-heldout": 9}
    lines = [json.loads(line) for line in made.eval_file("talks-heldout").read_text().splitlines()]
    line = next(line for line in lines if len(line.get("history", [])) == 2)
    number = line["prompt"].split()[1]
    assert [turn["content"] for turn in line["history"]] == [f"who {number}", f"me {number}"]


def test_what_is_part_of_a_held_out_conversation_is_not_trained_on(workplace: Path) -> None:
    held = [talk(f"who {i}?", f"me {i}", "and when?", "now", g=f"g{i}") for i in range(6)]
    other = [talk(f"WHO {i}?", f"me  {i}") for i in range(6)]  # its beginning
    other += [talk(f"who {i}?", "you", "and when?", "never", "why?", "so") for i in range(6)]  # asks the same, and goes on
    other += [talk(f"where {i}?", "here", "and when?", "soon") for i in range(6)]  # asks it of something else
    other += [talk(f"who {i}?", "somebody else") for i in range(6)]  # another conversation
    given = [resolved(workplace, "held", "tune", held, map={**TALKS["map"], "group": "{g}"}, holdout=2)]
    made = split(SplitConfig(), ingested(*given, resolved(workplace, "other", "tune", other, **TALKS)))
    numbers = [int(row["id"].split(":")[1]) for row in iterate(made.path, "eval")]
    assert set(reasons(made)) == {f"other:{number + more}" for number in numbers for more in (0, 6)}
    details = {row["detail"] for row in iterate(made.path, "set_aside")}
    assert details == {"is the beginning of a held-out conversation", "asks the same as a held-out row"}


def test_an_evaluation_set_may_be_conversations(workplace: Path) -> None:
    judged = resolved(workplace, "judged", "eval", [talk("who?", "me", "and when?", "now")], **TALKS)
    rows = [talk("who?", "you", "and WHEN?", "never"), talk("where?", "here", "and when?", "soon"), talk("why?", "so")]
    made = split(SplitConfig(overlap="set-aside"), ingested(judged, resolved(workplace, "talks", "tune", rows, **TALKS)))
    assert reasons(made) == {"talks:1": "eval-overlap"}
    (line,) = [json.loads(line) for line in made.eval_file("judged").read_text().splitlines()]
    assert (line["history"][1]["content"], line["prompt"], line["response"]) == ("me", "and when?", "now")


def test_answers_about_a_molecule_contradict_only_after_the_same_turns(workplace: Path) -> None:
    rows = [talk("hello", said, "toxic?", answer, s="CCO") for said, answer in (("a", "yes"), ("b", "no"), ("b", "maybe"))]
    card = {"map": {**TALKS["map"], "system": "{s}"}, "columns": {"s": "smiles"}}
    made = dedup(DedupConfig(), ingested(resolved(workplace, "talks", "tune", rows, **card)))
    assert reasons(made) == dict.fromkeys(("talks:2", "talks:3"), "contradictory-value")
