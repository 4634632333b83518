"""What surrounds the stages of one flow run: provenance, the tracked parent run, delivery."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from tasks.lib import places, tracking
from tasks.lib.execute import Session
from tasks.lib.flow import Flow, Job, Order
from tasks.lib.provenance import provenance


@contextmanager
def open_session(page: Flow[Any], order: Order, tags: dict[str, str], *, deliver: bool = True) -> Iterator[tuple[Job[Any], Session]]:
    """A session with a tracked parent run, closed at the end; there is none when no stage is made.

    With `deliver` it reaches MLflow in the background; without, with the next command that delivers.
    """
    job = page.job(order)
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
        yield job, current
        status = "FINISHED"
    finally:
        cached = {f"slmforge.cached.{e.name}": _made_by(e.record) for e in current.events if e.state == "cached" and e.record}
        writer.tags({**cached, **{f"slmforge.made.{e.name}": e.record.id for e in current.events if e.state == "made" and e.record}})
        writer.end(status)
        log(order, page.name, status, current)
        if courier is not None:
            courier.finish()


def _made_by(record: Any) -> str:
    """How a cached stage names the run that made it."""
    made = record.made
    run = tracking.run_id(made["key"]) if made.get("key") else None
    prefect = made.get("prefect.task_run_id")
    return json.dumps({"artifact": record.id, "mlflow_run": run, "prefect_task_run": prefect, "at": made.get("ended")})


def log(order: Order, flow: str, status: str, current: Session | None) -> None:
    """One line of history per flow run, the ones that had nothing to do included."""
    place = places.runs() / "history.jsonl"
    place.parent.mkdir(parents=True, exist_ok=True)
    states: dict[str, str] = {} if current is None else {e.name: e.state for e in current.events}
    line = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "flow": flow,
        "status": status,
        **order.parameters(),
        "made": [name for name, state in states.items() if state == "made"],
        "cached": [name for name, state in states.items() if state == "cached"],
    }
    with place.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
