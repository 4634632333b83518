"""kill -9 in every stage: the same command finishes, nothing is done twice, nothing half is read, no run says RUNNING."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.conftest import ROOT, slmforge, write_toy

STAGES = [
    "ingest",
    "check",
    "clean",
    "dedup",
    "split",
    "base",
    "pretrain",
    "tune",
    "align",
    "distill",
    "quantize",
    "evaluate",
    "register",
    "report",
]


def start(place: Path) -> subprocess.Popen[bytes]:
    """Start the whole pipeline in a process of its own."""
    environment = {**os.environ, "SLMFORGE_RUNS": str(place / "runs"), "PYTHONPATH": str(ROOT)}
    with (place / "log").open("ab") as log:
        return subprocess.Popen([sys.executable, "-m", "flows.cli", "adapt", "toy"], cwd=place, env=environment, stdout=log, stderr=log)


def committed(place: Path) -> dict[str, str]:
    """Artifact id -> when it was made, for everything committed."""
    found = {}
    for record in (place / "runs/artifacts").glob("*/[!.]*/artifact.json"):
        content = json.loads(record.read_text())  # a half-written record would not parse
        found[content["id"]] = content["made"]["ended"]
    return found


def seconds(place: Path) -> dict[str, float]:
    """How long each stage took where nothing was killed (of the calls of one stage, the shortest)."""
    found: dict[str, float] = {}
    for record in (place / "runs/artifacts").glob("*/[!.]*/artifact.json"):
        content = json.loads(record.read_text())
        stage, took = content["id"].split("/")[0], content["measured"]["seconds"]
        found[stage] = min(took, found.get(stage, took))
    return found


def without_report(artifacts: dict[str, str]) -> set[str]:
    """The ids of all artifacts but the report."""
    return {identifier for identifier in artifacts if not identifier.startswith("report/")}


def kill_within(place: Path, stage: str, wait: float) -> bool:
    """Start, wait until the stage works, wait a little more, and kill -9; False if it could not be met at work."""
    before = set(committed(place))
    if any(identifier.startswith(f"{stage}/") for identifier in before):
        return False  # done in the moment between the wait before and its kill
    process = start(place)
    folder = place / "runs/artifacts" / stage
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        if any(folder.glob(".*.*")):
            time.sleep(wait)
            break
        if any(identifier.startswith(f"{stage}/") for identifier in committed(place).keys() - before):
            break  # over before it was seen: kill right behind its commit
        time.sleep(0.005)
    if process.poll() is not None:
        return False
    process.send_signal(signal.SIGKILL)
    process.wait()
    return True


def survive(place: Path, seed: int, stages: list[str], unharmed: Path) -> None:
    """Kill once in each of the stages, then finish, and check what must hold."""
    draw = random.Random(seed)
    took = seconds(unharmed)
    known: dict[str, str] = {}
    killed = 0
    for stage in stages:
        killed += kill_within(place, stage, draw.uniform(0, 0.8 * took[stage]))
        now = committed(place)
        assert known.items() <= now.items(), "a committed stage was done again"
        known = now
    assert killed >= len(stages) - 2
    done = slmforge("adapt", "toy", cwd=place, PREFECT_API_URL="")
    assert done.returncode == 0, done.stderr + done.stdout
    assert known.items() <= committed(place).items()
    # an identity holds the digests of all inputs: one half-read byte anywhere would give other names; the report's
    # holds the MLflow run of the registration as well, which is another every time
    assert without_report(committed(place)) == without_report(committed(unharmed))
    assert list((place / "runs/artifacts").glob("*/.*.[0-9]*")) == []
    assert "stages cached" in slmforge("adapt", "toy", cwd=place, PREFECT_API_URL="").stdout
    slmforge("runs", cwd=place)
    client = MlflowClient(f"sqlite:///{place / 'runs/tracking/mlflow.db'}")
    experiment = client.get_experiment_by_name("toy")
    states = {run.info.status for run in client.search_runs([experiment.experiment_id])}
    assert states <= {"FINISHED", "KILLED", "FAILED"}
    assert "KILLED" in states
    # runs that were killed before they were known to Prefect are not there; those that were say how they ended
    with closing(sqlite3.connect(place / "runs/prefect/prefect.db")) as store:
        ended = Counter(state for (state,) in store.execute("select state_type from flow_run"))
    assert set(ended) <= {"CRASHED", "COMPLETED"}
    assert ended["CRASHED"] >= 1
    assert ended["COMPLETED"] == 1
    assert [str(version.version) for version in client.search_model_versions("name = 'toy'")] == ["1"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the toy."""
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "PREFECT_HOME"):
        monkeypatch.delenv(name, raising=False)
    write_toy(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_kills_in_data_training_and_registration_lose_nothing(place: Path, adapted: Path) -> None:
    survive(place, 0, ["split", "pretrain", "register"], adapted)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(1, 11))
def test_a_kill_in_every_stage_loses_nothing_ten_times_over(place: Path, adapted: Path, seed: int) -> None:
    survive(place, seed, STAGES, adapted)
