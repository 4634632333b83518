"""From the spool to MLflow: in order, each event once, whenever the store can be reached (the importer of mlflow)."""

import json
import os
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, Experiment, InputTag, Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from tasks.lib import servers, spool, tracking, tracking_store
from tasks.lib.courier import Courier

# how a store that cannot be reached, or is busy, shows itself
AWAY = (MlflowException, SQLAlchemyError, OSError)
# a request that was understood and will be refused again, however often it is made
REFUSED = (
    "INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "INVALID_STATE", "INVALID_STATE_TRANSITION",
    "MALFORMED_REQUEST",
)  # fmt: skip
BATCH = 500  # events that are read, and noted as done, together


class HeldUpError(Exception):
    """A run cannot be delivered now for a reason of its own; MLflow is there."""


def experiment_id(mlflow: MlflowClient, name: str) -> str:
    """The experiment of a domain, created when it is new.

    Raises:
        HeldUpError: if it was deleted in MLflow.
    """
    found = mlflow.get_experiment_by_name(name)
    if found is None:
        try:
            return str(mlflow.create_experiment(name, artifact_location=tracking_store.artifact_location(name, mlflow.tracking_uri)))
        except MlflowException:
            found = mlflow.get_experiment_by_name(name)  # another client was faster
            if found is None:
                raise
    _require_active(found)
    return str(found.experiment_id)


def _require_active(experiment: Experiment) -> None:
    """A deleted experiment takes no runs; whether it comes back or goes for good is for a person to say."""
    if experiment.lifecycle_stage != "active":
        raise HeldUpError(
            f"the experiment {experiment.name!r} is deleted in MLflow; restore it "
            f"(mlflow experiments restore -x {experiment.experiment_id}) or remove it for good (mlflow gc)"
        )


def deliver(*, wait: bool = True, here: bool = False) -> int:
    """Bring every spooled event to the MLflow for which it was written; returns how many events are left.

    A run that cannot be delivered while MLflow answers waits with a note (`spool.waits`) and holds up no other, and so does
    one that was begun for another MLflow than the one that is set now, when that other one is away.

    Args:
        wait: until another process has delivered, instead of leaving it to that one.
        here: to the MLflow that is set now, whichever it was written for.

    Raises:
        MlflowException, OSError: when the store cannot be reached; nothing is lost, call again.
    """
    with tracking_store.store_lock(wait=wait) as held:
        away: dict[str, Exception] = {}
        for path in spool.files() if held else []:
            file = spool.SpoolFile(path)
            if here:
                file.redirect(tracking.server())
            server = tracking.server() if file.server is None else file.server
            if server not in away:
                _try(file, server, away)
            if server in away and server != tracking.server():
                file.hold_up(
                    f"the MLflow for which it was begun, {tracking_store.tracking_uri(server)}, is away ({first_line(away[server])}); "
                    "`slmforge runs --here` sends it to the one that is set now"
                )
    if (fault := away.get(tracking.server())) is not None:
        raise fault
    return spool.pending()


def _try(file: spool.SpoolFile, server: str, away: dict[str, Exception]) -> None:
    """Deliver one file; note its server in `away` when it cannot be reached."""
    try:
        mlflow = tracking_store.client(server)
    except AWAY as error:  # a database is connected to at once
        away[server] = error
        return
    try:
        _Delivery(mlflow, file).run()
    except HeldUpError as reason:
        file.hold_up(str(reason))
    except AWAY as error:
        if _answers(mlflow):
            file.hold_up(first_line(error))
        else:
            away[server] = error


@contextmanager
def sending(what: str) -> Iterator[None]:
    """What the store of files says, as MLflow's errors or as a reason to wait: a client speaks to a bucket by itself.

    Raises:
        HeldUpError: for an error of the bucket's own library, or because that library is not installed.
    """
    try:
        yield
    except AWAY:
        raise
    except Exception as error:  # of boto3, botocore, an import: each has errors of its own, and none is known here
        raise HeldUpError(f"{what} cannot be sent to the store of MLflow's files: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def is_refusal(error: Exception) -> bool:
    """Whether MLflow understood the request and will never take it; everything else may pass."""
    if isinstance(error, MlflowException):
        return error.error_code in REFUSED
    answer = getattr(error, "response", None)  # what requests says of an artifact server's answer
    return getattr(answer, "status_code", None) in (400, 413)


def _answers(mlflow: MlflowClient) -> bool:
    """Whether the store is there, asked after an error."""
    uri = mlflow.tracking_uri
    if urllib.parse.urlparse(uri).scheme in ("http", "https") and not servers.reached(f"{uri.rstrip('/')}/health"):
        return False  # asked first, because the client tries again and again
    try:
        mlflow.search_experiments(max_results=1)
    except AWAY:
        return False
    return True


class _Delivery:
    """Replays one spool file from where the last delivery stopped."""

    def __init__(self, mlflow: MlflowClient, file: spool.SpoolFile) -> None:
        self._mlflow, self._file, self._state = mlflow, file, file.state

    def run(self) -> None:
        alive = tracking.is_alive(self._file.path)
        while events := self._file.next(BATCH):
            for group in spool.grouped(events):
                self._send(group)
        if not alive and not self._state.ended and self._state.run_id is not None and not self._state.gone:
            # the owner is gone without a word: killed
            self._say("slmforge.end", "killed: the process that ran it is gone")
            self._send([({"event": "end", "status": "KILLED", "time": None}, self._state.offset)])
        if self._state.ended or not alive:
            if self._state.refused and not self._state.gone:
                self._say("slmforge.refused_events", f"{self._state.refused}, kept in {spool.refusals() / self._file.path.name}")
            self._file.close()

    def _say(self, tag: str, value: str) -> None:
        self._send([({"event": "tags", "values": {tag: value}}, self._state.offset)])

    def _send(self, group: list[tuple[spool.Event, int]]) -> None:
        """Send events of one kind, set aside those that MLflow refuses, and note that they are done."""
        events = [event for event, _ in group]
        if self._state.run_id is None and events[0]["event"] != "start":
            self._state.gone = self._state.gone or "its first line cannot be read"
        reason = None if self._state.gone else self._refusal(events)
        if reason and self._is_gone():
            self._state.gone = "the run was deleted in MLflow"
        elif reason and len(group) > 1:
            for one in group:  # which of them is it?
                self._send([one])
            return
        elif reason:
            self._file.refuse(self._refused(events[0], reason))
        if self._state.gone:
            self._file.refuse([(event, self._state.gone) for event in events])
        self._state.ended = self._state.ended or events[-1]["event"] == "end"
        self._file.advance(group[-1][1])

    def _refusal(self, events: list[spool.Event]) -> str | None:
        """Send; why MLflow refuses these events for good, or None."""
        try:
            self._replay(events)
        except AWAY as error:
            if not is_refusal(error) or events[0]["event"] == "start":
                raise  # a run that cannot be begun waits as a whole
            return first_line(error)
        return None

    def _refused(self, event: spool.Event, reason: str) -> list[tuple[spool.Event, str]]:
        """What is refused of an event: some of its values, when they can be sent one by one."""
        parts = [{**event, "values": {key: value}} for key, value in event.get("values", {}).items()]
        if len(parts) < 2:
            return [(event, reason)]
        return [(part, why) for part in parts if (why := self._refusal([part]))]

    def _is_gone(self) -> bool:
        """Whether the run was deleted; with its whole experiment it can come back, and waits."""
        try:
            run = self._mlflow.get_run(self._state.run_id).info
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return True
        if run.lifecycle_stage == "active":
            return False
        _require_active(self._mlflow.get_experiment(run.experiment_id))
        return True

    def _replay(self, events: list[spool.Event]) -> None:
        first, run = events[0], self._state.run_id
        match first["event"]:
            case "start":
                self._start(first)
            case "params":
                self._mlflow.log_batch(run, params=[Param(k, spool.text(v)) for event in events for k, v in event["values"].items()])
            case "metrics":
                self._mlflow.log_batch(run, metrics=_metrics(events))
            case "tags":
                self._mlflow.log_batch(run, tags=[RunTag(k, spool.text(v)) for event in events for k, v in event["values"].items()])
            case "dataset":
                self._mlflow.log_inputs(run, [_dataset(event) for event in events])
            case "file":
                for event in events:
                    self._send_file(run, event)
            case "end":
                self._mlflow.set_terminated(run, first["status"], end_time=first["time"])
            case _:
                self._file.refuse([(event, "it cannot be read") for event in events])

    def _send_file(self, run: str | None, event: spool.Event) -> None:
        """Send a file; one that cannot be read any more is named on the run, and the rest goes on."""
        if os.access(event["path"], os.R_OK):
            with sending(event["path"]):
                self._mlflow.log_artifact(run, event["path"], event["folder"] or None)
        else:
            self._mlflow.set_tag(run, f"slmforge.lost_file.{Path(event['path']).name}", event["path"][:5000])

    def _start(self, event: spool.Event) -> None:
        experiment = experiment_id(self._mlflow, event["experiment"])
        # a delivery that died after creating the run and before noting it must not create a second one
        found = self._mlflow.search_runs([experiment], f"tags.`slmforge.key` = '{self._file.key}'", ViewType.ALL, 1)
        if found:
            self._state.run_id = found[0].info.run_id
            return
        tags = {key: spool.text(value) for key, value in event["tags"].items()}
        if event["parent"]:
            parent = tracking.run_id(event["parent"])
            if parent is None and tracking.is_spooled(event["parent"]):
                raise HeldUpError("the run that it belongs to waits")
            tags |= {"mlflow.parentRunId": parent} if parent else {}
        run = self._mlflow.create_run(experiment, start_time=event["time"], tags=tags, run_name=spool.text(event["name"]))
        self._state.run_id = run.info.run_id
        self._file.save()


def _metrics(events: list[spool.Event]) -> list[Metric]:
    return [Metric(k, float(v), event["time"], event["step"]) for event in events for k, v in event["values"].items()]


def _dataset(event: spool.Event) -> DatasetInput:
    dataset = Dataset(name=event["name"], digest=event["digest"], source_type="slmforge", source=json.dumps(event["source"]))
    return DatasetInput(dataset, [InputTag("mlflow.data.context", event["context"])])


def courier(*, here: bool = False) -> Courier:
    """Delivers in the background while a flow runs, so that curves can be watched; `here` as in `deliver`."""
    return Courier(partial(_once, here))


def _once(here: bool, wait: bool) -> str | None:
    """Deliver once, waiting for another process that is at it or leaving it to that; what cannot be delivered stays in the spool."""
    try:
        deliver(wait=wait, here=here)
    except AWAY as error:
        return f"MLflow is away ({first_line(error)})"
    return spool.waits()
