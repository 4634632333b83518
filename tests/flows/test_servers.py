"""Servers: two flows on a new machine, MLflow away in mid-run, many deliverers on a new store, both screens."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.parse
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

from tasks.lib import servers
from tests.conftest import ROOT, slmforge, write_toy


def popen(place: Path, *words: str, **extra: str) -> subprocess.Popen[str]:
    """The command line in the background."""
    kept = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "PREFECT_HOME")}
    environment = {**kept, "SLMFORGE_RUNS": str(place / "runs"), "PYTHONPATH": str(ROOT), **extra}
    command = [sys.executable, "-m", "flows.cli", *words]
    return subprocess.Popen(command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def start_mlflow(place: Path, port: int) -> subprocess.Popen[bytes]:
    """A real tracking server on a store of its own."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{place / 'server.db'}", "--artifacts-destination", str(place / "files")]
    with (place / "server.log").open("ab") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    deadline = time.monotonic() + 120
    while not servers.answers(f"http://127.0.0.1:{port}/health"):
        assert server.poll() is None, (place / "server.log").read_text()[-2000:]
        assert time.monotonic() < deadline, "the MLflow server does not answer"
        time.sleep(0.3)
    return server


def kill_group(server: subprocess.Popen[bytes]) -> None:
    """kill -9 a server and its workers."""
    os.killpg(server.pid, 9)
    server.wait()


@pytest.mark.slow
def test_two_flows_started_at_once_on_a_new_machine_both_succeed(tmp_path: Path) -> None:
    write_toy(tmp_path)
    both = [popen(tmp_path, "adapt", "toy", f"distill.layers={layers}") for layers in (1, 2)]
    said = [process.communicate(timeout=600)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    made = [line.split()[1] for text in said for line in text.splitlines() if line.startswith("+")]
    assert made.count("base") == made.count("tune") == made.count("align") == 1, "one makes it, the other waits"
    assert made.count("distill") == 2
    client = MlflowClient(f"sqlite:///{tmp_path / 'runs/tracking/mlflow.db'}")
    assert sorted(str(v.version) for v in client.search_model_versions("name = 'toy'")) == ["1", "2"]


def processes_of(place: Path) -> list[str]:
    """Command lines of the processes that were started with the runs folder of `place`."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("SLMFORGE_RUNS") == str(place / "runs") and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
    return found


@pytest.mark.long
@pytest.mark.parametrize("removed", [False, True])
def test_a_killed_flow_leaves_no_server_behind(tmp_path: Path, removed: bool) -> None:
    write_toy(tmp_path)
    flow = popen(tmp_path, "adapt", "toy")
    deadline = time.monotonic() + 120
    while not any((tmp_path / "runs/artifacts/ingest").glob("[!.]*/artifact.json")):
        assert flow.poll() is None, "it ended by itself"
        assert time.monotonic() < deadline, "ingest was never done"
        time.sleep(0.1)
    found = processes_of(tmp_path)
    assert sum("uvicorn" in line or "server start" in line for line in found) >= 1
    assert not any("--lifespan" in line for line in found), "Prefect's client started a server of its own"
    flow.kill()
    flow.communicate()
    if removed:
        shutil.rmtree(tmp_path / "runs", ignore_errors=True)
    deadline = time.monotonic() + 3 * servers.GRACE
    while (found := processes_of(tmp_path)) and time.monotonic() < deadline:
        time.sleep(1)
    assert found == []


def ask(place: Path) -> subprocess.Popen[str]:
    """A process that asks for the shared server, prints its address, and holds its lease until a line comes."""
    program = "from tasks.lib import servers\nlease = servers.Lease()\nprint(servers.prefect_api(), flush=True)\ninput()\nlease.release()"
    kept = {k: v for k, v in os.environ.items() if k not in ("PREFECT_API_URL", "PREFECT_HOME")}
    environment = {**kept, "SLMFORGE_RUNS": str(place / "runs"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program]
    return subprocess.Popen(command, cwd=place, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def address(process: subprocess.Popen[str]) -> str:
    """What it printed."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def listener(url: str) -> psutil.Process:
    """The process that listens at an address on loopback."""
    port = urllib.parse.urlsplit(url).port
    (pid,) = {c.pid for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN and c.laddr.port == port and c.pid}
    return psutil.Process(pid)


@pytest.mark.long
def test_a_server_that_is_slow_to_answer_stays_the_only_one(tmp_path: Path) -> None:
    first = ask(tmp_path)
    url = address(first)
    server = listener(url)
    server.suspend()  # as on a machine that is busy
    second = ask(tmp_path)
    time.sleep(8)
    assert second.poll() is None, "it waits"
    server.resume()
    assert address(second) == url
    assert sum("server start" in line for line in processes_of(tmp_path)) == 1
    for process in (first, second):
        process.communicate("\n", timeout=60)
        assert process.returncode == 0


@pytest.mark.long
def test_a_keeper_ends_neither_a_server_in_use_nor_anothers_note(tmp_path: Path) -> None:
    holder = ask(tmp_path)
    url = address(holder)
    note = tmp_path / "runs/prefect/server.json"
    another = {"url": "http://127.0.0.1:9/api", "pid": os.getpid(), "home": str(note.parent)}
    note.write_text(json.dumps(another))
    time.sleep(4)
    assert servers.answers(f"{url}/health"), "its lease is held"
    note.unlink()
    time.sleep(4)
    assert servers.answers(f"{url}/health"), "its lease is held"
    note.write_text(json.dumps(another))
    holder.communicate("\n", timeout=60)
    deadline = time.monotonic() + 3 * servers.GRACE
    while (found := processes_of(tmp_path)) and time.monotonic() < deadline:
        time.sleep(1)
    assert found == []
    assert json.loads(note.read_text()) == another


@pytest.mark.long
def test_a_copied_folder_gets_a_server_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    first = ask(tmp_path / "one")
    url = address(first)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    second = ask(tmp_path / "two")
    assert address(second) != url
    for process in (first, second):
        process.communicate("\n", timeout=60)


def test_nobody_waits_for_a_server_whose_process_is_gone() -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    started = time.monotonic()
    assert not servers._is_there(servers.Note(f"http://127.0.0.1:{servers.free_port()}/api", dead.pid, "here"))
    assert time.monotonic() - started < servers.PATIENCE / 3


@pytest.mark.slow
def test_training_goes_on_while_mlflow_is_away_and_the_metrics_arrive_later(tmp_path: Path) -> None:
    write_toy(tmp_path)
    port = servers.free_port()
    uri = {"MLFLOW_TRACKING_URI": f"http://user:word-of-this-test@127.0.0.1:{port}"}
    server = start_mlflow(tmp_path, port)
    process = popen(tmp_path, "adapt", "toy", "register.name=toy", **uri)
    artifacts = tmp_path / "runs/artifacts"
    while process.poll() is None and not list(artifacts.glob("pretrain/.*.*")):
        time.sleep(0.02)
    kill_group(server)
    said = process.communicate(timeout=600)[0]
    assert process.returncode == 4, said
    assert "start the server again and run the same command" in said
    assert "word-of-this-test" not in said
    assert list(artifacts.glob("quantize/*/artifact.json")), "training went on without it"
    server = start_mlflow(tmp_path, port)
    try:
        listed = slmforge("runs", "--json", cwd=tmp_path, PREFECT_API_URL="", **uri)
        assert json.loads(listed.stdout)["runs"], "what MLflow's client prints of a delivered run does not stand before it"
        again = slmforge("adapt", "toy", "register.name=toy", cwd=tmp_path, PREFECT_API_URL="", **uri)
        assert again.returncode == 0, again.stderr + again.stdout
        client = MlflowClient(uri["MLFLOW_TRACKING_URI"])
        experiment = client.get_experiment_by_name("toy")
        runs = client.search_runs([experiment.experiment_id])
        assert "RUNNING" not in {run.info.status for run in runs}
        for stage in ("pretrain", "tune"):
            record = json.loads(next(artifacts.glob(f"{stage}/*/artifact.json")).read_text())
            (run,) = [run for run in runs if run.data.tags.get("slmforge.artifact") == record["id"]]
            arrived = [(m.step, round(m.value, 6)) for m in client.get_metric_history(run.info.run_id, "loss")]
            assert arrived == [(p["step"], round(p["loss"], 6)) for p in record["measured"]["curve"]]
        assert [str(v.version) for v in client.search_model_versions("name = 'toy'")] == ["1"]
    finally:
        kill_group(server)
    kept = [path for path in (tmp_path / "runs").rglob("*") if path.is_file() and b"word-of-this-test" in path.read_bytes()]
    assert kept == []


@pytest.mark.long
def test_six_deliverers_on_a_new_store_lose_nothing(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom tasks.lib import tracking, delivery\n"
        "w = tracking.RunWriter('many', 'run', None, {})\n"
        "[w.metrics({'x': float(i)}, i) for i in range(50)]\nw.end('FINISHED')\ndelivery.deliver()"
    )
    environment = {**os.environ, "SLMFORGE_RUNS": str(tmp_path / "runs"), "PYTHONPATH": str(ROOT)}
    environment.pop("MLFLOW_TRACKING_URI", None)
    many = [subprocess.Popen([sys.executable, "-c", program], env=environment) for _ in range(6)]
    assert [process.wait(300) for process in many] == [0] * 6
    client = MlflowClient(f"sqlite:///{tmp_path / 'runs/tracking/mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("many").experiment_id])
    assert [len(client.get_metric_history(run.info.run_id, "x")) for run in runs] == [50] * 6


@pytest.mark.long
def test_the_screens_answer_where_the_command_says(tmp_path: Path) -> None:
    done = slmforge("ui", "--once", cwd=tmp_path, PREFECT_API_URL="")
    assert done.returncode == 0, done.stderr
    assert "MLflow   http://127.0.0.1:" in done.stdout
    assert "Prefect  http://127.0.0.1:" in done.stdout


@pytest.mark.parametrize("name", ["new", "check", "plan", "adapt", "evaluate", "show", "why", "runs", "verify", "ui", "deploy", "schema"])
def test_every_command_has_help(name: str, tmp_path: Path) -> None:
    assert slmforge(name, "--help", cwd=tmp_path).returncode == 0
