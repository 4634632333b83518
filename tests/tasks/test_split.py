"""Nothing is in two parts, and every row that is in none is counted."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tasks.lib import store
from tasks.lib.errors import DataError
from tasks.lib.records import iterate
from tasks.lib.sources import ResolvedDataset
from tasks.split import Split, SplitConfig, split
from tests.datasets import MAPS, ingested, reasons, resolved


def divided(*datasets: ResolvedDataset, **cfg: Any) -> Split:
    return split(SplitConfig(**cfg), ingested(*datasets))


def asked(count: int, groups: int = 0) -> list[dict[str, Any]]:
    return [{"q": f"What is number {i}?", "a": f"It is {i}.", "g": f"g{i % groups if groups else i}"} for i in range(count)]


def lines(made: Split, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in made.eval_file(name).read_text().splitlines()]


GROUPED = {"map": MAPS["tune"] | {"group": "{g}"}}


def test_groups_are_never_in_two_parts_and_the_holdout_takes_whole_groups(workplace: Path) -> None:
    rows = asked(300, groups=60)
    made = divided(resolved(workplace, "asked", "tune", rows, **GROUPED, holdout=42), valid=0.2)
    group = {f"asked:{number}": row["g"] for number, row in enumerate(rows, start=1)}
    ids = {part: {row["id"] for row in iterate(made.path, part)} for part in ("tune-train", "tune-valid", "eval")}
    assert set().union(*ids.values()) == set(group)
    assert sum(map(len, ids.values())) == len(rows)
    parts = [{group[i] for i in found} for found in ids.values()]
    assert all(parts)
    assert sum(map(len, parts)) == len(set(group.values()))
    assert 42 <= len(ids["eval"]) < 42 + len(rows) // 60
    assert {line["id"] for line in lines(made, "asked-heldout")} == ids["eval"]
    assert made.eval_sets == {"asked-heldout": len(ids["eval"])}


def test_the_same_question_in_two_datasets_is_in_one_part(workplace: Path) -> None:
    again = [{**row, "a": "another answer"} for row in asked(200)]
    made = divided(resolved(workplace, "one", "tune", asked(200)), resolved(workplace, "two", "tune", again), valid=0.3)
    train, valid = ({row["prompt"] for row in iterate(made.path, f"tune-{part}")} for part in ("train", "valid"))
    assert train
    assert valid
    assert not train & valid


def test_questions_with_several_answers_are_told_where_answers_are_free_text(workplace: Path) -> None:
    rows = [*asked(40), *({**row, "q": row["q"].upper(), "a": f"It may be {n}."} for n, row in enumerate(asked(40)))]
    labelled = [{"q": f"Which one is {n}?", "a": ("yes", "no")[n % 2], "g": "g"} for n in range(40)]
    made = divided(resolved(workplace, "one", "tune", rows), resolved(workplace, "two", "tune", labelled, choices=["yes", "no"]))
    trained = Counter(row["prompt"].casefold() for row in iterate(made.path, "tune-train") if row["dataset"] == "one")
    several = sum(count > 1 for count in trained.values())
    assert 30 < several < 40
    assert made.several == {"one": several}
    assert any(line.startswith(f"one: {several} questions with several answers") for line in made.remarks)
    assert divided(resolved(workplace, "three", "tune", asked(40))).several == {}


def test_a_validation_part_exists_where_there_are_two_groups(workplace: Path) -> None:
    made = divided(resolved(workplace, "asked", "tune", asked(2)), valid=0.001)
    assert made.counts == {"tune-train": 1, "tune-valid": 1}


def test_rows_that_ask_what_is_held_out_are_set_aside_wherever_they_are(workplace: Path) -> None:
    held = resolved(workplace, "asked", "tune", asked(50), holdout=10)
    other = resolved(workplace, "other", "tune", [{**row, "q": row["q"].upper()} for row in asked(50)])
    maps = {"prompt": "{q}", "chosen": "{a}", "rejected": "{q}"}
    pairs = resolved(workplace, "pairs", "preference", asked(50), map=maps)
    made = divided(held, other, pairs)
    numbers = {line["id"].split(":")[1] for line in lines(made, "asked-heldout")}
    assert len(numbers) == 10
    assert reasons(made) == {f"{name}:{n}": "eval-overlap" for name in ("other", "pairs") for n in numbers}
    assert all(line.balanced for line in made.ledger)


def test_a_training_row_that_asks_what_an_evaluation_row_asks_is_refused_or_set_aside(workplace: Path) -> None:
    train = resolved(workplace, "asked", "tune", asked(20))
    evaluation = resolved(workplace, "judged", "eval", [{"q": " what is NUMBER 7? ", "a": "7"}, {"q": "Else?", "a": "x"}])
    with pytest.raises(DataError, match="judged:1") as caught:
        divided(train, evaluation)
    assert (caught.value.file, caught.value.row) == ("asked.jsonl", 8)
    assert "split.overlap=set-aside" in caught.value.remedy
    assert "asked:8" in caught.value.remedy
    assert "number 7" not in str(caught.value).lower(), "columns may be sensitive"
    made = divided(train, evaluation, overlap="set-aside")
    assert reasons(made) == {"asked:8": "eval-overlap"}
    assert made.ledger[0].set_aside == {"eval-overlap": 1}
    assert sum(made.counts.values()) == 19
    assert made.eval_sets == {"judged": 2}


def test_two_molecules_that_differ_in_case_do_not_overlap(workplace: Path) -> None:
    train = resolved(workplace, "asked", "tune", [{"q": f"Is {s} toxic?", "a": "no"} for s in ("C1CCCCC1", "CCO")])
    evaluation = resolved(workplace, "judged", "eval", [{"q": "Is c1ccccc1 toxic?", "a": "no"}])
    assert reasons(divided(train, evaluation)) == {}


def test_a_holdout_that_leaves_nothing_to_train_on_is_refused(workplace: Path) -> None:
    with pytest.raises(DataError, match="'asked'"):
        divided(resolved(workplace, "asked", "tune", asked(10), holdout=10))
    with pytest.raises(DataError, match="1 group"):
        divided(resolved(workplace, "asked", "tune", asked(10, groups=1), **GROUPED, holdout=2))
    assert not [path for path in (store.root() / "split").iterdir() if path.is_dir()]


def test_an_evaluation_row_carries_its_choices_and_the_index_of_the_answer(workplace: Path) -> None:
    rows = [{"q": f"{colour} {i}?", "a": colour} for i in range(3) for colour in ("red", "blue")]
    made = divided(resolved(workplace, "judged", "eval", rows, choices=["red", "blue"]))
    found = lines(made, "judged")
    assert [(line["prompt"], line["response"], line["choices"][line["label"]]) for line in found] == [
        (r["q"], r["a"], r["a"]) for r in rows
    ]


def test_a_rated_answer_without_a_counterpart_is_set_aside_and_pairs_go_by_group(workplace: Path) -> None:
    rows = [{"q": f"Question {i}?", "a": a, "r": r} for i in range(40) for a, r in (("good", 2), ("bad", 1), ("worse", 0))]
    rows += [{"q": "Alone?", "a": "good", "r": 2}, {"q": "Even?", "a": "one", "r": 1}, {"q": "Even?", "a": "other", "r": 1}]
    maps = {"prompt": "{q}", "answer": "{a}", "rating": "{r}"}
    made = divided(resolved(workplace, "rated", "preference", rows, map=maps), valid=0.3)
    assert reasons(made) == dict.fromkeys(("rated:121", "rated:122", "rated:123"), "no-counterpart")
    parts = {part: list(iterate(made.path, f"preference-{part}")) for part in ("train", "valid")}
    assert sum(map(len, parts.values())) == 40 * 3
    train, valid = ({row["prompt"] for row in found} for found in parts.values())
    assert train
    assert valid
    assert not train & valid
    (line,) = made.ledger
    assert (line.rows_in, line.rows_used) == (len(rows), 120)


def test_the_split_of_a_row_does_not_depend_on_the_rows_around_it(workplace: Path) -> None:
    parts = {}
    for count in (200, 400):
        made = divided(resolved(workplace, "asked", "tune", asked(count)), valid=0.2)
        parts[count] = {row["prompt"] for row in iterate(made.path, "tune-valid")}
    assert parts[200]
    assert parts[200] == {prompt for prompt in parts[400] if prompt in {row["q"] for row in asked(200)}}
