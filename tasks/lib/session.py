"""What surrounds the stages of one flow run: provenance, its line of history, the tracked parent run, delivery."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any

from tasks.lib import journal, tracking
from tasks.lib.execute import Event, Session
from tasks.lib.flow import Flow, Job, Order
from tasks.lib.provenance import provenance
from tasks.lib.store import Record

NOTE = "mlflow.note.content"  # what MLflow shows as a run's description


@contextmanager
def open_session(
    page: Flow[Any], order: Order, tags: dict[str, str], entry: journal.Entry | None = None, *, deliver: bool = True
) -> Iterator[tuple[Job[Any], Session]]:
    """A session with a tracked parent run, closed at the end; there is none when no stage is made.

    With `deliver` it reaches MLflow in the background; without, with the next command that delivers. Without an
    `entry` of the history it gets one of its own, once the order is known to be one that can be meant.
    """
    job = page.job(order)
    with (
        journal.opened(order, page.name) if entry is None else nullcontext(entry) as noted,
        _tracked(page, order, job, tags, deliver=deliver) as current,
    ):
        current.noted = _noting(noted, current)
        yield job, current


def _noting(entry: journal.Entry, current: Session) -> Callable[[Event], None]:
    """Notes events in the history: how far the run has come, its tracked run and its report."""

    def note(event: Event) -> None:
        more = {}
        if event.state == "started" and current.writer is not None:
            more["mlflow_key"] = current.writer.key
        if event.name == "report" and event.artifact is not None:
            more["report"] = event.artifact.id
        entry.note(stage=event.name, state=event.state, **more)

    return note


@contextmanager
def _tracked(page: Flow[Any], order: Order, job: Job[Any], tags: dict[str, str], *, deliver: bool) -> Iterator[Session]:
    """The session itself."""
    name = f"{page.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    given = {**tags, "slmforge.flow": page.name, "slmforge.edition": job.sources.edition}
    writer = tracking.RunWriter(order.domain, name, None, given, begun=False)  # by the first stage that is made
    writer.params(job.cfg.model_dump(mode="json"))
    current = Session(order.domain, page.name, writer, dict(tags), provenance())
    courier = None
    if deliver:
        from tasks.lib import delivery

        courier = delivery.courier()
        courier.start()
    status = "FAILED"
    try:
        yield current
        status = "FINISHED"
    finally:
        writer.tags(_stood_on(current.events))
        writer.end(status)
        if courier is not None:
            courier.finish()


def _stood_on(events: list[Event]) -> dict[str, str]:
    """What each stage of the run stood on: a tag for machines, and a table that MLflow shows as the run's description."""
    tags, lines = {}, ["| stage | state | artifact | made by the MLflow run |", "|---|---|---|---|"]
    for event in events:
        record = event.record
        if record is None:
            continue
        run = "below this one" if event.state != "cached" else "none: no run was tracked"
        if event.state == "cached" and (key := record.made.get("key")):
            run = f"`{tracking.run_id(key) or f'with the tag slmforge.key = {key}'}`"  # which waits to be delivered
        lines.append(f"| {event.name} | {event.state} | `{record.id}` | {run} |")
        if event.state == "cached":
            tags[f"slmforge.cached.{event.name}"] = _made_by(record)
        elif event.state == "made":
            tags[f"slmforge.made.{event.name}"] = record.id
    return {**tags, NOTE: "\n".join(lines)}


def _made_by(record: Record) -> str:
    """How a cached stage names the run that made it."""
    made, key = record.made, record.made.get("key")
    run = tracking.run_id(key) if key else None
    prefect = made.get("prefect.task_run_id")
    return json.dumps({"artifact": record.id, "mlflow_run": run, "key": key, "prefect_task_run": prefect, "at": made.get("ended")})
