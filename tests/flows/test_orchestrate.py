"""Stages and flows in a real Prefect: what is tried again, what ends, what its pages say, and runs whose process is gone."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.conftest import ROOT, prefect_api, write_toy

pytestmark = pytest.mark.long
PROGRAM = '''
import json, time
from collections import Counter
from pathlib import Path
from flows.served import prepare
import prefect
from prefect.client.orchestration import get_client
from prefect.states import Running
from tasks.lib import orchestrate, servers
from tasks.lib.config import StageConfig
from tasks.lib.errors import DataError, SlmforgeError, TrackingError
from tasks.lib.execute import Direct, Session
from tasks.lib.stage import Call, stage
from tasks.lib.store import Artifact

orchestrate.RETRY_DELAYS[:] = [0.1, 0.1, 0.1]
tries = Counter()


class TriedConfig(StageConfig):
    """Nothing of its own."""


class Done(Artifact):
    """Nothing."""


@stage(version="1")
def unreachable(out: Path, cfg: TriedConfig) -> Done:
    """A server that answers at the third try."""
    tries["unreachable"] += 1
    if tries["unreachable"] < 3:
        raise TrackingError("a server", "none", "wait")
    return Done()


@stage(version="1")
def wrong(out: Path, cfg: TriedConfig) -> Done:
    """Data that do not get better."""
    tries["wrong"] += 1
    raise DataError("rows", "none", "add some")


@stage(version="1")
def endless(out: Path, cfg: TriedConfig) -> Done:
    """What nobody wants to wait for."""
    tries["endless"] += 1
    time.sleep(60)
    return Done()


told = {"ended": {}}


@prefect.flow(name="tried")
def tried() -> None:
    runner = orchestrate.PrefectTasks(Direct(Session("toy", "adapt")))
    for one, said in ((unreachable, {"retries": 2}), (wrong, {"retries": 2}), (endless, {"timeout": 0.0005})):
        began = time.monotonic()
        try:
            runner.call(Call(one, {"cfg": TriedConfig(**said)}))
            told["ended"][one.name] = "done"
        except Exception as error:
            told["ended"][one.name] = type(error).__name__
            told[f"{one.name} said"] = str(error)
        told[f"{one.name} took"] = time.monotonic() - began


tried()
told["tries"] = dict(tries)
told["prepare"] = prepare("toy")


@prefect.flow(name="left", flow_run_name="left")
def left() -> None:
    """Only to be known to the server."""


with get_client(sync_client=True) as client:
    runs, held = {}, servers.Lease()
    for name, leases in (("dead", ["dead"]), ("alive", [held.name]), ("elsewhere", [])):
        (Path("runs/prefect/leases") / "dead").touch()  # what a kill leaves: the file of a lease that nobody holds
        run = client.create_flow_run(left, state=Running(), tags=["slmforge", *(f"lease:{lease}" for lease in leases)])
        runs[name] = run.id
    told["closed"] = orchestrate.close_dead_runs()
    told["states"] = {name: client.read_flow_run(run).state.type.value for name, run in runs.items()}
print(json.dumps(told))
'''


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the program tells of its runs, and where it ran."""
    place = tmp_path_factory.mktemp("tried")
    write_toy(place)
    (place / "program.py").write_text(PROGRAM)  # a flow is read from a file
    environment = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "PREFECT_HOME", "SLMFORGE_MIRROR")}
    environment |= {"SLMFORGE_RUNS": str(place / "runs"), "PYTHONPATH": str(ROOT), "PREFECT_API_URL": prefect_api()}
    done = subprocess.run([sys.executable, "program.py"], cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return {**json.loads(done.stdout.splitlines()[-1]), "place": place}


def test_what_may_pass_is_tried_again_and_what_is_wrong_with_the_data_is_not(told: dict[str, Any]) -> None:
    assert told["ended"]["unreachable"] == "done"
    assert told["ended"]["wrong"] == "DataError"
    assert told["tries"] == {"unreachable": 3, "wrong": 1, "endless": 1}


def test_a_stage_is_ended_at_its_timeout_and_leaves_nothing(told: dict[str, Any]) -> None:
    assert told["ended"]["endless"] == "StageError"
    assert "endless took longer than 0.0005 hours, and was ended" in told["endless said"]
    assert "raise `endless: {timeout: }`" in told["endless said"]
    assert 1.8 <= told["endless took"] < 20
    assert not list((told["place"] / "runs/artifacts/endless").glob("*/artifact.json"))
    assert not list((told["place"] / "runs/artifacts/endless").glob(".*.*"))


def test_prepare_runs_in_prefect_as_it_is_served(told: dict[str, Any]) -> None:
    assert told["prepare"]["outcome"] == "adapted"
    record = json.loads((told["place"] / "runs/artifacts" / told["prepare"]["artifact"] / "artifact.json").read_text())
    assert record["facts"]["counts"]["tune-train"] > 100
    assert record["made"]["prefect.task_run_id"]
    (line,) = [json.loads(line) for line in (told["place"] / "runs/history.jsonl").read_text().splitlines()]
    assert (line["flow"], line["status"]) == ("prepare", "FINISHED")


def test_runs_whose_process_is_gone_are_marked_as_crashed_and_no_others(told: dict[str, Any]) -> None:
    assert told["closed"] == 1
    assert told["states"] == {"dead": "CRASHED", "alive": "RUNNING", "elsewhere": "RUNNING"}
