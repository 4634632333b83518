"""What reading and judging data costs: memory and time at two sizes, and beside the libraries alone."""

import argparse
import csv
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

ROW = 1_000  # bytes, about
SAMPLE = 400_000  # rows of the comparisons
EXPECTED: list[dict[str, dict[str, Any]]] = [
    {"expect_table_row_count_to_be_between": {"min_value": 1}},
    {"expect_column_values_to_not_be_null": {"column": "text"}},
    {"expect_column_values_to_be_between": {"column": "text_chars", "min_value": 200, "max_value": 5_000, "mostly": 0.9}},
    {"expect_column_values_to_not_match_regex": {"column": "text", "regex": r"\d{3}-\d{2}-\d{4}", "mostly": 0.9}},
]
WORKERS = ("scale", "read-ours", "read-datasets", "judge-gx", "judge-pandas")
FORMATS = {".jsonl": "JSON lines", ".csv": "CSV"}
SAID = {  # a worker, and the one that it stands beside; what each does
    "read-ours": "every row of a JSON lines file as a mapping: slmforge",
    "read-datasets": "the same: `datasets.load_dataset`, then its rows",
    "read-ours-csv": "every row of a CSV file as a mapping: slmforge",
    "read-datasets-csv": "the same: `datasets.load_dataset`, then its rows",
    "judge-gx": "three expectations with Great Expectations in batches, from the records",
    "judge-pandas": "the same checks with pandas, from the records",
}


def section(gigabytes: float, rounds: int) -> list[str]:
    """The tables of the report."""
    with tempfile.TemporaryDirectory(prefix="slmforge-bench-", dir=os.environ.get("TMPDIR")) as place:
        return [*_scale(Path(place), gigabytes), *_beside(Path(place), rounds)]


def _scale(place: Path, gigabytes: float) -> list[str]:
    lines = [
        "\n## Data at scale: `ingest` and `check`\n",
        "A corpus made on the fly, rows of about 1 kB; four expectations. Memory is that of all processes together ",
        "(proportional set sizes: a shared page counts once).\n",
        "| corpus | rows | ingest, s | check, s | rows/s | peak memory |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    longer = []
    for ending, said in FORMATS.items():
        times = []
        for size in (gigabytes / 10, gigabytes):
            file = corpus(place / f"corpus{ending}", round(size * 1e9 / ROW))
            found, peak = watched("scale", file)
            times.append(found["ingest"] + found["check"])
            cells = [f"{size:g} GB of {said}", f"{found['rows']:,}", f"{found['ingest']:.1f}", f"{found['check']:.1f}"]
            lines.append(f"| {' | '.join(cells)} | {found['rows'] / times[-1]:,.0f} | {peak / 1e9:.2f} GB |")
            shutil.rmtree(place / "runs")
            file.unlink()
        longer.append(f"{times[1] / times[0]:.1f} times as long ({said})")
    return [*lines, f"\nTen times the rows take {', '.join(longer)}.\n"]


def _beside(place: Path, rounds: int) -> list[str]:
    file = corpus(place / "corpus.jsonl", SAMPLE)
    watched("scale", file)
    table = corpus(place / "corpus.csv", SAMPLE)
    times: dict[str, list[float]] = {name: [] for name in SAID}
    for _ in range(rounds):
        for name, found in times.items():
            found.append(watched(name.removesuffix("-csv"), table if name.endswith("-csv") else file)[0]["seconds"])
    lines = [
        f"## Beside the libraries alone: {SAMPLE:,} rows of about 1 kB, {rounds} rounds in turn\n",
        "| what | seconds (median) | ratio |",
        "|---|---:|---:|",
    ]
    names = list(SAID)
    for name, other in zip(names[::2], names[1::2], strict=True):
        ratio = statistics.median(a / b for a, b in zip(times[name], times[other], strict=True))
        lines.append(f"| {SAID[name]} | {statistics.median(times[name]):.2f} | {ratio:.2f} |")
        lines.append(f"| {SAID[other]} | {statistics.median(times[other]):.2f} | 1.00 |")
    return lines


def corpus(file: Path, rows: int) -> Path:
    """Rows of random words as JSON lines or CSV, one in a thousand with a number that an expectation looks for."""
    draw = random.Random(7)
    words = [f"{draw.choice('bcdfglmnprst')}{draw.choice('aeiou')}{draw.choice('nrst')}{number % 97}" for number in range(3_000)]
    text = " ".join(draw.choices(words, k=200_000))
    with file.open("w", encoding="utf-8", newline="") as out:
        table = csv.writer(out)
        if file.suffix == ".csv":
            table.writerow(["id", "text"])
        for number in range(rows):
            start = draw.randrange(len(text) - 1_300)
            mark = ", 123-45-6789" if number % 1_000 == 0 else ""
            row = {"id": number, "text": text[start : start + draw.randint(600, 1_250)] + mark}
            if file.suffix == ".csv":
                table.writerow(row.values())
            else:
                out.write(json.dumps(row) + "\n")
    return file


def watched(name: str, file: Path) -> tuple[dict[str, Any], int]:
    """Run a worker; what it printed, and the peak memory of it and all that it started."""
    command = [sys.executable, "-m", "infra.bench_data", name, str(file)]
    environment = {**os.environ, "SLMFORGE_RUNS": str(file.parent / "runs")}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    peak, whole = 0, psutil.Process(process.pid)
    while process.poll() is None:
        with _gone():
            peak = max(peak, sum(_share(child) for child in [whole, *whole.children(recursive=True)]))
        time.sleep(0.2)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    assert process.stdout is not None
    return json.loads(process.stdout.read().splitlines()[-1]), peak


@contextmanager
def _gone() -> Iterator[None]:
    """A process may end while it is looked at."""
    try:
        yield
    except psutil.NoSuchProcess:
        return


def _share(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return 0


def work(name: str, file: Path) -> dict[str, Any]:
    """One worker's figures."""
    from tasks.check import CheckConfig, check
    from tasks.ingest import IngestConfig, ingest
    from tasks.lib import digests, frames, readers
    from tasks.lib.domain import Dataset, Expectations
    from tasks.lib.sources import ResolvedDataset, SourceFile, Sources

    card = {"name": "corpus", "role": "corpus", "source": {"path": file.name}, "licence": "CC0-1.0", "kind": "synthetic"}
    dataset = Dataset.model_validate({**card, "map": {"text": "{text}"}})
    digest = digests.Remembered().of(file) if name == "scale" else "0" * 64
    source = SourceFile(name=file.name, sha256=digest, bytes=file.stat().st_size, path=file)
    resolved = ResolvedDataset.of(dataset, [source])
    started = time.perf_counter()
    if name == "scale":
        read = ingest(IngestConfig(), Sources(edition="starter", datasets=[resolved]))
        between = time.perf_counter()
        check(CheckConfig(), Expectations.model_validate({"corpus": EXPECTED}), read)
        return {"rows": read.rows, "ingest": between - started, "check": time.perf_counter() - between}
    if name == "read-ours":
        rows = sum(1 for _ in readers.read(resolved))
    elif name == "read-datasets":
        rows = _with_datasets(file)
    else:
        folder = next(path for path in (file.parent / "runs/artifacts/ingest").iterdir() if path.is_dir())
        seconds = _with_gx(folder) if name == "judge-gx" else _with_pandas(frames.Frames(folder, "corpus"))
        return {"seconds": seconds}
    assert rows == SAMPLE
    return {"seconds": time.perf_counter() - started}


def _with_datasets(file: Path) -> int:
    from datasets import load_dataset

    with tempfile.TemporaryDirectory() as cache:
        kind = {".jsonl": "json", ".csv": "csv"}[file.suffix]
        return sum(1 for _ in load_dataset(kind, data_files=str(file), cache_dir=cache, split="train"))


def _with_gx(folder: Path) -> float:
    from tasks.lib.expectations import judge

    started = time.perf_counter()
    verdicts = judge(folder, {"corpus": EXPECTED[1:]}, [], None)
    assert [verdict.failing for verdict in verdicts][2] == SAMPLE // 1_000
    return time.perf_counter() - started


def _with_pandas(rows: Any) -> float:
    """The same checks: failing rows counted, and the first of them named."""
    started = time.perf_counter()
    counts = [0, 0, 0]
    first: list[list[str]] = [[], [], []]
    for table in rows.batches(["id", "text", "text_chars"]):
        text, chars = table["text"], table["text_chars"]
        failing = [text.isna(), ~chars.between(200, 5_000), text.str.contains(r"\d{3}-\d{2}-\d{4}", regex=True)]
        for number, mask in enumerate(failing):
            counts[number] += int(mask.sum())
            first[number] = [*first[number], *table["id"][mask]][:20]
    assert counts[2] == SAMPLE // 1_000
    return time.perf_counter() - started


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("worker", choices=WORKERS)
    parser.add_argument("file", type=Path)
    asked = parser.parse_args()
    print(json.dumps(work(asked.worker, asked.file)))
