"""What a file seems to be: format details, role and map, proposed from its columns and first rows; never applied unasked."""

import csv
import io
import itertools
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.lib import cleaning, files, guess_cells, layouts, nested, ole, writing
from tasks.lib.broken import REASON
from tasks.lib.config import build
from tasks.lib.domain import Dataset
from tasks.lib.errors import ConfigError, DataError
from tasks.lib.files import Readable
from tasks.lib.mapping import SetAside, columns_used, missing_column, to_record
from tasks.lib.readers import TEXTS, encoding_of, format_of, json_document, read
from tasks.lib.records import Row
from tasks.lib.rows import SourceRow
from tasks.lib.sources import ResolvedDataset, SourceFile

LOOKED_AT = 500  # rows
DELIMITERS = ",;\t|"
MAX_CHOICES, CHOICE_CHARS = 200, 60
ROUND = 80  # characters shown before and behind a letter beyond ASCII
FIRST = re.compile(r"\{(?P<list>[^{}]+)\.0\.(?P<part>[^{}]+)\}")  # the response of a map
WHOLE = re.compile(r"\{(?P<path>[^{}]+)\}")
Entry = dict[str, Any]


def look(file: Path, name: str, relative: str, said: Entry) -> tuple[Entry, list[SourceRow]]:
    """How a file is to be read (as keys of a dataset entry), and its first rows, those that can be read before others.

    Args:
        file: where it lies; or a folder of files that are read alike, of which the first tells how.
        name: the dataset's name.
        relative: the file's path in the domain's folder.
        said: keys of the entry as the user says them; what is not said is told from the bytes.

    Raises:
        DataError: if it cannot be read at all.
        ConfigError: if no dataset can have that name, or no text that encoding.
    """
    _plain(name, relative, said)
    with _first(file, name, relative) as first:
        how = {key: value for key, value in said.items() if value != "utf-8"} | _how(first, name, relative, said)
    return how, _first_rows(file, _plain(name, relative, how))


def reshaped(file: Path, name: str, relative: str, how: Entry) -> list[SourceRow]:
    """The first rows as `records:` of the proposal makes them."""
    return _first_rows(file, _plain(name, relative, how))


def _how(first: Readable, name: str, relative: str, said: Entry) -> Entry:
    """How a file is written, where neither its name nor the user says it."""
    how: Entry = {}
    encoding = said.get("encoding")
    form = format_of(first, name)
    if encoding is not None and form not in (*TEXTS, "html"):
        raise ConfigError(
            "--encoding for a text file",
            f"{Path(first.name).name}, a {form} file, which says itself how its text is written",
            "leave it out",
        )
    if encoding is None and form in TEXTS:
        encoding = encoding_of(first)
    if encoding not in (None, "utf-8"):
        how["encoding"] = encoding
    if form == "txt" and _is_table(first, how.get("encoding", "utf-8")):
        how["format"] = "tsv"
    if form == "csv" and "delimiter" not in said and (mark := _delimiter(first, how.get("encoding", "utf-8"))) != ",":
        how["delimiter"] = mark
    if form == "json" and "records" not in said and (path := layouts.of_json(json_document(first, _plain(name, relative, how)), first)):
        how["records"] = path
    if form == "xml" and "records" not in said and (element := layouts.of_xml(first)) is not None:
        how["records"] = element
    return how


@contextmanager
def _first(file: Path, name: str, relative: str) -> Iterator[Readable]:
    """The first file of a folder or an archive, or the file itself; a member of a tar is there only as long as this."""
    file, relative = files_of(file, relative)[0]
    ole.refuse_other(file, relative, name)
    for first in files.members(file, relative, name):
        ole.refuse(first, name)
        yield first
        return
    raise DataError(f"dataset {name!r}: files in an archive", "none", "add an archive that holds files", file=file)


def unusual(file: Path, entry: Entry) -> str | None:
    """A piece of the first line with a letter beyond ASCII, as the entry's encoding reads it; None where there is none."""
    with _first(file, entry["name"], entry["source"]["path"]) as first, first.open() as stream:
        for line in io.TextIOWrapper(stream, encoding=entry["encoding"], errors="replace"):
            if (found := re.search(r"[^\x00-\x7f\ufeff]", line)) is not None:
                return line[max(0, found.start() - ROUND) : found.end() + ROUND].strip()
    return None


def files_of(file: Path, relative: str) -> list[tuple[Path, str]]:
    """The file and its path in the domain's folder; of a folder all files in it, hidden ones aside, in the order of their paths.

    Raises:
        DataError: if a folder holds no file.
    """
    if not file.is_dir():
        return [(file, relative)]
    inside = sorted((path.relative_to(file) for path in file.rglob("*") if path.is_file()), key=lambda path: path.as_posix())
    found = [(file / path, f"{relative}/{path.as_posix()}") for path in inside if not any(part.startswith(".") for part in path.parts)]
    if not found:
        raise DataError(f"files in the folder {file.name}", "none", "add a folder that holds files", file=file)
    return found


def _rows(file: Path, dataset: Dataset) -> Iterator[SourceRow]:
    found = files_of(file, dataset.file_name)
    sources = [SourceFile(name=name, sha256="0" * 64, bytes=path.stat().st_size, path=path) for path, name in found]
    return read(ResolvedDataset.of(dataset, sources))


def _first_rows(file: Path, dataset: Dataset) -> list[SourceRow]:
    rows = list(itertools.islice(_rows(file, dataset), LOOKED_AT))
    if not rows:
        raise DataError(f"rows in {file.name}", "none", "add a file that holds rows", file=file)
    if all(row.aside == REASON for row in rows):
        raise DataError(f"rows in {file.name} that can be read", f"none of the first {len(rows)}", "correct the file", file=file)
    return sorted(rows, key=lambda row: row.aside is not None)  # the columns are told from the first one


def _dataset(entry: Entry) -> Dataset:
    return build(Dataset, {"licence": "unknown", "kind": "user", **entry}, f"an entry for the dataset {entry['name']!r}")


def _plain(name: str, relative: str, how: Entry) -> Dataset:
    """A dataset whose rows are only looked at."""
    return _dataset({"name": name, "role": "corpus", "source": {"path": relative}, "map": {"text": ""}, **how})


def _delimiter(file: Readable, encoding: str) -> str:
    with file.open() as stream:
        head = stream.read(20_000).decode(encoding, "replace")
        head = re.sub(r"\r\n?", "\n", head)
    try:
        return csv.Sniffer().sniff(head, DELIMITERS).delimiter
    except csv.Error:  # one column has none
        return ","


def _is_table(file: Readable, encoding: str) -> bool:
    """Whether the first lines of a text are cells between tabs, as many in each."""
    with file.open() as stream:
        lines = stream.read(20_000).decode(encoding, "replace").splitlines()[:20]
    cells = {line.count("\t") for line in (lines[:-1] if len(lines) > 2 else lines) if line.strip()}  # the last one may be cut
    return len(lines) > 1 and len(cells) == 1 and cells != {0}


def choices(file: Path, entry: Entry, rows: list[SourceRow]) -> Counter[str]:
    """The answers of what seems to be a classification, by how often they stand in the whole file; none where it is none.

    A label that stands below the first rows would be set aside as unknown, so all rows are read, unless the first ones show
    that the answers are free text.
    """
    dataset = _dataset(entry)
    if (
        dataset.role not in ("tune", "eval")
        or "messages" in dataset.map
        or "choices" in entry
        or not _are_labels(_answers(dataset, iter(rows)))
    ):
        return Counter()
    found = _answers(dataset, _rows(file, dataset))
    return found if len(found) > 1 and _are_labels(found) else Counter()


def _answers(dataset: Dataset, rows: Iterator[SourceRow]) -> Counter[str]:
    """Answers and how often each stands there, up to one more than there may be."""
    found = Counter[str]()
    for row in rows:
        try:
            answer = to_record(dataset, row)["response"].strip()
        except SetAside:
            continue
        if answer:
            found[answer] += 1
        if len(found) > MAX_CHOICES:
            break
    return found


def _are_labels(found: Counter[str]) -> bool:
    """Few, short, plain values that come again and again."""
    plain = all(len(value) <= CHOICE_CHARS and cleaning.clean(value) == value for value in found)
    return plain and 0 < len(found) <= MAX_CHOICES and found.total() >= 3 * len(found)


def require_mapped(entry: Entry, rows: list[SourceRow]) -> None:
    """Refuse a map with a column that the file, or one of several, does not have.

    Raises:
        ConfigError: naming the nearest column, or a field that the role does not take.
    """
    first: dict[str, SourceRow] = {}
    for row in rows:
        if row.aside is None or not first:
            first.setdefault(row.file, row)
    for name, row in first.items():
        if (asked := missing_column(_dataset(entry), row)) is not None:
            what, found, remedy = asked
            raise ConfigError(what, found if len(first) == 1 else f"in {name} {found}", remedy)


def written(file: Path, entry: Entry, rows: list[SourceRow]) -> str:
    """How the file is read: format, encoding, delimiter, packing."""
    name = rows[0].file
    path = next(path for path, known in files_of(file, entry["source"]["path"]) if name == known or name.startswith(f"{known}/"))
    return writing.of(_dataset(entry), path, name)


def unused(entry: Entry, rows: list[SourceRow]) -> list[str]:
    """Columns of the file that nothing in the entry names."""
    used = columns_used(_dataset(entry))
    names = [name for name in all_columns(rows) if not any(word == name or word.startswith(f"{name}.") for word in used)]
    inside = [word for word in used if "." in word and not any(word in row.columns for row in rows)]
    taken = {word.rpartition(".")[0] for word in inside if word.rpartition(".")[0] not in used}
    parts = dict.fromkeys(
        part for word in inside for row in rows for part in layouts.parts_left(row.columns.get(word.partition(".")[0]), word)
    )
    counted = [name for name in names if (vote := guess_cells.VOTE.fullmatch(name)) and f"^{vote[1]}_" in entry.get("records", "")]
    names = [name for name in names if name not in counted]
    return [*names, *(part for part in parts if part not in used and part not in taken)]


def all_columns(rows: list[SourceRow]) -> list[str]:
    """Columns of any of the rows, in the order in which they come; those of a row that could not be read aside."""
    return list(dict.fromkeys(name for row in rows if row.aside is None for name in row.columns))


def several_answers(entry: Entry, records: list[Row]) -> int:
    """How many questions have more than one answer, where every answer would be learnt; nothing tells which one is better."""
    if entry["role"] != "tune":
        return 0
    known: dict[str, set[str]] = defaultdict(set)
    for record in records:
        known[cleaning.question(record)].add(cleaning.folded(record["response"]))
    return sum(len(answers) > 1 for answers in known.values())


def of_a_list(entry: Entry, rows: list[SourceRow]) -> str | None:
    """What to know where the answer is the first of a list of objects, and how to learn from numbers that may rate them."""
    first = FIRST.fullmatch(entry["map"].get("response", ""))
    items = [] if first is None else [item for row in rows for item in _items(row, first["list"])[1:]]
    if first is None or not items:
        return None
    told = f"Of several {first['list']!r} to a question, only the first is taken; the others are not used."
    rating = next((key for key in items[0] if all(isinstance(item.get(key), int | float | None) for item in items)), None)
    asked = WHOLE.fullmatch(entry["map"].get("prompt", ""))
    if rating is None or asked is None or "records" not in entry:
        return told
    taken = f"{{prompt: $prompt, answer: {_jq(first['part'])}, rating: {_jq(rating)}}}"
    records = f"{entry['records']} | {_jq(asked['path'])} as $prompt | {_jq(first['list'])}[] | {taken}"
    maps = " ".join(f'--map {field}="{{{field}}}"' for field in ("prompt", "answer", "rating"))
    return f"{told}\nIf {rating!r} rates them (a higher number is better), add: --role preference --records '{records}' {maps}"


def _items(row: SourceRow, path: str) -> list[dict[str, Any]]:
    """The objects of a list inside of a row; none where it holds something else."""
    found = nested.cell(row.columns, path) if nested.has(row.columns, path) else None
    return found if isinstance(found, list) and all(isinstance(item, dict) for item in found) else []


def _jq(path: str) -> str:
    return "".join(f".{json.dumps(key, ensure_ascii=False)}" for key in path.split("."))


def sample(entry: Entry, rows: list[SourceRow], min_chars: int) -> tuple[list[Row], Counter[str]]:
    """The records that the first rows become, and why others would be set aside, when read or when cleaned."""
    dataset, made, aside = _dataset(entry), [], Counter[str]()
    for row in rows:
        try:
            record = to_record(dataset, row)
        except SetAside as reason:
            aside[reason.reason] += 1
            continue
        _, fault = cleaning.put_right(record, min_chars)
        if fault is None:
            made.append(record)
        else:
            aside[fault] += 1
    return made, aside
