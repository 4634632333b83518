"""Servers on loopback: found when they run, started once when they do not, ended when nobody needs them.

A process that needs the Prefect server holds a lease: a kernel lock on a file, which a killed
process gives back too. The keeper (`python -m tasks.lib.servers`) ends the server, and itself,
when no lease has been held for a while; so no server is left behind.
"""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import psutil

from tasks.lib import places
from tasks.lib.errors import StageError

GRACE = 20.0  # seconds without a lease before the keeper ends the server
START_SECONDS = 120.0
PATIENCE = 30.0  # seconds in which a server whose process lives may leave us without an answer


class Note(NamedTuple):
    """Address, process id and folder of the server that is shared."""

    url: str
    pid: int
    home: str


class Lease:
    """The right to a running Prefect server, for as long as this process lives or until it is released."""

    def __init__(self) -> None:
        self.name = uuid.uuid4().hex
        folder = _home() / "leases"
        folder.mkdir(parents=True, exist_ok=True)
        self._file: IO[str] = (folder / self.name).open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def release(self) -> None:
        """Give it back."""
        Path(self._file.name).unlink(missing_ok=True)
        self._file.close()


def is_dead(lease: str) -> bool:
    """Whether a lease of this machine is no longer held (its file is left behind only by a kill)."""
    try:
        with (_home() / "leases" / lease).open("r") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (FileNotFoundError, BlockingIOError):
        return False  # given back, or held
    return True


def prefect_api() -> str:
    """The address of a Prefect API: `PREFECT_API_URL`, or our own server, started once if need be.

    Call with a `Lease` held. Two processes that call at once on a new machine share one server.

    Raises:
        StageError: if the given one cannot be reached, or ours does not come up in time.
    """
    given = os.environ.get("PREFECT_API_URL")
    if given:
        if not reached(f"{given}/health"):
            raise StageError(
                f"the Prefect server of PREFECT_API_URL={given}",
                "nothing answers there",
                "start it, or unset PREFECT_API_URL: a server on loopback is then started",
            )
        return given
    _home().mkdir(parents=True, exist_ok=True)
    os.environ["PREFECT_HOME"] = str(_home())
    with _starting():
        note = _note()
        if note is None or not _is_there(note):
            _start_keeper()
            note = _wait()
        url = note.url
    os.environ["PREFECT_API_URL"] = url
    return url


def free_port() -> int:
    """A port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    """Whether a GET is answered with success within two seconds."""
    return _status(url) == 200


def reached(url: str) -> bool:
    """Whether anybody answers a GET within five seconds, be it that a key is asked for."""
    return _status(url, seconds=5) is not None


def _status(url: str, seconds: float = 2) -> int | None:
    try:
        with urllib.request.urlopen(url, timeout=seconds) as answer:  # noqa: S310  # http addresses from us or the user
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (urllib.error.URLError, OSError):
        return None


def _home() -> Path:
    return places.runs() / "prefect"


@contextmanager
def _starting() -> Iterator[None]:
    """The right to start a server, or to end one that nobody needs."""
    with (_home() / "start.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _note_file() -> Path:
    return _home() / "server.json"


def _note() -> Note | None:
    """The note, once the server has answered its keeper; one that came with a copied folder is another's."""
    try:
        note = Note(**json.loads(_note_file().read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return note if note.home == str(_home()) else None


def _is_there(note: Note) -> bool:
    """Whether the noted server answers; on a busy machine a server that lives may take its time."""
    deadline = time.monotonic() + PATIENCE
    while not answers(f"{note.url}/health"):
        if not psutil.pid_exists(note.pid) or time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


def _start_keeper() -> None:
    _note_file().unlink(missing_ok=True)
    with (_home() / "server.log").open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-m", "tasks.lib.servers"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def _wait() -> Note:
    """The note of the keeper that was started."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        note = _note()
        if note is not None:
            return note
        time.sleep(0.2)
    raise StageError(
        "a Prefect server on loopback",
        f"none answers after {START_SECONDS:.0f} s",
        f"read {_home() / 'server.log'}, or start one yourself and set PREFECT_API_URL",
    )


def keep() -> None:
    """Run the server until it is not needed, or its folder is gone."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    environment = {**os.environ, "PREFECT_HOME": str(_home()), "PREFECT_UI_API_URL": url}
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    mine = Note(url, server.pid, str(_home()))
    noted, needed = False, time.monotonic()
    try:
        # the note may be another's by now, when this server was taken for dead: whoever uses it still holds a lease
        while server.poll() is None and _home().is_dir():
            if not noted and answers(f"{url}/health"):
                new = _note_file().with_suffix(".new")
                new.write_text(json.dumps(mine._asdict()))
                new.replace(_note_file())
                noted = True
            if _is_leased():
                needed = time.monotonic()
            elif time.monotonic() - needed > GRACE and _is_over(mine):
                break
            time.sleep(1.0 if noted else 0.2)
    finally:
        _stop(server)
        _forget(mine)


def _is_leased() -> bool:
    return any(not is_dead(lease.name) for lease in (_home() / "leases").glob("*"))


def _is_over(mine: Note) -> bool:
    """Whether nobody has come for the server; then its note is taken away, before anybody can read it."""
    if not _home().is_dir():
        return True
    with _starting():
        if _is_leased():
            return False
        _forget(mine)
        return True


def _forget(mine: Note) -> None:
    """Remove the note, unless it is another server's."""
    if _note() == mine:
        _note_file().unlink(missing_ok=True)


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(30)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


if __name__ == "__main__":
    keep()
