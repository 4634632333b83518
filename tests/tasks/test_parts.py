"""Large files in parts: the same rows however they are cut and by however many processes, and nothing twice after a kill."""

import bz2
import gzip
import io
import json
import lzma
import os
import resource
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from flows import template
from flows.cli import main
from tasks import ingest as module
from tasks.check import CheckConfig, check
from tasks.ingest import IngestConfig, ingest
from tasks.lib import digests, ole, store
from tasks.lib.domain import Dataset, Expectations
from tasks.lib.errors import DataError, StageError
from tasks.lib.parts import afforded, apart, parts
from tasks.lib.records import Records, iterate
from tasks.lib.sources import ResolvedDataset, SourceFile, Sources
from tests.conftest import ROOT

ROWS = [{"q": f"Question {i}, é{'x' * (i % 37)}?", "a": str(i % 3), "n": i if i % 50 else None} for i in range(2_000)]
CARD = {
    "name": "asked", "role": "tune", "licence": "CC0-1.0", "kind": "synthetic", "columns": {"n": "number"},
    "map": {"prompt": "{q} {n}", "response": "{a}"},
}  # fmt: skip


def given(file: Path) -> Sources:
    """One dataset of one file."""
    dataset = Dataset.model_validate({**CARD, "source": {"path": file.name}})
    source = SourceFile(name=file.name, sha256=digests.of_file(file), bytes=file.stat().st_size, path=file)
    return Sources(edition="starter", datasets=[ResolvedDataset.of(dataset, [source])])


def written(folder: Path, suffix: str) -> Path:
    """The rows in a file; of lines, some are empty, and the last has no end."""
    file = folder / f"asked.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), file, row_group_size=150)
    else:
        lines = [json.dumps(row, ensure_ascii=False) + ("\n\n" if i % 7 == 0 else "\n") for i, row in enumerate(ROWS)]
        file.write_text("".join(lines).rstrip("\n"))
    return file


def cut(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(module, "parts", partial(parts, size=size))


def rows(made: Records) -> list[dict[str, Any]]:
    return [*iterate(made.path, "tune"), *iterate(made.path, "set_aside")]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_the_rows_are_the_same_however_a_file_is_cut(suffix: str, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = given(written(workplace, suffix))
    whole = rows(ingest(IngestConfig(), sources))
    monkeypatch.setattr("tasks.lib.parts.PLAIN", ("jsonl", "parquet"))  # cut, it is read here: processes are slow to start
    for size, least in ((400, 10), (5_000, 10), (10_000_000, 1)):
        monkeypatch.setenv("SLMFORGE_RUNS", str(workplace / f"runs-{size}"))
        cut(monkeypatch, size)
        assert len(parts(sources.datasets, size)) >= least
        made = ingest(IngestConfig(workers=1), sources)
        assert rows(made) == whole
        (line,) = made.ledger
        assert (line.rows_in, line.rows_used, line.set_aside) == (2_000, 1_960, {"missing-value": 40})
    numbers = [row["row"] for row in iterate(made.path, "tune")]
    if suffix == "jsonl":  # rows are numbered as lines are, the empty ones counted
        lines = (workplace / "asked.jsonl").read_text().split("\n")
        assert [json.loads(lines[number - 1])["n"] for number in numbers] == [row["n"] for row in ROWS if row["n"] is not None]
    else:
        assert numbers == [i for i, row in enumerate(ROWS, start=1) if row["n"] is not None]


def test_the_artifact_is_the_same_whatever_the_number_of_workers(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = given(written(workplace, "jsonl"))
    cut(monkeypatch, 10_000)
    digest = {}
    for workers in (1, 3, None):
        monkeypatch.setenv("SLMFORGE_RUNS", str(workplace / f"runs-{workers}"))
        made = ingest(IngestConfig(workers=workers), sources)
        record = store.find(made.id)
        assert record is not None
        digest[workers] = (made.id, made.digest, [entry.sha256 for entry in record.files])
        assert len(record.files) > 10
    assert len({str(value) for value in digest.values()}) == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_bad_row_is_named_and_nothing_is_left(workers: int, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(workplace, "jsonl")
    lines = file.read_text().split("\n")
    bad = [i for i, line in enumerate(lines) if line][1_500:1_900:100]
    for place in bad:
        lines[place] = '{"q": NaN}'
    file.write_text("\n".join(lines))
    cut(monkeypatch, 10_000)
    with pytest.raises(DataError, match="NaN is no JSON value") as caught:
        ingest(IngestConfig(workers=workers), given(file))
    assert caught.value.row == bad[0] + 1
    assert [path for path in (store.root() / "ingest").rglob("*") if path.is_dir()] == []


PROGRAM = """
import sys
from functools import partial
from pathlib import Path
from tasks import ingest as module
from tasks.lib.parts import parts
from tests.tasks.test_parts import given

module.parts = partial(parts, size=4_000)
module.ingest(module.IngestConfig(workers=int(sys.argv[2])), given(Path(sys.argv[1])))
"""


def started(file: Path, runs: Path, workers: int) -> subprocess.Popen[str]:
    environment = {**os.environ, "SLMFORGE_RUNS": str(runs), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(file), str(workers)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def gone_on(file: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """How many parts were kept of what a process left, and the digest: as `started` does it, in this process."""
    kept: list[Path] = []
    look = module._kept

    def seen(place: Path) -> module.Counts | None:
        if (found := look(place)) is not None:
            kept.append(place)
        return found

    with monkeypatch.context() as patch:
        patch.setenv("SLMFORGE_RUNS", str(runs))
        patch.setattr(module, "_kept", seen)
        cut(patch, 4_000)
        made = ingest(IngestConfig(workers=1), given(file))
    return len(kept), made.digest


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_ingestion_goes_on_behind_the_parts_that_are_done(workers: int, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(workplace, "jsonl")
    none, unharmed = gone_on(file, workplace / "unharmed", monkeypatch)
    assert none == 0
    runs = workplace / "runs"
    process = started(file, runs, workers)
    children: list[psutil.Process] = []
    while len(list(runs.glob("artifacts/ingest/*.parts/[0-9]*/part.json"))) < 3:
        children = psutil.Process(process.pid).children(recursive=True)
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    psutil.wait_procs(children, timeout=20)
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    left = sorted(runs.glob("artifacts/ingest/*.parts/[0-9]*"))
    shard = next(left[0].glob("tune-*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-1])  # one was not whole: it is read again
    kept, digest = gone_on(file, runs, monkeypatch)
    assert kept >= len(left) - 1 > 0
    assert digest == unharmed
    assert not list(runs.glob("artifacts/ingest/*.parts"))


@pytest.mark.parametrize(("cores", "stage", "count"), [(64, "check", 2), (64, "ingest", 6), (1, "ingest", 1)])
def test_no_more_processes_than_memory_allows(cores: int, stage: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert afforded(stage) == count


def archive(kind: str) -> bytes:
    stream = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(stream, "w") as made:
            made.writestr("a.jsonl", "{}\n")
    else:
        with tarfile.open(fileobj=stream, mode="w") as packed:
            packed.addfile(tarfile.TarInfo("a.pdf"))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "elsewhere"),
    [
        ("a.jsonl", b"{}\n", False),
        ("a.jsonl.gz", gzip.compress(b"{}\n"), False),
        ("a.csv", bz2.compress(b"a\n1\n"), False),
        ("a.txt.pdf", b"%PDF-1.7", True),
        ("a.csv.xlsx", b"PK\3\4", True),
        ("a.json", b"[]", True),
        ("a.md", b"# A", True),
        ("a.jsonl", archive("zip"), True),
        ("a.jsonl.gz", gzip.compress(archive("tar")), True),
        ("a.csv", lzma.compress(b"a\n1\n"), True),
        ("a.txt", ole.MAGIC, True),
        ("a.parquet", b"PAR1", True),
    ],
    ids=range(12),  # archives hold the time at which they were made
)
def test_text_is_read_here_and_what_is_parsed_as_a_whole_elsewhere(name: str, content: bytes, elsewhere: bool, workplace: Path) -> None:
    (workplace / name).write_bytes(content)
    assert apart(given(workplace / name).datasets) is elsewhere


def test_a_document_that_takes_all_memory_is_told_by_file_also_when_it_is_added(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists of nothing: each takes three characters, and twenty times as much in memory."""
    monkeypatch.setattr("tasks.lib.parts.MEMORY", 1_000_000_000)
    template.write("legal")
    content = b"[" + (b"[]," * 1_000_000 + b"\n") * 12 + b"[]]"
    name = "v1.txt.json.gz"
    (workplace / name).write_bytes(gzip.compress(content, 1))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    done = CliRunner().invoke(main, ["add", "legal", name, "--licence", "CC0-1.0", "--kind", "user", "--yes"])
    assert done.exit_code == 3
    assert f"a file that can be read in 1 GB of memory: {name}" in done.output
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_a_bomb_in_a_parquet_file_takes_no_more_memory_than_a_worker_may(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One text of 30 MB, by a dictionary in 300 rows: a file of some kilobytes, 9 GB when it is decoded."""
    monkeypatch.setattr("tasks.lib.parts.MEMORY", 1_500_000_000)
    file = workplace / "asked.parquet"
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 300), pa.array(["x" * 30_000_000]))
    pq.write_table(pa.table({"q": text, "a": ["1"] * 300, "n": [1] * 300}), file, compression="zstd")
    assert file.stat().st_size < 100_000
    sizes: list[int] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            with suppress(psutil.NoSuchProcess):
                # between its fork and its start, a child is as large as this process
                workers = [child for child in psutil.Process().children(recursive=True) if any("loky" in word for word in child.cmdline())]
                sizes.extend(worker.memory_info().rss for worker in workers)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with pytest.raises(DataError) as caught:
            ingest(IngestConfig(), given(file))
    finally:
        over.set()
        watcher.join()
    assert caught.value.file == str(file)
    assert [path for path in (store.root() / "ingest").rglob("*") if path.is_dir()] == []
    assert 100_000_000 < max(sizes) < 1_900_000_000


def test_a_reader_that_crashes_is_told_with_its_file(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = workplace / "asked.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS * 400), file, row_group_size=10_000)
    process = started(file, workplace / "runs", 1)
    killed = False
    while process.poll() is None and not killed:
        with suppress(psutil.NoSuchProcess):  # a short-lived one may end between being listed and being asked
            for child in psutil.Process(process.pid).children(recursive=True):
                if any(path.path.endswith(".parquet") for path in child.open_files()):
                    child.send_signal(signal.SIGSEGV)
                    killed = True
        time.sleep(0.01)
    assert killed
    assert process.wait(timeout=60) != 0
    assert process.stderr is not None
    said = process.stderr.read()
    assert "asked.parquet" in said
    assert "the process that read it crashed" in said
    assert not list((workplace / "runs/artifacts/ingest").glob("*.parts"))


EXPECTED = {
    "tune": [
        {"expect_column_values_to_not_match_regex": {"column": "prompt", "regex": "Question 1[0-9]7,", "mostly": 0.99}},
        {"expect_column_values_to_be_between": {"column": "prompt_chars", "max_value": 50, "severity": "warning"}},
        {"expect_column_values_to_be_unique": {"column": "id"}},
        {"expect_table_row_count_to_be_between": {"min_value": 1960, "max_value": 1960}},
    ]
}


@pytest.mark.long
def test_a_process_of_the_check_that_is_killed_is_told_with_what_it_judged(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut(monkeypatch, 20_000)
    monkeypatch.setattr("tasks.lib.expectations.MANY", 4)
    read = ingest(IngestConfig(workers=1), given(written(workplace, "jsonl")))
    over = threading.Event()

    def kill() -> None:
        while not over.wait(0.01):
            for child in psutil.Process().children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    if any("popen_loky" in word for word in child.cmdline()):  # and not the process that tracks resources
                        child.kill()
                        return

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with pytest.raises(StageError, match=r"(?s)rows of role 'tune'.*killed.*check.workers: 1"):
            check(CheckConfig(docs=False, workers=2), Expectations.model_validate(EXPECTED), read)
    finally:
        over.set()
        killer.join()
    assert [path for path in (workplace / "runs/artifacts/check").iterdir() if path.is_dir()] == []


@pytest.mark.long
@pytest.mark.parametrize("sensitive", [[], ["prompt"]])
def test_the_verdicts_are_the_same_whatever_the_number_of_workers(
    sensitive: list[str], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_ = given(written(workplace, "jsonl"))
    expected = Expectations.model_validate({**EXPECTED, "sensitive": sensitive})
    whole = check(CheckConfig(docs=False), expected, ingest(IngestConfig(), given_)).verdicts
    assert whole[0].failing == 10
    assert whole[1].failing > 20
    cut(monkeypatch, 20_000)
    monkeypatch.setattr("tasks.lib.expectations.MANY", 4)
    for workers in (1, 2):
        monkeypatch.setenv("SLMFORGE_RUNS", str(workplace / f"runs-{workers}"))
        read = ingest(IngestConfig(workers=1), given_)
        assert len(list(read.path.glob("tune-*.parquet"))) > 4
        assert check(CheckConfig(docs=False, workers=workers), expected, read).verdicts == whole
