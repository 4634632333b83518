"""With the network cut, a whole run works and no connection beyond loopback is even tried."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, write_toy

LOOPBACK = re.compile(r"'(127\.\d+\.\d+\.\d+|::1|localhost|0\.0\.0\.0|::|)'|^socket\.\w+ (b?'/|None|\(None)|/dev/|\\x00")
UP = "ip link set lo up 2>/dev/null || python3 -c \"import fcntl,socket,struct; s=socket.socket(); fcntl.ioctl(s, 0x8914, struct.pack('16sh', b'lo', 0x49))\""


def test_a_full_run_without_network_tries_no_connection(tmp_path: Path) -> None:
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs unshare(1) and the right to make a network namespace")
    write_toy(tmp_path)
    noted = tmp_path / "connections"
    kept = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "PREFECT_HOME", "HF_HUB_OFFLINE")}
    environment = {
        **kept,
        "SLMFORGE_RUNS": str(tmp_path / "runs"),
        "PYTHONPATH": f"{ROOT / 'tests/audit'}:{ROOT}",
        "SLMFORGE_TEST_CONNECTIONS": str(noted),
    }
    command = f"{UP}; exec {sys.executable} -m flows.cli adapt toy"
    done = subprocess.run(
        ["unshare", "-rn", "bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
    lines = noted.read_text().splitlines()
    assert any("127.0.0.1" in line for line in lines), "the hook saw nothing: the test would prove nothing"
    assert [line for line in lines if not LOOPBACK.search(line)] == []
