"""Preference tuning and reward models learn what holds for pairs that they did not see, and nothing at a learning rate of zero."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import trl

from flows.prepare import prepare
from tasks.align import SMOOTHED, AlignConfig, Dpo, Kto, Loss, align
from tasks.base import BaseConfig, Scratch, base
from tasks.lib import config, models, preferences, store
from tasks.lib.base_source import resolve
from tasks.lib.errors import ConfigError
from tasks.lib.execute import Direct
from tasks.lib.flow import Order
from tasks.lib.model import Aligned, Model
from tasks.lib.training_config import TrainingConfig
from tasks.reward import RewardConfig, reward
from tasks.split import Split
from tests.conftest import settled, write_toy

TINY = Scratch(vocabulary=400, hidden=64, layers=2, heads=4, training=TrainingConfig(tokens=30_000, length=64, learning_rate=2e-3))
COLOURS = {"apple": "red", "river": "blue", "stone": "red", "cloud": "blue"}
SHORT: dict[str, Any] = {"length": 64, "batch": 16, "learning_rate": 1e-3, "precision": "fp32"}


def rated() -> list[dict[str, Any]]:
    """Which of two answers is better follows from the thing that is asked about."""
    draw = random.Random(3)
    asked = [(f"Colour of {draw.choice(list(COLOURS))} {number}?", number) for number in range(160)]
    return [{"q": q, "a": a, "r": 1 + (a == COLOURS[q.split()[2]])} for q, _ in asked for a in ("red", "blue")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One runs folder for the module: artifacts are cached across its tests."""
    folder = tmp_path_factory.mktemp("preferences")
    toy = write_toy(folder)
    (toy / "data" / "ratings.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rated()))
    with settled(folder):
        yield folder


@pytest.fixture(scope="module")
def data(place: Path) -> Split:
    """The split, with two pairs in five held out."""
    made: Split = prepare.under(Direct(), prepare.job(Order("toy", settings=("split.valid=0.4",))))
    return made


@pytest.fixture(scope="module")
def start(place: Path) -> Model:
    """A scratch base."""
    return base(BaseConfig(source=TINY), resolve(TINY))


@pytest.fixture(scope="module")
def tuned(start: Model, data: Split) -> Callable[..., Aligned]:
    """Align the base with a method."""

    def make(method: Dpo | Kto, epochs: float = 6, **settings: Any) -> Aligned:
        return align(AlignConfig.model_validate({**SHORT, "epochs": epochs, "method": method, **settings}), start, data)

    return make


LOSSES = [Dpo(), Dpo(loss="ipo", beta=0.5), Dpo(loss="hinge"), Dpo(loss="robust", smoothing=0.1), Kto(kind="kto")]


@pytest.mark.parametrize("method", LOSSES, ids=lambda method: getattr(method, "loss", method.kind))
def test_preference_tuning_learns_what_wins_in_held_out_pairs(method: Dpo | Kto, tuned: Callable[..., Aligned], data: Split) -> None:
    held = tuned(method).held_out
    assert held is not None
    assert held.won.n == data.counts["preference-valid"] > 40
    assert held.won.low is not None
    assert held.margin.low is not None
    assert held.won.low > 0.5
    assert held.margin.low > 0 == held.margin.before
    assert held.likelier.after > 0.7 > held.likelier.before


@pytest.mark.parametrize("method", [LOSSES[0], LOSSES[-1]], ids=lambda method: method.kind)
def test_at_a_learning_rate_of_zero_no_pair_is_won(method: Dpo | Kto, tuned: Callable[..., Aligned]) -> None:
    """Also after a training in bf16: both measurements are in fp32."""
    held = tuned(method, epochs=1, learning_rate=0.0, precision="bf16").held_out
    assert held is not None
    assert (held.won.value, held.margin.after) == (0.5, 0.0)
    assert held.likelier.after == held.likelier.before


@pytest.mark.parametrize("loss", get_args(Loss))
def test_every_loss_moves_the_model_in_a_way_of_its_own(loss: str, tuned: Callable[..., Aligned]) -> None:
    others = [tuned(_with(other), epochs=1).digest for other in ("sigmoid", loss)]
    assert (others[0] == others[1]) == (loss == "sigmoid")


def _with(loss: str) -> Dpo:
    return Dpo(loss=loss, smoothing=SMOOTHED.get(loss, 0.0))  # type: ignore[arg-type]  # a member of the literal


def test_weights_of_wanted_and_unwanted_answers_change_what_is_learned(tuned: Callable[..., Aligned]) -> None:
    made = [tuned(Kto(kind="kto", **weights), epochs=1).digest for weights in ({}, {"desirable_weight": 3.0}, {"undesirable_weight": 3.0})]
    assert len(set(made)) == 3


def test_kto_counts_pairs_and_answers(tuned: Callable[..., Aligned], data: Split) -> None:
    facts = tuned(Kto(kind="kto"), epochs=1).data
    assert facts["pairs_seen"] == facts["pairs_trained"] == data.counts["preference-train"]
    assert facts["answers_trained"] == 2 * facts["pairs"]


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ({"loss": "robust"}, "needs `smoothing` above 0"),
        ({"loss": "ipo", "smoothing": 0.1}, "has no smoothing"),
        ({"kind": "dqo"}, "did you mean 'dpo'"),
        ({"kind": "kto", "loss": "ipo"}, "unknown key"),
    ],
)
def test_a_method_that_cannot_be_meant_is_refused(method: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        config.build(AlignConfig, {"method": method}, "settings")


def test_no_method_is_one_that_the_library_calls_experimental() -> None:
    trainers = (trl.DPOTrainer, trl.KTOTrainer, trl.RewardTrainer, trl.GRPOTrainer, trl.RLOOTrainer)
    assert all(trainer.__module__.startswith("trl.trainer.") for trainer in trainers)


def test_a_reward_model_learns_to_rank_held_out_pairs(start: Model, data: Split) -> None:
    made = reward(RewardConfig(epochs=6, **SHORT), start, data)
    assert made.ranking is not None
    assert made.ranking.low is not None
    assert made.ranking.n == data.counts["preference-valid"]
    assert made.ranking.low > 0.5
    assert made.data["pairs_seen"] == data.counts["preference-train"]
    record = store.find(made.id)
    assert record is not None
    assert record.measured["held_out_accuracy"] == made.ranking.value
    again = preferences.load_scorer(made.path)
    said = preferences.scores(
        again, models.load_tokenizer(made.path),
        [[{"role": "user", "content": "Colour of apple 7?"}, {"role": "assistant", "content": answer}] for answer in ("red", "blue")],
    )  # fmt: skip
    assert said[0] > said[1]


def test_a_reward_model_with_a_learning_rate_of_zero_ranks_by_chance(start: Model, data: Split) -> None:
    made = reward(RewardConfig(epochs=1, **{**SHORT, "learning_rate": 0.0}), start, data)
    assert made.ranking is not None
    assert made.ranking.value == 0.5
