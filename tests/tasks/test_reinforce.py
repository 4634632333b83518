"""Reinforcement learning raises the rewards of held-out prompts, and nothing at a learning rate of zero."""

import csv
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.prepare import prepare
from tasks.base import BaseConfig, Scratch, base
from tasks.lib import rewards, store
from tasks.lib.base_source import resolve
from tasks.lib.config import build
from tasks.lib.errors import ConfigError, DataError
from tasks.lib.execute import Direct
from tasks.lib.flow import Order
from tasks.lib.model import Change, Model, Reinforced
from tasks.lib.page import Entry
from tasks.lib.rewards import Rewards
from tasks.lib.training_config import TrainingConfig
from tasks.reinforce import Grpo, ReinforceConfig, Rloo, reinforce
from tasks.reward import RewardConfig, reward
from tasks.split import Split
from tasks.tune import TuneConfig, tune
from tests.conftest import write_toy

TINY = Scratch(vocabulary=400, hidden=64, layers=2, heads=4, training=TrainingConfig(tokens=30_000, length=64, learning_rate=2e-3))
COLOURS = {"apple": "red", "river": "blue"}
RIGHT = {"name": "right-colour", "kind": "label"}
SHORT = {"name": "short", "kind": "length", "words": 1, "weight": 0.1}
LIKED = {"name": "liked", "kind": "model"}
QUICK: dict[str, Any] = {
    "length": 64, "batch": 8, "learning_rate": 1e-3, "precision": "fp32", "answer": 4, "held_out": 40, "checks": 2, "trainer": {"max_steps": 30},
}  # fmt: skip


def write_answers(folder: Path, answer: Callable[[str], str]) -> None:
    """The toy's questions with answers of ours."""
    draw = random.Random(2)
    with (folder / "data" / "colours.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(("q", "a"))
        for number in range(200):
            thing = draw.choice(list(COLOURS))
            lines.writerow((f"What colour is {thing} number {number}?", answer(thing)))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A domain with right answers, and one with guesses."""
    folder = tmp_path_factory.mktemp("reinforce")
    toy = write_toy(folder)
    shutil.copytree(toy, folder / "domains" / "guesses")
    guess = random.Random(5)
    write_answers(toy, COLOURS.__getitem__)
    write_answers(folder / "domains" / "guesses", lambda _: guess.choice(["red", "blue"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SLMFORGE_RUNS", str(folder / "runs"))
        yield folder


def split(name: str) -> Split:
    made: Split = prepare.under(Direct(), prepare.job(Order(name, settings=("split.valid=0.3",))))
    return made


@pytest.fixture(scope="module")
def data(place: Path) -> Split:
    """Right answers."""
    return split("toy")


@pytest.fixture(scope="module")
def guessing(place: Path) -> Model:
    """A model that answers with a colour, either one."""
    start = base(BaseConfig(source=TINY), resolve(TINY))
    return tune(TuneConfig(length=64, batch=8, epochs=6, replay=0.0, learning_rate=2e-3, precision="fp32"), start, split("guesses"))


@pytest.fixture(scope="module")
def trained(guessing: Model, data: Split) -> Callable[..., Reinforced]:
    """Train the guessing model on rewards."""

    def make(*declared: dict[str, Any], scorer: Any = None, **settings: Any) -> Reinforced:
        of = build(Rewards, {"of": declared or (RIGHT,)}, "rewards")
        return reinforce(ReinforceConfig.model_validate({**QUICK, **settings}), guessing, data, of, scorer)

    return make


METHODS = [Grpo(), Rloo(kind="rloo")]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.kind)
def test_reinforcement_learns_to_be_right_on_held_out_prompts(method: Grpo | Rloo, trained: Callable[..., Reinforced]) -> None:
    made = trained(RIGHT, SHORT, method=method)
    right = made.watched["right-colour"]
    assert right.n == 40
    assert right.low is not None
    print(right, made.watched)
    assert right.low > 0.1
    assert right.after > 0.9 > 0.7 > right.before
    record = store.find(made.id)
    assert record is not None
    steps, seen = record.measured["curve"], record.measured["watch"]
    assert len(steps) == 30
    assert {"reward", "kl", "frac_reward_zero_std", "completions/mean_length", "rewards/right-colour/mean"} <= steps[0].keys()
    assert [point["step"] for point in seen] == [0, 10, 20, 30]
    assert seen[0]["held_out/kl"] == pytest.approx(0, abs=1e-6)
    assert seen[-1]["held_out/kl"] > 0
    assert made.data["prompts"] == made.data["prompts_seen"] + made.data["prompts_not_reached"]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.kind)
def test_at_a_learning_rate_of_zero_no_reward_changes(method: Grpo | Rloo, trained: Callable[..., Reinforced]) -> None:
    made = trained(RIGHT, method=method, learning_rate=0.0, trainer={"max_steps": 3})
    right = made.watched["right-colour"]
    assert right.before == right.after
    assert (right.low, right.high) == (0, 0)
