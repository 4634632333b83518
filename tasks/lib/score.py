"""What an evaluation said, without the library that ran it."""

from tasks.lib.config import Declared


class TaskScore(Declared):
    """One task's score with its 95 % interval (none where a single row was asked), or why it was not run.

    `truncated` rows lost the beginning of what they ask, because the model's window does not hold all of it. `majority` is
    what the best answer that is always the same would score on these rows, where that was asked.
    """

    task: str
    metric: str
    n: int
    value: float | None = None
    low: float | None = None
    high: float | None = None
    majority: float | None = None
    truncated: int = 0
    samples: list[dict[str, str]] = []
    not_run: str | None = None

    def sentence(self) -> str:
        """The score on one line."""
        if self.value is None:
            return f"not run: {self.not_run}"
        interval = "–" if self.low is None or self.high is None else f"[{self.low:.3f}, {self.high:.3f}]"
        cut = f", {self.truncated} of them cut at the beginning" if self.truncated else ""
        constant = "" if self.majority is None else f"; always the most frequent label {self.majority:.3f}"
        return f"{self.metric} {self.value:.3f}  {interval}  n={self.n}{cut}{constant}"
