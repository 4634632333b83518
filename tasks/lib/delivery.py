"""From the spool to MLflow: in order, each event once, whenever the store can be reached (the importer of mlflow)."""

import fcntl
import json
import os
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from tasks.lib import places, tracking

# how a store that cannot be reached, or is busy, shows itself
AWAY = (MlflowException, SQLAlchemyError, OSError)
BATCH = 500  # events per call; MLflow takes up to 1,000 metrics and 100 parameters
PARAM_BATCH = 100


def store_folder() -> Path:
    """The folder of the default store."""
    return places.runs() / "tracking"


def tracking_uri() -> str:
    """`MLFLOW_TRACKING_URI`, or sqlite beside the artifacts."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{store_folder() / 'mlflow.db'}"


def artifact_location(experiment: str) -> str | None:
    """Where files of an experiment go; None lets a server decide."""
    if urllib.parse.urlparse(tracking_uri()).scheme in ("http", "https"):
        return None
    return (store_folder() / "files" / experiment).as_uri()


@contextmanager
def store_lock(*, wait: bool) -> Iterator[bool]:
    """One deliverer at a time, which also makes a new sqlite store safe to create."""
    place = places.runs() / "spool.lock"
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


def client() -> MlflowClient:
    """A client of the tracking store (call with the store lock held the first time)."""
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        _create_store(store_folder() / "mlflow.db")
    return MlflowClient(tracking_uri())


def _create_store(file: Path) -> None:
    """Make the default store whole or not at all: its migrations, cut off half-way, could never be taken up again."""
    if file.is_file():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    for leftover in file.parent.glob(".new-*"):
        leftover.unlink()
    new = file.parent / f".new-{os.getpid()}.db"
    MlflowClient(f"sqlite:///{new}").search_experiments(max_results=1)
    new.replace(file)


def experiment_id(mlflow: MlflowClient, name: str) -> str:
    """The experiment of a domain, created when it is new."""
    found = mlflow.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    try:
        return str(mlflow.create_experiment(name, artifact_location=artifact_location(name)))
    except MlflowException:
        found = mlflow.get_experiment_by_name(name)  # another client was faster
        if found is None:
            raise
        return str(found.experiment_id)


def deliver(*, wait: bool = True) -> int:
    """Bring every spooled event to MLflow; returns how many events are left.

    Raises:
        MlflowException, OSError: when the store cannot be reached; nothing is lost, call again.
    """
    with store_lock(wait=wait) as held:
        files = sorted(tracking.spool().glob("*.jsonl")) if held else []
        if not files:
            return pending()
        mlflow = client()
        for file in files:
            _Delivery(mlflow, file).run()
    return pending()


def pending() -> int:
    """Events in the spool that MLflow has not seen."""
    total = 0
    for file in tracking.spool().glob("*.jsonl"):
        total += len(file.read_bytes()[_state(file)["offset"] :].splitlines())
    return total


def _state(file: Path) -> dict[str, Any]:
    state = file.with_suffix(".state")
    return json.loads(state.read_text()) if state.is_file() else {"run_id": None, "offset": 0}


class _Delivery:
    """Replays one spool file from where the last delivery stopped."""

    def __init__(self, mlflow: MlflowClient, file: Path) -> None:
        self._mlflow, self._file = mlflow, file
        self._state = _state(file)

    def run(self) -> None:
        alive = tracking.is_alive(self._file)
        ended = False
        while events := self._next():
            for group in _grouped([event for event, _ in events]):
                ended = self._replay(group) or ended
            self._state["offset"] = events[-1][1]
            self._save()
        if not alive and self._state["run_id"] is None:
            ended = True  # killed before its first line was whole: there is nothing to tell
        elif not alive and not ended:
            # the owner is gone without a word: killed
            self._mlflow.set_tag(self._state["run_id"], "slmforge.end", "killed: the process that ran it is gone")
            self._mlflow.set_terminated(self._state["run_id"], "KILLED")
            ended = True
        if ended:
            done = self._file.parent / "done"
            done.mkdir(exist_ok=True)
            key = self._file.stem.split("-")[-1]
            (done / f"{key}.json").write_text(json.dumps({"run_id": self._state["run_id"]}))
            self._file.unlink()
            self._file.with_suffix(".state").unlink(missing_ok=True)

    def _next(self) -> list[tuple[dict[str, Any], int]]:
        """Up to BATCH whole lines and the offset behind each; a line torn by a kill ends the reading."""
        events: list[tuple[dict[str, Any], int]] = []
        offset = self._state["offset"]
        with self._file.open("rb") as lines:
            lines.seek(offset)
            for line in lines:
                if not line.endswith(b"\n") or len(events) == BATCH:
                    break
                offset += len(line)
                events.append((json.loads(line), offset))
        return events

    def _save(self) -> None:
        place = self._file.with_suffix(".state")
        temporary = place.with_suffix(".tmp")
        temporary.write_text(json.dumps(self._state))
        temporary.replace(place)

    def _replay(self, group: list[dict[str, Any]]) -> bool:
        """Send events of one kind; True when the run has ended."""
        first, run = group[0], self._state["run_id"]
        match first["event"]:
            case "start":
                self._start(first)
            case "params":
                items = [Param(k, v) for event in group for k, v in event["values"].items()]
                for start in range(0, len(items), PARAM_BATCH):
                    self._mlflow.log_batch(run, params=items[start : start + PARAM_BATCH])
            case "metrics":
                self._mlflow.log_batch(run, metrics=_metrics(group))
            case "tags":
                self._mlflow.log_batch(run, tags=[RunTag(k, v) for event in group for k, v in event["values"].items()])
            case "dataset":
                self._mlflow.log_inputs(run, [_dataset(event) for event in group])
            case "file":
                for event in group:
                    self._send_file(run, event)
            case "end":
                self._mlflow.set_terminated(run, first["status"], end_time=first["time"])
                return True
        return False

    def _send_file(self, run: str, event: dict[str, Any]) -> None:
        """Send a file; one that was deleted before it could be sent is named on the run, and the rest goes on."""
        if Path(event["path"]).is_file():
            self._mlflow.log_artifact(run, event["path"], event["folder"] or None)
        else:
            self._mlflow.set_tag(run, f"slmforge.lost_file.{Path(event['path']).name}", event["path"][:5000])

    def _start(self, event: dict[str, Any]) -> None:
        experiment = experiment_id(self._mlflow, event["experiment"])
        key = event["tags"]["slmforge.key"]
        # a delivery that died after creating the run and before noting it must not create a second one
        found = self._mlflow.search_runs([experiment], f"tags.`slmforge.key` = '{key}'", ViewType.ALL, 1)
        if found:
            self._state["run_id"] = found[0].info.run_id
            return
        tags = dict(event["tags"])
        if event["parent"] and (parent := tracking.run_id(event["parent"])):
            tags["mlflow.parentRunId"] = parent
        run = self._mlflow.create_run(experiment, start_time=event["time"], tags=tags, run_name=event["name"])
        self._state["run_id"] = run.info.run_id
        self._save()


def _grouped(events: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    groups: list[list[dict[str, Any]]] = []
    for event in events:
        if groups and groups[-1][0]["event"] == event["event"]:
            groups[-1].append(event)
        else:
            groups.append([event])
    return groups


def _metrics(group: list[dict[str, Any]]) -> list[Metric]:
    return [Metric(k, float(v), event["time"], event["step"]) for event in group for k, v in event["values"].items()]


def _dataset(event: dict[str, Any]) -> DatasetInput:
    dataset = Dataset(name=event["name"], digest=event["digest"], source_type="slmforge", source=json.dumps(event["source"]))
    return DatasetInput(dataset, [InputTag("mlflow.data.context", event["context"])])


class Courier:
    """Delivers in the background while a flow runs, so that curves can be watched."""

    def __init__(self, interval: float = 2.0) -> None:
        self._stop = threading.Event()
        self._interval = interval
        self.fault: str | None = None
        self._thread = threading.Thread(target=self._loop, name="tracking-courier", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def _loop(self) -> None:
        while not self._stop.wait(self._interval):
            self._once()

    def _once(self) -> None:
        try:
            deliver(wait=False)
            self.fault = None
        except AWAY as error:
            self.fault = str(error).splitlines()[0]  # the store is away: everything stays in the spool

    def finish(self, seconds: float = 20.0) -> int:
        """Stop, try once more for at most `seconds`, and return how many events are left."""
        self._stop.set()
        deadline = time.monotonic() + seconds
        self._thread.join(seconds)
        if not self._thread.is_alive():
            last = threading.Thread(target=self._once, daemon=True)
            last.start()
            last.join(max(1.0, deadline - time.monotonic()))
        return pending()
