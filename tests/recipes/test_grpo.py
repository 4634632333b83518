"""The recipe of GRPO, as it is written, on a tiny model of its architecture: held-out answers become right.

What stands in for the real thing, beside what `test_recipes` says: the answers to a prompt, and the tokens of an answer.
"""

from pathlib import Path

import pytest

from tasks.lib import config
from tasks.lib.rewards import Rewards
from tasks.reinforce import Grpo, ReinforceConfig, reinforce
from tasks.tune import TuneConfig, tune
from tests.recipes.test_recipes import _written
from tests.tasks import test_reinforce
from tests.tiny import TinyConfig, tiny

place = test_reinforce.place


def test_the_recipe_is_that_of_the_paper() -> None:
    """Section 4.2 of Shao et al., 2024: 64 outputs to a question, 1,024 in a batch, of 1,024 tokens at most."""
    found = _written("grpo").reinforce
    assert found.method == Grpo(generations=64, beta=0.04, loss="grpo", scale="group")
    assert found.batch * found.accumulation * found.method.generations == found.answer == 1024
    assert found.learning_rate == 1e-6


@pytest.mark.long
def test_the_recipe_learns_to_be_right_on_held_out_prompts(place: Path) -> None:
    written = _written("grpo").reinforce
    method = {**written.method.model_dump(), "generations": 8}
    size = {
        "length": 64,
        "answer": 4,
        "batch": 8,
        "accumulation": 1,
        "learning_rate": 1e-3,
        "held_out": 40,
        "checks": 0,
        "precision": "fp32",
    }
    cfg = ReinforceConfig.model_validate({**written.model_dump(), **size, "method": method, "trainer": {"max_steps": 20}})
    guesses = TuneConfig(length=64, batch=8, epochs=12, replay=0.0, learning_rate=2e-3, precision="fp32")
    guessing = tune(guesses, tiny(TinyConfig(name="qwen3")), test_reinforce.split("guesses"))
    made = reinforce(cfg, guessing, test_reinforce.split("toy"), config.build(Rewards, {"of": [test_reinforce.RIGHT]}, "rewards"))
    right = made.watched["right-colour"]
    assert right.low is not None
    assert right.low > 0
    assert made.data["prompts_trained"] == 20 * 8
