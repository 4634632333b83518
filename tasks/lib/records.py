"""Records on disk: one parquet file per role, rows set aside beside them, and a ledger that balances."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.lib import progress
from tasks.lib.config import Declared
from tasks.lib.errors import StageError
from tasks.lib.origins import INTRODUCED
from tasks.lib.store import Artifact

BATCH, BATCH_CHARS = 2_000, 32_000_000  # rows, and characters in them, that are written together
ROLES = ("corpus", "general", "tune", "preference", "eval")
# the fields that hold content, by role; a preference row has the ones of its shape
CONTENT = ("text", "system", "prompt", "response", "chosen", "rejected", "answer", "a", "b")
# what people are shown of a row, in the order of reading: what was said before a prompt stands before it
TOLD = (*CONTENT[:2], "history", *CONTENT[2:])
IDENTITY = ("id", "dataset", "file", "row", "group", "rating", "winner")  # the other fields that expectations may judge
LISTED = ("history", "smiles")  # lists, judged as one text each: earlier turns below each other, molecules one a line
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("dataset", pa.string()),
        ("role", pa.string()),
        ("file", pa.string()),
        ("row", pa.int64()),
        ("page", pa.int64()),
        ("heading", pa.string()),
        ("group", pa.string()),
        *((name, pa.string()) for name in CONTENT),
        ("rating", pa.float64()),
        ("winner", pa.string()),
        ("choices", pa.list_(pa.string())),
        ("holdout", pa.int64()),
        # fields with a molecule, the molecule in its canonical spelling
        ("canonical", pa.list_(pa.struct([("field", pa.string()), ("text", pa.string())]))),
        # the turns before `prompt`, in a conversation
        ("history", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        # cells of columns that are declared as SMILES, as they are written
        ("smiles", pa.list_(pa.string())),
    ]
)
ASIDE = pa.schema(
    [(name, pa.string()) for name in ("id", "dataset", "file")]
    + [("row", pa.int64()), ("reason", pa.string()), ("detail", pa.string()), ("record", pa.string())]
)
SURROGATE = re.compile("[\ud800-\udfff]")  # half a character, or what reading left of a byte that is no text

Row = dict[str, Any]


def texts(row: Row) -> list[str]:
    """All that a row says, the earlier turns of a conversation first."""
    return [*(turn["content"] for turn in row.get("history") or []), *(row[key] for key in CONTENT if row.get(key))]


def withheld(sensitive: Iterable[str]) -> set[str]:
    """Sensitive fields, and those that repeat what may stand in one: earlier turns are prompts and responses."""
    named = set(sensitive)
    return named | {"history"} if named & {"prompt", "response"} else named


class LedgerLine(Declared):
    """One file's rows: in = used + set aside, by reason."""

    dataset: str
    role: str
    file: str
    sha256: str
    licence: str
    kind: str
    publisher: str
    rows_in: int
    rows_used: int
    set_aside: dict[str, int]
    written: str = ""  # how the file is: format, encoding, delimiter, packing

    @property
    def balanced(self) -> bool:
        """Whether every row is accounted for."""
        return self.rows_in == self.rows_used + sum(self.set_aside.values())


class Records(Artifact):
    """Rows of every role after a data stage, with the ledger up to it."""

    ledger: list[LedgerLine]

    @property
    def rows(self) -> int:
        """Rows in use."""
        return sum(line.rows_used for line in self.ledger)

    def each(self, role: str, doing: str) -> Iterator[Row]:
        """The rows of one role, with a bar that says what is done with them; how many there are, the ledger knows."""
        total = sum(line.rows_used for line in self.ledger if line.role == role)
        return progress.rows(iterate(self.path, role), f"{doing} {role}", total)


class RecordWriter:
    """Writes records by role and rows set aside by reason; counts both."""

    def __init__(self, out: Path, part: int = 0) -> None:
        self._out, self._part = out, part
        self._buffers: dict[str, list[Row]] = {}
        self._held: Counter[str] = Counter()  # characters in each
        self._writers: dict[str, pq.ParquetWriter] = {}
        self.used: Counter[tuple[str, str]] = Counter()  # by dataset and file
        self.aside: dict[tuple[str, str], Counter[str]] = {}

    def __enter__(self) -> "RecordWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for name in list(self._buffers):
            self._flush(name)
        for writer in self._writers.values():
            writer.close()

    def keep(self, row: Row, name: str | None = None) -> None:
        """Use a row; it goes to the file of its role, or to the one named."""
        self.used[row["dataset"], row["file"]] += 1
        self.put(row, name or row["role"])

    def set_aside(self, row: Row, reason: str, detail: str = "", columns: dict[str, str] | None = None) -> None:
        """Put a row aside with the reason and its content: the record's, or the columns as they were read."""
        self.aside.setdefault((row["dataset"], row["file"]), Counter())[reason] += 1
        made = {key: value for key, value in row.items() if value not in (None, "", []) and key not in ASIDE.names}
        content = made if columns is None else columns
        kept = json.dumps(content, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()  # half a character stays readable
        line = {key: row[key] for key in ("id", "dataset", "file", "row")}
        self.put({**line, "reason": reason, "detail": detail, "record": kept}, "set_aside")

    def put(self, row: Row, name: str) -> None:
        """Write a row to a file without counting it."""
        buffer = self._buffers.setdefault(name, [])
        buffer.append(row)
        self._held[name] += sum(len(value) for value in row.values() if isinstance(value, str))
        self._held[name] += sum(len(turn["content"]) for turn in row.get("history") or ())
        if len(buffer) >= BATCH or self._held[name] >= BATCH_CHARS:
            self._flush(name)

    def _flush(self, name: str) -> None:
        buffer = self._buffers[name]
        if not buffer:
            return
        schema = ASIDE if name == "set_aside" else SCHEMA
        if name not in self._writers:
            self._writers[name] = pq.ParquetWriter(self._out / f"{name}-{self._part:05}.parquet", schema)
        self._writers[name].write_table(pa.Table.from_pylist(buffer, schema=schema))
        buffer.clear()
        self._held[name] = 0


def files(folder: Path, name: str) -> list[Path]:
    """The files that hold the rows of one role, part, or "set_aside", in their order."""
    return sorted(folder.glob(f"{name}-[0-9][0-9][0-9][0-9][0-9].parquet"))


def iterate(folder: Path, name: str) -> Iterator[Row]:
    """Rows of one role (or "set_aside"), without empty fields; nothing when there are none."""
    for file in files(folder, name):
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(BATCH):
                for row in batch.to_pylist():
                    yield {key: value for key, value in row.items() if value is not None}


def visible(text: str) -> str:
    r"""Text that can be written anywhere: half a character as \ud800, a byte that is no text as \xe9."""
    return SURROGATE.sub(lambda found: _escape(ord(found.group())), text)


def _escape(code: int) -> str:
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def content_of(row: Row) -> Row:
    """The content of a row set aside, to be shown: its columns as they were read, or its record."""
    kept = json.loads(row["record"])
    return {visible(key): visible(value) if isinstance(value, str) else value for key, value in kept.items()}


def sample(folder: Path, name: str, count: int) -> list[Row]:
    """Some rows from all over a file, the same every time; fewer when there are fewer."""
    found = []
    every = [(file, group) for file in files(folder, name) for group in range(pq.read_metadata(file).num_row_groups)]
    chosen = [every[place] for place in sorted({len(every) * place // 8 for place in range(8)})] if every else []
    for file, group in chosen:
        with pq.ParquetFile(file) as parquet:
            table = parquet.read_row_group(group)
        step = max(1, table.num_rows * len(chosen) // count)
        found += table.take(list(range(0, table.num_rows, step))).to_pylist()
    return [{key: value for key, value in row.items() if value is not None} for row in found[:count]]


def advance(ledger: list[LedgerLine], writer: RecordWriter) -> list[LedgerLine]:
    """The ledger after a stage; set-aside reasons add up over the stages.

    Raises:
        StageError: if a row is neither used nor set aside.
    """
    lines = []
    for line in ledger:
        place = (line.dataset, line.file)
        aside = Counter(line.set_aside) + writer.aside.get(place, Counter())
        new = line.model_copy(update={"rows_used": writer.used[place], "set_aside": dict(sorted(aside.items()))})
        require_balance(new)
        lines.append(new)
    return lines


def by_dataset(ledger: list[LedgerLine]) -> list[LedgerLine]:
    """One line per dataset: the lines of its files added up, in the order of the ledger."""
    made: dict[str, LedgerLine] = {}
    counts = Counter(line.dataset for line in ledger)
    for line in ledger:
        first = made.get(line.dataset)
        if first is None:
            made[line.dataset] = line if counts[line.dataset] == 1 else line.model_copy(update={"file": f"{counts[line.dataset]:,} files"})
            continue
        added = Counter(first.set_aside) + Counter(line.set_aside)
        made[line.dataset] = first.model_copy(
            update={
                "written": first.written if first.written == line.written else "several formats",
                "rows_in": first.rows_in + line.rows_in,
                "rows_used": first.rows_used + line.rows_used,
                "set_aside": dict(sorted(added.items())),
            }
        )
    return list(made.values())


def lost(ledger: list[LedgerLine]) -> list[str]:
    """A sentence on each dataset of which no row is used."""
    return [
        f"nothing of dataset {line.dataset!r} is used: of its {line.rows_in:,} rows, "
        + ", ".join(f"{count:,} are set aside as {reason}" for reason, count in line.set_aside.items())
        for line in by_dataset(ledger)
        if line.rows_used == 0
    ]


def not_trained(ledger: list[LedgerLine], sets: dict[str, int], trained: dict[str, int]) -> list[str]:
    """A sentence on each dataset of which rows in use are kept for evaluation or validation.

    Args:
        ledger: after the last data stage.
        sets: the evaluation sets with their rows.
        trained: rows of the training parts, of the datasets whose rows are trained on one by one.
    """
    told = []
    for line in by_dataset(ledger):
        held = sets.get(name := f"{line.dataset}-heldout", 0)
        valid = line.rows_used - held - trained[line.dataset] if line.dataset in trained else 0
        kept = [f"{held:,} for evaluation (set {name})"] * (held > 0) + [f"{valid:,} for validation"] * (valid > 0)
        if kept:
            told.append(f"{line.dataset}: of the {line.rows_used:,} rows used, {' and '.join(kept)} are kept back, and not trained on.")
    return told


def introduced(ledger: list[LedgerLine]) -> list[str]:
    """A sentence on each dataset that nobody brought."""
    return [f"{line.dataset} is {INTRODUCED[line.file]}." for line in ledger if line.kind == "public" and line.file in INTRODUCED]


def require_balance(line: LedgerLine) -> None:
    """Stop when a row has vanished or appeared."""
    if not line.balanced:
        raise StageError(
            f"rows in = rows used + rows set aside, for dataset {line.dataset!r} ({line.file})",
            f"{line.rows_in} in, {line.rows_used} used, {sum(line.set_aside.values())} set aside",
            "this is a fault in slmforge: report it with this message",
        )
