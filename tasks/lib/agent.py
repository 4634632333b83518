"""`python -m tasks.lib.agent FOLDER COUNT`: torch's elastic agent over the processes of one training, without restarts."""

import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

JOB, TOLD, FAILED, LEARNED = "job.json", "told.jsonl", "failed.json", "learned.json"  # in the folder of a launch
LAUNCHER = "SLMFORGE_LAUNCHER"  # the process without which an agent or a worker has nothing to do
PR_SET_PDEATHSIG = 1  # from <sys/prctl.h>
HOME = "127.0.0.1"


def end_with(parent: int) -> None:
    """Let the kernel kill this process when its parent dies, however that dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before
        os._exit(1)


def main(folder: Path, count: int) -> None:
    """Start `count` workers on a job and wait; when one dies, end the others and write down which it was."""
    end_with(int(os.environ[LAUNCHER]))
    os.environ[LAUNCHER] = str(os.getpid())  # of the workers
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=folder.name,
        rdzv_backend="c10d",
        rdzv_endpoint=f"{HOME}:0",
        local_addr=HOME,
        max_restarts=0,
        monitor_interval=0.1,
        shutdown_timeout=5,
        logs_specs=DefaultLogsSpecs(log_dir=str(folder / "logs"), redirects=Std.ALL),
    )
    try:
        elastic_launch(config, sys.executable)("-m", "tasks.lib.worker", str(folder))
    except ChildFailedError as error:
        rank, failure = min(error.failures.items(), key=lambda item: _order(*item))
        name = signal.Signals(-failure.exitcode).name if failure.exitcode < 0 else None
        (folder / FAILED).write_text(json.dumps({"rank": rank, "pid": failure.pid, "code": failure.exitcode, "signal": name}))
        raise SystemExit(1) from None


def _order(rank: int, failure: Any) -> tuple[bool, int, int]:
    """The cause first: whoever was killed takes others along, which then fail on their own."""
    return failure.exitcode > 0 or failure.exitcode == -signal.SIGTERM, failure.timestamp, rank


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
