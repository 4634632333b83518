"""Flows run from the command line, in its own process, for people or for machines."""

import sys
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from typing import Any

from flows import machines
from tasks.lib.execute import Event
from tasks.lib.flow import Flow, Order
from tasks.lib.plan import Planner


def stages(flow: Flow[Any], asked: Order, planner: Planner, as_json: bool) -> list[machines.Stage]:
    """Run a flow, unless there is nothing to do, and tell of its stages: to people at once, to machines by what is returned."""
    if planner.all_cached:
        from tasks.lib import journal

        with journal.opened(asked, flow.name) as entry:
            entry.all_cached("CACHED", planner.artifacts)
        for row in [] if as_json else planner.rows:
            print(f"= {row.name:<18} cached  {row.id}  made {str(row.made.get('ended', ''))[:19]}")
        return machines.planned(planner.rows)
    from flows import screen

    events: list[Event] = []

    def tell(event: Event) -> None:
        events.append(event)
        if not as_json:
            screen.story(event)

    run_flow(flow, asked, tell, silent=as_json)
    return machines.told(events)


def run_flow(flow: Flow[Any], asked: Order, listener: Callable[[Event], None], *, silent: bool = False) -> dict[str, str]:
    """Run a flow in this process, with a Prefect server that is there or is started; `silent` keeps stdout for machines."""
    from flows import screen
    from tasks.lib import servers
    from tasks.lib.environment import keep_heap

    keep_heap()
    lease = servers.Lease()
    with redirect_stdout(sys.stderr) if silent else nullcontext():  # what a library prints is nothing for machines
        try:
            with screen.console.status("starting Prefect"):
                servers.prefect_api()
                from tasks.lib import orchestrate  # only now: Prefect reads PREFECT_API_URL when it is imported
            return orchestrate.run_here(flow, asked, listener, lease.name)
        finally:
            lease.release()
