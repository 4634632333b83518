"""The report's part on general tasks: what each model still gets right of what is no task of the domain, against a budget."""

from collections.abc import Sequence
from typing import Any

from tasks.lib import plots
from tasks.lib.paired import Paired
from tasks.lib.score import TaskScore

BUDGET = 0.05  # where a record says none
MOST = 0.5  # of a training's text: the largest share of replay that is recommended


class General:
    """One model's answers to all general tasks together, beside those of the base to the same rows."""

    def __init__(self, entry: Any, base: Any) -> None:
        self.entry, self.base = entry, base
        mine, its = _run(entry), _run(base)
        shared = [name for name in its if name in mine and len(mine[name].right) == len(its[name].right)]
        self._now, self._then = ("".join(of[name].right for name in shared) for of in (mine, its))
        config = entry.scored.config if entry.scored else {}
        self.n, self.budget = len(self._now), float(config.get("general_budget", BUDGET))

    @property
    def share(self) -> float:
        """Of the rows, those that it gets right."""
        return self._now.count("1") / self.n

    @property
    def fall(self) -> float:
        """By how much the share is below the base's."""
        return (self._then.count("1") - self._now.count("1")) / self.n

    @property
    def within(self) -> bool:
        """Whether the fall is accepted."""
        return self.fall <= self.budget

    def sentence(self) -> str:
        """The change with the budget, and what the paired test allows to say of it."""
        paired = Paired.of(self._now, self._then)
        chance = ", so it may be chance" if self.fall and paired.word == "not told apart" else ""
        moved = "as much as" if not self.fall else f"{abs(self.fall):.3f} {'less' if self.fall > 0 else 'more'} than"
        budget = f"{'within' if self.within else 'over'} the budget of {self.budget:.3f}"
        return f"{self.entry.name}: {self.share:.3f} of {self.n} rows, {moved} the base ({paired.sentence()}{chance}), {budget}"


def _run(entry: Any) -> dict[str, TaskScore]:
    return {score.task: score for score in entry.scores.general if score.value is not None}


def sections(entries: Sequence[Any]) -> dict[str, Any]:
    """What the template shows of general tasks; nothing where none was run on the base.

    Args:
        entries: the models of the report with their scores, as `page.Entry`.
    """
    every = [General(entry, entries[0]) for entry in entries]
    known = {one.entry.name: one for one in every if one.n}
    names = dict.fromkeys(score.task for entry in entries for score in entry.scores.general)
    missing = {score.task: score.not_run for entry in entries for score in entry.scores.general if score.not_run}
    drawn = []
    for name in names:
        found = [(entry, _run(entry).get(name)) for entry in entries]
        if run := next((score for _, score in found if score), None):
            dots = [plots.Dot(e.name, s.value, s.low, s.high, e.shipped) if s else plots.Dot(e.name, None) for e, s in found]
            plot = plots.dots(dots, f"{name}: score of each model with its 95 % interval")
            drawn.append({"name": name, "metric": run.metric, "plot": plot, "rows": [(entry, score) for entry, score in found if score]})
    return {
        "general_advice": _advice(list(known.values())),
        "general": known,
        "general_tasks": drawn,
        "general_missing": missing,
        "general_trade": _trade(list(known.values())),
    }


def _advice(known: Sequence[General]) -> str | None:
    """What to try where a model fell by more than its budget: more replay in the last training up to it that has any."""
    over = next((place for place, one in enumerate(known) if not one.within), None)
    if over is None:
        return None
    # a budget of the training may have raised its replay
    trained = [
        (one.entry.model.stage, one.entry.made.config | {key: share for key, share in one.entry.made.measured.items() if key == "replay"})
        for one in known[: over + 1]
        if one.entry.made
    ]
    field, replay = next(((f"{stage}.replay", cfg["replay"]) for stage, cfg in reversed(trained) if "replay" in cfg), (None, 0.0))
    said = f"The {known[over].entry.name} model is the first over the budget"
    if field is None:
        return f"{said}: try a lower learning rate."
    if replay >= MOST:
        return f"{said}: {field} is {replay:g} already, so try a lower learning rate."
    return f"{said}: try {field}={min(MOST, max(2 * replay, 0.05)):g} next, where it is {replay:g} now."


def _trade(known: Sequence[General]) -> Any:
    """What each model gained on the domain's tasks against what it lost on general ones; None where fewer than two are known."""
    points = []
    for one in known:
        pairs = [(score.value, before.value) for score in one.entry.scores.tasks
                 if score.value is not None and (before := one.base.task(score.task)) and before.value is not None]  # fmt: skip
        if pairs:
            points.append((one.entry.name, 100 * one.fall, 100 * sum(now - then for now, then in pairs) / len(pairs)))
    if len(points) < 2:
        return None
    return plots.path(
        points, "gain on domain tasks against fall on general tasks", "fall on general tasks (points)", "gain on domain tasks (points)"
    )
