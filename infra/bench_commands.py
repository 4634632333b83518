"""What the command line costs where nothing has to be done, and where the seconds of a fully cached `adapt` go."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# the pipeline of the demo with all its stages and data, adapted once for the measurement with hardly any training
SHORT = (
    "healthcare", "--config", "demo", "base.source.training.tokens=10_000", "pretrain.tokens=10_000", "tune.tokens=10_000",
    "align.trainer={max_steps: 2}", "distill.tokens=10_000", "evaluate={limit: 4, texts: 4, answers: 1, untrained: 0, general_tasks: []}",
)  # fmt: skip
OWN = ("MLFLOW_TRACKING_URI", "PREFECT_API_URL")  # servers of a site have no part in it


def section(rounds: int) -> list[str]:
    """The tables of the report."""
    with tempfile.TemporaryDirectory(prefix="slmforge-bench-", dir=os.environ.get("TMPDIR")) as runs:
        environment = {key: value for key, value in os.environ.items() if key not in OWN} | {"SLMFORGE_RUNS": runs}
        adapt = [_slmforge(), "adapt", *SHORT]
        subprocess.run(adapt, env=environment, stdout=subprocess.DEVNULL, check=True)  # what goes wrong is told on stderr
        return [*_whole(adapt, environment, max(3, rounds)), *_parts(environment, max(3, rounds))]


def _slmforge() -> str:
    return shutil.which("slmforge", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}") or "slmforge"


def _whole(adapt: list[str], environment: dict[str, str], rounds: int) -> list[str]:
    """Whole-process seconds, beside a bare interpreter."""
    wanted = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "slmforge --help": [_slmforge(), "--help"],
        "slmforge adapt healthcare (all cached)": adapt,
    }
    times: dict[str, list[float]] = {name: [] for name in wanted}
    for _ in range(rounds):
        for name, command in wanted.items():
            started = time.perf_counter()
            done = subprocess.run(command, env=environment, capture_output=True, check=True)
            times[name].append(time.perf_counter() - started)
    assert b"nothing to do" in done.stdout
    lines = ["\n## Commands, whole process\n", "| command | seconds (median) | ratio to a bare interpreter |", "|---|---:|---:|"]
    bare = statistics.median(times["python -c pass"])
    return [
        *lines,
        *(f"| `{name}` | {statistics.median(found):.2f} | {statistics.median(found) / bare:.1f} |" for name, found in times.items()),
    ]


def _parts(environment: dict[str, str], rounds: int) -> list[str]:
    """Where the seconds of the cached run go."""
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        asked = time.time()
        command = [sys.executable, "-m", "infra.bench_cached", str(asked), "adapt", *SHORT]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        left = time.time()
        told = json.loads(done.stdout.splitlines()[-1])
        for name, seconds in {**told["parts"], "end of the process": left - told["ended"]}.items():
            found.setdefault(name, []).append(seconds)
    medians = {name: statistics.median(seconds) for name, seconds in found.items()}
    whole = sum(medians.values())
    lines = ["\n### Where the seconds of the cached run go\n", "| part | seconds (median) | share |", "|---|---:|---:|"]
    lines += [f"| {name} | {seconds:.3f} | {seconds / whole:.0%} |" for name, seconds in medians.items()]
    return [*lines, f"| all | {whole:.3f} | |"]
