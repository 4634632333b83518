"""The report's task scores: a plot and a row per model, and beside them what the most frequent answer of training scores."""

from collections.abc import Sequence
from typing import Any

from tasks.lib import pages, plots
from tasks.lib.score import TaskScore

MEANS = {
    "better": "better than always giving the most frequent answer of training",
    "worse": "worse than always giving the most frequent answer of training",
    "not told apart": "not told apart from always giving the most frequent answer of training",
}


def tasks(entries: Sequence[Any]) -> list[dict[str, Any]]:
    """Every task that any model met: a plot and a row per model and baseline, or why it was not run.

    Args:
        entries: the models of the report with their scores, as `page.Entry`.
    """
    found = []
    for name in dict.fromkeys(score.task for entry in entries for score in entry.scores.tasks):
        rows = [(entry, entry.task(name)) for entry in entries]
        run = next((score for _, score in rows if score and score.value is not None), None)
        why = next((score.not_run for _, score in rows if score and score.not_run), None)
        beside = _baselines(entries, rows, name)
        dots = [plots.Dot(e.name, s.value, s.low, s.high, e.shipped) if s else plots.Dot(e.name, None) for e, s in rows]
        dots += [plots.Dot(kind, score.value, score.low, score.high) for kind, score in beside]
        drawing = plots.dots(dots, f"{name}: score of each model with its 95 % interval") if run else None
        found.append({"name": name, "metric": run.metric if run else "", "rows": rows, "plot": drawing, "not_run": why,
                      "beside": beside, "majority": next((s.baseline for _, s in rows if s and s.baseline), None),
                      "said": sentences(rows)})  # fmt: skip
    return found


def _baselines(entries: Sequence[Any], rows: Sequence[tuple[Any, TaskScore | None]], name: str) -> list[tuple[str, Any]]:
    """What was measured of no model of the pipeline: the most frequent answer, and the architecture with random weights."""
    found = [("majority", score.baseline) for _, score in rows if score and score.baseline][:1]
    untrained = (score for entry in entries for score in entry.scores.untrained if score.task == name and score.value is not None)
    return [*found, *(("untrained", score) for score in untrained)]


def sentences(rows: Sequence[tuple[Any, TaskScore | None]]) -> list[str]:
    """For each finding, which models it is true of, with the numbers of each; why there is no baseline, if so."""
    known = [(entry, score) for entry, score in rows if score is not None and score.value is not None]
    said = []
    for word, means in MEANS.items():
        found = [(entry, score.baseline.paired) for entry, score in known if score.baseline and score.baseline.paired.word == word]
        if found:
            names = ", ".join(f"{entry.name} ({paired.sentence()})" for entry, paired in found)
            said.append(f"{pages.words(known[0][1].task)}, {means}: {names}")
    missing = next((score.no_baseline for _, score in known if score.no_baseline), None)
    return [*said, f"{pages.words(known[0][1].task)}: the most frequent answer was not scored, because {missing}"] if missing else said
