"""Put on the path of child processes: notes every address that a socket is asked to reach.

With SLMFORGE_TEST_REFUSE it also refuses those beyond this machine, where the system cannot be asked to.
"""

import ipaddress
import os
import sys
from typing import Any

PLACE = os.environ.get("SLMFORGE_TEST_CONNECTIONS")
REFUSED = bool(os.environ.get("SLMFORGE_TEST_REFUSE"))


def note(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook."""
    if PLACE and event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        address = arguments[1] if event != "socket.getaddrinfo" else arguments[:2]
        with open(PLACE, "a", encoding="utf-8") as file:
            file.write(f"{event} {address!r}\n")
        if REFUSED and isinstance(address, tuple) and not is_here(address[0]):
            raise OSError(101, "Network is unreachable")


def is_here(host: Any) -> bool:
    """Whether a host is this machine."""
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False  # a name that would have to be looked up
    return address.is_loopback or address.is_unspecified


sys.addaudithook(note)
