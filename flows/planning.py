"""`slmforge plan`: each stage cached or to run, and why; what it takes, what it draws, and every blocker."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from flows.commands import page
from tasks.lib import store
from tasks.lib.errors import ConfigError
from tasks.lib.flow import Order

TRAINED_ON = {"corpus": "pretrain", "tune": "tune", "preference": "align"}  # a role and the stage of `adapt` that needs it


def plan(asked: Order, flow: str, as_json: bool, batches: int | None = None) -> bool:
    """Print the plan of a flow, and the first examples of its trainings if asked; True when something blocks it."""
    from flows import batches as showing
    from tasks.lib import estimate, preflight

    job, lacking = page(flow).sketch(asked)
    planner = page(flow).plan(job)
    shown = [] if batches is None or lacking else showing.of(asked, job, planner, batches)
    needs = estimate.needs(job, planner)
    rows = _rows(planner, needs)
    blockers = [fault.sentence for fault in lacking]
    blockers += [f"{row.name}: {row.reason}" for row in planner.blockers]
    blockers += [fault.sentence() for fault in estimate.shortage(needs)]
    blockers += missing(job, flow)
    unfit = [fault.sentence() for fault in preflight.faults(job, planner)]
    blockers += unfit
    notes = [*job.domain.card.unstated, *([] if unfit else preflight.notes(job, planner))]
    if estimate.model(job, planner) is None:
        notes.append("how large the base model is, is not known before it is fetched: memory and disk are told without its weights")
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


def _rows(planner: Any, needs: dict[str, Any]) -> list[dict[str, Any]]:
    """The stages of a plan, with what those need that will run."""
    rows = []
    for row in planner.rows:
        need = needs.get(row.name)
        rows.append({"stage": row.name, "state": row.state, "reason": row.reason, "id": row.id,
                     "last_seconds": row.measured.get("seconds"), "memory": need and need.memory, "disk": need and need.disk})  # fmt: skip
    return rows


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


def missing(job: Any, flow: str) -> list[str]:
    """Roles, choices or rewards without which a stage of the flow has nothing to work on."""
    datasets = [resolved.dataset for resolved in job.sources.datasets]
    roles = {dataset.role for dataset in datasets}
    wanted = TRAINED_ON if flow != "classify" else {"corpus": "pretrain", "tune": "classify"}
    found = [f"{stage}: no dataset with role {role}" for role, stage in wanted.items() if role not in roles]
    if flow == "classify":
        found += _labels(datasets, job.cfg.classify.dataset)
    if flow == "rlhf":
        try:
            job.rewards.chosen(job.cfg.reinforce.rewards)
        except ConfigError as error:
            found.append(f"reinforce: {error.found}; {error.remedy}")
    return found


def _labels(datasets: Sequence[Any], named: str | None) -> list[str]:
    """Why a classifier would not know which labels to tell apart."""
    labelled = {dataset.name: ", ".join(dataset.choices) for dataset in datasets if dataset.role == "tune" and dataset.choices}
    each = "; ".join(f"{name} ({choices if len(choices) < 60 else choices[:60] + ' ...'})" for name, choices in labelled.items())
    if not labelled:
        return ["classify: no dataset with role tune and `choices`"]
    if named is not None and named not in labelled:
        return [f"classify: classify.dataset={named} is none of the datasets with role tune and `choices`: {each}"]
    if named is None and len(set(labelled.values())) > 1:
        return [f"classify: datasets with different `choices`, of which classify.dataset=NAME has to name one: {each}"]
    return []
