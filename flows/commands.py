"""What the commands do; `flows.cli` parses, this acts."""

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from flows import machines, running
from tasks.lib import history, store
from tasks.lib.errors import ConfigError
from tasks.lib.flow import Flow, Order

MODELS = ("base", "pretrain", "merge", "tune", "align", "reinforce", "distill", "classify", "quantize")  # stages that make one


def order(domain: str, settings: tuple[str, ...] = (), config: str | None = None, edition: Any = None, mirror: str | None = None) -> Order:
    """An order from the command line's words."""
    return Order(domain, config, tuple(settings), edition, mirror)


def page(name: str) -> Flow[Any]:
    """The flow of that name, each a page of its own."""
    found: Flow[Any] = getattr(importlib.import_module(f"flows.{name}"), name)
    return found


def run(asked: Order, flow: str, as_json: bool) -> None:
    """Run a whole pipeline; when every stage is cached, say so without starting anything."""
    from flows import planning
    from tasks.lib import preflight

    started = time.monotonic()
    job = page(flow).job(asked)
    planner = page(flow).plan(job)
    if missing := planning.missing(job, flow):
        raise ConfigError(
            f"domain {asked.domain!r} with something for every stage",
            "; ".join(missing),
            "add to domain.yaml what is missing, or set what is asked for",
        )
    if not planner.all_cached:
        preflight.require(job, planner)
    stages = running.stages(page(flow), asked, planner, as_json)
    # put where it is easy to find
    report = store.publish(asked.domain, flow, stages[-1]["id"])
    seconds = time.monotonic() - started
    if as_json:
        print(json.dumps(machines.outcome(asked, flow, stages, report, seconds), indent=1))
        return
    print(f"report: {report}")
    print(f"nothing to do: {len(stages)} stages cached, {seconds:.2f} s" if planner.all_cached else f"done in {seconds:.0f} s")


def evaluate(asked: Order, model: str | None, as_json: bool) -> None:
    """Score a model and print its scores; when they are in the store, without starting anything."""
    from flows import screen
    from tasks.lib.score import TaskScore

    started = time.monotonic()
    scored = asked if model is None else upon(asked, model)
    stages = running.stages(page("evaluate"), scored, page("evaluate").plan(page("evaluate").job(scored)), as_json)
    if as_json:
        print(json.dumps(machines.outcome(asked, "evaluate", stages, None, time.monotonic() - started), indent=1))
        return
    record = store.find(stages[-1]["id"])
    facts = record.facts if record else {"tasks": [], "general": []}
    for task in [*facts["tasks"], *facts["general"]]:
        said = TaskScore.model_validate(task).sentence().replace("; ", "\n    ")  # the score; what it stands beside
        screen.console.print(f"{task['task']:<32} {said}", soft_wrap=True)
    for name in machines.BITS:
        if facts.get(name) is not None:
            screen.console.print(f"{name.replace('_', ' '):<32} {facts[name]:.3f}")
    for kind, loss in facts.get("masked_loss", {}).items():
        screen.console.print(f"{f'masked loss, {kind}':<32} {loss:.3f} nats a masked token")
    for name, why in facts.get("not_measured", {}).items():
        screen.console.print(f"{name:<32} not measured: {why}", soft_wrap=True)


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
