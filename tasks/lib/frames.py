"""Records as flat tables for whoever judges them: read in batches, with the columns that are asked for."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.lib.records import CONTENT, IDENTITY, LISTED, files

BATCH_ROWS = 50_000
BATCH_BYTES = 24_000_000  # of text decoded at once


class Frames:
    """The rows of one role: identity columns, content columns, and `<column>_chars`, its length in characters.

    Only columns that hold anything are there. An empty text is missing, of 0 characters. `history` is the text of the
    turns before a prompt, `smiles` that of the molecules of declared columns, each on lines of its own.
    """

    def __init__(self, folder: Path, role: str) -> None:
        self._files = files(folder, role)
        self.rows, largest = 0, 1.0
        filled: set[str] = set()
        for file in self._files:
            metadata = pq.read_metadata(file)
            self.rows += metadata.num_rows
            filled |= _filled(metadata)
            for i in range(metadata.num_row_groups):
                largest = max(largest, metadata.row_group(i).total_byte_size / max(1, metadata.row_group(i).num_rows))
        self._batch = max(1, min(BATCH_ROWS, int(BATCH_BYTES / largest)))
        self.columns: list[str] = []
        for name in (*IDENTITY, *CONTENT, *LISTED):
            if name in filled:
                self.columns += [name] if name in IDENTITY else [name, f"{name}_chars"]

    @property
    def shards(self) -> int:
        """How many files hold the rows."""
        return len(self._files)

    def batches(self, columns: Sequence[str] | None = None, shard: int | None = None) -> Iterator[pd.DataFrame]:
        """Tables of bounded size, of all columns or of those named, of all files or of one."""
        wanted = self.columns if columns is None else [name for name in self.columns if name in columns]
        stored = list(dict.fromkeys(name.removesuffix("_chars") for name in wanted)) or ["row"]
        for file in self._files if shard is None else self._files[shard : shard + 1]:
            with pq.ParquetFile(file) as parquet:
                for batch in parquet.iter_batches(self._batch, columns=stored):
                    yield pa.table({name: _column(batch, name) for name in wanted or stored}).to_pandas()

    def whole(self, columns: Sequence[str]) -> pd.DataFrame:
        """One table of all rows; it is held in memory, except that of no columns, which only says how many rows there are."""
        if not columns:
            return pd.DataFrame(index=pd.RangeIndex(self.rows))
        return pd.concat(self.batches(columns), ignore_index=True)

    def places(self, ids: Collection[str]) -> dict[str, tuple[str, int]]:
        """The file and the row of some rows, by id."""
        found: dict[str, tuple[str, int]] = {}
        for file in self._files:
            if len(found) == len(ids):
                break
            table = pq.read_table(file, columns=["id", "file", "row"], filters=[("id", "in", sorted(ids))])
            found |= {row["id"]: (row["file"], row["row"]) for row in table.to_pylist()}
        return found


def _filled(metadata: pq.FileMetaData) -> set[str]:
    """Columns of which some value is there, by the file's own statistics."""
    found = set()
    for i in range(metadata.num_row_groups):
        group = metadata.row_group(i)
        for j in range(group.num_columns):
            column = group.column(j)
            statistics = column.statistics
            if statistics is None or not statistics.has_null_count or statistics.null_count < column.num_values:
                found.add(column.path_in_schema.partition(".")[0])
    return found


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    if name.endswith("_chars"):
        return pc.utf8_length(_column(batch, of) if (of := name.removesuffix("_chars")) in LISTED else batch[of])
    column = batch[name]
    if name == "history":
        turns = [None if row is None else "\n".join(turn["content"] for turn in row) for row in column.to_pylist()]
        return pa.array(turns, pa.string())
    if name == "smiles":
        return pc.binary_join(column, "\n")
    return pc.if_else(pc.equal(column, ""), None, column) if name in CONTENT else column
