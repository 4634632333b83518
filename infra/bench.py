"""`make bench`: what slmforge costs, as ratios measured side by side in one run, on this machine.

Each figure is taken in a process of its own, the candidates in turn (A B A B …), and the median
ratio to the bare loop of the same round is printed.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from infra import bench_commands, bench_data
from tasks.lib.environment import keep_heap, quiet

STEPS, BATCH, LENGTH, SKIP = 14, 8, 512, 4
ROUNDS = 3
CANDIDATES = ("loop", "loop-heap", "loop-heap-isolated", "pretrain", "tune")


def main() -> None:
    """Run one worker, or all of them in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("worker", nargs="?", choices=CANDIDATES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/cpu.md"))
    parser.add_argument("--only", choices=["training", "commands", "data"], help="one part, printed and not written")
    parser.add_argument("--gigabytes", type=float, default=10, help="the larger of the two corpora that are made on the fly")
    given = parser.parse_args()
    quiet()
    if given.worker:
        print(json.dumps({"tokens_per_second": work(given.worker)}))
        return
    parts: dict[str, Callable[[], list[str]]] = {
        "training": lambda: training(given.rounds),
        "commands": lambda: bench_commands.section(given.rounds),
        "data": lambda: bench_data.section(given.gigabytes, given.rounds),
    }
    lines = [f"# Benchmarks\n\nMachine: {machine()}\n"]
    for name, measured in parts.items():
        lines += measured() if given.only in (None, name) else []
    if given.only is None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def machine() -> str:
    """Processor, cores, memory, Python."""
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "unknown")
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{cpu}, {os.cpu_count()} cores, {gigabytes:.0f} GiB, no accelerator; Python {platform.python_version()}"


def training(rounds: int) -> list[str]:
    """Tokens a second of each candidate, and the ratio to the bare loop of the same round."""
    speeds: dict[str, list[float]] = {name: [] for name in CANDIDATES}
    for _ in range(rounds):
        for name in CANDIDATES:
            done = subprocess.run([sys.executable, "-m", "infra.bench", name], capture_output=True, text=True, check=True)
            speeds[name].append(json.loads(done.stdout.splitlines()[-1])["tokens_per_second"])
    lines = [
        f"## Training: 5.9 M parameters, batch {BATCH} x {LENGTH} tokens, {STEPS} steps, {rounds} rounds in turn\n",
        "`loop` is a bare PyTorch loop under bf16 autocast with plain causal attention; `-heap` adds the allocator settings, ",
        "`-isolated` adds the mask that keeps documents apart, which `pretrain` and `tune` always use.\n",
        "| candidate | tokens/s (median) | ratio to loop | ratio to loop-heap-isolated |",
        "|---|---:|---:|---:|",
    ]
    for name in CANDIDATES:
        ratios = [
            statistics.median(a / b for a, b in zip(speeds[name], speeds[other], strict=True)) for other in ("loop", "loop-heap-isolated")
        ]
        lines.append(f"| {name} | {statistics.median(speeds[name]):,.0f} | {ratios[0]:.2f} | {ratios[1]:.2f} |")
    return lines


def work(name: str) -> float:
    """Tokens a second of one candidate, its first steps left out."""
    import torch

    from tasks.lib import models
    from tasks.lib.base_source import documents
    from tasks.lib.packing import BlockCollator, Encoder

    if name != "loop":
        keep_heap()
    texts = documents()
    tokenizer = models.train_tokenizer(texts, 4096)
    encoder = Encoder(tokenizer, LENGTH)
    blocks = encoder.pack((piece for text in texts for piece in encoder.document(text)), 0)
    blocks = blocks.select(range(min(len(blocks), STEPS * BATCH)))
    torch.manual_seed(0)
    model = models.new_decoder(tokenizer, 256, 6, 8, 1024)
    tokens = sum(map(len, blocks["input_ids"])) / len(blocks) * BATCH
    if name.startswith("loop"):
        seconds = _loop(model, BlockCollator(tokenizer.pad_token_id, LENGTH), blocks, isolated=name.endswith("isolated"))
    else:
        seconds = _fit(model, tokenizer, blocks, name)
    return tokens / seconds


def _loop(model: Any, collate: Any, blocks: Any, *, isolated: bool) -> float:
    """Median seconds of a step of a bare loop."""
    import torch

    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-4)
    model.train()
    times = []
    for step in range(len(blocks) // BATCH):
        batch = collate([blocks[i] for i in range(step * BATCH, (step + 1) * BATCH)])
        if not isolated:
            batch = {key: batch[key] for key in ("input_ids", "labels")}
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        times.append(time.perf_counter() - started)
    return statistics.median(times[SKIP:])


def _fit(model: Any, tokenizer: Any, blocks: Any, name: str) -> float:
    """Median seconds of a step of a stage's own training call."""
    from tasks.lib import training
    from tasks.lib.curve import Curve
    from tasks.lib.training_config import TrainingConfig

    class Clock(Curve):
        """Notes when each step ends."""

        ends: list[float] = []

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            """Note the time."""
            Clock.ends.append(time.perf_counter())

    vars(training)["Curve"] = Clock  # the measured call is the stage's own, only its callback notes times
    training.fit(model, tokenizer, blocks, TrainingConfig(batch=BATCH, length=LENGTH), name)
    steps = [b - a for a, b in zip(Clock.ends, Clock.ends[1:], strict=False)]
    return statistics.median(steps[SKIP - 1 :])


if __name__ == "__main__":
    main()
