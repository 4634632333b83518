"""Drafts as a sheet for a person, XLSX or CSV, and the sheet that comes back (importer of openpyxl)."""

import csv
import io
import re
from pathlib import Path
from typing import Any, NamedTuple

import openpyxl
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.datavalidation import DataValidation

from tasks.lib.domain import Dataset
from tasks.lib.drafts import Batch
from tasks.lib.errors import ConfigError, DataError
from tasks.lib.formulas import FORMULA, harmless, meant
from tasks.lib.readers import read as read_rows
from tasks.lib.rows import SheetError
from tasks.lib.sources import ResolvedDataset, SourceFile

# name -> width in characters
COLUMNS = {
    "id": 20, "file": 22, "page": 7, "heading": 24, "passage": 70, "question": 40, "answer": 40, "quote": 40, "start": 8, "end": 8,
    "supported": 11, "note": 26, "verdict": 11, "corrected_question": 40, "corrected_answer": 40, "comment": 30,
}  # fmt: skip
FOR_THE_REVIEWER = ("verdict", "corrected_question", "corrected_answer", "comment")
VERDICTS = ("accept", "correct", "reject")
DRAFTS, ABOUT = "drafts", "about"  # the names of the two sheets
MAX_CELL = 32_767  # characters, the format's own limit
ESCAPE = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)")  # in XLSX, _x0041_ stands for a character: one that is meant is escaped itself
HOW = "fill in verdict (accept, correct, reject); with correct, write corrected_question, corrected_answer or both; leave the rest as it is"
AGAIN = "give the file that `slmforge draft` wrote, filled in and saved as XLSX or as CSV in UTF-8"
Cell = str | int | float | None


class SheetRow(NamedTuple):
    """A row as it came back: its number as a spreadsheet shows it, its cells as text, and the cells that hold a formula's error."""

    number: int
    cells: dict[str, str]
    errors: list[str]


def require_new(file: Path) -> None:
    """Refuse a place where a sheet cannot be written, before any work.

    Raises:
        ConfigError: for another suffix, a folder that is not there, or a file that is.
    """
    if file.suffix.lower() not in (".xlsx", ".csv"):
        raise ConfigError(f"a sheet {file}", f"the suffix {file.suffix!r}", "name it FILE.xlsx or FILE.csv")
    if not file.parent.is_dir():
        raise ConfigError(f"a sheet {file}", f"no folder {file.parent}", "make the folder, or give another name")
    for place in _places(file):
        if place.exists():
            raise ConfigError(f"a new file {place}", "it is there already, and may hold a person's work", "move it, or give another name")


def _places(file: Path) -> list[Path]:
    return [file] if file.suffix.lower() == ".xlsx" else [file, file.with_name(f"{file.stem}-{ABOUT}.csv")]


def write(file: Path, batch: Batch) -> None:
    """Write a batch as a sheet: XLSX with a second sheet `about`, or CSV with FILE-about.csv beside it.

    Raises:
        ConfigError: as `require_new`.
        DataError: if a text is longer than a cell can hold.
    """
    require_new(file)
    rows = _rows(batch)
    about: list[list[Cell]] = [["key", "value"]]
    about += [[key, str(value)] for key, value in facts(batch).items()]
    if file.suffix.lower() == ".xlsx":
        _require_room(file, rows)
        contents = [_workbook(rows, about)]
    else:
        contents = [_csv(rows), _csv(about)]
    for place, content in zip(_places(file), contents, strict=True):
        new = place.with_name(f".{place.name}.new")
        new.write_bytes(content)
        new.replace(place)


def facts(batch: Batch) -> dict[str, Cell]:
    """What `about` says."""
    about = batch.about
    return {
        "synthetic": f"yes: questions and answers were written by the language model {about.model}, not by a person",
        "how to": HOW,
        **{key: value for key, value in about.model_dump(exclude={"synthetic"}).items() if value is not None},
        "drafts": batch.id,
        "passages asked": batch.asked,
        "drafted": len(batch.drafts),
        "without a span": sum(draft.start is None for draft in batch.drafts),
        "unreadable output": len(batch.unread),
        "too long for the model's window": batch.too_long,
    }


def _rows(batch: Batch) -> list[list[Cell]]:
    rows: list[list[Cell]] = [list(COLUMNS)]
    for identifier, draft in batch.numbered().items():
        given = {"id": identifier, **draft.model_dump()}
        rows.append([given.get(name) for name in COLUMNS])
    return rows


def _require_room(file: Path, rows: list[list[Cell]]) -> None:
    for number, row in enumerate(rows, start=1):
        for name, cell in zip(COLUMNS, row, strict=True):
            if isinstance(cell, str) and len(ESCAPE.sub("_x005F_", cell)) > MAX_CELL:
                found = f"{len(cell):,} in column {name!r}"
                raise DataError(
                    f"cells of at most {MAX_CELL:,} characters", found, "give a name that ends with .csv", file=file, row=number
                )


def _workbook(rows: list[list[Cell]], about: list[list[Cell]]) -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = DRAFTS
    _fill(sheet, rows, list(COLUMNS.values()))
    sheet.auto_filter.ref = sheet.dimensions
    last = len(rows)
    paper = PatternFill("solid", fgColor="FFF7D6")
    for name in FOR_THE_REVIEWER:
        for (cell,) in sheet.iter_rows(min_row=2, max_row=last, min_col=_column(name), max_col=_column(name)):
            cell.fill, cell.number_format = paper, "@"  # as text: what is typed there is not computed
    allowed = DataValidation(type="list", formula1=f'"{",".join(VERDICTS)}"', allow_blank=True, showErrorMessage=True)
    allowed.error, allowed.errorTitle = f"one of: {', '.join(VERDICTS)}", "verdict"
    letter = get_column_letter(_column("verdict"))
    allowed.add(f"{letter}2:{letter}{max(last, 2)}")
    sheet.add_data_validation(allowed)
    _fill(book.create_sheet(ABOUT), about, [22, 110])
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def _column(name: str) -> int:
    return list(COLUMNS).index(name) + 1


def _fill(sheet: Any, rows: list[list[Cell]], widths: list[int]) -> None:
    for number, row in enumerate(rows, start=1):
        for place, value in enumerate(row, start=1):
            cell = sheet.cell(number, place)
            cell.alignment = Alignment(wrap_text=True, vertical="top")
            if isinstance(value, str):
                cell.value = ESCAPE.sub("_x005F_", value)
                cell.data_type, cell.number_format = "s", "@"  # never a formula, a number or an error, whatever it looks like
                cell.quotePrefix = value.startswith(FORMULA)
            else:
                cell.value = value
            if number == 1:
                cell.font = Font(bold=True)
    for place, width in enumerate(widths, start=1):
        sheet.column_dimensions[get_column_letter(place)].width = width
    sheet.freeze_panes = "B2"


def _csv(rows: list[list[Cell]]) -> bytes:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    for row in rows:
        writer.writerow([harmless(cell) if isinstance(cell, str) else cell for cell in row])
    return stream.getvalue().encode("utf-8-sig")


def read(file: Path) -> tuple[list[SheetRow], list[str]]:
    """The rows of a sheet that came back, and its columns; lines without any text are no rows.

    Raises:
        ConfigError: if there is no such file, or it is neither XLSX nor CSV.
        DataError: naming file and row, if it cannot be read.
    """
    form = file.suffix.lower().lstrip(".")
    if not file.is_file() or form not in ("xlsx", "csv"):
        found = "no such file" if not file.is_file() else f"the suffix {file.suffix!r}"
        raise ConfigError(f"a reviewed sheet {file}", found, "give an XLSX or CSV file")
    how = {"sheet": DRAFTS} if form == "xlsx" else {"delimiter": _delimiter(file)}
    given = {
        "name": "sheet",
        "role": "corpus",
        "source": {"path": file.name},
        "licence": "unknown",
        "kind": "synthetic",
        "map": {"text": ""},
    }
    dataset = Dataset.model_validate({**given, **how})
    source = SourceFile(name=file.name, sha256="0" * 64, bytes=file.stat().st_size, path=file)
    rows, columns = [], list[str]()
    try:
        for row in read_rows(ResolvedDataset.of(dataset, [source])):
            columns = list(row.columns)
            made = _row(row.number, row.columns, csv_file=form == "csv")
            if made.errors or any(text.strip() for text in made.cells.values()):
                rows.append(made)
    except DataError as error:  # its reader speaks of a dataset and its entry in a card, and there is none
        asked = f"the sheet {DRAFTS!r}" if form == "xlsx" else "a sheet"
        raise DataError(f"{asked} that `slmforge draft` wrote, filled in", error.found, AGAIN) from error
    return rows, columns


def _delimiter(file: Path) -> str:
    """The one of , ; and tab that the header is written with: no column's name holds any of them."""
    with file.open(encoding="utf-8-sig", errors="replace") as stream:
        header = stream.readline()
    return max(",;\t", key=header.count)


def _row(number: int, columns: dict[str, Any], *, csv_file: bool) -> SheetRow:
    errors = [name for name, value in columns.items() if isinstance(value, SheetError)]
    # openpyxl takes the escape out of shared strings, and leaves it in those that stand in their cell
    plain = meant if csv_file else lambda text: text.replace("x005F_", "")
    return SheetRow(number, {name: plain(_text(value)) for name, value in columns.items()}, errors)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
