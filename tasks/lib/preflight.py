"""What cannot run, told before anything runs; heavy libraries are asked only where they alone know, and once."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from tasks.lib import base_checks, estimate, examine, packs, row_checks
from tasks.lib.base_checks import Fault
from tasks.lib.errors import ConfigError
from tasks.lib.plan import Planner
from tasks.lib.records import CONTENT, IDENTITY, ROLES
from tasks.lib.stage import RUNNER
from tasks.lib.training_config import TrainingConfig

TRAININGS = ("base", "pretrain", "tune", "align", "classify", "reward", "reinforce", "distill")


def faults(job: Any, planner: Any) -> list[Fault]:
    """Why stages of a plan that will run cannot; nothing is asked of stages that are cached.

    Args:
        job: of a flow.
        planner: with the flow's plan.
    """
    running = {row.name for row in planner.rows if row.state == "run"}
    trainings = running & set(TRAININGS)
    return [
        *_expectations(job, running),
        *_trainer(job.cfg, running),
        *_merge(job.cfg, running),
        *base_checks.faults(job, trainings),
        *row_checks.faults(job, planner, trainings),
    ]


def notes(job: Any, planner: Any) -> list[str]:
    """What a plan without faults says besides."""
    return base_checks.notes(job, {row.name for row in planner.rows if row.state == "run"})


def require(job: Any, planner: Any) -> None:
    """Refuse what `faults` finds, and what this machine cannot hold.

    Raises:
        ConfigError: with all of it.
    """
    if found := [*faults(job, planner), *estimate.shortage(estimate.needs(job, planner))]:
        asked = f"stages of {job.domain.name!r} that can run to their end"
        told = "; ".join(f"{fault.stage}: {fault.found}" for fault in found)
        raise ConfigError(asked, told, "; ".join(dict.fromkeys(fault.remedy for fault in found)))


def require_trainable(page: Callable[[Any], Any], job: Any) -> None:
    """Refuse what is known only now, within a page that runs: what the data are, and a base that was fetched.

    Args:
        page: the page's own function.
        job: of the flow.

    Raises:
        ConfigError: with all of it.
    """
    if isinstance(RUNNER.get(), Planner):
        return  # who plans is told all faults, not the first
    planner = Planner(job.domain.name)
    token = RUNNER.set(planner)
    try:
        page(job)
    finally:
        RUNNER.reset(token)
    if any(row.name == "split" and row.id for row in planner.rows):  # else the page is only sketched
        require(job, planner)


def _expectations(job: Any, running: set[str]) -> Iterator[Fault]:
    """Expectations, arguments and columns that there are not; severities and packs were judged when the file was read."""
    if "check" not in running:
        return
    columns: dict[str, set[str]] = defaultdict(lambda: set(IDENTITY))
    for resolved in job.sources.datasets:
        given = set(resolved.dataset.map) & set(CONTENT)
        given |= {"prompt", "response", "history"} if "messages" in resolved.dataset.map else set()
        given |= {"smiles"} if "smiles" in resolved.dataset.columns.values() else set()
        columns[resolved.dataset.role] |= given | {f"{name}_chars" for name in given}
    expected = job.expectations
    suites = {role: packs.fitting(getattr(expected, role), columns[role]) for role in ROLES if role in columns}
    if any(suites.values()):
        known = {role: sorted(columns[role]) for role in suites}
        question = {"suites": suites, "sensitive": expected.sensitive, "columns": known}
        yield from (Fault("check", *fault) for fault in examine.answer("expectations", question))


def _merge(cfg: Any, running: set[str]) -> Iterator[Fault]:
    """A merge of two models whose rows stand for different tokens."""
    if "merge" in running and cfg.pretrain.new_tokens:
        told = "pretrain.new_tokens gives the pretrained model tokens that the base does not have, and the two cannot be merged"
        yield Fault("merge", told, "leave merge.method or pretrain.new_tokens out")


def _trainings(cfg: Any, running: set[str]) -> dict[str, TrainingConfig]:
    """The settings of every training that will run."""
    made = {stage: getattr(cfg, stage, None) for stage in TRAININGS if stage in running}
    if "base" in made:
        made["base"] = getattr(cfg.base.source, "training", None)
    return {stage: settings for stage, settings in made.items() if settings is not None}


def _trainer(cfg: Any, running: set[str]) -> Iterator[Fault]:
    """Keys of `trainer:` that the library does not know or would not take."""
    given = {stage: settings for stage, settings in _trainings(cfg, running).items() if settings.trainer}
    if not given:
        return
    fields = set(TrainingConfig.model_fields)
    question = {stage: (_method(stage, settings), settings.model_dump(mode="json", include=fields)) for stage, settings in given.items()}
    yield from (Fault(*fault) for fault in examine.answer("trainer", question))


def _method(stage: str, settings: Any) -> str | None:
    """The kind of a stage's method, where the library has a trainer for each."""
    return settings.method.kind if stage in ("align", "reinforce") else None
