"""Searches: the pipeline over every combination of values of some fields, up to the stage that they are about."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows import trials as pages
from tasks.lib import config, digests, journal, places, preflight, replacing, store, tracking
from tasks.lib.errors import ConfigError, SlmforgeError, StageError
from tasks.lib.flow import Flow, Job, Order
from tasks.lib.score import TaskScore
from tasks.lib.suite import Task, evaluation_sets

TRIAL = {"slmforge.flow": "sweep trial"}
BITS = ("domain_bits_per_byte", "general_bits_per_byte")


@dataclass
class Trial:
    """Values of the fields, and what came of them."""

    values: dict[str, Any]
    order: Order
    artifact: str | None = None
    scores: dict[str, float | None] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    error: str | None = None

    @property
    def sentence(self) -> str:
        """The values on one line."""
        return ", ".join(f"{key}={json.dumps(value)}" for key, value in self.values.items())


def sweep(asked: Order, over: Sequence[str], flow: str, until: str | None, by: str | None, as_json: bool) -> None:
    """Run every combination of one flow's trials, show them in one table and one page, and keep both as one run in MLflow.

    Stages that trials have in common are made once. A trial that fails is shown with its error, and the others go on.

    Raises:
        ConfigError: before anything runs, if a field, a value or the score is none.
        StageError: if no trial ended well.
    """
    from flows import screen

    grid, search = _grid(over), pages.SEARCHES[flow]
    trials = _trials(asked, grid, search.end({name.split(".")[0] for name in grid}, until))
    jobs = [search.page.job(one.order) for one in trials]
    _require_difference(flow, grid, trials, jobs)
    for job in jobs:
        preflight.require(job, search.page.plan(job))
    known = [*_tasks(jobs[0]), *BITS]
    if by is not None and by not in known:
        raise ConfigError(
            f"trials compared by {by!r}", f"no such score in the {jobs[0].sources.edition} edition", f"one of: {', '.join(known)}"
        )
    name = f"sweep-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    writer = tracking.RunWriter(asked.domain, name, None, {"slmforge.flow": "sweep"})
    writer.params({"over": json.dumps(grid), "settings": json.dumps(asked.settings)})
    for number, one in enumerate(trials, start=1):
        if not as_json:
            screen.console.print(f"\ntrial {number} of {len(trials)}: {one.sentence}", style="bold", soft_wrap=True)
        _run(search.page, one, tracking.RunWriter(asked.domain, f"{name}-{number}", writer.key, TRIAL), silent=as_json)
    measured = {score for one in trials for score, value in one.scores.items() if value is not None}
    for one in trials:  # what no trial has is no column
        one.scores = {score: value for score, value in one.scores.items() if score in measured}
    by = by or next((score for score in known if _best(trials, score)), known[0])
    best = _best(trials, by)
    files = _write(asked.domain, name, trials, best, by)
    for file in files:
        writer.file(file)
    writer.end("FAILED" if best is None else "FINISHED")
    _deliver()
    _show(trials, best, by, files[0], as_json)
    if best is None:
        found = trials[0].error or "the models have none"
        raise StageError(f"{len(trials)} trials with a score of {by}", found, "correct the fields, or compare by another score: --by")


def _tasks(job: Job[Any]) -> list[str]:
    """The domain's tasks whose questions this edition has."""
    sets = evaluation_sets([resolved.dataset for resolved in job.sources.datasets])
    tasks = [Task.model_validate(task) for task in job.domain.suite.of_domain().values()]
    return sorted(task.task for task in tasks if sets.keys() >= {*task.sets.values()})


def _require_difference(flow: str, grid: dict[str, list[Any]], trials: list[Trial], jobs: list[Job[Any]]) -> None:
    """Refuse values that make the same result: as equal ones, those of a field that changes how and never what, or of no stage that runs."""
    for name, values in grid.items():
        stage, others = name.split(".")[0], {key: options[0] for key, options in grid.items() if key != name}
        alike = [job for one, job in zip(trials, jobs, strict=True) if others.items() <= one.values.items()]
        why = None if len({digests.of_value(getattr(job.cfg, stage).identity()) for job in alike}) == len(values) else "some are the same"
        if why := pages.idle(flow, stage, jobs[0]) or why:
            raise ConfigError(
                f"trials over {name}={json.dumps(values)}, each with a result of its own", why, f"search another field than {name}"
            )


def _grid(over: Sequence[str]) -> dict[str, list[Any]]:
    """`["align.method.beta=[0.1, 0.5]", …]` as fields with their values."""
    grid: dict[str, list[Any]] = {}
    for word in over:
        name = word.partition("=")[0]
        value: Any = config.parse_overrides([word])
        for part in name.split("."):
            value = value[part]
        if not isinstance(value, list) or not value:
            raise ConfigError(f"values of {name}", f"{value!r}, which is no list", f"write for instance --over '{name}=[1, 2]'")
        if name in grid:
            raise ConfigError(f"values of {name}", "given twice", "write one list")
        grid[name] = value
    return grid


def _trials(asked: Order, grid: dict[str, list[Any]], until: str) -> list[Trial]:
    found = []
    for values in itertools.product(*grid.values()):
        chosen = dict(zip(grid, values, strict=True))
        settings = (*asked.settings, *(f"{name}={json.dumps(value)}" for name, value in chosen.items()), f"until={until}")
        found.append(Trial(chosen, Order(asked.domain, asked.config, settings, asked.edition, asked.mirror)))
    return found


def _run(page: Flow[Any], one: Trial, child: tracking.RunWriter, *, silent: bool) -> None:
    """Run one trial; what is wrong with it is its result."""
    from flows import running, screen

    child.params(one.values)
    try:
        listener = (lambda event: None) if silent else screen.story
        one.artifact = running.run_flow(page, one.order, listener, silent=silent)["artifact"]
    except SlmforgeError as error:
        one.error = journal.in_a_line(error)
        child.tags({"slmforge.error": one.error})
    else:
        _score(one)
        child.tags({"slmforge.artifact": one.artifact})
        child.metrics({key: value for key, value in one.scores.items() if value is not None})
    child.end("FAILED" if one.error else "FINISHED")


def _deliver() -> None:
    """Bring the sweep's own runs to MLflow, after the last flow has delivered its."""
    from tasks.lib import delivery

    courier = delivery.courier()
    courier.start()
    courier.finish()


def _score(one: Trial) -> None:
    record = store.find(one.artifact or "")
    assert record is not None
    one.scores = {key: record.facts[key] for key in BITS}
    for written in record.facts["tasks"]:
        task = TaskScore.model_validate(written)
        one.scores[task.task] = task.value
        if task.low is not None and task.high is not None:
            one.intervals[task.task] = (task.low, task.high)


def _best(trials: list[Trial], by: str) -> Trial | None:
    """The trial with the best score: the lowest bits per byte, or the highest of a task."""
    scored = [one for one in trials if one.scores.get(by) is not None]
    return min(scored, key=lambda one: (one.scores[by] or 0) * (1 if by in BITS else -1), default=None)


def _write(domain: str, name: str, trials: list[Trial], best: Trial | None, by: str) -> tuple[Path, Path]:
    """The page for people and the table for machines; they stay, because MLflow may be away."""
    from tasks.lib import sweep_page

    folder = places.runs() / "sweeps" / f"{domain}-{name}"
    folder.mkdir(parents=True)
    rows = [{"values": one.values, "scores": one.scores, "artifact": one.artifact, "error": one.error} for one in trials]
    page, table = folder / "sweep.html", folder / "trials.json"
    replacing.replace({page: sweep_page.render(domain, trials, best, by), table: json.dumps(rows, indent=1) + "\n"})
    return page, table


def _show(trials: list[Trial], best: Trial | None, by: str, page: Path, as_json: bool) -> None:
    from flows import screen

    if as_json:
        rows = [{"values": t.values, "scores": t.scores, "artifact": t.artifact, "error": t.error, "best": t is best} for t in trials]
        print(json.dumps({"by": by, "trials": rows}, indent=1))
        return
    screen.trials(trials, best, by)
    print(f"report: {page}")
