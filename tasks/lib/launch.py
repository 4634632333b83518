"""The one place that starts processes to train: one per device, under torch's elastic agent, and nothing left of them.

The processes get a folder: the model, the data, and a job in JSON. `tasks.lib.agent` starts and watches them,
`tasks.lib.worker` is what each of them runs. This process follows what the first of them tells, and waits.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tasks.lib import errors, handover, models, places, progress, tracking
from tasks.lib.agent import FAILED, JOB, LAUNCHER, LEARNED, TOLD
from tasks.lib.errors import ConfigError, SlmforgeError, StageError
from tasks.lib.training_config import TrainingConfig

TAIL = 15  # lines of a log in an error


@dataclass(frozen=True)
class Job:
    """What a trainer is made from, in this process or in another.

    `make(job, folder)` makes it; a function at the top of a module, known by its name. In another process `cfg` has the
    settings of `TrainingConfig` only; whatever else `make` needs goes into `options`: JSON values, models or tokenizers.
    """

    make: Callable[["Job", str], Any]
    model: Any
    tokenizer: Any
    data: Dataset
    cfg: TrainingConfig
    options: dict[str, Any] = field(default_factory=dict)


def devices(cfg: TrainingConfig) -> int:
    """How many devices train, and so how many processes.

    Raises:
        ConfigError: if there are fewer, or if they cannot share a step.
    """
    place = models.device(cfg.device)
    there = torch.cuda.device_count() if place.type == "cuda" and place.index is None else 1
    if cfg.devices == "auto":
        count = there
    elif place.type == "cuda" and cfg.devices > there:
        raise ConfigError(f"devices: {cfg.devices}", f"{there} on {place}", f"set `devices: {there}`, or `devices: auto`")
    else:
        count = cfg.devices
    cfg.shared(count)
    return count


def launched(job: Job, count: int) -> dict[str, Any]:
    """Train in `count` processes; the weights that learned are laid into `job.model`. Returns what the first process says it learned.

    Raises:
        SlmforgeError: what one of them raised.
        StageError: if one of them died; it names the rank, and shows the end of its log. The others are ended.
    """
    job.cfg.steps(len(job.data))  # refuses where there is nothing to train on
    with folder() as place:
        write(job, place)
        with (place / "agent.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tasks.lib.agent", str(place), str(count)],
                env=_environment(count), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        try:
            _follow(process, place / TOLD)
        finally:
            _end(process)
        if process.returncode or not (place / LEARNED).is_file():
            raise _failure(place, count, process.returncode)
        handover.take_trained(job.model, place)
        learned: dict[str, Any] = json.loads((place / LEARNED).read_text())
        return learned


def write(job: Job, folder: Path) -> None:
    """Write a job for other processes."""
    options: dict[str, Any] = {}
    for name, value in job.options.items():
        if isinstance(value, PreTrainedModel):
            handover.put(value, folder / "options" / name)
            options[name] = {"model": name}
        elif isinstance(value, PreTrainedTokenizerBase):
            value.save_pretrained(folder / "options" / name)
            options[name] = {"tokenizer": name}
        else:
            options[name] = {"value": value}
    handover.put(job.model, folder / "model")
    job.tokenizer.save_pretrained(folder / "tokenizer")
    job.data.save_to_disk(folder / "data")
    cfg = {name: value for name, value in job.cfg.model_dump(mode="json").items() if name in TrainingConfig.model_fields}
    made_by = {"module": job.make.__module__, "name": job.make.__qualname__}
    (folder / JOB).write_text(json.dumps({"make": made_by, "cfg": cfg, "options": options}))


@contextmanager
def folder() -> Iterator[Path]:
    """A folder for one launch, held by a lock; what killed launches have left is taken away."""
    root = places.runs() / "launched"
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as making:
        fcntl.flock(making, fcntl.LOCK_EX)
        for left in root.glob("*.held"):
            with left.open() as handle:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                rmtree(left.with_suffix(""), ignore_errors=True)
                left.unlink()
        made = Path(tempfile.mkdtemp(dir=root))
        held = made.with_suffix(".held")
        holding = held.open("w")
        fcntl.flock(holding, fcntl.LOCK_EX)
    try:
        yield made
    finally:
        rmtree(made, ignore_errors=True)
        held.unlink()
        holding.close()


def _environment(count: int) -> dict[str, str]:
    """Cores are shared, and whatever the processes say to each other stays on this machine."""
    cores = int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0)))
    ways = [str(places.CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])]
    kept = {name: value for name, value in os.environ.items() if name != "ACCELERATE_USE_CPU"}  # with it, DeepSpeed is ignored
    return {
        "GLOO_SOCKET_IFNAME": "lo",
        "NCCL_SOCKET_IFNAME": "lo",
        **kept,
        "OMP_NUM_THREADS": str(max(1, cores // count)),
        "PYTHONPATH": os.pathsep.join(ways),
        LAUNCHER: str(os.getpid()),
    }


def _follow(process: subprocess.Popen[bytes], told: Path) -> None:
    """Show and track what the first process tells, until all have ended."""
    bar: progress.Bar | None = None
    read, ended = 0, False
    while not ended:
        ended = process.poll() is not None  # what it told before its end is still read
        lines = told.read_bytes()[read:] if told.is_file() else b""
        lines = lines[: lines.rfind(b"\n") + 1]
        read += len(lines)
        for line in lines.splitlines():
            event = json.loads(line)
            if "total" in event:
                if bar is not None:
                    bar.close()
                bar = progress.Bar(event["what"], event["total"], event["unit"])
            elif "metrics" in event:
                tracking.metric(event["metrics"], event["step"])
            elif bar is not None:
                bar.advance(event["advance"], event["note"])
        if not ended:
            time.sleep(0.1)
    if bar is not None:
        bar.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the agent, and with it its processes: at once where it does not do so itself (see `agent.end_with`)."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _failure(folder: Path, count: int, code: int) -> SlmforgeError:
    """What to say of processes that did not come to their end."""
    for file in sorted(folder.glob("error-*.json")):
        said = json.loads(file.read_text())
        kind: type[SlmforgeError] = getattr(errors, said.pop("kind"))
        return kind(**said)
    asked, file = f"a training in {count} processes", folder / FAILED
    if not file.is_file():
        tail = _tail(folder / "agent.log")
        return StageError(asked, f"the agent that starts them ended with {code}:\n{tail}", "run the same command again")
    dead = json.loads(file.read_text())
    logs = sorted(folder.glob(f"logs/**/{dead['rank']}/std*.log"))
    said = "\n".join(filter(None, map(_tail, logs))) or "    (it said nothing)"
    how = f"was killed by {dead['signal']}" if dead["signal"] else f"ended with exit code {dead['code']}"
    remedy = "run the same command again"
    if dead["signal"] == "SIGKILL":
        remedy += "; if nobody killed it, memory ran out: lower `batch` and raise `accumulation` as much, or take `parallel: zero3`"
    return StageError(asked, f"rank {dead['rank']} (process {dead['pid']}) {how}; the end of its log:\n{said}", remedy)


def _tail(log: Path) -> str:
    if not log.is_file():
        return ""
    return "\n".join(f"    {line}" for line in log.read_text(errors="replace").splitlines()[-TAIL:])
