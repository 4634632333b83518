"""A background thread that makes rounds while a flow runs, and says at the end what is left."""

import sys
import threading
import time
from collections.abc import Callable

from tasks.lib import spool, tracking


class Courier:
    """Calls `deliver` every few seconds; it returns why something had to stay, or None.

    The last round passes True: it waits for another process that delivers now, which would leave behind what was just written.
    """

    def __init__(self, deliver: Callable[[bool], str | None], interval: float = 2.0) -> None:
        self._deliver = deliver
        self._stop = threading.Event()
        self._interval = interval
        self._refused = spool.refused()
        self.fault: str | None = None
        self._thread = threading.Thread(target=self._loop, name="tracking-courier", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def _loop(self) -> None:
        while not self._stop.wait(self._interval):
            self._once(last=False)

    def _once(self, *, last: bool) -> None:
        self.fault = self._deliver(last)

    def finish(self, seconds: float = 20.0) -> int:
        """Stop, try once more for at most `seconds`, say what did not arrive, and return how many events are left."""
        self._stop.set()
        deadline = time.monotonic() + seconds
        self._thread.join(seconds)
        if not self._thread.is_alive():
            last = threading.Thread(target=self._once, kwargs={"last": True}, daemon=True)
            last.start()
            last.join(max(1.0, deadline - time.monotonic()))
        # what a run that goes on has written is brought by its own courier
        left, refused = spool.pending(going_on=False), spool.refused() - self._refused
        # to stderr: stdout may be JSON for machines
        if left:
            why = self.fault or "MLflow is slow"
            later = "they arrive with the next command that runs a stage, or with `slmforge runs`"
            print(f"{why}: {left} events wait in {tracking.spool()}; {later}", file=sys.stderr)
        if refused > 0:
            print(f"warning: MLflow refused {refused} events; they are kept, with its reasons, in {spool.refusals()}", file=sys.stderr)
        return left
