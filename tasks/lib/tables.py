"""Tables in files: Parquet, Arrow and XLSX, read in pieces (importer of openpyxl)."""

import itertools
import zipfile
from collections.abc import Iterator
from contextlib import closing, nullcontext
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
from openpyxl.utils.exceptions import InvalidFileException

from tasks.lib import files
from tasks.lib.domain import Dataset
from tasks.lib.errors import DataError
from tasks.lib.files import Readable
from tasks.lib.rows import FormulaWithoutValue, Numbered, SheetError

# what openpyxl lets through where a file is not what it says; a SyntaxError is one of the XML inside
XLSX_FAULTS = (InvalidFileException, SyntaxError, KeyError, ValueError, TypeError, IndexError, AttributeError, OSError, *files.BROKEN)
BATCH_ROWS = 1_000  # rows decoded at once
TITLE = "where a title stands above the header, say which row is the header: `header: N`"


def require_each_once(header: list[str], file: Readable, dataset: Dataset) -> None:
    """Refuse a header in which a name stands twice: one of the two columns would be lost."""
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise DataError(
            f"dataset {dataset.name!r}: each column once",
            f"the column {twice[0]!r} more than once in the header" if twice[0] else "columns without a name in the header",
            "rename the column that stands twice" if twice[0] else f"name the columns; {TITLE}",
            file=file.place,
        )


def parquet(file: Readable, dataset: Dataset) -> Iterator[Numbered]:
    """Rows of a Parquet file; of pages that carry a checksum, it must be right."""
    with file.local() as path:
        try:
            opened = pq.ParquetFile(path, page_checksum_verification=True)
        except (pa.ArrowException, OSError) as error:
            raise broken(file, dataset, "parquet", error, None) from error
        with opened:
            groups = list(range(opened.num_row_groups) if file.span is None else range(file.span.start, file.span.stop))
            left = promised = sum(opened.metadata.row_group(group).num_rows for group in groups)
            batches = opened.iter_batches(BATCH_ROWS, row_groups=groups)
            for row in _batches(batches, opened.schema_arrow.names, file, dataset):
                left -= 1
                yield row
            if left:
                fault = ValueError(f"{promised - left:,} rows where its footer promises {promised:,}")
                raise broken(file, dataset, "parquet", fault, None)


def arrow(file: Readable, dataset: Dataset) -> Iterator[Numbered]:
    """Rows of an Arrow IPC file (Feather 2) or stream."""
    with file.local() as path, pa.memory_map(str(path)) as source:
        try:
            opened = pa.ipc.open_file(source)
            batches: Any = (opened.get_batch(place) for place in range(opened.num_record_batches))
        except pa.ArrowInvalid:
            try:
                opened = batches = pa.ipc.open_stream(source)
            except (pa.ArrowException, OSError) as error:
                raise broken(file, dataset, "arrow", error, None) from error
        yield from _batches(batches, opened.schema.names, file, dataset)


def _batches(batches: Any, header: list[str], file: Readable, dataset: Dataset) -> Iterator[Numbered]:
    require_each_once(header, file, dataset)
    number = 0 if file.span is None else file.span.first - 1
    try:
        for batch in batches:
            for start in range(0, batch.num_rows, BATCH_ROWS):
                for row in _values(_shortest(batch.slice(start, BATCH_ROWS))):
                    number += 1
                    yield number, row
    except UnicodeDecodeError as error:
        raise DataError(
            f"dataset {dataset.name!r}: text in UTF-8",
            f"the byte 0x{error.object[error.start]:02x} in a cell of the {BATCH_ROWS:,} rows from this one on",
            "write the file again with text in UTF-8",
            file=file.place,
            row=number + 1,
        ) from error
    except (pa.ArrowException, OSError) as error:
        raise broken(file, dataset, file.name.rpartition(".")[2], error, number or None) from error


def _values(batch: Any) -> list[dict[str, Any]]:
    """The rows of a batch; a map is an object, or pairs where a key stands twice in it."""
    try:
        made: list[dict[str, Any]] = batch.to_pylist(maps_as_pydicts="strict")
    except KeyError:
        halves = (batch.slice(0, batch.num_rows // 2), batch.slice(batch.num_rows // 2))
        return batch.to_pylist() if batch.num_rows == 1 else [row for half in halves for row in _values(half)]
    return made


def _shortest(batch: Any) -> Any:
    """A batch whose numbers of single precision are the doubles with their shortest text: 0.1, not 0.10000000149011612."""
    columns = list(batch.columns)
    for place, column in enumerate(columns):
        kind = column.type.storage_type if isinstance(column.type, pa.BaseExtensionType) else column.type
        if (text := _typed(kind, pa.string())) != kind:
            plain = column.storage if isinstance(column, pa.ExtensionArray) else column
            columns[place] = plain.cast(text).cast(_typed(kind, pa.float64()))
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _typed(kind: Any, single: Any) -> Any:
    """A type with another one in the place of numbers of single precision, in lists and structures, too."""
    if pa.types.is_float32(kind):
        return single
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_typed(field.type, single)) for field in kind])
    for is_list, make in ((pa.types.is_list, pa.list_), (pa.types.is_large_list, pa.large_list)):
        if is_list(kind):
            return make(kind.value_field.with_type(_typed(kind.value_type, single)))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(_typed(kind.value_type, single)), kind.list_size)
    return kind


def broken(file: Readable, dataset: Dataset, form: str, error: Exception, row: int | None) -> DataError:
    """What to say of a file that ends, or is not what its name says."""
    found = str(error).splitlines()[0] if str(error) else type(error).__name__
    remedy = "copy the file again from where it came"
    return DataError(f"dataset {dataset.name!r}: a whole {form} file", found, remedy, file=file.place, row=row)


def xlsx(file: Readable, dataset: Dataset) -> Iterator[Numbered]:
    """Rows of a sheet under the names in its first filled row; numbered as the spreadsheet numbers them."""
    with file.local() as path:
        files.require_safe_zip(path, dataset.name)
        try:
            book = openpyxl.load_workbook(path, read_only=True, data_only=True)
            formulas = openpyxl.load_workbook(path, read_only=True) if _has_formulas(path) else None
            with closing(book), nullcontext() if formulas is None else closing(formulas):
                for sheet in (*book.worksheets, *(formulas.worksheets if formulas else ())):
                    sheet.reset_dimensions()  # what a sheet says of its size may be less than it holds, and would cut it
                sheet = _chosen(book, file, dataset)
                yield from _sheet(sheet, None if formulas is None else formulas[sheet.title], file, dataset)
        except XLSX_FAULTS as error:
            raise broken(file, dataset, "xlsx", error, None) from error


def _has_formulas(path: Path) -> bool:
    """Whether some sheet may hold a formula; only then the cells are looked at twice, for their values and for these."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.startswith("xl/worksheets/"):
                with archive.open(name) as stream:
                    kept = b""
                    while piece := stream.read(1 << 20):
                        if b"<f>" in (kept + piece) or b"<f " in (kept + piece):
                            return True
                        kept = piece[-2:]
    return False


def _chosen(book: Any, file: Readable, dataset: Dataset) -> Any:
    """The sheet that the card names, or the only one that holds anything."""
    names = [sheet.title for sheet in book.worksheets]
    if dataset.sheet is not None:
        if dataset.sheet in names:
            return book[dataset.sheet]
        raise DataError(
            f"dataset {dataset.name!r}: a sheet called {dataset.sheet!r}",
            f"the sheets {', '.join(map(repr, names))}",
            "correct `sheet:` in domain.yaml",
            file=file.place,
        )
    filled = [sheet for sheet in book.worksheets if any(any(row) for row in sheet.iter_rows(values_only=True))]
    if len(filled) == 1:
        return filled[0]
    raise DataError(
        f"dataset {dataset.name!r}: one sheet with rows",
        f"{len(filled)} of them: {', '.join(repr(sheet.title) for sheet in filled) or 'all are empty'}",
        "say which one with `sheet:` in domain.yaml",
        file=file.place,
    )


def _sheet(sheet: Any, formulas: Any, file: Readable, dataset: Dataset) -> Iterator[Numbered]:
    header: list[str] = []
    both = zip(sheet.iter_rows(), formulas.iter_rows() if formulas else itertools.repeat(()), strict=False)
    for number, (cells, written) in enumerate(both, start=1):
        values = [_value(cell, other) for cell, other in itertools.zip_longest(cells, written)]
        while values and values[-1] is None:
            values.pop()
        if not values or number < (dataset.header or 1):
            continue  # an empty line is no row, nor is a title
        if not header:
            header = ["" if value is None else str(value).strip() for value in values]
            require_each_once(header, file, dataset)
            continue
        if len(values) > len(header):
            raise DataError(
                f"dataset {dataset.name!r}: a name in the header for every column",
                f"{len(values)} cells under {len(header)} names",
                f"name the column in the header, or remove its cells; {TITLE}",
                file=file.place,
                row=number,
            )
        yield number, dict(zip(header, values + [None] * (len(header) - len(values)), strict=True))


def _value(cell: Any, written: Any = None) -> Any:
    """A cell as text or number; dates as ISO 8601, a formula's error and a formula without a value as such."""
    match cell.value:
        case None if written is not None and written.data_type == "f":
            return FormulaWithoutValue(written.value)
        case datetime() as moment if moment.time() == time():
            return moment.date().isoformat()
        case datetime() | date() | time() as moment:
            return moment.isoformat()
        case str() as text if cell.data_type == "e":
            return SheetError(text)
        case value:
            return value
