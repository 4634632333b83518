"""What an evaluation said, without the library that ran it."""

from tasks.lib.config import Declared


class TaskScore(Declared):
    """One task's score with its 95 % interval, or why it was not run."""

    task: str
    metric: str
    n: int
    value: float | None = None
    low: float | None = None
    high: float | None = None
    samples: list[dict[str, str]] = []
    not_run: str | None = None
