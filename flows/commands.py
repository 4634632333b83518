"""What the commands do; `flows.cli` parses, this acts."""

import importlib
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from flows import machines, running
from tasks.lib import base_source, history, store
from tasks.lib.errors import ConfigError
from tasks.lib.flow import Flow, Order

MODELS = ("base", "pretrain", "tune", "align", "distill", "quantize")  # stages that make one
TRAINED_ON = {"corpus": "pretrain", "tune": "tune", "preference": "align"}  # a role and the stage of `adapt` that needs it


def order(domain: str, settings: tuple[str, ...] = (), config: str | None = None, edition: Any = None, mirror: str | None = None) -> Order:
    """An order from the command line's words."""
    return Order(domain, config, tuple(settings), edition, mirror)


def page(name: str) -> Flow[Any]:
    """The flow of that name, each a page of its own."""
    found: Flow[Any] = getattr(importlib.import_module(f"flows.{name}"), name)
    return found


def plan(asked: Order, flow: str, as_json: bool, batches: int | None = None) -> bool:
    """Print the plan of a flow, and the first examples of its trainings if asked; True when something blocks it."""
    from flows import batches as showing
    from tasks.lib import estimate, preflight

    job = page(flow).job(asked)
    planner = page(flow).plan(job)
    shown = [] if batches is None else showing.of(asked, job, planner, batches)
    rows, needs = _rows(job, planner)
    blockers = [f"{row.name}: {row.reason}" for row in planner.blockers]
    blockers += [found] if (found := estimate.shortage(needs)) else []
    blockers += [*_missing(job, flow), *_unfit_base(job, flow)]
    unfit = [fault.sentence() for fault in preflight.faults(job, planner)]
    blockers += unfit
    notes = list(job.domain.card.unstated)
    drawn = _shares(planner.rows, job, tried=not unfit)
    if as_json:
        told = {
            "domain": asked.domain,
            "edition": job.sources.edition,
            "stages": rows,
            "draws": drawn,
            "blockers": blockers,
            "notes": notes,
            **({} if batches is None else {"batches": [showing.told(one) for one in shown]}),
        }
        print(json.dumps(told, indent=1))
        return bool(blockers)
    from flows import screen

    screen.plan(rows)
    screen.draws(drawn)
    counts = Counter(row["state"] for row in rows)
    screen.console.print(f"\n{asked.domain}, {job.sources.edition} edition: {counts['cached']} cached, {counts['run']} to run")
    for note in notes:
        screen.say("note", "yellow", note)
    for blocker in blockers:
        screen.say("blocker", "red", blocker)
    if shown:
        showing.show(shown, planner)
    return bool(blockers)


def _rows(job: Any, planner: Any) -> tuple[list[dict[str, Any]], list[Any]]:
    """The stages of a plan, and what those that will run need."""
    from tasks.lib import estimate

    weights = estimate.parameters(job.cfg.base.source)
    vocabulary = getattr(job.cfg.base.source, "vocabulary", None)
    for row in planner.rows:
        if row.name == "base" and row.facts:
            weights, vocabulary = row.facts["parameters"], row.facts["vocabulary"]
    data_bytes = sum(dataset.bytes for dataset in job.sources.datasets)
    rows, needs = [], []
    for row in planner.rows:
        need = estimate.need(row, job.cfg, weights, vocabulary, data_bytes) if row.state == "run" else None
        needs += [need] if need else []
        rows.append({"stage": row.name, "state": row.state, "reason": row.reason, "id": row.id,
                     "last_seconds": row.measured.get("seconds"), "memory": need and need.memory, "disk": need and need.disk})  # fmt: skip
    return rows, needs


def _shares(rows: list[Any], job: Any, *, tried: bool) -> list[dict[str, Any]]:
    """What each training will draw of each dataset; nothing before the data are split.

    Tokens are counted by the tokenizer of the base, or of the folder that it will be copied from if that has been `tried` out.
    """
    found = {row.name: row for row in rows if row.id}
    if "split" not in found:
        return []
    from tasks.lib import base_checks, mixture_plan

    outside = base_checks.folder_of(job) if tried else None
    base = store.root() / found["base"].id if "base" in found else outside
    weights = {resolved.dataset.name: resolved.dataset.weight for resolved in job.sources.datasets}
    split = found["split"]
    return mixture_plan.shares([row.name for row in rows], store.root() / split.id, split.facts["sizes"], job.cfg, weights, base)


def _missing(job: Any, flow: str) -> list[str]:
    """Roles, choices or rewards without which a stage of the flow has nothing to work on."""
    datasets = [resolved.dataset for resolved in job.sources.datasets]
    roles = {dataset.role for dataset in datasets}
    wanted = TRAINED_ON if flow != "classify" else {"corpus": "pretrain", "tune": "classify"}
    missing = [f"{stage}: no dataset with role {role}" for role, stage in wanted.items() if role not in roles]
    if flow == "classify" and not any(dataset.role == "tune" and dataset.choices for dataset in datasets):
        missing.append("classify: no dataset with role tune and `choices`")
    if flow == "rlhf":
        try:
            job.rewards.chosen(job.cfg.reinforce.rewards)
        except ConfigError as error:
            missing.append(f"reinforce: {error.found}; {error.remedy}")
    return missing


def _unfit_base(job: Any, flow: str) -> list[str]:
    """Why the flow could not end well with this base."""
    from tasks.lib import architecture

    found = base_source.architecture_of(job.cfg.base.source)
    able: tuple[Any, ...] = ("encoder", "decoder") if flow == "classify" else ("decoder",)
    try:
        architecture.require(found or "decoder", able, flow)
    except ConfigError as error:
        return [str(error)]
    return []


def run(asked: Order, flow: str, as_json: bool) -> None:
    """Run a whole pipeline; when every stage is cached, say so without starting anything."""
    from tasks.lib import architecture, preflight

    started = time.monotonic()
    job = page(flow).job(asked)
    if flow != "classify":
        architecture.require(base_source.architecture_of(job.cfg.base.source) or "decoder", ("decoder",), flow)
    planner = page(flow).plan(job)
    if missing := _missing(job, flow):
        raise ConfigError(
            f"domain {asked.domain!r} with something for every stage", "; ".join(missing), "add such a dataset to domain.yaml"
        )
    if not planner.all_cached:
        preflight.require(job, planner)
    stages = running.stages(page(flow), asked, planner, as_json)
    # put where it is easy to find
    report = store.publish(f"{asked.domain}-classifier" if flow == "classify" else asked.domain, stages[-1]["id"])
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
