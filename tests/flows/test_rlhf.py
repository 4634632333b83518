"""The flow with a reward model and reinforcement learning, through the command line."""

import json
from pathlib import Path

import pytest

from tests.conftest import Run

SETTINGS = "  reward: {length: 128}\n  reinforce: {length: 128, answer: 6, batch: 4, held_out: 8, checks: 1, method: {generations: 4}, trainer: {max_steps: 3}}\n"
REWARDS = "rewards:\n  - {name: short, kind: length, words: 2}\n  - {name: right-colour, kind: label, weight: 0}\n"


def test_without_a_reward_the_plan_has_a_blocker_and_nothing_runs(toy: Path, cli: Run) -> None:
    done = cli("plan", "toy", "--flow", "rlhf", "--json")
    assert done.returncode == 5, done.stderr
    told = json.loads(done.stdout)
    assert [row["stage"] for row in told["stages"]][8:12] == ["align", "reward", "reinforce", "quantize"]
    assert told["blockers"] == ["reinforce: none with a weight; add one to `rewards:` in domain.yaml"]
    assert cli("rlhf", "toy").returncode == 2
    assert not list((toy.parent.parent / "runs").glob("artifacts/*"))


def test_the_plan_is_of_the_flow_that_is_meant(toy: Path, cli: Run) -> None:
    card = toy / "domain.yaml"
    written = card.read_text() + SETTINGS
    card.write_text(written + REWARDS)
    assert cli("plan", "toy", "--flow", "rlhf").returncode == 0
    assert "no such stage in adapt" in cli("why", "toy", "reinforce").stderr
    assert "reinforce: will run" in cli("why", "toy", "reinforce", "--flow", "rlhf").stdout


@pytest.mark.slow
def test_rewards_train_a_model_and_the_report_tells_what_became_of_them(toy: Path, cli: Run) -> None:
    card = toy / "domain.yaml"
    card.write_text(card.read_text() + SETTINGS + REWARDS)
    done = cli("rlhf", "toy")
    assert done.returncode == 0, done.stderr + done.stdout
    html = (toy.parent.parent / "runs" / "reports" / "toy.html").read_text()
    for said in ("What preferences and rewards taught", "right-colour, held-out prompts (a judge)", "The reward model ranks", "reinforced"):
        assert said in html
    again = cli("rlhf", "toy")
    assert "nothing to do: 20 stages cached" in again.stdout
    card.write_text(card.read_text().replace("words: 2", "words: 1"))
    rows = json.loads(cli("plan", "toy", "--flow", "rlhf", "--json").stdout)["stages"]
    assert next(row["stage"] for row in rows if row["state"] == "run") == "reinforce"
