"""A search: combinations run on shared stages, compared in one table, one page and one MLflow run."""

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--over", "align.method.bata=[1, 2]"), "did you mean 'beta'"),
        (("--over", "align.method.beta=0.1"), "no list"),
        (("--over", "align.method.beta=[0.1, -1]"), "greater than 0"),
        (("--over", "align.method.beta=[0.1]", "--until", "tune"), "comes later"),
        (("--over", "align.method.beta=[0.1]", "--by", "color"), "one of: domain_bits_per_byte"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_runs(
    words: tuple[str, ...], said: str, cli: Run, toy: Path, workplace: Path
) -> None:
    done = cli("sweep", "toy", *words)
    assert done.returncode == 2
    assert said in done.stderr.replace("\n", " ")
    assert not (workplace / "runs/artifacts").exists()
