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
        cached = {f"slmforge.cached.{e.name}": _made_by(e.record) for e in current.events if e.state == "cached" and e.record}
        writer.tags({**cached, **{f"slmforge.made.{e.name}": e.record.id for e in current.events if e.state == "made" and e.record}})
        writer.end(status)
        if courier is not None:
            courier.finish()


def _made_by(record: Any) -> str:
    """How a cached stage names the run that made it."""
    made = record.made
    run = tracking.run_id(made["key"]) if made.get("key") else None
    prefect = made.get("prefect.task_run_id")
    return json.dumps({"artifact": record.id, "mlflow_run": run, "prefect_task_run": prefect, "at": made.get("ended")})
