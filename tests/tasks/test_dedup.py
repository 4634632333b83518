"""One of each is kept; contradictions are set aside whole."""

import random
from pathlib import Path
from typing import Any

import pytest

from tasks.dedup import DedupConfig, dedup
from tasks.lib.records import iterate
from tests.datasets import ingested, reasons, resolved


def words(seed: int, count: int = 80) -> list[str]:
    draw = random.Random(seed)
    return ["".join(draw.choice("abcdefgh") for _ in range(6)) for _ in range(count)]


def jaccard(one: str, other: str, size: int = 5) -> float:
    """Exact similarity of word shingles, computed here."""
    sets = [{tuple(w[i : i + size]) for i in range(len(w) - size + 1)} for w in (one.split(), other.split())]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def test_the_first_of_exact_repeats_is_kept_case_and_spacing_aside(workplace: Path) -> None:
    rows = [{"q": "What is it?", "a": "A"}, {"q": "what  is\nIT?", "a": "a"}, {"q": "What is it?", "a": "B"}]
    made = dedup(DedupConfig(), ingested(resolved(workplace, "asked", "tune", rows)))
    assert reasons(made) == {"asked:2": "exact-repeat"}
    assert next(iter(iterate(made.path, "set_aside")))["detail"] == "repeats asked:1"


def test_two_molecules_that_differ_in_case_are_no_repeats(workplace: Path) -> None:
    rows = [{"q": f"Is {smiles} toxic?", "a": "no"} for smiles in ("c1ccccc1", "C1CCCCC1", "c1ccccc1")]
    made = dedup(DedupConfig(), ingested(resolved(workplace, "asked", "tune", rows)))
    assert reasons(made) == {"asked:3": "exact-repeat"}


def test_repeats_are_found_across_datasets_of_a_role_but_not_across_roles_or_eval_sets(workplace: Path) -> None:
    row = [{"q": "What is it?", "a": "A"}]
    given = [resolved(workplace, name, role, row) for name, role in (("a", "tune"), ("b", "tune"), ("c", "eval"), ("d", "eval"))]
    made = dedup(DedupConfig(), ingested(*given))
    assert reasons(made) == {"b:1": "exact-repeat"}
    assert all(line.balanced for line in made.ledger)


def test_near_repeats_above_the_threshold_are_set_aside_and_others_kept(workplace: Path) -> None:
    base = words(1)
    near, far = [*base[:-2], "other", "ending"], [*base[:40], *words(2, 40)]
    texts = [" ".join(w) for w in (base, near, far, words(3))]
    assert jaccard(texts[0], texts[1]) > 0.9
    assert jaccard(texts[0], texts[2]) < 0.5
    given = resolved(workplace, "texts", "corpus", [{"text": text} for text in texts])
    read = ingested(given)
    made = dedup(DedupConfig(), read)
    assert reasons(made) == {"texts:2": "near-repeat"}
    assert next(iter(iterate(made.path, "set_aside")))["detail"] == "like texts:1"
    assert reasons(dedup(DedupConfig(near=False), read)) == {}


def test_near_repeats_of_what_is_asked_are_kept(workplace: Path) -> None:
    text = " ".join(words(1))
    rows = [{"q": text, "a": "A"}, {"q": f"{text} more", "a": "A"}]
    assert reasons(dedup(DedupConfig(), ingested(resolved(workplace, "asked", "tune", rows)))) == {}


def test_every_row_of_a_contradiction_is_set_aside_and_none_is_called_a_repeat(workplace: Path) -> None:
    labels = [("one?", "yes"), ("one?", "no"), ("one?", "yes"), ("two?", "yes"), ("two?", "yes")]
    asked = resolved(workplace, "labels", "tune", [{"q": q, "a": a} for q, a in labels], choices=["yes", "no"])
    ratings = [("one?", "A", 1), ("one?", "A", 2), ("one?", "B", 1)]
    maps = {"prompt": "{q}", "answer": "{a}", "rating": "{r}"}
    rated = resolved(workplace, "ratings", "preference", [dict(zip("qar", row, strict=True)) for row in ratings], map=maps)
    choices = [("one?", "A", "B", "a"), ("one?", "B", "A", "a"), ("two?", "A", "B", "a"), ("two?", "B", "A", "b")]
    maps = {"prompt": "{q}", "a": "{a}", "b": "{b}", "winner": "{w}"}
    chosen = resolved(workplace, "choices", "preference", [dict(zip("qabw", row, strict=True)) for row in choices], map=maps)
    made = dedup(DedupConfig(), ingested(asked, rated, chosen))
    assert reasons(made) == {
        **dict.fromkeys(("labels:1", "labels:2", "labels:3"), "contradictory-label"),
        "labels:5": "exact-repeat",
        **dict.fromkeys(("ratings:1", "ratings:2"), "contradictory-rating"),
        **dict.fromkeys(("choices:1", "choices:2"), "contradictory-choice"),
    }
    assert all(line.balanced for line in made.ledger)


def test_answers_under_another_system_text_contradict_nothing(workplace: Path) -> None:
    rated = [("doctor", 2), ("patient", 1), ("nurse", 1), ("nurse", 2)]
    maps = {"system": "{s}", "prompt": "one?", "answer": "A", "rating": "{r}"}
    ratings = resolved(workplace, "ratings", "preference", [dict(zip("sr", row, strict=True)) for row in rated], map=maps)
    maps = {"system": "{s}", "prompt": "one?", "a": "A", "b": "B", "winner": "{w}"}
    picked = [("doctor", "a"), ("patient", "b"), ("nurse", "a"), ("nurse", "b")]
    choices = resolved(workplace, "choices", "preference", [dict(zip("sw", row, strict=True)) for row in picked], map=maps)
    assert reasons(dedup(DedupConfig(), ingested(ratings, choices))) == {
        **dict.fromkeys(("ratings:3", "ratings:4"), "contradictory-rating"),
        **dict.fromkeys(("choices:3", "choices:4"), "contradictory-choice"),
    }


@pytest.mark.parametrize("card", [{}, {"choices": ["yes", "no"]}])
def test_two_answers_contradict_each_other_only_where_there_are_choices(card: dict[str, Any], workplace: Path) -> None:
    rows = [{"q": "one?", "a": "yes"}, {"q": "one?", "a": "no"}]
    made = dedup(DedupConfig(), ingested(resolved(workplace, "asked", "tune", rows, **card)))
    assert len(reasons(made)) == (2 if card else 0)


@pytest.mark.parametrize("card", [{}, {"choices": ["yes", "no"]}])
def test_molecules_are_the_same_however_they_are_spelt(card: dict[str, Any], workplace: Path) -> None:
    rows = [
        {"q": smiles, "a": answer} for smiles, answer in (("OCC", "yes"), ("CCO", "yes"), ("C(C)N", "no"), ("CCN", "yes"), ("CCC", "no"))
    ]
    maps = {"prompt": "Is {q} toxic?", "response": "{a}"}
    made = dedup(DedupConfig(), ingested(resolved(workplace, "asked", "tune", rows, map=maps, columns={"q": "smiles"}, **card)))
    kind = "contradictory-label" if card else "contradictory-value"
    assert reasons(made) == {"asked:2": "exact-repeat", "asked:3": kind, "asked:4": kind}
    assert [row["prompt"] for row in iterate(made.path, "tune")] == ["Is OCC toxic?", "Is CCC toxic?"]  # as the file spells it


def test_two_numbers_for_one_molecule_contradict_and_two_texts_do_not(workplace: Path) -> None:
    rows = [
        {"q": s, "a": a}
        for s, a in (("OCC", "-1.5"), ("CCO", "-1.50"), ("C(C)N", "2"), ("CCN", "3"), ("CC=O", "a gas"), ("O=CC", "a base"))
    ]
    maps = {"prompt": "{q}?", "response": "{a}"}
    made = dedup(DedupConfig(), ingested(resolved(workplace, "asked", "tune", rows, map=maps, columns={"q": "smiles"})))
    assert reasons(made) == {"asked:3": "contradictory-value", "asked:4": "contradictory-value"}
    assert reasons(dedup(DedupConfig(), ingested(resolved(workplace, "plain", "tune", rows, map=maps)))) == {}
