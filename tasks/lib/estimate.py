"""Expected memory and disk of a stage, from its settings; what it took the last time with the same ones is better and comes first."""

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tasks.lib import base_checks, machine, parts, places, weights
from tasks.lib.base_checks import Fault
from tasks.lib.plan import Planner, PlanRow
from tasks.lib.records import BATCH
from tasks.lib.sources import ResolvedDataset
from tasks.lib.weights import Size

PROCESS = 900_000_000  # bytes of an interpreter with torch, transformers and trl loaded
READER, JUDGE = 250_000_000, 600_000_000  # of one that reads rows; of one with Great Expectations
ADAM, ADAPTERS = 16, 8  # bytes a weight: fp32 weight, gradient and two moments; a frozen weight, and the merged one at the end
LOADED = 4  # bytes a weight in fp32
ROW = 4_000  # bytes, as long as rows are not counted
HELD = 3  # a batch of rows: as they are read, as Python has them, as they are written
PARSED = 8  # a file that can only be read as a whole, in memory
# bytes a row that a stage remembers to the end: the sketch of a document; a digest and an id; two digests of groups
NEAR, SEEN, GROUPED = 2_700, 220, 340
LOADS = {"merge": 3, "quantize": 2, "evaluate": 2}  # models, or as much, that a stage without training has in memory
NARROW, WIDE = 1_000, 32_000  # numbers a token: of a head over labels or a reward; of a vocabulary that is not known
TRAINED = ("base", "pretrain", "tune", "align", "classify", "reward", "reinforce", "distill")
DATA = ("ingest", "check", "clean", "dedup", "split")


@dataclass(frozen=True)
class Need:
    """Bytes of memory and of disk."""

    memory: int
    disk: int


@dataclass(frozen=True)
class Given:
    """What stages work on: the model, and the rows by role, as far as both are known."""

    model: Size
    datasets: list[ResolvedDataset]
    rows: Counter[str]

    @property
    def bytes(self) -> int:
        """Of all sources."""
        return sum(dataset.bytes for dataset in self.datasets)


def model(job: Any, planner: Planner) -> Size | None:
    """The base model: as it is in the store, as its settings say, or as its files on this machine say; None if none of them does."""
    made = next((row.facts for row in planner.rows if row.name == "base" and row.facts), None)
    if made is not None:
        return Size(made["parameters"], made["bytes"], made["vocabulary"])
    source = job.cfg.base.source
    if source.kind == "scratch":
        parameters = _of_scratch(source)
        return Size(parameters, parameters * LOADED, source.vocabulary)
    folder = base_checks.folder_of(job)
    return None if folder is None else weights.of(folder)


def _of_scratch(source: Any) -> int:
    """Weights of a scratch base (tied embeddings, SwiGLU of 8/3)."""
    inner = -(-source.hidden * 8 // 3 // 64) * 64
    layer = 4 * source.hidden**2 + 3 * source.hidden * inner
    return int(source.vocabulary * source.hidden + source.layers * layer)


def needs(job: Any, planner: Planner) -> dict[str, Need]:
    """What the stages of a plan need that will run."""
    given = Given(model(job, planner) or Size(0, 0, None), job.sources.datasets, _rows(job, planner))
    return {row.name: _need(row, job.cfg, given) for row in planner.rows if row.state == "run"}


def _rows(job: Any, planner: Planner) -> Counter[str]:
    """Rows by role: as they were counted, or as many as there may be."""
    ledger = next((row.facts["ledger"] for row in planner.rows if row.name == "ingest" and row.facts), None)
    rows: Counter[str] = Counter()
    for line in ledger or []:
        rows[line["role"]] += line["rows_used"]
    for resolved in job.sources.datasets if ledger is None else []:
        rows[resolved.dataset.role] += -(-resolved.bytes // ROW)
    return rows


def _need(row: PlanRow, cfg: Any, given: Given) -> Need:
    stage = row.name.split(":")[0]
    size = given.model.parameters * LOADED
    if "peak_memory" in row.measured and row.alike:
        return Need(int(row.measured["peak_memory"]), given.bytes if stage in DATA else size)
    if stage in DATA:
        return Need(_of_data(stage, cfg, given), given.bytes)
    if stage not in TRAINED:
        return Need(PROCESS + LOADS.get(stage, 0) * size, size if stage in ("merge", "quantize", "register") else 5_000_000)
    if stage == "base" and cfg.base.source.kind != "scratch":
        return Need(PROCESS + given.model.bytes, given.model.bytes)  # it is copied, and loaded once as it is
    settings = cfg.base.source.training if stage == "base" else getattr(cfg, stage)
    return Need(_of_training(stage, settings, given.model), size)


def _of_training(stage: str, settings: Any, base: Size) -> int:
    """Memory of a training; of one on an accelerator only what this machine's own memory holds."""
    size = base.parameters * LOADED
    copies = {"align": 2, "distill": 2, "reinforce": 3}.get(stage, 1)
    processes: int = 1 if settings.devices == "auto" else settings.devices
    alone = PROCESS + size if processes > 1 else 0  # of the process that waits for them
    if machine.accelerated(settings.device):
        return alone + processes * (PROCESS + size * copies)
    # logits in fp32, their gradient and log-softmax, dominate the activations of a small model
    method: Any = getattr(settings, "method", None)
    rows: int = settings.batch * (method.generations if stage == "reinforce" else 1)
    width = NARROW if stage in ("classify", "reward") else base.vocabulary or WIDE
    activations: int = rows * settings.length * width * 4 * 3
    learned = base.parameters * (ADAPTERS if getattr(method, "kind", "") == "lora" else ADAM)
    # each process has the weights, and all of them one step's activations
    return alone + processes * (PROCESS + learned * copies) + activations * copies


def _of_data(stage: str, cfg: Any, given: Given) -> int:
    """Memory of a data stage: batches of rows, files that only a whole can be read of, and what is remembered of each row."""
    rows = given.rows.total()
    batch = min(given.bytes, BATCH * given.bytes // max(1, rows)) * HELD
    pieces = -(-given.bytes // parts.PART_BYTES)
    if stage == "ingest":
        workers = min(cfg.ingest.workers or parts.afforded("ingest"), max(1, pieces))
        whole = sorted(parts.uncut(given.datasets), reverse=True)[:workers]
        return READER + workers * (READER + batch) + sum(min(PARSED * size, parts.MEMORY) for size in whole)
    if stage == "check":
        workers = 0 if pieces < parts.MANY else min(cfg.check.workers or parts.afforded("check"), pieces)
        return JUDGE * (1 + workers)
    near = given.rows["corpus"] * NEAR if cfg.dedup.near else 0
    return READER + batch + {"clean": 0, "dedup": rows * SEEN + near, "split": rows * GROUPED}[stage]


def shortage(wanted: dict[str, Need]) -> Iterator[Fault]:
    """Why this machine cannot hold what is needed."""
    if not wanted:
        return
    most = max(wanted, key=lambda name: wanted[name].memory)
    limit, whose = machine.memory()
    if wanted[most].memory > limit:
        remedy = "bring fewer rows" if most in DATA else "lower its `batch` or `length`, or take a smaller model"
        found = f"{wanted[most].memory / 1e9:.1f} GB of memory are needed, {whose} {limit / 1e9:.1f} GB"
        yield Fault(most, found, f"{remedy}; or take a machine with more memory")
    disk, folder = sum(need.disk for need in wanted.values()), places.runs()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if disk > free:
        found = f"with all that follows, {disk / 1e9:.1f} GB of disk are needed, {free / 1e9:.1f} GB are free at {folder}"
        yield Fault(next(iter(wanted)), found, "free some, or let SLMFORGE_RUNS name a folder with more")
