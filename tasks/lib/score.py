"""What an evaluation said, without the library that ran it; shares and means with their 95 % intervals."""

import math
from collections.abc import Sequence

from tasks.lib.config import Declared
from tasks.lib.paired import Paired

Z95 = 1.959963984540054


class Baseline(Declared):
    """What always giving one answer scores on a task's rows: the most frequent answer of the training rows.

    `share` of the `rows` training rows of `datasets` have it; `unseen` are labels that the task asks for and no training row has.
    `paired` compares the model (first) with it on the same rows.
    """

    answer: str
    share: float
    rows: int
    datasets: list[str]
    unseen: list[str]
    n: int
    value: float
    low: float | None
    high: float | None
    paired: Paired

    def sentence(self) -> str:
        """What it is."""
        shown = self.answer if len(self.answer) <= 40 else f"{self.answer[:39]}…"
        unseen = f"; no training row is labelled {', '.join(self.unseen)}" if self.unseen else ""
        return f"“{shown}”, of {100 * self.share:.1f} % of {self.rows:,} training rows{unseen}"


class TaskScore(Declared):
    """One task's score with its 95 % interval (none where a single row was asked), or why it was not run.

    `truncated` rows lost the beginning of what they ask, because the model's window does not hold all of it. `right` has a
    character for each row, in the order of the set: "1" where the answer is right, else "0". `baseline` is what the most
    frequent answer of training scores on these rows, and `no_baseline` says why there is none.
    """

    task: str
    metric: str
    n: int
    value: float | None = None
    low: float | None = None
    high: float | None = None
    right: str = ""
    baseline: Baseline | None = None
    no_baseline: str | None = None
    truncated: int = 0
    samples: list[dict[str, str]] = []
    not_run: str | None = None

    @property
    def majority(self) -> float | None:
        """What the most frequent answer of the training rows scores on these rows, where it was asked."""
        return None if self.baseline is None else self.baseline.value

    def sentence(self) -> str:
        """The score on one line."""
        if self.value is None:
            return f"not run: {self.not_run}"
        interval = "–" if self.low is None or self.high is None else f"[{self.low:.3f}, {self.high:.3f}]"
        cut = f", {self.truncated} of them cut at the beginning" if self.truncated else ""
        label = "label" if self.metric != "exact_match" else "answer"
        told = "" if self.baseline is None else f" ({self.baseline.paired.word}: {self.baseline.paired.sentence()})"
        constant = "" if self.majority is None else f"; always the most frequent {label} of training {self.majority:.3f}{told}"
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
