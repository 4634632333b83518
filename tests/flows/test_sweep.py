"""A search: combinations run on shared stages, compared in one table, one page and one MLflow run."""

import json
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from flows import sweep
from flows.trials import SEARCHES
from tasks.lib.errors import ConfigError
from tasks.lib.flow import Order
from tests.conftest import Run

FAST = ("base.source.training.tokens=4000", "pretrain.tokens=2000", "tune.trainer={max_steps: 2}", "align.trainer={max_steps: 6}")


def made(place: Path, stage: str) -> int:
    """How many artifacts a stage has."""
    return len(list((place / "runs/artifacts" / stage).glob("*/artifact.json")))


@pytest.fixture
def mlflow(workplace: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{workplace / 'runs/tracking/mlflow.db'}")


@pytest.mark.slow
def test_trials_share_their_stages_and_one_that_fails_stops_no_other(cli: Run, toy: Path, workplace: Path, mlflow: MlflowClient) -> None:
    done = cli("sweep", "toy", "--over", "align.learning_rate=[1.0e-4, 1.0e+15]", "--over", "align.method.beta=[0.1]", "--json", *FAST)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    well, failed = told["trials"]
    assert told["by"] == "colour"
    assert well["best"]
    assert well["values"] == {"align.learning_rate": 1e-4, "align.method.beta": 0.1}
    assert "lower the learning rate" in failed["error"] or "converge" in failed["error"]
    assert (made(workplace, "tune"), made(workplace, "align"), made(workplace, "evaluate"), made(workplace, "distill")) == (1, 1, 1, 0)
    experiment = mlflow.get_experiment_by_name("toy").experiment_id
    (whole,) = mlflow.search_runs([experiment], "tags.`slmforge.flow` = 'sweep'")
    children = mlflow.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{whole.info.run_id}'")
    scored = {run.info.status: run.data for run in children}
    assert scored["FINISHED"].params == {"align.learning_rate": "0.0001", "align.method.beta": "0.1"}
    assert scored["FINISHED"].metrics["colour"] == pytest.approx(well["scores"]["colour"])
    assert scored["FAILED"].metrics == {}
    assert {file.path for file in mlflow.list_artifacts(whole.info.run_id)} == {"sweep.html", "trials.json"}
    (page,) = (workplace / "runs/sweeps").glob("toy-*/sweep.html")
    assert "align.learning_rate=0.0001" in page.read_text().replace("&#34;", '"')


@pytest.mark.slow
@pytest.mark.parametrize("flow", ["rlhf", "classify"])
def test_what_only_other_pipelines_have_is_searched_there(flow: str, cli: Run, toy: Path, workplace: Path) -> None:
    card = toy / "domain.yaml"
    rewards = ", ".join(f"{{name: within-{words}, kind: length, words: {words}}}" for words in (4, 16, 64))
    card.write_text(card.read_text().replace("config:", f"rewards: [{rewards}]\nconfig:"))
    field = {"rlhf": "reinforce.learning_rate", "classify": "classify.learning_rate"}[flow]
    brief = ("classify.epochs=0.2", "reward.epochs=0.2", "reinforce.trainer={max_steps: 1}", "reinforce.held_out=4", "reinforce.length=128")
    done = cli("sweep", "toy", "--flow", flow, "--over", f"{field}=[1.0e-5, 1.0e-2]", "--json", *FAST, *brief)
    assert done.returncode == 0, done.stderr
    assert [one["error"] for one in json.loads(done.stdout)["trials"]] == [None, None]
    stage = field.split(".", maxsplit=1)[0]
    assert (made(workplace, "pretrain"), made(workplace, stage), made(workplace, "evaluate")) == (1, 2, 2)


@pytest.mark.parametrize(
    ("domain", "edition", "first"),
    [
        ("healthcare", "starter", "healthcare_reading"), ("healthcare", "full", "healthcare_pubmedqa"),
        ("finance", "starter", "finance_ledger"), ("chemistry", "starter", "chemistry_class"),
    ],
)  # fmt: skip
def test_trials_are_compared_by_tasks_whose_questions_the_edition_has(domain: str, edition: Any, first: str, workplace: Path) -> None:
    job, _ = SEARCHES["adapt"].page.sketch(Order(domain, edition=edition))
    assert sweep._tasks(job)[0] == first


@pytest.mark.parametrize(
    ("flow", "over", "said"),
    [
        ("adapt", "classify.learning_rate=[0.1, 0.2]", "add --flow classify"),
        ("adapt", "reinforce.answer=[2, 4]", "add --flow rlhf"),
        ("adapt", "register.name=[a, b]", "it changes no score"),
        ("adapt", "check.docs=[true, false]", "it changes no score"),
        ("adapt", "tune.workers=[0, 1]", "some are the same"),
        ("adapt", "tune.epochs=[1, 1.0]", "some are the same"),
        ("rlhf", "distill.layers=[1, 2]", "add --flow adapt"),
        ("rlhf", "reward.centre=[0.1, 0.2]", "of the kind `model`"),
        ("classify", "distill.layers=[1, 2]", "distill.before_head is off"),
    ],
)
def test_fields_that_change_no_score_are_refused(flow: str, over: str, said: str, toy: Path) -> None:
    card = toy / "domain.yaml"
    card.write_text(card.read_text().replace("config:", "rewards: [{name: any, kind: label}]\nconfig:"))
    with pytest.raises(ConfigError, match=said):
        sweep.sweep(Order("toy"), [over], flow, None, None, as_json=True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--over", "align.method.bata=[1, 2]"), "did you mean 'beta'"),
        (("--over", "align.method.beta=0.1"), "no list"),
        (("--over", "align.method.beta=[0.1, -1]"), "greater than 0"),
        (("--over", "align.method.beta=[0.1]", "--until", "tune"), "comes later"),
        (("--over", "align.method.beta=[0.1]", "--by", "color"), "one of: colour, domain_bits_per_byte"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_runs(
    words: tuple[str, ...], said: str, cli: Run, toy: Path, workplace: Path
) -> None:
    done = cli("sweep", "toy", *words)
    assert done.returncode == 2
    assert said in done.stderr.replace("\n", " ")
    assert not (workplace / "runs/artifacts").exists()
