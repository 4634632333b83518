"""What the report card draws: labels by share, numbers as a distribution, lengths of every field."""

import itertools
from collections import Counter
from pathlib import Path

from tasks.lib import card, card_plots
from tasks.lib.drift import Profile
from tests.datasets import ingested, resolved


def test_labels_are_drawn_with_the_rare_ones_together() -> None:
    counts = {f"label {n:02}": 30 - n for n in range(25)}
    profile = Profile(role="tune", rows=450, lengths={}, labels=counts, words={})
    ((name, drawn),) = card_plots.labels({"d": profile, "free": profile.model_copy(update={"labels": {}})})
    assert name == f"d: 25 labels, {sum(counts.values()):,} rows"
    assert "label 00" in drawn
    assert "5 others" in drawn
    assert "label 24" not in drawn


def test_numbers_are_drawn_where_all_answers_are_ones(workplace: Path) -> None:
    numbers = [{"q": f"{n}?", "a": f"{n / 7:.3f}"} for n in range(60)]
    mixed = [{"q": f"m{n}?", "a": "n/a" if n == 3 else str(n)} for n in range(60)]
    few = [{"q": f"f{n}?", "a": str(n % 2)} for n in range(60)]
    made = ingested(*(resolved(workplace, name, "tune", rows) for name, rows in (("all", numbers), ("mixed", mixed), ("few", few))))
    ((name, drawn),) = card_plots.numbers(made.path)
    assert name == "all: numbers"
    assert "7.59 to 8.43" in drawn


def test_drift_says_against_what_it_is_measured_or_how_to_begin() -> None:
    assert "slmforge accept legal --by PERSON --why REASON" in card.drift_told("legal", {})


def test_spans_of_numbers_can_be_told_apart() -> None:
    for low, high, first in ((1987.0, 2024.0, "1,987.0 to"), (0.0, 1.0, "0.00 to"), (1e4, 9e6, "10,000 to"), (0.0, 1e-9, "0.000e+00 to")):
        spans = [dot.label for dot in card_plots._spans(low, high, Counter())]
        assert len(set(spans)) == card_plots.BINS
        assert spans[0].startswith(first)
        assert all(span.split(" to ")[1] == after.split(" to ")[0] for span, after in itertools.pairwise(spans))
