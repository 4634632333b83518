"""What an evaluation said, without the library that ran it; shares and means with their 95 % intervals."""

import math
from collections.abc import Sequence

from tasks.lib.config import Declared

Z95 = 1.959963984540054


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


class Proportion(Declared):
    """A share of n rows, with Wilson's 95 % interval (none of fewer than two rows)."""

    n: int
    value: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Proportion":
        """The share of rows that are right (1) or wrong (0); 0.5 is a tie."""
        low, high = interval(values)
        return cls(n=len(values), value=round(sum(values) / len(values), 6), low=low, high=high)


class Change(Declared):
    """A mean over the same n rows before and after, and the 95 % interval of its paired difference (normal; none of one row)."""

    n: int
    before: float
    after: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, before: Sequence[float], after: Sequence[float]) -> "Change":
        """The change of the mean, the values in the order of the rows."""
        gains = [new - old for old, new in zip(before, after, strict=True)]
        n, mean = len(gains), sum(gains) / len(gains)
        low = high = None
        if n > 1:
            half = Z95 * math.sqrt(sum((gain - mean) ** 2 for gain in gains) / (n - 1) / n)
            low, high = round(mean - half, 6), round(mean + half, 6)
        return cls(n=n, before=round(sum(before) / n, 6), after=round(sum(after) / n, 6), low=low, high=high)


def interval(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Wilson's (1927) 95 % interval of a share, from what is right (1) or wrong (0); none from fewer than two rows."""
    n = len(values)
    if n < 2:
        return (None, None)
    share = sum(values) / n
    centre = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n * n))
    return (round(max(0.0, centre - half), 6), round(min(1.0, centre + half), 6))
