"""`slmforge why`: why a stage is cached or will run."""

import json

from flows import commands
from tasks.lib import history
from tasks.lib.errors import ConfigError
from tasks.lib.flow import Order


def why(asked: Order, flow: str, stage: str, as_json: bool) -> None:
    """Print why a stage is cached or will run, and which stage is the first to run.

    Raises:
        ConfigError: if the flow has no such stage.
    """
    rows = commands.page(flow).plan(commands.page(flow).job(asked)).rows
    found = [row for row in rows if row.name == stage or row.name.split(":")[0] == stage]
    if not found:
        raise ConfigError(f"stage {stage!r}", f"no such stage in {flow}", f"one of: {', '.join(row.name for row in rows)}")
    last = history.read(asked.domain)
    causes = {row.name: row.made.get("cause") or last.get(row.name, {}).get("cause") for row in found if row.state == "cached"}
    first = next((row for row in rows if row.state == "run" and not row.reason.endswith("will run")), None)
    if as_json:
        stages = [
            {"stage": row.name, "state": row.state, "id": row.id or None, "reason": row.reason,
             "made": row.made.get("ended"), "cause": causes.get(row.name)} for row in found
        ]  # fmt: skip
        cause = None if first is None else {"stage": first.name, "reason": first.reason}
        print(json.dumps({"domain": asked.domain, "stages": stages, "first_cause": cause}, indent=1))
        return
    for row in found:
        if row.state == "cached":
            print(f"{row.name}: cached ({row.id}); it was made {str(row.made.get('ended', ''))[:19]} because {causes[row.name]}")
        else:
            print(f"{row.name}: will run because {row.reason}")
    if first is not None and first not in found:
        print(f"the first cause: {first.name} will run because {first.reason}")
