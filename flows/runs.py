"""`slmforge runs`: when each flow run began, how long it took, what started it, how it ended, and where else it is known."""

import json

SHOWN = 30


def runs(name: str | None, as_json: bool, here: bool) -> None:
    """List flow runs of a domain or of all, after delivering what waits, with `here` to the MLflow that is set now."""
    from tasks.lib import journal, spool, tracking

    left = 0
    if any(tracking.spool().glob("*.jsonl")):
        from tasks.lib import delivery

        courier = delivery.courier(here=here)
        courier.start()
        left = courier.finish(60)
    lines, torn = journal.read(name)
    if as_json:
        told = {"runs": lines, "unreadable_lines": torn, "waiting_events": left, "refused_events": spool.refused()}
        print(json.dumps(told, indent=1))
        return
    from flows import screen

    screen.runs(lines[-SHOWN:])
    older = f", of which the last {SHOWN} are shown (--json shows all)" if len(lines) > SHOWN else ""
    print(f"{len(lines)} runs{older}; {left} events wait for MLflow")
    if torn:
        print(f"{torn} lines of {journal.history()} cannot be read")
    if refused := spool.refused():
        print(f"MLflow refused {refused} events for good; they lie with their reasons in {spool.refusals()}")
