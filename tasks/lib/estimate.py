"""Expected memory and disk of a stage, from its settings; what it took the last time is better and comes first."""

import shutil
from dataclasses import dataclass
from typing import Any

import psutil

from tasks.lib import places
from tasks.lib.plan import PlanRow

PROCESS = 900_000_000  # bytes of an interpreter with torch, transformers and trl loaded
ADAM = 16  # bytes a weight: fp32 weight, gradient and two moments
TRAINED = ("base", "pretrain", "tune", "align", "reward", "reinforce", "distill")


@dataclass(frozen=True)
class Need:
    """Bytes of memory and of disk."""

    memory: int
    disk: int


def parameters(source: Any) -> int | None:
    """Weights of a scratch base (tied embeddings, SwiGLU of 8/3); None where only the files know."""
    if source.kind != "scratch":
        return None
    inner = -(-source.hidden * 8 // 3 // 64) * 64
    layer = 4 * source.hidden**2 + 3 * source.hidden * inner
    return int(source.vocabulary * source.hidden + source.layers * layer)


def need(row: PlanRow, cfg: Any, weights: int | None, vocabulary: int | None, data_bytes: int) -> Need:
    """What a stage needs.

    Args:
        row: the planned stage.
        cfg: the flow's configuration.
        weights: parameters of the model; None when not known before the base is there.
        vocabulary: tokens in the vocabulary, if known.
        data_bytes: bytes of all sources.
    """
    stage = row.name.split(":")[0]
    size = (weights or 0) * 4
    if "peak_memory" in row.measured:
        return Need(int(row.measured["peak_memory"]), size if stage in (*TRAINED, "quantize") else data_bytes)
    if stage in ("ingest", "check", "clean", "dedup", "split"):
        return Need(200_000_000 + 8 * data_bytes, data_bytes)
    if stage not in TRAINED:
        return Need(PROCESS + 3 * size, size if stage in ("quantize", "register") else 5_000_000)
    if stage == "base" and cfg.base.source.kind != "scratch":
        return Need(PROCESS + size, size)  # it is copied and loaded once
    settings = cfg.base.source.training if stage == "base" else getattr(cfg, stage)
    # logits in fp32, their gradient and log-softmax, dominate the activations of a small model
    rows = settings.batch * (settings.method.generations if stage == "reinforce" else 1)
    activations = rows * settings.length * (vocabulary or 32_000) * 4 * 3
    copies = {"align": 2, "distill": 2, "reinforce": 3}.get(stage, 1)
    processes = 1 if settings.devices == "auto" else settings.devices  # each has the weights, and all of them one step's activations
    alone = PROCESS + size if processes > 1 else 0  # of the process that waits for them
    return Need(alone + processes * (PROCESS + (weights or 0) * ADAM * copies) + activations * copies, size)


def shortage(needs: list[Need]) -> str | None:
    """Why this machine cannot hold it, or None."""
    memory, disk = max((n.memory for n in needs), default=0), sum(n.disk for n in needs)
    folder = places.runs()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if memory > psutil.virtual_memory().total:
        return f"{memory / 1e9:.1f} GB of memory are needed, the machine has {psutil.virtual_memory().total / 1e9:.1f} GB"
    if disk > free:
        return f"{disk / 1e9:.1f} GB of disk are needed, {free / 1e9:.1f} GB are free at {folder}"
    return None
