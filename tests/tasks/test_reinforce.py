"""Reinforcement learning raises the rewards of held-out prompts, and nothing at a learning rate of zero."""

import csv
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.prepare import prepare
from tasks.base import BaseConfig, Scratch, base
from tasks.lib import reinforcement, store
from tasks.lib.base_source import resolve
from tasks.lib.config import build
from tasks.lib.errors import ConfigError, DataError
from tasks.lib.execute import Direct
from tasks.lib.flow import Order
from tasks.lib.model import Model, Reinforced, RewardModel
from tasks.lib.page import Entry
from tasks.lib.rewards import Rewards
from tasks.lib.training_config import TrainingConfig
from tasks.reinforce import Grpo, ReinforceConfig, Rloo, reinforce
from tasks.reward import RewardConfig, reward
from tasks.split import Split
from tasks.tune import TuneConfig, tune
from tests.conftest import settled, write_toy

TINY = Scratch(vocabulary=400, hidden=64, layers=2, heads=4, training=TrainingConfig(tokens=30_000, length=64, learning_rate=2e-3))
COLOURS = {"apple": "red", "river": "blue"}
RIGHT = {"name": "right-colour", "kind": "label"}
SHORT = {"name": "short", "kind": "length", "words": 1, "weight": 0.1}
LIKED = {"name": "liked", "kind": "model"}
QUICK: dict[str, Any] = {
    "length": 64, "batch": 8, "learning_rate": 1e-3, "precision": "fp32", "answer": 4, "held_out": 40, "checks": 2, "trainer": {"max_steps": 20},
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
    card = toy / "domain.yaml"
    card.write_text(card.read_text().replace("choices: [red, blue]", "choices: [red, blue, green]"))
    shutil.copytree(toy, folder / "domains" / "guesses")
    guess = random.Random(5)
    write_answers(toy, COLOURS.__getitem__)
    write_answers(folder / "domains" / "guesses", lambda thing: "green" if guess.random() < 0.6 else COLOURS[thing])
    with settled(folder):
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
    return tune(TuneConfig(length=64, batch=8, epochs=12, replay=0.0, learning_rate=2e-3, precision="fp32"), start, split("guesses"))


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
    assert right.low > 0.1
    assert right.after > 0.9
    assert right.before < 0.7
    assert made.suspicion is None
    record = store.find(made.id)
    assert record is not None
    steps, seen = record.measured["curve"], record.measured["watch"]
    assert len(steps) == 20
    assert {"reward", "kl", "frac_reward_zero_std", "completions/mean_length", "rewards/right-colour/mean"} <= steps[0].keys()
    assert [point["step"] for point in seen] == [0, 7, 14, 20]
    assert seen[0]["held_out/kl"] == pytest.approx(0, abs=1e-6)
    assert seen[-1]["held_out/kl"] > 0.01
    assert made.data["prompts"] == made.data["prompts_seen"] + made.data["prompts_not_reached"]
    assert made.data["prompts_trained"] == 20 * 8


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.kind)
def test_at_a_learning_rate_of_zero_no_reward_changes(method: Grpo | Rloo, trained: Callable[..., Reinforced]) -> None:
    made = trained(RIGHT, method=method, learning_rate=0.0, trainer={"max_steps": 3}, precision="bf16")
    right, record = made.watched["right-colour"], store.find(made.id)
    assert right.before == right.after
    assert (right.low, right.high) == (0, 0)
    assert record is not None
    assert [point["step"] for point in record.measured["watch"]] == [0, 1, 2, 3]
    assert [point["held_out/kl"] for point in record.measured["watch"]] == pytest.approx([0] * 4, abs=1e-9), "also on the way"


ONCE: dict[str, Any] = {"trainer": {"max_steps": 1}, "warmup": 0.0, "checks": 0, "held_out": 8}


@pytest.fixture(scope="module")
def scorer(guessing: Model, data: Split) -> RewardModel:
    """A reward model that prefers red to blue, whatever is asked: the toy's ratings say so."""
    return reward(RewardConfig(length=64, epochs=4, learning_rate=1e-3, precision="fp32"), guessing, data)


@pytest.mark.long
def test_a_trained_reward_model_rewards_and_what_is_right_judges_it(trained: Callable[..., Reinforced], scorer: RewardModel) -> None:
    """Red is liked and often wrong: the reward rises, the judge falls, and that is said."""
    made = trained(LIKED, {**RIGHT, "weight": 0.0}, scorer=scorer, trainer={"max_steps": 60})
    assert made.trained == ["liked"]
    liked, right = made.watched["liked"], made.watched["right-colour"]
    assert liked.low is not None
    assert liked.low > 0
    assert right.after <= 0.7
    assert made.ranking == scorer.ranking


def test_a_reward_model_judges_where_it_does_not_reward(trained: Callable[..., Reinforced], scorer: RewardModel) -> None:
    assert set(trained(RIGHT, scorer=scorer, **ONCE).watched) == {"right-colour", "reward-model"}


def test_rewards_that_rise_while_judges_fall_are_suspicious() -> None:
    up, down = ({"n": 9, "before": 0.5, "after": 0.5 + d, "low": d - 0.1, "high": d + 0.1} for d in (0.3, -0.3))
    facts: dict[str, Any] = {
        "id": "reinforce/1",
        "digest": "1",
        "parameters": 1,
        "vocabulary": 1,
        "bytes": 1,
        "trained": ["a"],
        "constant": [],
    }
    said = {
        name: Reinforced.model_validate({**facts, "watched": watched}).suspicion
        for name, watched in {"hacked": {"a": up, "b": down}, "good": {"a": up, "b": up}, "bad": {"a": down, "b": down}}.items()
    }
    assert said["hacked"] == "a rose while b fell: the model may have learned the reward instead of the task"
    assert said["good"] is said["bad"] is None


def test_a_reward_that_is_constant_is_refused_before_training(trained: Callable[..., Reinforced]) -> None:
    always = {"name": "always", "kind": "length", "words": 1000}
    with pytest.raises(DataError, match="the same sum for each of 8 answers to each of 16 prompts; always is 1 for all 128 answers"):
        trained(always, **ONCE)
    assert trained(always, RIGHT, **ONCE).constant == ["always"]


def test_every_reward_is_asked_for_before_the_training_whatever_the_order_of_datasets() -> None:
    rows: list[dict[str, Any]] = [{"dataset": name, "id": f"{name}:{i}"} for name in ("one", "two", "three") for i in range(100)]
    asked = reinforcement.Questions(rows, [[{"role": "user", "content": row["id"]}] for row in rows])
    rewards = Rewards.model_validate({"of": [{"name": name, "kind": "label", "datasets": [name]} for name in ("one", "two", "three")]}).of
    sample = asked.sample(rewards, 16, 0)
    assert Counter(row["dataset"] for row in sample.rows) == {"one": 6, "two": 6, "three": 6}
    assert [chat[0]["content"] for chat in sample.chats] == [row["id"] for row in sample.rows]
    assert sample.rows == asked.sample(rewards, 16, 0).rows
    assert sample.rows != asked.sample(rewards, 16, 1).rows
    several = asked.sample(rewards * 10, 16, 0)
    assert {row["dataset"] for row in several.rows} == {"one", "two", "three"}


def test_what_cannot_be_trained_on_is_refused(trained: Callable[..., Reinforced]) -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({"rewards": ["right-color"]}, "did you mean 'right-colour'"),
        ({"batch": 500}, "500 prompts for one step"),
        ({"answer": 60}, "0 to which a reward applies"),
    ]
    for settings, said in refused:
        with pytest.raises(ConfigError, match=said):
            trained(RIGHT, **{**ONCE, **settings})
    with pytest.raises(ConfigError, match="no reward model"):
        trained(LIKED, **ONCE)
    with pytest.raises(ConfigError, match="none with a weight"):
        trained({**RIGHT, "weight": 0.0}, **ONCE)


CHANGES = [
    {"method": Grpo(generations=4)}, {"method": Grpo(temperature=0.5)}, {"method": Grpo(beta=1.0), "trainer": {"max_steps": 2}},
    {"method": Grpo(loss="dr_grpo")}, {"method": Grpo(scale="none")}, {"method": Rloo(kind="rloo")},
    {"method": Rloo(kind="rloo", normalise=True)}, {"answer": 2},
]  # fmt: skip


@pytest.mark.long
def test_every_setting_changes_what_is_learned(trained: Callable[..., Reinforced]) -> None:
    slight = {"name": "short", "kind": "length", "words": 1, "weight": 0.1}
    digests = [trained(RIGHT, slight, **{**ONCE, **settings}).digest for settings in [{}, *CHANGES]]
    assert len(set(digests)) == len(digests)


def test_the_watch_has_as_many_prompts_and_checks_as_asked(trained: Callable[..., Reinforced]) -> None:
    made = trained(RIGHT, held_out=10, checks=3, trainer={"max_steps": 4})
    record = store.find(made.id)
    assert record is not None
    assert made.watched["right-colour"].n == 10
    assert [point["step"] for point in record.measured["watch"]] == [0, 1, 2, 3, 4]
    shown = Entry(made, None, record, None, shipped=False)
    assert shown.packing["prompts"] == made.data["prompts"]
