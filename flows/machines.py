"""What commands say to machines: the stages of a run, its scores, its report and its version, as JSON."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tasks.lib import store
from tasks.lib.execute import Event
from tasks.lib.flow import Order
from tasks.lib.plan import PlanRow

BITS = ("domain_bits_per_byte", "general_bits_per_byte")
WITHOUT_TEXT = ("masked_loss", "not_measured")  # of models that write none
SCORE = ("task", "metric", "n", "value", "low", "high", "truncated", "not_run")
Stage = dict[str, Any]


def planned(rows: Iterable[PlanRow]) -> list[Stage]:
    """The stages of a run in which nothing had to be done."""
    return [{"stage": row.name, "state": row.state, "id": row.id, "reason": row.reason, "seconds": 0.0} for row in rows]


def told(events: Iterable[Event]) -> list[Stage]:
    """The stages of a run by what was told of them; of one that was tried again, the last."""
    found = {}
    for event in events:
        if event.state != "started":
            reason = event.cause or "same content, same settings"
            identifier = event.record.id if event.record else None
            found[event.name] = {
                "stage": event.name,
                "state": event.state,
                "id": identifier,
                "reason": reason,
                "seconds": round(event.seconds, 3),
            }
    return list(found.values())


def outcome(asked: Order, flow: str, stages: list[Stage], report: Path | None, seconds: float) -> dict[str, Any]:
    """What a run of a flow came to."""
    records = {stage["stage"]: store.find(stage["id"]) for stage in stages if stage["id"]}
    version = records.get("register")
    return {
        "domain": asked.domain,
        "flow": flow,
        "stages": stages,
        "scores": [scores(record.facts) for name, record in records.items() if record and name.split(":")[0] == "evaluate"],
        "report": None if report is None else str(report),
        "version": None if version is None else version.facts,
        "seconds": round(seconds, 3),
    }


def scores(facts: dict[str, Any]) -> dict[str, Any]:
    """The scores of a model, without its answers."""
    kinds = {kind: [_score(task) for task in facts[kind]] for kind in ("tasks", "general")}
    return {"subject": facts["subject"], **{key: facts[key] for key in BITS}, **kinds, **{key: facts[key] for key in WITHOUT_TEXT}}


def _score(task: dict[str, Any]) -> dict[str, Any]:
    """A task's score, and what the most frequent answer of the training rows scores."""
    return {**{key: task[key] for key in SCORE}, "majority": (task["baseline"] or {}).get("value")}
