"""With the network cut, a whole run works and no connection beyond loopback is even tried."""

import functools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, write_toy

LOOPBACK = re.compile(r"'(127\.\d+\.\d+\.\d+|::1|localhost|0\.0\.0\.0|::|)'|^socket\.\w+ (b?'/|None|\(None)|/dev/|\\x00")
UP = "ip link set lo up 2>/dev/null || python3 -c \"import fcntl,socket,struct; s=socket.socket(); fcntl.ioctl(s, 0x8914, struct.pack('16sh', b'lo', 0x49))\""


REACH = """
import json, socket
found = {}
for host in ("192.0.2.1", "example.com", "127.0.0.1"):
    try:
        socket.create_connection((host, 9), timeout=5)
    except OSError as error:
        found[host] = type(error).__name__
print(json.dumps(found))
"""


@functools.cache
def may_unshare() -> bool:
    """Whether this machine lets us make a network namespace."""
    return (
        shutil.which("unshare") is not None and not subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode
    )


def cut(*words: str, refused: bool = False) -> tuple[list[str], dict[str, str]]:
    """A command of Python with the network cut, and what its environment needs: in a namespace, or with sockets that refuse."""
    if refused or not may_unshare():
        return [sys.executable, *words], {"SLMFORGE_TEST_REFUSE": "1"}
    return ["unshare", "-rn", "bash", "-c", f"{UP}; exec {shlex.join([sys.executable, *words])}"], {}


@pytest.mark.parametrize("refused", [False, True])
def test_what_cuts_the_network_cuts_it_and_leaves_loopback(refused: bool, tmp_path: Path) -> None:
    command, more = cut("-c", REACH, refused=refused)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests/audit"), "SLMFORGE_TEST_CONNECTIONS": str(tmp_path / "noted"), **more}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["127.0.0.1"] == "ConnectionRefusedError", "loopback is there, and nobody listens"
    assert found["192.0.2.1"] in ("OSError", "gaierror")
    assert found["example.com"] in ("OSError", "gaierror")
    assert [line for line in (tmp_path / "noted").read_text().splitlines() if not LOOPBACK.search(line)], "it is noted all the same"


def test_a_full_run_without_network_tries_no_connection(tmp_path: Path) -> None:
    write_toy(tmp_path)
    noted = tmp_path / "connections"
    kept = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "PREFECT_HOME", "HF_HUB_OFFLINE")}
    environment = {
        **kept,
        "SLMFORGE_RUNS": str(tmp_path / "runs"),
        "PYTHONPATH": f"{ROOT / 'tests/audit'}:{ROOT}",
        "SLMFORGE_TEST_CONNECTIONS": str(noted),
    }
    command, more = cut("-m", "flows.cli", "adapt", "toy")
    done = subprocess.run(command, cwd=tmp_path, env=environment | more, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    lines = noted.read_text().splitlines()
    assert any("127.0.0.1" in line for line in lines), "the hook saw nothing: the test would prove nothing"
    assert [line for line in lines if not LOOPBACK.search(line)] == []
