"""The spool and its delivery to a real store: what MLflow refuses, what waits, what two processes do at once."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from tasks.lib import delivery, environment, servers, spool, tracking, tracking_store
from tasks.lib.errors import ConfigError
from tasks.lib.tracking import RunWriter
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new store, which takes seconds to make."""
    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_experiments(max_results=1)
    return file


@pytest.fixture
def mlflow(workplace: Path, empty: Path) -> MlflowClient:
    """The default store of the working directory."""
    place = workplace / "runs/tracking/mlflow.db"
    place.parent.mkdir(parents=True)
    shutil.copyfile(empty, place)
    return MlflowClient(f"sqlite:///{place}")


def the_run(mlflow: MlflowClient, experiment: str) -> Run:
    """The one run of an experiment."""
    (found,) = mlflow.search_runs([mlflow.get_experiment_by_name(experiment).experiment_id])
    assert isinstance(found, Run)
    return found


def finished(experiment: str, *say: Callable[[RunWriter], None]) -> None:
    """A run from its beginning to its end."""
    writer = RunWriter(experiment, "run", None, {})
    for one in say:
        one(writer)
    writer.end("FINISHED")


def refused() -> list[dict[str, Any]]:
    return [json.loads(line) for file in sorted(spool.refusals().glob("*.jsonl")) for line in file.read_text().splitlines()]


def test_names_that_mlflow_refuses_are_written_as_it_takes_them_and_stay_apart(mlflow: MlflowClient) -> None:
    finished(
        "one", lambda w: w.metrics({"task_reading (v2)": 1.0, "task_reading [v2]": 2.0, "/a//b/../c": 3.0, "x" * 300: 4.0, "größe": 5.0})
    )
    assert delivery.deliver() == 0
    assert the_run(mlflow, "one").data.metrics == {
        "task_reading _v2_": 1.0, "task_reading _v2__": 2.0, "a/b/c": 3.0, "x" * 240: 4.0, "größe": 5.0,
    }  # fmt: skip
    assert spool.refused() == 0


def test_an_event_that_mlflow_refuses_is_set_aside_and_everything_else_arrives(
    mlflow: MlflowClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRUNCATE_LONG_VALUES", "false")
    finished("one", lambda w: w.params({"long": "x" * 7000, "short": "y"}), lambda w: w.metrics({"loss": 1.0}, 3))
    finished("two", lambda w: w.metrics({"loss": 2.0}))
    courier = delivery.courier()
    courier.start()
    assert courier.finish(60) == 0
    run = the_run(mlflow, "one")
    assert run.data.params == {"short": "y"}
    assert run.data.metrics == {"loss": 1.0}
    assert run.info.status == "FINISHED"
    assert run.data.tags["slmforge.refused_events"].startswith("1, kept in ")
    assert the_run(mlflow, "two").data.metrics == {"loss": 2.0}
    (kept,) = refused()
    assert kept["event"] == "params"
    assert kept["values"] == {"long": "x" * 7000}
    assert "exceeds the maximum length" in kept["refused"]
    assert not list(tracking.spool().glob("*.jsonl"))
    assert f"MLflow refused 1 events; they are kept, with its reasons, in {spool.refusals()}" in capsys.readouterr().err


def test_one_refused_event_among_many_of_its_kind_is_the_only_one_that_is_lost(mlflow: MlflowClient) -> None:
    same = {"learning_rate": "1"}
    finished("one", *(lambda w, v=v: w.params(v) for v in (same, {"a": "1"}, {"learning_rate": "2"}, {"b": "2"})))
    assert delivery.deliver() == 0
    assert the_run(mlflow, "one").data.params == {**same, "a": "1", "b": "2"}
    assert [event["values"] for event in refused()] == [{"learning_rate": "2"}]


def test_a_run_that_was_deleted_in_mlflow_holds_up_no_other(mlflow: MlflowClient) -> None:
    writer = RunWriter("one", "run", None, {})
    delivery.deliver()
    mlflow.delete_run(the_run(mlflow, "one").info.run_id)
    writer.metrics({"loss": 1.0})
    delivery.deliver()
    writer.metrics({"loss": 0.5})
    writer.end("FINISHED")
    finished("two", lambda w: w.metrics({"loss": 2.0}))
    assert delivery.deliver() == 0
    assert the_run(mlflow, "two").data.metrics == {"loss": 2.0}
    assert [event["event"] for event in refused()] == ["metrics", "metrics", "end"]
    assert {event["refused"] for event in refused()} == {"the run was deleted in MLflow"}


def test_a_deleted_experiment_holds_up_its_own_runs_until_it_is_restored(mlflow: MlflowClient) -> None:
    begun = RunWriter("one", "begun", None, {})
    delivery.deliver()
    experiment = mlflow.get_experiment_by_name("one").experiment_id
    mlflow.delete_experiment(experiment)
    begun.end("FINISHED")
    parent = RunWriter("one", "parent", None, {})
    child = RunWriter("one", "child", parent.key, {})
    for writer in (child, parent):
        writer.end("FINISHED")
    finished("two", lambda w: w.metrics({"loss": 2.0}))
    assert delivery.deliver() == 5
    assert the_run(mlflow, "two").data.metrics == {"loss": 2.0}
    assert f"mlflow experiments restore -x {experiment}" in str(spool.waits())
    mlflow.restore_experiment(experiment)
    assert delivery.deliver() == 0
    assert spool.waits() is None
    runs = {run.info.run_name: run for run in mlflow.search_runs([experiment])}
    assert {name: run.info.status for name, run in runs.items()} == dict.fromkeys(("begun", "parent", "child"), "FINISHED")
    assert runs["child"].data.tags["mlflow.parentRunId"] == runs["parent"].info.run_id
    assert spool.refused() == 0


def test_a_run_on_which_mlflow_itself_fails_waits_alone(mlflow: MlflowClient) -> None:
    finished("one", lambda w: w.metrics({"loss": 1.0}, 2**70))  # no database has such a step: an internal error
    finished("two", lambda w: w.metrics({"loss": 2.0}))
    assert delivery.deliver() == 2
    assert the_run(mlflow, "two").data.metrics == {"loss": 2.0}
    assert spool.waits() is not None


def test_a_run_waits_for_the_run_that_it_belongs_to(mlflow: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: 1e30)  # no database has such a time
        parent = RunWriter("one", "parent", None, {})
    child = RunWriter("one", "child", parent.key, {})
    assert delivery.deliver() == 2
    assert mlflow.search_runs([mlflow.get_experiment_by_name("one").experiment_id]) == []
    next(tracking.spool().glob(f"*-{parent.key}.jsonl")).unlink()
    child.end("FINISHED")
    assert delivery.deliver() == 0
    assert the_run(mlflow, "one").info.run_name == "child"


def test_a_line_that_cannot_be_read_is_set_aside(mlflow: MlflowClient) -> None:
    writer = RunWriter("one", "run", None, {})
    assert writer._file is not None
    writer._file.write('\0\0\0{"event": "metr\n')
    writer.metrics({"loss": 1.0})
    writer.end("FINISHED")
    assert delivery.deliver() == 0
    assert the_run(mlflow, "one").data.metrics == {"loss": 1.0}
    assert [event["event"] for event in refused()] == ["unreadable"]


def test_half_a_character_is_no_reason_to_lose_a_parameter(mlflow: MlflowClient) -> None:
    finished("one", lambda w: w.params({"path": "caf\udce9"}))
    assert delivery.deliver() == 0
    assert the_run(mlflow, "one").data.params == {"path": "caf\\udce9"}


def test_a_store_that_is_away_is_an_error_and_nothing_is_lost(mlflow: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{servers.free_port()}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    finished("one", lambda w: w.metrics({"loss": 1.0}))
    with pytest.raises(delivery.AWAY):
        delivery.deliver()
    assert (spool.pending(), spool.refused()) == (3, 0)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert delivery.deliver(here=True) == 0
    assert the_run(mlflow, "one").data.metrics == {"loss": 1.0}


@pytest.fixture
def other(empty: Path, tmp_path: Path) -> str:
    """The address of a store that is not the default one."""
    return f"sqlite:///{shutil.copyfile(empty, tmp_path / 'other.db')}"


def test_what_waits_goes_to_the_mlflow_for_which_it_was_begun(mlflow: MlflowClient, other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", other)
        finished("one", lambda w: w.metrics({"loss": 1.0}))
    finished("two")
    assert delivery.deliver() == 0
    assert the_run(MlflowClient(other), "one").data.metrics == {"loss": 1.0}
    assert mlflow.get_experiment_by_name("one") is None
    assert the_run(mlflow, "two").info.status == "FINISHED"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", other)
    finished("three")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{mlflow.tracking_uri.removeprefix('sqlite:///')}")
    assert delivery.deliver() == 0
    assert the_run(MlflowClient(other), "three").info.status == "FINISHED"


def test_what_was_begun_for_a_server_that_is_away_waits_and_holds_up_no_other(
    mlflow: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    gone = f"127.0.0.1:{servers.free_port()}"
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"http://user:secret@{gone}")
        finished("one", lambda w: w.metrics({"loss": 1.0}))
    finished("two")
    (file,) = (file for file in tracking.spool().glob("*.jsonl") if gone in file.read_text())
    assert "secret" not in file.read_text()
    assert delivery.deliver() == 3
    assert the_run(mlflow, "two").info.status == "FINISHED"
    assert gone in (spool.waits() or "")
    assert delivery.deliver(here=True) == 0
    assert the_run(mlflow, "one").data.metrics == {"loss": 1.0}


@pytest.mark.parametrize("address", ["cassette://there", "sqlite:////dev/null/mlflow.db"])
def test_a_run_for_an_mlflow_that_cannot_be_spoken_to_at_all_holds_up_no_other(
    address: str, mlflow: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_SQLALCHEMYSTORE_POOL_SIZE", "1")
    monkeypatch.setattr("mlflow.store.db.utils.MAX_RETRY_COUNT", 1)  # else it tries for minutes
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", address)
        finished("one", lambda w: w.metrics({"loss": 1.0}))
    finished("two")
    assert delivery.deliver() == 3
    assert the_run(mlflow, "two").info.status == "FINISHED"
    assert address in (spool.waits() or "")
    assert delivery.deliver(here=True) == 0
    assert the_run(mlflow, "one").data.metrics == {"loss": 1.0}


def test_a_bucket_that_takes_no_file_holds_up_its_own_runs(mlflow: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client speaks to a bucket itself, through a library with errors of its own."""
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    mlflow.create_experiment("one", artifact_location="s3://bucket/files")
    (tmp_path / "report.txt").write_text("text")
    finished("one", lambda w: w.file(tmp_path / "report.txt"))
    finished("two", lambda w: w.file(tmp_path / "report.txt"))
    assert delivery.deliver() == 2
    assert the_run(mlflow, "two").info.status == "FINISHED"
    assert "report.txt cannot be sent to the store of MLflow's files: Unable to locate credentials" in (spool.waits() or "")


def test_an_address_without_a_scheme_is_refused(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("localhost:5000", "127.0.0.1:5000", "mlflow.example:80/tracking"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        with pytest.raises(ConfigError, match=f"write http://{address}"):
            RunWriter("one", "run", None, {})


@pytest.mark.parametrize(
    ("given", "kept", "user", "password"),
    [
        ("https://me:p%40ss@mlflow.example/x", "https://mlflow.example/x", "me", "p@ss"),
        ("http://me@mlflow.example:80", "http://mlflow.example:80", "me", None),
        ("http://mlflow.example", "http://mlflow.example", None, None),
        ("postgresql://me:secret@db/x", "postgresql://me:secret@db/x", None, None),
    ],
)
def test_name_and_password_go_where_only_the_client_looks(
    given: str, kept: str, user: str | None, password: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    for name in names:
        monkeypatch.setenv(name, "")  # so that what is set is taken back
        monkeypatch.delenv(name)
    monkeypatch.setenv(names[0], given)
    environment.quiet()
    assert tuple(os.environ.get(name) for name in names) == (kept, user, password)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("postgresql://me:secret@db/x", "postgresql://db/x"),
        ("postgresql://db/x?user=me&password=secret&sslmode=require", "postgresql://db/x?user=me&sslmode=require"),
        ("postgresql://db/x?options=-c%20a", "postgresql://db/x?options=-c%20a"),
    ],
)
def test_a_spool_file_keeps_no_password_of_a_database(given: str, kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    assert tracking.server() == kept
    assert tracking_store.tracking_uri(kept) == given


def test_a_run_that_is_half_delivered_goes_to_another_mlflow_as_a_whole(
    mlflow: MlflowClient, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", other)
        writer = RunWriter("one", "run", None, {})
        writer.metrics({"loss": 1.0})
        assert delivery.deliver() == 0
        writer.metrics({"loss": 0.5}, 1)
    writer.end("FINISHED")
    assert delivery.deliver(here=True) == 0
    run = the_run(mlflow, "one")
    assert [point.value for point in mlflow.get_metric_history(run.info.run_id, "loss")] == [1.0, 0.5]


def test_a_delivery_that_dies_behind_the_end_does_not_make_the_run_a_killed_one(
    mlflow: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished("one")
    with monkeypatch.context() as patch:
        patch.setattr(spool.SpoolFile, "close", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            delivery.deliver()
    assert delivery.deliver() == 0
    assert the_run(mlflow, "one").info.status == "FINISHED"


def test_a_run_whose_owner_is_gone_is_closed_as_killed(mlflow: MlflowClient) -> None:
    writer = RunWriter("one", "run", None, {})
    assert writer._file is not None
    delivery.deliver()
    assert the_run(mlflow, "one").info.status == "RUNNING"
    writer._file.close()  # what the kernel does after a kill
    assert delivery.deliver() == 0
    assert the_run(mlflow, "one").info.status == "KILLED"


def test_files_that_another_delivery_finishes_meanwhile_are_no_fault(workplace: Path) -> None:
    """A link without a target is listed and is gone when it is read, as a file is that is delivered in between."""
    folder = tracking.spool()
    (folder / "done").mkdir(parents=True)
    (folder / "done" / "abc.json").write_text('{"run_id": "found"}')
    for name in ("1-abc.jsonl", "1-abc.state"):
        (folder / name).symlink_to(folder / "nothing")
    assert spool.pending() == 0
    assert spool.waits() is None
    assert tracking.run_id("abc") == "found"


def test_a_spool_file_is_never_seen_without_its_lock_and_its_first_line(mlflow: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process delivers at the worst moment: between the making of the file and its lock."""
    real = fcntl.flock
    moments = []

    def flock(handle: Any, what: int) -> None:
        if what == fcntl.LOCK_EX and "spool.lock" not in handle.name:
            moments.append(handle.name)
            monkeypatch.setattr(fcntl, "flock", real)
            delivery.deliver()
        real(handle, what)

    monkeypatch.setattr(fcntl, "flock", flock)
    finished("one", lambda w: w.metrics({"loss": 1.0}))
    assert len(moments) == 1
    assert delivery.deliver() == 0
    run = the_run(mlflow, "one")
    assert run.data.metrics == {"loss": 1.0}
    assert run.info.status == "FINISHED"


HOLD = """
import time
from tasks.lib import tracking_store
with tracking_store.store_lock(wait=True):
    print("held", flush=True)
    time.sleep(4)
"""


def test_a_courier_ends_with_nothing_left_though_another_command_delivers_and_another_run_goes_on(
    mlflow: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    other = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert other.stdout is not None
    other.stdout.readline()
    finished("one", lambda w: w.metrics({"loss": 1.0}))
    courier = delivery.courier()
    courier.start()
    going_on = RunWriter("two", "run", None, {})
    assert other.poll() is None, "it still holds the lock"
    assert courier.finish(60) == 0
    going_on.metrics({"loss": 2.0})
    assert spool.pending() == 1
    assert spool.pending(going_on=False) == 0
    assert capsys.readouterr().err == ""
    assert the_run(mlflow, "one").data.metrics == {"loss": 1.0}
    other.wait(30)


def test_a_run_that_never_begins_leaves_no_trace(workplace: Path) -> None:
    writer = RunWriter("one", "run", None, {}, begun=False)
    writer.params({"a": 1})
    writer.end("FINISHED")
    assert not tracking.spool().exists()


@pytest.mark.parametrize(
    ("uri", "page"),
    [
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000/#/runs/abc"),
        ("https://me:secret@mlflow.example/tracking/", "https://mlflow.example/tracking/#/runs/abc"),
        ("sqlite:///mlflow.db", None),
        (None, None),
    ],
)
def test_the_page_of_a_run_is_where_a_browser_can_go_and_shows_no_password(
    uri: str | None, page: str | None, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if uri is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert tracking.run_page("key") is None, "nobody has created the run yet"
    (tracking.spool() / "done").mkdir(parents=True)
    (tracking.spool() / "done" / "key.json").write_text('{"run_id": "abc"}')
    assert tracking.run_page("key") == page
