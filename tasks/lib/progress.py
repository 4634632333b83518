"""Progress of long work: a bar with rate and time left on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")
QUIET_SECONDS = 30.0  # between lines where there is no terminal
SHOW = {"on": True}
TOLD: dict[str, Callable[[dict[str, Any]], None] | None] = {"to": None}  # who shows the bars of this process in its place


def rows(items: Iterable[T], what: str) -> Iterator[T]:
    """Pass items through, showing how many and how fast once it takes longer than a moment."""
    yield from tqdm(items, what, unit=" rows", leave=False, delay=1.0, disable=not _terminal())


class Bar:
    """Progress over a known number of units."""

    def __init__(self, what: str, total: int, unit: str) -> None:
        self._what, self._unit, self._total, self._done = what, unit, total, 0
        self._started = self._said = time.monotonic()
        self._bar = tqdm(total=total, desc=what, unit=unit, unit_scale=True, leave=False, disable=not _terminal())
        if TOLD["to"] is not None:
            TOLD["to"]({"what": what, "total": total, "unit": unit})

    def advance(self, n: int, note: str = "") -> None:
        """Count `n` more units; `note` stands at the end of the line."""
        self._done += n
        self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(n)
        if TOLD["to"] is not None:
            TOLD["to"]({"advance": n, "note": note})
        now = time.monotonic()
        if not _terminal() and SHOW["on"] and now - self._said > QUIET_SECONDS:
            self._said = now
            rate = self._done / (now - self._started)
            left = (self._total - self._done) / rate
            print(f"  {self._what}: {self._done / self._total:.0%}, {rate:,.0f}{self._unit}/s, {left:.0f} s left {note}",
                  file=sys.stderr, flush=True)  # fmt: skip

    def close(self) -> None:
        """Take the bar off the screen."""
        self._bar.close()


def _terminal() -> bool:
    return SHOW["on"] and sys.stderr.isatty()
