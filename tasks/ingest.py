"""Read every dataset of a domain into records, and start the ledger of rows."""

from pathlib import Path

from pydantic import Field

from tasks.lib import progress
from tasks.lib.config import StageConfig
from tasks.lib.errors import DataError
from tasks.lib.mapping import SetAside, require_columns, to_record
from tasks.lib.readers import read
from tasks.lib.records import LedgerLine, Records, RecordWriter, require_balance
from tasks.lib.sources import ResolvedDataset, Sources
from tasks.lib.stage import stage


class IngestConfig(StageConfig):
    """Limits of ingestion."""

    max_set_aside: float = Field(default=0.5, ge=0, le=1, description="refuse a dataset of which a larger share cannot be mapped")


@stage(version="2")
def ingest(out: Path, cfg: IngestConfig, sources: Sources) -> Records:
    """Read every dataset of the domain into records; a row that cannot be mapped is set aside by reason."""
    with RecordWriter(out) as writer:
        ledger = [_dataset(resolved, cfg, writer) for resolved in sources.datasets]
    return Records(ledger=ledger)


def _dataset(resolved: ResolvedDataset, cfg: IngestConfig, writer: RecordWriter) -> LedgerLine:
    dataset, rows = resolved.dataset, 0
    file = resolved.file or dataset.file_name
    for number, row in progress.rows(read(resolved), f"ingest {dataset.name}"):
        if rows == 0:
            require_columns(dataset, row, file, number)
        rows += 1
        try:
            writer.keep(to_record(dataset, row, number))
        except SetAside as aside:
            place = {"id": f"{dataset.name}:{number}", "dataset": dataset.name, "file": dataset.file_name, "row": number}
            writer.set_aside({**{k: str(v) for k, v in row.items()}, **place}, aside.reason, aside.detail)
    aside_counts = dict(sorted(writer.aside.get(dataset.name, {}).items()))
    if rows == 0:
        raise DataError(
            f"dataset {dataset.name!r}: at least one row",
            "no rows",
            "add rows, or remove the dataset from domain.yaml",
            file=file,
        )
    if sum(aside_counts.values()) > cfg.max_set_aside * rows:
        raise DataError(
            f"dataset {dataset.name!r}: at most {cfg.max_set_aside:.0%} of the rows set aside",
            f"{sum(aside_counts.values())} of {rows}: {aside_counts}",
            "correct the map, `columns:` or `values:`, or raise ingest.max_set_aside",
            file=file,
        )
    line = LedgerLine(
        dataset=dataset.name,
        role=dataset.role,
        file=dataset.file_name,
        sha256=resolved.sha256,
        licence=dataset.licence,
        kind=dataset.kind,
        publisher=dataset.publisher,
        rows_in=rows,
        rows_used=writer.used[dataset.name],
        set_aside=aside_counts,
    )
    require_balance(line)
    return line
