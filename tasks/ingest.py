"""Read every dataset of a domain into records, and start the ledger of rows."""

from collections import Counter
from pathlib import Path

from pydantic import Field

from tasks.lib import digests, progress
from tasks.lib.config import StageConfig
from tasks.lib.errors import DataError
from tasks.lib.mapping import SetAside, place_of, require_columns, to_record
from tasks.lib.readers import read
from tasks.lib.records import LedgerLine, Records, RecordWriter, require_balance
from tasks.lib.sources import ResolvedDataset, Sources
from tasks.lib.stage import stage


class IngestConfig(StageConfig):
    """Limits of ingestion."""

    max_set_aside: float = Field(default=0.5, ge=0, le=1, description="refuse a dataset of which a larger share cannot be mapped")


@stage(version="4")
def ingest(out: Path, cfg: IngestConfig, sources: Sources) -> Records:
    """Read every dataset of the domain into records; a row that cannot be mapped is set aside by reason."""
    with RecordWriter(out) as writer:
        ledger = [line for resolved in sources.datasets for line in _dataset(resolved, cfg, writer)]
    return Records(ledger=ledger)


def _dataset(resolved: ResolvedDataset, cfg: IngestConfig, writer: RecordWriter) -> list[LedgerLine]:
    dataset, rows = resolved.dataset, Counter[str]()
    for source in progress.rows(read(resolved), f"ingest {dataset.name}"):
        if source.file not in rows:
            require_columns(dataset, source)
        rows[source.file] += 1
        try:
            writer.keep(to_record(dataset, source))
        except SetAside as aside:
            writer.set_aside(place_of(dataset, source), aside.reason, aside.detail, {k: str(v) for k, v in source.columns.items()})
    _require_unchanged(resolved)
    total = rows.total()
    if total == 0:
        raise DataError(
            f"dataset {dataset.name!r}: at least one row",
            "no rows",
            "add rows, or remove the dataset from domain.yaml",
            file=resolved.files[0].path or dataset.file_name,
        )
    aside_counts = sum((counts for (name, _), counts in writer.aside.items() if name == dataset.name), Counter[str]())
    if aside_counts.total() > cfg.max_set_aside * total:
        raise DataError(
            f"dataset {dataset.name!r}: at most {cfg.max_set_aside:.0%} of the rows set aside",
            f"{aside_counts.total()} of {total}: {dict(sorted(aside_counts.items()))}",
            "correct the map, `columns:` or `values:`, or raise ingest.max_set_aside",
            file=resolved.files[0].path or dataset.file_name,
        )
    return [_line(resolved, name, count, writer) for name, count in rows.items()]


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


def _line(resolved: ResolvedDataset, file: str, rows: int, writer: RecordWriter) -> LedgerLine:
    """The ledger's line of one file, or of one member of an archive."""
    dataset = resolved.dataset
    origin = next(source for source in resolved.files if file == source.name or file.startswith(f"{source.name}/"))
    line = LedgerLine(
        dataset=dataset.name,
        role=dataset.role,
        file=file,
        sha256=origin.sha256,
        licence=dataset.licence,
        kind=dataset.kind,
        publisher=dataset.publisher,
        rows_in=rows,
        rows_used=writer.used[dataset.name, file],
        set_aside=dict(sorted(writer.aside.get((dataset.name, file), Counter()).items())),
    )
    require_balance(line)
    return line
