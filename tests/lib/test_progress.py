"""Bars in a terminal, lines elsewhere, and nothing of either on stdout."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tasks.lib import progress
from tasks.lib.environment import muted
from tests.conftest import ROOT

SLOW = """
import sys, time
from tasks.lib import environment, progress
progress.DELAY, progress.QUIET_SECONDS = 0.1, 0.2
environment.quiet()
with environment.muted():
    print("chatter of a library")
    print("more of it", file=sys.stderr)
    for _ in progress.rows(range(8), "clean corpus", 16):
        time.sleep(0.1)
    for _ in progress.rows(range(6), "read notes"):
        time.sleep(0.1)
print("result")
"""
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def read(terminal: int) -> str:
    """All that a terminal was told, until nobody holds it any more."""
    said = b""
    try:
        while block := os.read(terminal, 4096):
            said += block
    except OSError:  # how Linux says that it is over
        pass
    return said.decode()


def test_a_terminal_gets_a_bar_with_rate_and_time_left_past_what_is_muted(tmp_path: Path) -> None:
    mine, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    with subprocess.Popen([sys.executable, "-c", SLOW], cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=its) as process:
        os.close(its)
        said = read(mine)
        out, _ = process.communicate()
    os.close(mine)
    assert out == b"result\n"
    bars = [bar for bar in said.split("\r") if bar.strip()]
    assert any("clean corpus" in bar and "%|" in bar and "<00:0" in bar and " rows/s" in bar for bar in bars), said
    assert any("read notes" in bar and " rows/s" in bar and "%" not in bar for bar in bars), "how many there are is not known"
    assert said.endswith("\r"), "the bar is taken away"
    assert "chatter" not in said


def test_without_a_terminal_a_line_is_said_now_and_then() -> None:
    done = subprocess.run([sys.executable, "-c", SLOW], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stdout == "result\n"
    lines = done.stderr.splitlines()
    assert 3 <= len(lines) <= 8, done.stderr
    assert "clean corpus" in lines[0]
    assert "rows/s" in lines[0]
    assert "\r" not in done.stderr


def test_what_takes_a_moment_shows_nothing_and_another_process_can_show_it_instead(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, object]] = []
    monkeypatch.setitem(progress.TOLD, "to", told.append)
    assert list(progress.batches(10, 4, "held-out loss")) == [0, 4, 8]
    assert [event["advance"] for event in told[1:]] == [4, 4, 2]
    assert told[0] == {"what": "held-out loss", "total": 10, "unit": " rows"}
    assert capfd.readouterr() == ("", "")


def test_what_a_muted_library_said_is_shown_when_it_fails_and_screens_are_given_back(capfd: pytest.CaptureFixture[str]) -> None:
    from tasks.lib import environment

    def fail() -> None:
        with muted(), muted():
            print("why it failed", file=sys.stderr)
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert "why it failed" in capfd.readouterr().err
    assert environment.screen() is sys.stderr
