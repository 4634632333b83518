"""Put on the path of child processes: notes every address that a socket is asked to reach."""

import os
import sys
from typing import Any

PLACE = os.environ.get("SLMFORGE_TEST_CONNECTIONS")


def note(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook."""
    if PLACE and event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        address = arguments[1] if event != "socket.getaddrinfo" else arguments[:2]
        with open(PLACE, "a", encoding="utf-8") as file:
            file.write(f"{event} {address!r}\n")


sys.addaudithook(note)
