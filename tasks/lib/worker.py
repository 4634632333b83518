"""`python -m tasks.lib.worker FOLDER`: one process of a training on several devices (see `tasks.lib.launch`)."""

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from tasks.lib.agent import JOB, LAUNCHER, LEARNED, TOLD, end_with
from tasks.lib.environment import keep_heap, quiet
from tasks.lib.errors import SlmforgeError


def main(folder: Path) -> None:
    """Train; the first process writes what was learned, each of them the error that it raised."""
    end_with(int(os.environ[LAUNCHER]))
    quiet()
    keep_heap()
    rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    try:
        _train(folder, rank, count)
    except SlmforgeError as error:
        said = {"kind": type(error).__name__, "asked": error.asked, "found": error.found, "remedy": error.remedy}
        (folder / f"error-{rank}.json").write_text(json.dumps(said))
        raise SystemExit(error.exit_code) from error
    # everything is written; a usual end now and then aborts while threads of the process group still run
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _train(folder: Path, rank: int, count: int) -> None:
    from tasks.lib import handover, models, progress, ranks, tracking
    from tasks.lib.training import learned_here
    from tasks.lib.training_config import TrainingConfig

    said = json.loads((folder / JOB).read_text())
    cfg = TrainingConfig.model_validate(said["cfg"])
    ranks.join(rank, count, cfg.parallel, cpu=models.device(cfg.device).type == "cpu")
    job = _job(folder, said, cfg)
    teller = Teller(folder / TOLD) if rank == 0 else None
    progress.SHOW["on"] = False
    progress.TOLD["to"] = None if teller is None else teller.write
    with tracking.active(teller):
        learned, weights = learned_here(job)
    if rank == 0:
        handover.put_trained(weights, folder)
        said = {"facts": learned.facts, "times": dict(learned.times), "measured": learned.measured}
        (folder / LEARNED).write_text(json.dumps(said))


def _job(folder: Path, said: dict[str, Any], cfg: Any) -> Any:
    from datasets import load_from_disk

    from tasks.lib import handover, models
    from tasks.lib.launch import Job

    places = {name: folder / "options" / name for name in said["options"]}
    options = {name: option["value"] for name, option in said["options"].items() if "value" in option}
    options |= {name: handover.take(places[name]) for name, option in said["options"].items() if "model" in option}
    options |= {name: models.load_tokenizer(places[name]) for name, option in said["options"].items() if "tokenizer" in option}
    make = getattr(importlib.import_module(said["make"]["module"]), said["make"]["name"])
    tokenizer = models.load_tokenizer(folder / "tokenizer")
    return Job(make, handover.take(folder / "model"), tokenizer, load_from_disk(str(folder / "data")), cfg, options)


class Teller:
    """Writes what happens for the process that waits: a writer of metrics, and of a bar's moves."""

    key = ""  # the run is another process's

    def __init__(self, file: Path) -> None:
        self._file = file.open("w", encoding="utf-8")

    def write(self, event: dict[str, Any]) -> None:
        """One line."""
        self._file.write(json.dumps(event) + "\n")
        self._file.flush()

    def metrics(self, values: dict[str, float], step: int = 0) -> None:
        """Metrics at one step."""
        self.write({"metrics": values, "step": step})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
