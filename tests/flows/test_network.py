"""With the network cut, a whole run works and no connection beyond loopback is even tried."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import NOTED, ROOT
from tests.network import cut

LOOPBACK = re.compile(r"'(127\.\d+\.\d+\.\d+|::1|localhost|0\.0\.0\.0|::|)'|^socket\.\w+ (b?'/|None|\(None)|/dev/|\\x00")

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


def test_a_full_run_without_network_tries_no_connection(adapted: Path) -> None:
    lines = (adapted.parent / NOTED).read_text().splitlines()
    assert any("127.0.0.1" in line for line in lines), "the hook saw nothing: the test would prove nothing"
    assert [line for line in lines if not LOOPBACK.search(line)] == []
