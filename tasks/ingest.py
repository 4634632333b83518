"""Read every dataset of a domain into records, and start the ledger of rows."""

import json
import os
import shutil
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from tasks.lib import broken, digests, progress, store, writing
from tasks.lib.config import RUNTIME, StageConfig
from tasks.lib.errors import DataError
from tasks.lib.mapping import SetAside, columns_used, place_of, require_columns, to_record
from tasks.lib.parts import Piece, WorkerDiedError, afforded, apart, in_order, parts
from tasks.lib.readers import read_file
from tasks.lib.records import LedgerLine, Records, RecordWriter, require_balance
from tasks.lib.sources import ResolvedDataset, SourceFile, Sources
from tasks.lib.stage import stage

Places = Counter[tuple[str, str]]  # by dataset and file


class IngestConfig(StageConfig):
    """Limits of ingestion."""

    max_set_aside: float = Field(default=0.5, ge=0, le=1, description="refuse a dataset of which a larger share cannot be mapped")
    workers: int | None = Field(
        default=None, ge=1, json_schema_extra=RUNTIME, description="processes that read [one per core, as far as 2 GB allow]"
    )


@dataclass
class Counts:
    """What became of the rows of a part, or of all."""

    rows: Places = field(default_factory=Counter)
    used: Places = field(default_factory=Counter)
    aside: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    where: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)  # by dataset and file, then by reason: the first at fault

    def add(self, other: "Counts") -> None:
        """Count a further part."""
        self.rows += other.rows
        self.used += other.used
        for place, reasons in other.aside.items():
            self.aside.setdefault(place, Counter()).update(reasons)
        for place, told in other.where.items():
            self.where[place] = {**told, **self.where.get(place, {})}


@stage(version="14")
def ingest(out: Path, cfg: IngestConfig, sources: Sources) -> Records:
    """Read every dataset of the domain into records; a row that cannot be mapped is set aside by reason.

    Large files are read in parts, in processes. Parts that are done stay when the process is killed: the next run goes on
    behind them.
    """
    done = store.parts(out)
    try:
        counts = _read(sources, cfg, done)
    except Exception:
        shutil.rmtree(done)  # a refusal or a fault leaves nothing; only a kill does
        raise
    for shard in sorted(done.glob("[0-9]*/*.parquet")):
        shard.rename(out / shard.name)
    shutil.rmtree(done)
    return Records(ledger=[line for resolved in sources.datasets for line in _lines(resolved, counts)])


def _read(sources: Sources, cfg: IngestConfig, done: Path) -> Counts:
    """Read all parts that are not there yet."""
    counts, planned = Counts(), parts(sources.datasets)
    bar = progress.Bar("ingest", sum(piece.bytes for part in planned for piece in part) or 1, "B")
    jobs = [(sources, part, done, number) for number, part in enumerate(planned)]
    with closing(bar), closing(in_order(read_part, jobs, cfg.workers or afforded("ingest"), elsewhere=apart(sources.datasets))) as results:
        try:
            for number, found in enumerate(results):
                counts.add(found)
                bar.advance(sum(piece.bytes for piece in planned[number]))
                for place in _ended(planned, number, len(sources.datasets)):
                    _require_usable(sources.datasets[place], cfg, counts)
        except WorkerDiedError as error:
            raise _deadly(sources, planned, done) from error
    return counts


def _deadly(sources: Sources, planned: list[list[Piece]], done: Path) -> DataError:
    """What to say when a process that read is gone: it is one of the files of the parts that are not done."""
    open_ = [piece for number, part in enumerate(planned) if not (done / f"{number:05}" / "part.json").is_file() for piece in part]
    named = list(dict.fromkeys(sources.datasets[piece.dataset].files[piece.file].name for piece in open_))
    return WorkerDiedError.told(named, sources.datasets[open_[0].dataset].files[open_[0].file].path)


def _ended(planned: list[list[Piece]], number: int, datasets: int) -> range:
    """The datasets whose last piece is in this part."""
    first = planned[number][0].dataset
    after = planned[number + 1][0].dataset if number + 1 < len(planned) else datasets
    return range(first, after)


def read_part(sources: Sources, part: list[Piece], done: Path, number: int) -> Counts:
    """Read one part into a folder of its own, or take what a killed run left of it when it is whole."""
    place = done / f"{number:05}"
    if (kept := _kept(place)) is not None:
        return kept
    work = done / f".{number:05}.{os.getpid()}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    counts = Counts()
    with RecordWriter(work, number) as writer:
        for piece in part:
            _read_piece(sources.datasets[piece.dataset], piece, writer, counts)
    counts.used, counts.aside = writer.used, writer.aside
    _keep(work, counts)
    work.rename(place)
    return counts


def _read_piece(resolved: ResolvedDataset, piece: Piece, writer: RecordWriter, counts: Counts) -> None:
    dataset = resolved.dataset
    columns = columns_used(dataset)
    begun = set() if piece.span is None or piece.span.first == 1 else {resolved.files[piece.file].name}
    for source in read_file(dataset, resolved.files[piece.file], piece.span):
        if source.file not in begun and source.aside != broken.REASON:
            require_columns(dataset, source)
            begun.add(source.file)
        counts.rows[dataset.name, source.file] += 1
        try:
            writer.keep(to_record(dataset, source, columns))
        except SetAside as aside:
            counts.where.setdefault((dataset.name, source.file), {}).setdefault(aside.reason, aside.where)
            columns_told = {name: _told(value) for name, value in source.columns.items()}
            writer.set_aside(place_of(dataset, source), aside.reason, aside.detail, columns_told)


def _told(value: Any) -> str:
    """A column's value as its file would write it."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False, default=str)


def _keep(work: Path, counts: Counts) -> None:
    """Write down what a part is, so that a later run can tell whether it is whole."""
    places = [
        [*place, rows, counts.used[place], dict(counts.aside.get(place, {})), counts.where.get(place, {})]
        for place, rows in counts.rows.items()
    ]
    shards = {file.name: digests.of_file(file) for file in sorted(work.glob("*.parquet"))}
    (work / "part.json").write_text(json.dumps({"places": places, "shards": shards}), encoding="utf-8")


def _kept(place: Path) -> Counts | None:
    """The counts of a part that an earlier run left, if its files are as they were written."""
    try:
        written: dict[str, Any] = json.loads((place / "part.json").read_text(encoding="utf-8"))
        whole = all(digests.of_file(place / name) == sha256 for name, sha256 in written["shards"].items())
    except (OSError, ValueError):
        whole = False
    if not whole:
        shutil.rmtree(place, ignore_errors=True)
        return None
    counts = Counts()
    for dataset, file, rows, used, aside, where in written["places"]:
        counts.rows[dataset, file], counts.used[dataset, file] = rows, used
        if aside:
            counts.aside[dataset, file], counts.where[dataset, file] = Counter(aside), where
    return counts


def _require_usable(resolved: ResolvedDataset, cfg: IngestConfig, counts: Counts) -> None:
    """Refuse a dataset that changed while it was read, has no rows, or lost too many of them."""
    dataset = resolved.dataset
    _require_unchanged(resolved)
    total = sum(rows for (name, _), rows in counts.rows.items() if name == dataset.name)
    if total == 0:
        raise DataError(
            f"dataset {dataset.name!r}: at least one row",
            "no rows",
            "add rows, or remove the dataset from domain.yaml",
            file=resolved.files[0].path or dataset.file_name,
        )
    _require_mostly_whole(resolved, counts)
    aside_counts = sum((reasons for (name, _), reasons in counts.aside.items() if name == dataset.name), Counter[str]())
    if aside_counts.total() > cfg.max_set_aside * total:
        raise DataError(
            f"dataset {dataset.name!r}: at most {cfg.max_set_aside:.0%} of the rows set aside",
            f"{aside_counts.total()} of {total}: {_reasons(dataset.name, aside_counts, counts.where)}",
            "correct the map, `columns:` or `values:`, or raise ingest.max_set_aside",
            file=resolved.files[0].path or dataset.file_name,
        )


def _require_mostly_whole(resolved: ResolvedDataset, counts: Counts) -> None:
    """Refuse a file of which more than half of the rows are broken: they are whole, and read in the wrong way."""
    dataset = resolved.dataset.name
    for (name, file), reasons in counts.aside.items():
        if name == dataset and 2 * reasons[broken.REASON] > counts.rows[name, file]:
            raise DataError(
                f"dataset {dataset!r}: at most half of the rows of a file broken",
                f"{reasons[broken.REASON]:,} of {counts.rows[name, file]:,}; the first: {counts.where[name, file][broken.REASON]}",
                "say how the file is written: `format:`, `delimiter:`, `encoding:`; its quotes may be of another kind",
                file=_origin(resolved, file).path,
            )


def _origin(resolved: ResolvedDataset, file: str) -> SourceFile:
    """The file that a name of the ledger is, or is a member of."""
    return next(source for source in resolved.files if file == source.name or file.startswith(f"{source.name}/"))


def _reasons(dataset: str, counted: Counter[str], where: dict[tuple[str, str], dict[str, str]]) -> str:
    """Reasons, how many rows each, and the first column that was at fault, as the file calls it; no value of a row."""
    told: dict[str, str] = {}
    for reasons in (reasons for (name, _), reasons in where.items() if name == dataset):
        told = {**reasons, **told}
    return ", ".join(f"{number} {reason}{f' ({told[reason]})' if told.get(reason) else ''}" for reason, number in counted.most_common())


def _require_unchanged(resolved: ResolvedDataset) -> None:
    """Refuse a file that is not the one that was planned with: its rows would stand under another digest."""
    for source in resolved.files:
        if source.path is not None and (found := digests.of_file(source.path)) != source.sha256:
            raise DataError(
                f"dataset {resolved.dataset.name!r}: the file with sha256 {source.sha256}, as it was when the run began",
                f"sha256 {found}",
                "let whatever writes the file finish, then run the command again",
                file=source.path,
            )


def _lines(resolved: ResolvedDataset, counts: Counts) -> list[LedgerLine]:
    """The ledger's lines of a dataset: one of each file, or member of an archive."""
    return [_line(resolved, file, counts) for name, file in counts.rows if name == resolved.dataset.name]


def _line(resolved: ResolvedDataset, file: str, counts: Counts) -> LedgerLine:
    dataset = resolved.dataset
    origin = _origin(resolved, file)
    place = (dataset.name, file)
    line = LedgerLine(
        dataset=dataset.name,
        role=dataset.role,
        file=file,
        sha256=origin.sha256,
        licence=dataset.licence,
        kind=dataset.kind,
        publisher=dataset.publisher,
        rows_in=counts.rows[place],
        rows_used=counts.used[place],
        set_aside=dict(sorted(counts.aside.get(place, Counter()).items())),
        written=writing.of(dataset, origin.path, file),
    )
    require_balance(line)
    return line
