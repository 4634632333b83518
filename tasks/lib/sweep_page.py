"""The page of a search: one table, and a plot of the score by which its trials are compared."""

from collections.abc import Sequence
from typing import Any

from tasks.lib import pages, plots


def render(domain: str, trials: Sequence[Any], best: Any | None, by: str) -> str:
    """The page as HTML that loads nothing.

    Args:
        domain: its name.
        trials: with `values`, `scores`, `intervals`, `artifact`, `error` and `sentence`.
        best: one of them.
        by: the score that says so.
    """
    dots = []
    for place, one in enumerate(trials, start=1):
        low, high = one.intervals.get(by, (None, None))
        dots.append(plots.Dot(str(place), one.scores.get(by), low, high, strong=one is best))
    scores = list(next((one.scores for one in trials if one.scores), {}))
    drawn = plots.dots(dots, f"{pages.words(by)} of each trial") if best is not None else None
    return (
        pages.templates()
        .get_template("sweep.html.jinja")
        .render(
            title=f"{domain}: {len(trials)} trials",
            fields=list(trials[0].values),
            trials=trials,
            scores=scores,
            best=best,
            by=by,
            plot=drawn,
        )
    )
