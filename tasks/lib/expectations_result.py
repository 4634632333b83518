"""What an expectation said, without the library that judged it."""

from typing import Any

from tasks.lib.config import Declared

SEVERITIES = ("critical", "warning", "info")


class Verdict(Declared):
    """One expectation's result; failing rows by id, never by value."""

    role: str
    expectation: str
    kwargs: dict[str, Any]
    severity: str
    passed: bool
    judged: int
    failing: int
    failing_ids: list[str]
    observed: str = ""
    waived: str = ""
    lapsed: str = ""

    @property
    def stops(self) -> bool:
        """Whether nothing may be built on data of which this is said."""
        return not self.passed and self.severity not in ("warning", "info") and not self.waived

    @property
    def remark(self) -> str:
        """What was observed; our own measures say it in words already."""
        return f"observed {self.observed}" if self.observed and self.expectation.startswith("expect_") else self.observed

    def sentence(self) -> str:
        """The result in one line, with the rows that failed."""
        kwargs = ", ".join(f"{k}={v}" for k, v in self.kwargs.items() if k not in ("notes", "meta"))
        found = f"{self.failing} of {self.judged} rows fail" if self.failing else self.remark or "it does not hold"
        rows = f", first {', '.join(self.failing_ids[:5])}" if self.failing_ids else ""
        waived = f" (waived {self.waived})" if self.waived else f" ({self.lapsed})" if self.lapsed else ""
        return f"{self.role}: {self.expectation}({kwargs}): {found}{rows}{waived}"
