"""Two lists of right and wrong answers to the same rows, compared by McNemar's exact test (scipy)."""

from collections.abc import Iterable

from tasks.lib.config import Declared

LEVEL = 0.05  # of the test: below it, a difference is called one


def marks(values: Iterable[float]) -> str:
    """Right (1) and wrong (0) answers as a string, one character a row."""
    return "".join("1" if value else "0" for value in values)


class Paired(Declared):
    """Rows that only one of two is right about, and the two-sided p of McNemar's exact test (McNemar, 1947)."""

    first: int
    second: int
    p: float

    @classmethod
    def of(cls, first: str, second: str) -> "Paired":
        """Compare two of `marks`, of the same rows in the same order."""
        from scipy.stats import binomtest

        only_first = sum(one > other for one, other in zip(first, second, strict=True))
        only_second = sum(one < other for one, other in zip(first, second, strict=True))
        apart = only_first + only_second
        p = float(binomtest(only_first, apart, 0.5).pvalue) if apart else 1.0
        return cls(first=only_first, second=only_second, p=round(p, 6))

    @property
    def word(self) -> str:
        """What the test allows to say of the first."""
        if self.p >= LEVEL:
            return "not told apart"
        return "better" if self.first > self.second else "worse"

    def sentence(self) -> str:
        """The numbers behind it."""
        p = f"p = {self.p:.3f}" if self.p >= 0.001 else "p < 0.001"
        return f"right alone on {self.first} rows against {self.second}, {p}"
