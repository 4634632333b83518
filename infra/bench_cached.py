"""A fully cached `adapt` in a process of its own, with a clock beside its parts; their seconds are its last line."""

import time

AWAKE, CLOCK = time.time(), time.perf_counter()  # before anything else is imported

import json  # noqa: E402  # the clock comes first
import sys  # noqa: E402
from typing import Any  # noqa: E402


def _timed(owner: Any, name: str, spent: dict[str, float]) -> None:
    """Add the seconds of each call of a public function to `spent`."""
    measured = getattr(owner, name)

    def call(*given: Any, **named: Any) -> Any:
        started = time.perf_counter()
        try:
            return measured(*given, **named)
        finally:
            spent[name] = spent.get(name, 0.0) + time.perf_counter() - started

    setattr(owner, name, call)


def main(asked: float, words: list[str]) -> None:
    """Run the command line with these words; `asked` is when the process was asked for, in seconds since the epoch."""
    from flows import cli, commands
    from tasks.lib import flow, journal, sources

    page = commands.page(words[0])
    assert journal, page  # imported here, before the clock of the work starts
    imported = time.perf_counter()
    spent: dict[str, float] = {}
    for owner, name in ((flow.Flow, "job"), (flow.Flow, "plan"), (sources, "look")):
        _timed(owner, name, spent)
    cli.main(words, standalone_mode=False)
    ended = time.perf_counter()
    parts = {
        "interpreter": AWAKE - asked,
        "imports": imported - CLOCK,
        "configuration and card": spent["job"] - spent["look"],
        "digests of the sources": spent["look"],
        "plan: identities and records": spent["plan"],
        "history, report, output": ended - imported - spent["job"] - spent["plan"],
    }
    print(json.dumps({"parts": parts, "ended": time.time()}))


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])
