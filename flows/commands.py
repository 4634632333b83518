"""What the commands do; `flows.cli` parses, this acts."""

import importlib
import json
import time
from pathlib import Path
from typing import Any

from tasks.lib import history, store
from tasks.lib.errors import ConfigError
from tasks.lib.flow import Flow, Order

MODELS = ("base", "pretrain", "tune", "align", "distill", "quantize")  # stages that make one


def order(domain: str, settings: tuple[str, ...] = (), config: str | None = None, edition: Any = None, mirror: str | None = None) -> Order:
    """An order from the command line's words."""
    return Order(domain, config, tuple(settings), edition, mirror)


def page(name: str) -> Flow[Any]:
    """The flow of that name, each a page of its own."""
    found: Flow[Any] = getattr(importlib.import_module(f"flows.{name}"), name)
    return found


def run(asked: Order, flow: str) -> None:
    """Run a whole pipeline; when every stage is cached, say so without starting anything."""
    from flows import planning

    started = time.monotonic()
    job = page(flow).job(asked)
    report = f"{asked.domain}-classifier" if flow == "classify" else asked.domain
    planner = page(flow).plan(job)
    if missing := planning.missing(job, flow):
        raise ConfigError(
            f"domain {asked.domain!r} with something for every stage", "; ".join(missing), "add such a dataset to domain.yaml"
        )
    if planner.all_cached:
        from tasks.lib import journal

        with journal.opened(asked, flow) as entry:
            entry.all_cached("CACHED", planner.artifacts)
        for row in planner.rows:
            print(f"= {row.name:<18} cached  {row.id}  made {str(row.made.get('ended', ''))[:19]}")
        _finish(report, planner.rows[-1].id)
        print(f"nothing to do: {len(planner.rows)} stages cached, {time.monotonic() - started:.2f} s")
        return
    from tasks.lib import preflight

    preflight.require(job, planner)
    made = run_flow(page(flow), asked)
    _finish(report, made["artifact"])
    print(f"done in {time.monotonic() - started:.0f} s")


def run_flow(flow: Flow[Any], asked: Order, *, silent: bool = False) -> dict[str, str]:
    """Run a flow in this process, with a Prefect server that is there or is started; `silent` keeps stdout for machines."""
    from flows import screen
    from tasks.lib import servers
    from tasks.lib.environment import keep_heap

    keep_heap()
    lease = servers.Lease()
    try:
        with screen.console.status("starting Prefect"):
            servers.prefect_api()
            from tasks.lib import orchestrate  # only now: Prefect reads PREFECT_API_URL when it is imported
        return orchestrate.run_here(flow, asked, (lambda event: None) if silent else screen.story, lease.name)
    finally:
        lease.release()


def _finish(name: str, report: str) -> None:
    """Put the report where it is easy to find, and say where."""
    print(f"report: {store.publish(name, report)}")


def evaluate(asked: Order, model: str | None) -> None:
    """Score a model and print its scores."""
    from flows import screen
    from tasks.lib.score import TaskScore

    made = run_flow(page("evaluate"), asked if model is None else upon(asked, model))
    record = store.find(made["artifact"])
    for task in [*record.facts["tasks"], *record.facts["general"]] if record else []:
        said = TaskScore.model_validate(task).sentence().replace("; ", "\n    ")  # the score; what it stands beside
        screen.console.print(f"{task['task']:<32} {said}", soft_wrap=True)


def upon(asked: Order, model: str) -> Order:
    """The order with a model's folder, or an artifact `STAGE/ID` of the store, as its base.

    Raises:
        ConfigError: if it is neither.
    """
    folder = store.root() / model if in_store(model) else Path(model)
    if not folder.is_dir():
        made = [last["id"] for stage, last in history.read(asked.domain).items() if stage in MODELS and in_store(last["id"])]
        found = f"no such folder, and no such artifact in the store; models of {asked.domain} there: {', '.join(made) or 'none'}"
        raise ConfigError(f"--model {model}", found, "give the folder of a model, or one of those as STAGE/ID")
    setting = f"base.source={{kind: folder, path: {json.dumps(str(folder.absolute()))}, quantised: true}}"
    return Order(asked.domain, asked.config, (*asked.settings, setting), asked.edition, asked.mirror)


def in_store(model: str) -> bool:
    """Whether that is an artifact's id."""
    return store.find(model) is not None


def show(asked: Order, stage: str | None, version: str | None = None) -> None:
    """Print the resolved configuration, or the record of a stage's last artifact, of an older one, or behind a version."""
    if stage is None and version is None:
        _yaml(page("adapt").job(asked).cfg.model_dump(mode="json"))
        return
    from tasks.lib import evidence

    if stage is not None and "/" in stage:
        if version is not None:
            raise ConfigError("one artifact", f"the id {stage!r} and version {version}", "give an id, or a stage and --version")
        print(evidence.artifact(stage).model_dump_json(indent=1))
    elif version is not None:
        made = evidence.version(asked.domain, version)
        if stage is None:
            _yaml({one.split("/")[0]: evidence.artifact(one).config for one in evidence.behind_version(made)})
        else:
            print(evidence.of_version(made, stage).model_dump_json(indent=1))
    else:
        print(_last(asked.domain, str(stage)).model_dump_json(indent=1))


def _yaml(content: dict[str, Any]) -> None:
    import sys

    from ruamel.yaml import YAML

    YAML(typ="safe", pure=True).dump(content, sys.stdout)


def _last(domain: str, stage: str) -> store.Record:
    """The record of a stage's last artifact."""
    last = history.read(domain).get(stage)
    record = store.find(last["id"]) if last else None
    if record is None:
        known = ", ".join(history.read(domain)) or "none"
        raise ConfigError(
            f"the last artifact of stage {stage!r} in {domain}", f"stages that have run: {known}", "run `slmforge adapt` first"
        )
    return record


def why(asked: Order, flow: str, stage: str) -> None:
    """Say why a stage is cached or will run."""
    rows = page(flow).plan(page(flow).job(asked)).rows
    found = [row for row in rows if row.name == stage or row.name.split(":")[0] == stage]
    if not found:
        raise ConfigError(f"stage {stage!r}", f"no such stage in {flow}", f"one of: {', '.join(row.name for row in rows)}")
    last = history.read(asked.domain)
    for row in found:
        if row.state == "cached":
            made = last.get(row.name, {})
            print(
                f"{row.name}: cached ({row.id}); it was made {str(row.made.get('ended', ''))[:19]} because {row.made.get('cause') or made.get('cause')}"
            )
            continue
        print(f"{row.name}: will run because {row.reason}")
    first = next((row for row in rows if row.state == "run" and not row.reason.endswith("will run")), None)
    if first is not None and first not in found:
        print(f"the first cause: {first.name} will run because {first.reason}")


def new(name: str) -> None:
    """Make a domain folder from the template."""
    from flows.template import write

    folder = write(name)
    print(f"made {folder}: add files with `slmforge add {name} FILE`, then run `slmforge check {name}`")


def schema(what: str) -> dict[str, Any]:
    """The JSON Schema of a YAML file that people write."""
    from flows.adapt import AdaptConfig
    from tasks.lib.domain import DomainCard, Expected

    kinds: dict[str, Any] = {"domain": DomainCard, "config": AdaptConfig, "expectations": Expected}
    made: dict[str, Any] = kinds[what].model_json_schema()
    return made
