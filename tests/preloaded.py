"""A process that has loaded the libraries of some commands and forks a command line for every request.

To load them takes three of the four seconds that a `check` of a toy needs, and most of the time of a `draft`. What is forked is
a process of its own, with its own environment, folder and streams, in which `flows.cli` runs from the beginning. It ends as any
interpreter does, threads and exit functions included, up to where modules are taken apart: that takes two thirds of a second. What a
command imports by itself is tested with fresh interpreters, in `test_rooms.py` and `test_adapt.py`.

A request is a line of JSON on stdin, the answer a line on stdout: the exit status.
"""

import atexit
import gc
import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

# Prefect is not among them: it reads its environment when it is loaded
FLOWS = tuple(f"flows.{name}" for name in ("adapt", "add", "checking", "planning", "rlhf", "rows", "screen"))
DATA = (
    *FLOWS,
    "scipy.stats",
    "pyarrow.parquet",
    "lxml.etree",
    "openpyxl",
    "great_expectations",
    "charset_normalizer",
    "rich.table",
    "tasks.lib.card",
    "tasks.lib.expectations",
)
MODELS = FLOWS + tuple(
    f"tasks.lib.{name}"
    for name in ("models", "objectives", "preferences", "adapters", "heads", "scoring", "quantization", "registry", "row_facts", "card")
)


class Preloaded:
    """The process, started at the first request."""

    def __init__(self, root: Path, libraries: tuple[str, ...]) -> None:
        environment = {**os.environ, "PYTHONPATH": str(root)}
        command = [sys.executable, "-m", "tests.preloaded", *libraries]
        self._process = subprocess.Popen(
            command, cwd=root, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def run(self, words: tuple[str, ...], cwd: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """The command line's exit status and what it wrote."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with tempfile.TemporaryDirectory() as folder:
            files = [str(Path(folder) / name) for name in ("stdout", "stderr")]
            print(json.dumps([words, str(cwd), environment, files]), file=self._process.stdin)
            status = int(self._process.stdout.readline())
            out, err = (Path(file).read_text(encoding="utf-8") for file in files)
        return subprocess.CompletedProcess(words, status, out, err)


def main() -> None:
    """Answer requests, each in a child, which ends as its command line does."""
    status = [1]  # unless the command line says another
    atexit.register(_leave, status)  # before any library's own: the last registered runs first

    from tasks.lib.environment import quiet

    before = dict(os.environ)
    quiet()
    for name in sys.argv[1:]:
        importlib.import_module(name)
    os.environ.clear()
    os.environ.update(before)
    gc.collect()
    gc.freeze()  # a collection in a child would write to, and so copy, every page of the libraries: seconds
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            answers.close()
            return _become(status, *json.loads(line))
        _, ended = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(ended), file=answers)
    return None


def _leave(status: list[int]) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status[0])


def _become(status: list[int], words: list[str], cwd: str, environment: dict[str, str], files: list[str]) -> None:
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for handle, name in ((0, os.devnull), *zip((1, 2), files, strict=True)):
        opened = os.open(name, os.O_RDONLY if handle == 0 else os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(opened, handle)
        os.close(opened)
    from tasks.lib import examine

    examine._ask = examine._answer  # which has loaded the libraries; `test_base_checks.py` asks processes of their own
    sys.argv = ["slmforge", *words]
    from flows.cli import main as slmforge

    try:
        slmforge(args=words, prog_name="slmforge")
    except SystemExit as ended:
        status[0] = int(ended.code or 0)


if __name__ == "__main__":
    main()
