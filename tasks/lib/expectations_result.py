"""What an expectation said, without the library that judged it."""

from typing import Any

from tasks.lib.config import Declared

SHOWN = 5  # failing rows in a sentence
SEVERITIES = ("critical", "warning", "info")


class Verdict(Declared):
    """One expectation's result; failing rows by id and by place (file, row), never by value."""

    role: str
    expectation: str
    kwargs: dict[str, Any]
    severity: str
    passed: bool
    judged: int
    failing: int
    failing_ids: list[str]
    failing_at: list[tuple[str, int]] = []
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
        rows = f", first {self._first()}" if self.failing_ids else ""
        waived = f" (waived {self.waived})" if self.waived else f" ({self.lapsed})" if self.lapsed else ""
        return f"{self.role}: {self.expectation}({kwargs}): {found}{rows}{waived}"

    def _first(self) -> str:
        """The first failing rows, by file; by id where nobody looked for their places."""
        of_file: dict[str, list[str]] = {}
        for file, row in self.failing_at[:SHOWN]:
            of_file.setdefault(file, []).append(str(row))
        told = [f"{file}, row{'s' if len(rows) > 1 else ''} {', '.join(rows)}" for file, rows in of_file.items()]
        return "; ".join(told) or ", ".join(self.failing_ids[:SHOWN])
