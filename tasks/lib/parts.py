"""Datasets cut into parts that can be read one without the other, in processes, and taken up again after a kill.

How they are cut follows from the files alone: whatever the number of workers, the parts and what comes of them are the same.
"""

import os
import resource
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import joblib
import pyarrow as pa
import pyarrow.parquet as pq
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from tasks.lib import delimited, files, machine, ole, progress, tracking
from tasks.lib.errors import DataError, SlmforgeError
from tasks.lib.files import Span
from tasks.lib.sources import ResolvedDataset

PART_BYTES = 64_000_000
MANY = 8  # files of one role that are worth processes of their own, which need seconds to begin
BLOCK = 1 << 20
WATCH = "end with parent"
MEMORY = 8_000_000_000  # bytes that a worker may take
BUDGET, OWN = 2_000_000_000, 300_000_000  # bytes that all processes of a stage take by themselves, and this one of them
# bytes that a process of a stage takes: what it imports, and the rows of a part
EACH = {"ingest": 250_000_000, "check": 750_000_000}
PLAIN = ("jsonl", "ndjson", "csv", "tsv", "tab", "txt", "text")  # read by Python alone, line by line
DELIMITERS = {"csv": ",", "tsv": "\t", "tab": "\t"}
R = TypeVar("R")


@dataclass(frozen=True)
class Piece:
    """A file of a dataset, or a stretch of it."""

    dataset: int  # its place among the datasets
    file: int  # its place among the dataset's files
    bytes: int
    span: Span | None = None


def parts(datasets: Sequence[ResolvedDataset], size: int = PART_BYTES) -> list[list[Piece]]:
    """Pieces in their order, in parts of about `size` bytes; a file that must be read as a whole is one piece."""
    made: list[list[Piece]] = []
    room = 0
    for piece in _pieces(datasets, size):
        if not made or room < piece.bytes:
            made.append([])
            room = size
        made[-1].append(piece)
        room -= piece.bytes
    return made


def _pieces(datasets: Sequence[ResolvedDataset], size: int) -> Iterator[Piece]:
    for place, resolved in enumerate(datasets):
        for number, source in enumerate(resolved.files):
            spans = _spans(source.path, source.name, resolved, size) if source.path is not None and source.bytes > size else None
            if spans is None:
                yield Piece(place, number, source.bytes)
                continue
            for span, width in spans:
                yield Piece(place, number, width, span)


def uncut(datasets: Sequence[ResolvedDataset]) -> list[int]:
    """Bytes of each file that must be read as a whole; no row is looked at."""
    every = ((source, resolved) for resolved in datasets for source in resolved.files)
    return [source.bytes for source, resolved in every if source.path is not None and _form(source.path, source.name, resolved) is None]


def _form(path: Path, name: str, resolved: ResolvedDataset) -> str | None:
    """The format of a file that can be cut; None where only a whole one can be understood: archives, documents."""
    dataset = resolved.dataset
    form = dataset.format or name.lower().rpartition(".")[2]
    if files.packing(path) is not None or dataset.records is not None:
        return None
    single_byte = (dataset.encoding or "utf-8").lower().replace("_", "-") in ("utf-8", "ascii", "latin-1", "cp1252")
    if form in DELIMITERS and single_byte:
        delimiter = dataset.delimiter or DELIMITERS[form]
        return form if delimiter.isascii() and delimiter not in '"\r\n' else None
    return form if form == "parquet" or (form in ("jsonl", "ndjson") and single_byte) else None


def _spans(path: Path, name: str, resolved: ResolvedDataset, size: int) -> Iterator[tuple[Span, int]] | None:
    """The stretches of a file that can be cut."""
    dataset, form = resolved.dataset, _form(path, name, resolved)
    if form is None:
        return None
    if form == "parquet":
        return _row_groups(path, name, size)
    if form in DELIMITERS:
        return delimited.stretches(path, size, dataset.delimiter or DELIMITERS[form], dataset.encoding in (None, "utf-8"))
    return _lines(path, size)


def _lines(path: Path, size: int) -> Iterator[tuple[Span, int]]:
    """Stretches of whole lines; a stretch ends with the first line that ends at or after its last byte."""
    start, first = 0, 1
    with path.open("rb") as stream:
        end = stream.seek(0, os.SEEK_END)
        while start < end:
            stream.seek(start)
            left, lines = min(size, end - start), 0
            while left:
                block = stream.read(min(BLOCK, left))
                lines += block.count(b"\n")
                left -= len(block)
            while block and not block.endswith(b"\n"):  # the rest of the line, however long it is
                block = stream.readline(BLOCK)
                lines += block.count(b"\n")
            stop = stream.tell()
            yield Span(start, stop, first), stop - start
            start, first = stop, first + lines


def _row_groups(path: Path, name: str, size: int) -> Iterator[tuple[Span, int]] | None:
    """A footer is as foreign as the rows: it is looked at where they are read."""
    try:
        (groups,) = in_order(_footer, [(path,)], 1, elsewhere="parquet" not in PLAIN)
    except WorkerDiedError as error:
        raise error.told([name], path) from error
    return None if groups is None else _grouped(groups, size)


def _footer(path: Path) -> list[tuple[int, int]] | None:
    """Rows and bytes of each row group."""
    try:
        metadata = pq.read_metadata(path)
    except (OSError, ValueError):  # whoever reads it says what is wrong with it
        return None
    groups = (metadata.row_group(place) for place in range(metadata.num_row_groups))
    return [(group.num_rows, group.total_byte_size) for group in groups]


def _grouped(groups: Sequence[tuple[int, int]], size: int) -> Iterator[tuple[Span, int]]:
    start, first, rows, width = 0, 1, 0, 0
    for place, (count, held) in enumerate(groups, start=1):
        rows, width = rows + count, width + held
        if width >= size or place == len(groups):
            yield Span(start, place, first), width
            start, first, rows, width = place, first + rows, 0, 0


def apart(datasets: Sequence[ResolvedDataset]) -> bool:
    """Whether something is read that may crash or take all memory, in C code or as a whole: then not in this process."""
    return any(
        source.path is not None and not is_plain(source.path, source.name, resolved.dataset.format)
        for resolved in datasets
        for source in resolved.files
    )


def is_plain(path: Path, name: str, form: str | None) -> bool:
    """Whether a file is read line by line, in Python: by its bytes no archive and no document, and else by its form or name."""
    packed, head = files.first_bytes(path)
    if packed not in (None, "gzip", "bzip2") or files.packing_of(head) is not None or head.startswith(ole.MAGIC):
        return False
    stem, _, suffix = name.lower().rpartition(".")
    return (form or (stem.rpartition(".")[2] if packed and suffix in files.PACKED_SUFFIXES else suffix)) in PLAIN


class WorkerDiedError(Exception):
    """A process that did the work is gone, and with it whatever killed it."""

    @staticmethod
    def told(names: Sequence[str], path: Path | None) -> DataError:
        """What to say of it: one of these files it was, at `path` where there is only one."""
        told = ", ".join(names[:5]) + (" or a later one" if len(names) > 5 else "")
        return DataError(
            f"{'a file' if len(names) == 1 else 'files'} that can be read in {MEMORY / 1e9:.0f} GB of memory: {told}",
            "the process that read it crashed, was killed, or found no more memory",
            "look at the file with another program and write it anew; if somebody killed the process, run the command again",
            file=path if len(names) == 1 else None,
        )


def afforded(stage: str) -> int:
    """How many processes of a stage there may be beside this one: one per core, as far as all of them stay within BUDGET."""
    return min(os.cpu_count() or 1, max(1, (BUDGET - OWN) // EACH[stage]))


def in_order(work: Callable[..., R], jobs: Sequence[tuple[Any, ...]], workers: int | None, *, elsewhere: bool) -> Generator[R, None, None]:
    """Results of `work(*job)` in the order of the jobs, made in processes where there is more than one of both.

    Args:
        work: a function that can be imported, and raises SlmforgeError where it refuses.
        jobs: its arguments. The first error in their order is raised, whichever came first.
        workers: how many processes; None for one per core.
        elsewhere: use a process even for a single job, with a limit of memory.

    Raises:
        WorkerDiedError: if a process crashed or was killed.
    """
    count = min(workers or os.cpu_count() or 1, len(jobs))
    if count < 2 and not elsewhere:
        for job in jobs:
            yield work(*job)
        return
    peaks, asked = Counter[int](), ((os.getpid(), MEMORY, work, job) for job in jobs)
    try:
        for result, error, worker, peak in _by_one(asked) if count == 1 else _by_several(asked, count):
            if worker != os.getpid():
                peaks[worker] = max(peaks[worker], peak)
                tracking.measure(processes_peak_memory=peaks.total())
            if error is not None:
                raise error
            yield result
    except TerminatedWorkerError as error:
        raise WorkerDiedError from error
    finally:
        get_reusable_executor().shutdown(wait=True)  # else workers keep their memory for minutes


def _by_one(asked: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
    """By a process of its own; joblib would do the work of a single worker in this process."""
    executor = get_reusable_executor(max_workers=1)
    return (executor.submit(_tried, *words).result() for words in asked)


def _by_several(asked: Iterable[tuple[Any, ...]], count: int) -> Iterator[Any]:
    pool = joblib.Parallel(n_jobs=count, return_as="generator", batch_size=1, pre_dispatch="n_jobs")
    return cast("Iterator[Any]", pool(joblib.delayed(_tried)(*words) for words in asked))


def _tried(parent: int, memory: int, work: Callable[..., R], job: tuple[Any, ...]) -> tuple[R | None, Exception | None, int, int]:
    """What came of a job, or its error; the process that did it, and the most memory that this one had."""
    if os.getpid() != parent:  # joblib may think it better to work in the process that asks
        progress.SHOW["on"] = False  # the process that asks shows how far all are
        most = resource.getrlimit(resource.RLIMIT_DATA)[1]  # of whoever started us: no process may raise it
        resource.setrlimit(resource.RLIMIT_DATA, (memory if most == resource.RLIM_INFINITY else min(memory, most), most))
        if not any(thread.name == WATCH for thread in threading.enumerate()):
            threading.Thread(target=_end_with, args=(parent,), name=WATCH, daemon=True).start()
    made: R | None = None
    fault: Exception | None = None
    try:
        made = work(*job)
    except SlmforgeError as error:
        fault = error
    except (MemoryError, pa.ArrowMemoryError):
        fault = WorkerDiedError()
    return made, fault, os.getpid(), machine.peak()


def _end_with(parent: int) -> None:
    """End this process when the one that started it was killed: nobody waits for what it makes."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)
