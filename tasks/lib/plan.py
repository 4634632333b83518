"""What a flow would do: each stage cached or to run, and why, without importing anything heavy."""

from dataclasses import dataclass, field
from typing import Any

from tasks.lib import history, store
from tasks.lib.sources import Sources
from tasks.lib.stage import Call, Pending


@dataclass
class PlanRow:
    """One stage of a plan."""

    name: str
    state: str  # cached | run | blocked
    reason: str
    id: str = ""
    made: dict[str, Any] = field(default_factory=dict)
    measured: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    alike: bool = False  # what was measured, was so with the same settings


class Planner:
    """Answers every call with the cached artifact, or with `Pending` and a reason."""

    def __init__(self, domain: str) -> None:
        self._domain = domain
        self.rows: list[PlanRow] = []

    def call(self, call: Call) -> Any:
        """Plan one call."""
        if lacking := [name for value in call.arguments.values() if isinstance(value, Sources) for name in value.lacking]:
            reason = f"cannot be read: {', '.join(lacking)}"
            self.rows.append(PlanRow(call.name, "blocked", reason))
            return Pending(call.stage.name, reason)
        if call.pending:
            names = ", ".join(sorted({pending.stage for pending in call.pending.values()}))
            return self._pending(call, f"{names} will run", history.read(self._domain).get(call.name))
        identifier = call.identifier()
        record = store.find(identifier)
        if record is not None:
            artifact = call.stage.load(record)
            gone = artifact.gone()
            if gone is not None:
                return self._pending(call, gone, None)
            refusal = artifact.refusal()
            state = "blocked" if refusal else "cached"
            reason = refusal or "same content, same settings"
            self.rows.append(PlanRow(call.name, state, reason, identifier, record.made, record.measured, record.facts))
            return artifact
        return self._pending(call, history.cause(self._domain, call), history.read(self._domain).get(call.name))

    def _pending(self, call: Call, reason: str, last: dict[str, Any] | None) -> Pending:
        """A stage that will run; what it took the last time is the best estimate of what it will take."""
        record = store.find(last["id"]) if last else None
        measured = record.measured if record is not None else {}
        alike = record is not None and record.config == call.config()
        self.rows.append(PlanRow(call.name, "run", reason, measured=measured, alike=alike))
        return Pending(call.stage.name, reason)

    @property
    def all_cached(self) -> bool:
        """Whether nothing has to be done."""
        return all(row.state == "cached" for row in self.rows)

    @property
    def artifacts(self) -> list[tuple[str, str]]:
        """Every stage with the artifact that it has, as far as it has one."""
        return [(row.name, row.id) for row in self.rows if row.id]

    @property
    def blockers(self) -> list[PlanRow]:
        """Stages whose result forbids to go on; what has no data to begin with is told of by dataset."""
        return [row for row in self.rows if row.state == "blocked" and row.id]
