"""Preference rows of the three shapes become pairs."""

import random
from typing import Any

from tasks.lib.pairs import pairs_of


def row(number: int, **content: Any) -> dict[str, Any]:
    return {"id": f"d:{number}", "dataset": "d", "role": "preference", "file": "f", "row": number, "group": "", "prompt": "p", **content}


def test_a_pair_stands_as_it_is() -> None:
    made = pairs_of([row(1, chosen="good", rejected="bad")])
    assert [(p["id"], p["chosen"], p["rejected"]) for p in made.pairs] == [("d:1", "good", "bad")]
    assert made.used == {"d:1"}


def test_a_choice_becomes_a_pair_with_the_winner_first() -> None:
    made = pairs_of([row(1, a="x", b="y", winner="a"), row(2, a="x", b="z", winner="b")])
    assert [(p["chosen"], p["rejected"]) for p in made.pairs] == [("x", "y"), ("z", "x")]


def test_ratings_give_every_strictly_ordered_two_of_one_prompt() -> None:
    draw = random.Random(5)
    rows = [row(n, prompt=f"p{n % 7}", answer=f"answer {n}", rating=float(draw.randint(1, 4))) for n in range(60)]
    expected = {
        (one["prompt"], one["answer"], other["answer"])
        for one in rows
        for other in rows
        if one["prompt"] == other["prompt"] and one["rating"] > other["rating"]
    }
    made = pairs_of(rows)
    assert len(expected) == len(made.pairs) > 50
    assert {(p["prompt"], p["chosen"], p["rejected"]) for p in made.pairs} == expected
    assert len({p["id"] for p in made.pairs}) == len(made.pairs)


def test_equal_ratings_and_other_datasets_are_no_counterpart() -> None:
    rows = [row(1, answer="x", rating=1.0), row(2, answer="y", rating=1.0), {**row(3, answer="z", rating=2.0), "dataset": "e", "id": "e:3"}]
    made = pairs_of(rows)
    assert made.pairs == []
    assert made.used == set()


def test_answers_under_another_system_text_are_no_counterpart() -> None:
    given = [("doctor", 2.0), ("patient", 1.0), ("doctor", 1.0), (None, 0.0)]
    rows = [
        row(n, answer=f"answer {n}", rating=rating, **({"system": system} if system else {})) for n, (system, rating) in enumerate(given)
    ]
    (pair,) = pairs_of(rows).pairs
    assert (pair["system"], pair["chosen"], pair["rejected"]) == ("doctor", "answer 0", "answer 2")


def test_a_pair_of_equal_sides_is_no_pair() -> None:
    same = row(1, chosen="as  good", rejected="as good")
    made = pairs_of([same, row(2, a="x", b="x", winner="a"), row(3, answer="y", rating=2.0), row(4, answer="y", rating=1.0)])
    assert not made.pairs
    assert not made.used
    assert made.equal == {"d:1", "d:2", "d:3", "d:4"}
    assert pairs_of([row(5, chosen="Metformin", rejected="metformin")]).used == {"d:5"}, "case may be what is preferred"
