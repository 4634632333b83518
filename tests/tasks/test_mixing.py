"""Weights mean how often a row is drawn, and what was drawn is told by dataset."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tasks.base import BaseConfig, Scratch, base
from tasks.clean import CleanConfig, clean
from tasks.dedup import DedupConfig, dedup
from tasks.lib.base_source import resolve
from tasks.lib.domain import Dataset
from tasks.lib.mixing import Weights, times
from tasks.lib.model import Model
from tasks.lib.training_config import TrainingConfig
from tasks.pretrain import PretrainConfig, pretrain
from tasks.split import Split, SplitConfig, split
from tasks.tune import TuneConfig, tune
from tests.conftest import WORDS
from tests.datasets import ingested, resolved

SMALL = Scratch(vocabulary=512, hidden=64, layers=2, heads=2, training=TrainingConfig(tokens=2_000, length=64))


def parts(folder: Path) -> Split:
    """Two corpora and a tune dataset of 200 rows each."""
    given = []
    for name, role in (("leaflets", "corpus"), ("reports", "corpus"), ("questions", "tune")):
        rows: list[dict[str, Any]] = []
        for i in range(200):
            words = " ".join(WORDS[(i * k + len(name)) % len(WORDS)] for k in range(3, 9))
            rows.append({"text": f"{name} {i} {words}.", "q": f"What is {name} {i}?", "a": words})
        given.append(resolved(folder, name, role, rows))
    return split(SplitConfig(), dedup(DedupConfig(near=False), clean(CleanConfig(), ingested(*given))))


@pytest.fixture
def start(workplace: Path) -> Model:
    source = BaseConfig(source=SMALL)
    return base(source, resolve(SMALL))


@pytest.mark.parametrize("weight", [0.25, 1.0, 2.0, 2.5])
def test_a_row_is_drawn_as_often_as_its_weight_says(weight: float) -> None:
    counts = Counter(times(f"row:{i}", weight) for i in range(4_000))
    assert set(counts) <= {int(weight), int(weight) + 1}
    assert sum(n * count for n, count in counts.items()) == pytest.approx(4_000 * weight, rel=0.05)


def test_weights_change_what_is_trained_on_and_are_told(start: Model, workplace: Path) -> None:
    cfg = PretrainConfig(length=64, replay=0.0)
    even = pretrain(cfg, start, parts(workplace)).drawn
    heavy = pretrain(cfg, start, parts(workplace), Weights(of={"leaflets": 3, "reports": 0.5})).drawn
    rows = even["leaflets"].rows
    assert (even["leaflets"].drawn, even["leaflets"].not_drawn) == (rows, 0)
    assert (heavy["leaflets"].rows, heavy["leaflets"].drawn) == (rows, 3 * rows)
    assert heavy["leaflets"].size == 3 * even["leaflets"].size
    assert heavy["reports"].not_drawn == heavy["reports"].rows - heavy["reports"].drawn
    assert 0.35 < heavy["reports"].drawn / heavy["reports"].rows < 0.65
    assert heavy["leaflets"].trained == heavy["leaflets"].size  # one pass


def test_what_was_drawn_adds_up_to_what_was_trained_on(start: Model, workplace: Path) -> None:
    data, weights = parts(workplace), Weights(of={"questions": 2})
    for made in (
        pretrain(PretrainConfig(length=64, tokens=2_000), start, data, weights),
        tune(TuneConfig(length=64, epochs=1.5, batch=4), start, data, weights),
    ):
        assert sum(source.size for source in made.drawn.values()) == made.data["tokens"]
        assert sum(source.trained for source in made.drawn.values()) == made.data["tokens_trained"]


@pytest.mark.parametrize("role", ["general", "eval"])
def test_a_weight_is_refused_where_nothing_is_drawn_by_it(role: str) -> None:
    fields = {"text": "{t}"} if role == "general" else {"prompt": "{q}", "response": "{a}"}
    card = {"name": "x", "role": role, "source": {"path": "x.csv"}, "licence": "MIT", "kind": "user", "map": fields, "weight": 2}
    with pytest.raises(ValueError, match="weight is for the roles"):
        Dataset.model_validate(card)


def test_what_does_not_fit_is_told_by_dataset(start: Model, workplace: Path) -> None:
    rows = [{"q": f"{i} " + "water " * (60 if i < 3 else 3), "a": "word " * (100 if i in (3, 4) else 2)} for i in range(60)]
    given = ingested(resolved(workplace, "long", "tune", rows), resolved(workplace, "short", "tune", [{"q": "?", "a": "yes"}]))
    data = split(SplitConfig(valid=0.01), dedup(DedupConfig(), clean(CleanConfig(), given)))
    made = tune(TuneConfig(length=64, replay=0.0), start, data)
    long, short = made.drawn["long"], made.drawn["short"]
    assert (long.too_long, long.truncated) == (made.data["rows_too_long"], made.data["rows_truncated"])
    assert long.too_long in (1, 2)
    assert long.tokens_left_out == made.data["tokens_left_out"] > 64 * long.too_long
    assert "too long" in long.losses[0]
    assert long.tokens_truncated == made.data["tokens_truncated"] > 0
    assert (short.too_long, short.truncated, short.tokens_truncated) == (0, 0, 0)
