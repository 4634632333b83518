"""Waivers: an expectation that fails, and somebody who answers for going on."""

from collections.abc import Sequence
from datetime import date

from pydantic import Field

from tasks.lib.config import Declared
from tasks.lib.expectations_result import Verdict


class Waiver(Declared):
    """Who lets which expectation fail, why, and until when."""

    role: str
    expectation: str
    column: str | None = None
    who: str = Field(min_length=1)
    why: str = Field(min_length=1)
    until: date | None = Field(default=None, description="the last day on which it holds (UTC)")

    def covers(self, verdict: Verdict) -> bool:
        """Whether it is about this expectation."""
        named = verdict.kwargs.get("column", verdict.kwargs.get("dataset"))
        return (self.role, self.expectation) == (verdict.role, verdict.expectation) and self.column in (None, named)


def parted(waivers: Sequence[Waiver], today: date) -> tuple[list[Waiver], list[Waiver]]:
    """Those in force, and those that have run out: a check is made anew on the day on which one goes over, and on no other."""
    held = [waiver for waiver in waivers if waiver.until is None or waiver.until >= today]
    return held, [waiver for waiver in waivers if waiver not in held]


def apply(waivers: Sequence[Waiver], lapsed: Sequence[Waiver], verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts, those that fail with the waiver that covers them, or that covered them until it ran out.

    A waiver in force that covers nothing is told, with a warning. It is no error: the other edition may have what it is about.
    """
    made = [_unused(waiver) for waiver in waivers if not any(waiver.covers(verdict) for verdict in verdicts)]
    for verdict in verdicts:
        found = next((waiver for waiver in waivers if waiver.covers(verdict)), None)
        if verdict.passed:
            made.append(verdict)
            continue
        if found is None:
            made.append(verdict.model_copy(update={"lapsed": _last(lapsed, verdict)}))
            continue
        end = "" if found.until is None else f", until {found.until.isoformat()}"
        made.append(verdict.model_copy(update={"waived": f"by {found.who}: {found.why}{end}"}))
    return made


def _last(lapsed: Sequence[Waiver], verdict: Verdict) -> str:
    """The waiver that was the last to cover it, in words; nothing where there was none."""
    ended = [(waiver.until, waiver.who) for waiver in lapsed if waiver.until is not None and waiver.covers(verdict)]
    if not ended:
        return ""
    until, who = max(ended)
    return f"the waiver of {who} ran out on {until.isoformat()}"


def _unused(waiver: Waiver) -> Verdict:
    return Verdict(
        role=waiver.role, expectation=f"waiver of {waiver.expectation}", kwargs={"column": waiver.column} if waiver.column else {},
        severity="warning", passed=False, judged=0, failing=0, failing_ids=[],
        observed="covers nothing that was judged; correct or remove it, unless it is for the other edition",
    )  # fmt: skip
