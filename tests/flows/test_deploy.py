"""Recurring retraining with a real Prefect server and worker: nothing changed, then a new version."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tasks.lib import servers
from tasks.lib.environment import QUIET
from tasks.lib.flow import Order
from tests.conftest import ROOT, slmforge, write_toy

MINUTES = 6


@pytest.fixture
def prefect(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A Prefect server on loopback, started and stopped here; its environment."""
    port = servers.free_port()
    environment = {"PREFECT_API_URL": f"http://127.0.0.1:{port}/api", "PREFECT_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (tmp_path / "prefect.log").open("wb") as log:
        server = subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log)
    try:
        wait(lambda: servers.answers(f"{environment['PREFECT_API_URL']}/health"), "the Prefect server to answer")
        yield environment
    finally:
        server.terminate()
        server.wait(60)


def wait(until: Callable[[], Any], what: str) -> Any:
    """What `until` returns once it is true."""
    deadline = time.monotonic() + 60 * MINUTES
    while time.monotonic() < deadline:
        found = until()
        if found:
            return found
        time.sleep(1)
    raise AssertionError(f"waited {MINUTES} minutes for {what}")


def history(place: Path, status: str) -> bool:
    """Whether a scheduled retrain has ended so."""
    file = place / "runs/history.jsonl"
    return file.is_file() and any('"retrain"' in line and f'"{status}"' in line for line in file.read_text().splitlines())


def test_deploy_without_a_lasting_server_is_refused(toy: Path, workplace: Path) -> None:
    done = slmforge("deploy", "toy", cwd=workplace, PREFECT_API_URL="")
    assert done.returncode == 2
    assert "PREFECT_API_URL is not set" in done.stderr


def test_a_schedule_that_is_none_is_refused(toy: Path, workplace: Path) -> None:
    address = f"http://127.0.0.1:{servers.free_port()}/api"
    done = slmforge("deploy", "toy", "--cron", "every monday", cwd=workplace, PREFECT_API_URL=address)
    assert done.returncode == 2
    assert "'every monday' is no cron schedule" in done.stderr
    (toy / "domain.yaml").write_text((toy / "domain.yaml").read_text().replace('"0 3 * * 1"', '"61 3 * * 1"'))
    done = slmforge("plan", "toy", cwd=workplace)
    assert done.returncode == 2
    assert "schedule: " in done.stderr
    assert "'61 3 * * 1' is no cron schedule" in done.stderr


def test_machines_are_told_of_a_deployment_and_its_first_run(toy: Path, workplace: Path) -> None:
    done = slmforge("deploy", "toy", "--json", cwd=workplace)  # with the tests' server; no worker takes its runs
    assert done.returncode == 0, done.stderr
    (made,) = json.loads(done.stdout)
    first = datetime.fromisoformat(made.pop("first_run"))
    assert made == {"deployment": "retrain/toy", "domain": "toy", "cron": "0 3 * * 1", "work_pool": "slmforge"}
    assert (first.weekday(), first.hour, first > datetime.now(UTC)) == (0, 3, True)


@pytest.mark.parametrize("command", ["adapt", "deploy"])
def test_a_prefect_server_that_is_away_is_named(toy: Path, workplace: Path, command: str) -> None:
    address = f"http://127.0.0.1:{servers.free_port()}/api"
    done = slmforge(command, "toy", cwd=workplace, PREFECT_API_URL=address)
    assert done.returncode == 4
    assert f"PREFECT_API_URL={address}" in done.stderr
    assert "nothing answers there" in done.stderr


def test_a_deployment_cancels_what_is_due_while_a_run_goes_on_and_tells_nobody_of_it(toy: Path, workplace: Path) -> None:
    from tasks.lib import deployments

    made = deployments.deployment(Order("toy"), "0 3 * * 1")
    assert made.concurrency_limit == 1
    assert made.concurrency_options is not None
    assert made.concurrency_options.collision_strategy == "CANCEL_NEW"
    given = made.job_variables["env"]
    assert given["DO_NOT_TRACK"] == "1"
    assert given["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert set(QUIET) - set(given) == {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"}, "a worker's log is read"
    assert given["SLMFORGE_RUNS"] == str(workplace / "runs")
    assert made.job_variables["working_dir"] == str(workplace)


def test_a_deployment_holds_no_password(toy: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks.lib import deployments

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:s3cr3t@db.example/mlflow")
    made = deployments.deployment(Order("toy"), "0 3 * * 1").job_variables
    assert made["env"]["MLFLOW_TRACKING_URI"] == "postgresql://db.example/mlflow"
    assert "s3cr3t" not in str(made)


AS_A_WORKER_DOES = """
import logging
from flows.served import retrain
from prefect.flow_engine import run_flow
from tasks.lib.errors import DataError
try:
    run_flow(retrain, parameters={"domain": "toy"}, error_logger=logging.getLogger("prefect.flow_runs"))
except DataError:
    print("refused")
"""


@pytest.mark.long
def test_a_fault_of_the_data_is_told_without_a_traceback_in_a_workers_log(tmp_path: Path, prefect: dict[str, str]) -> None:
    folder = write_toy(tmp_path)
    with (folder / "data/colours.csv").open("a") as file:
        file.write("one,two,three\n")
    environment = {**os.environ, **prefect, "SLMFORGE_RUNS": str(tmp_path / "runs"), "PYTHONPATH": str(ROOT)}
    environment |= {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO", "PREFECT_LOGGING_LEVEL": "INFO"}  # as where nobody has changed them
    command = [sys.executable, "-c", AS_A_WORKER_DOES]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    said = done.stdout + done.stderr
    assert "refused" in done.stdout
    told = [line for line in said.splitlines() if "3 cells" in line]
    assert len(told) == 2, said  # of the task run and of the flow run
    assert all("Finished in state Failed" in line for line in told)
    assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_scheduled_retrain_says_nothing_changed_and_then_makes_a_new_version(tmp_path: Path, prefect: dict[str, str]) -> None:
    place = tmp_path / "work"
    write_toy(place)
    assert slmforge("adapt", "toy", cwd=place, **prefect).returncode == 0
    done = slmforge("deploy", "toy", "--cron", "* * * * *", cwd=place, **prefect)
    assert done.returncode == 0, done.stderr
    assert "retrain/toy" in done.stdout
    with urllib.request.urlopen(f"{prefect['PREFECT_API_URL']}/deployments/name/retrain/toy") as answer:
        known = json.load(answer)
    assert known["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    assert known["global_concurrency_limit"]["limit"] == 1
    assert "first run 2" in done.stdout  # the server has scheduled it, and says when
    kept = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "slmforge"]
    with (tmp_path / "worker.log").open("wb") as log:
        worker = subprocess.Popen(command, cwd=place, env={**kept, **prefect, "PYTHONPATH": str(ROOT)}, stdout=log, stderr=log)
    try:
        wait(lambda: history(place, "NOTHING CHANGED"), "a scheduled run that finds nothing changed")
        with (place / "domains/toy/data/colours.csv").open("a") as file:
            file.write("What colour is stone number 7?,red\n")
        wait(lambda: history(place, "FINISHED"), "a scheduled run that adapts")
    finally:
        worker.terminate()
        worker.wait(120)
    assert "toy, version 2" in " ".join((place / "runs/reports/toy.html").read_text().split())  # nobody else would put it there
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{place / 'runs/tracking/mlflow.db'}")
    versions = client.search_model_versions("name = 'toy'")
    assert sorted(str(version.version) for version in versions) == ["1", "2"]
    runs = client.search_runs([client.get_experiment_by_name("toy").experiment_id])
    assert {run.data.tags["slmforge.trigger"] for run in runs if "slmforge.trigger" in run.data.tags} == {"command line", "schedule"}
