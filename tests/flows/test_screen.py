"""What the terminal shows: in a narrow one no word is broken, and what is not known is explained."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from flows import screen
from tasks.lib.execute import Event
from tasks.lib.expectations_result import Verdict

CAUSE = "inputs.expectations.accepted.colours is new (6 entries); inputs.expectations.tune: 2 entries -> 3 entries and 4 more"
SHARE = {"stage": "tune", "dataset": "colours", "weight": 1.0, "rows": 10, "drawn": 10, "passes": 1.0}


@pytest.fixture
def narrow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a terminal of so many columns shows."""
    shown = io.StringIO()
    made = Console(file=shown, force_terminal=True, width=request.param, no_color=True, highlight=False, markup=False, emoji=False)
    monkeypatch.setattr(screen, "console", made)
    return shown


def plain(shown: io.StringIO, width: int) -> str:
    from rich.text import Text

    text = Text.from_ansi(shown.getvalue()).plain
    assert all(len(line) <= width for line in text.splitlines())
    return text


@pytest.mark.parametrize(("narrow", "width"), [(80, 80), (100, 100), (160, 160)], indirect=["narrow"])
def test_no_word_is_broken(narrow: io.StringIO, width: int) -> None:
    row = {"stage": "evaluate:pretrain", "state": "run", "reason": CAUSE, "last_seconds": 1.0, "memory": 2e8, "disk": 5e5}
    screen.story(Event("evaluate:pretrain", "started", cause=CAUSE))
    screen.plan([row])
    screen.say("warning", "yellow", CAUSE)
    words = plain(narrow, width).split()
    assert all(words.count(word) >= 3 for word in CAUSE.split())


@pytest.mark.parametrize("narrow", [80], indirect=True)
@pytest.mark.parametrize("estimated", [True, False])
def test_an_estimate_is_marked(estimated: bool, narrow: io.StringIO) -> None:
    screen.draws([{**SHARE, "size": 5_000, "trained": 10_000, "epochs": 2.0, "estimated": estimated}])
    (line,) = [line for line in plain(narrow, 80).splitlines() if "colours" in line]
    assert line.split()[-3:] == (["~5,000", "~2.00", "~10,000"] if estimated else ["5,000", "2.00", "10,000"])


def test_what_does_not_hold_and_stops_nothing_is_counted() -> None:
    said = {"role": "tune", "expectation": "expect", "kwargs": {}, "judged": 9, "failing": 1, "failing_ids": []}
    held, told, stops = (
        Verdict(severity=severity, passed=passed, **said)
        for severity, passed in (("critical", True), ("warning", False), ("critical", False))
    )
    checked = SimpleNamespace(verdicts=[held, told, stops])
    assert screen.summary(checked, {}) == "1 of 3 expectations hold, 1 only told"
    assert screen.summary(SimpleNamespace(verdicts=[held]), {}) == "1 of 1 expectations hold"
