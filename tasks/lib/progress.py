"""Progress of long work: a bar with rate and time left on a terminal, a line now and then elsewhere.

Both go to stderr, past whatever mutes a library; stdout is for results.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from tqdm import tqdm

from tasks.lib import environment

T = TypeVar("T")
QUIET_SECONDS = 30.0  # between lines where there is no terminal
DELAY = 1.0  # seconds: what takes less shows no bar
MOMENT = 0.1  # seconds between two moves of a bar
SHOW = {"on": True}
TOLD: dict[str, Callable[[dict[str, Any]], None] | None] = {"to": None}  # who shows the bars of this process in its place


def rows(items: Iterable[T], what: str, total: int | None = None, unit: str = " rows") -> Iterator[T]:
    """Pass items through, showing how many and how fast; with a `total`, how long it will take as well."""
    held, moved = 0, time.monotonic()
    with Bar(what, total, unit) as bar:
        for item in items:
            yield item
            held += 1
            if (now := time.monotonic()) - moved > MOMENT:
                bar.advance(held)
                held, moved = 0, now
        bar.advance(held)


def batches(count: int, size: int, what: str, unit: str = " rows") -> Iterator[int]:
    """Where each batch of `size` among `count` rows starts, with a bar over the rows."""
    with Bar(what, count, unit) as bar:
        for start in range(0, count, size):
            yield start
            bar.advance(min(size, count - start))


class Bar:
    """Progress over a number of units; without a `total`, of as many as there will be."""

    def __init__(self, what: str, total: int | None, unit: str) -> None:
        self._shown = Shown(total=total, desc=what, unit=unit, unit_scale=True)
        self.done = 0
        if TOLD["to"] is not None:
            TOLD["to"]({"what": what, "total": total, "unit": unit})

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def advance(self, n: int, note: str = "") -> None:
        """Count `n` more units; `note` stands at the end of the line."""
        self.done += n
        self._shown.set_postfix_str(note, refresh=False)
        self._shown.update(n)
        if TOLD["to"] is not None:
            TOLD["to"]({"advance": n, "note": note})

    def close(self) -> None:
        """Take the bar off the screen."""
        self._shown.close()


class Shown(tqdm):
    """A bar of tqdm's; where there is no terminal, a line in its place, seldom."""

    monitor_interval = 0  # no thread that watches over bars: each move looks at the clock

    def __init__(self, *args: Any, **settings: Any) -> None:
        screen = environment.screen()
        self._terminal = screen.isatty()
        every, delay = (MOMENT, DELAY) if self._terminal else (QUIET_SECONDS, QUIET_SECONDS)
        settings |= {"file": screen, "disable": not SHOW["on"], "leave": False, "dynamic_ncols": True}
        super().__init__(*args, **settings, mininterval=every, miniters=1, delay=delay)

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Draw the bar, or say the line; an empty message takes a bar away."""
        if self._terminal:
            return bool(super().display(msg, pos))
        if msg is None:
            print(f"  {self}", file=self.fp, flush=True)
        return False
