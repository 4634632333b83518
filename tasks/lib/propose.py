"""What a file seems to be: format details, role and map, proposed from its columns and first rows; never applied unasked."""

import csv
import io
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.lib import cleaning, files, ole
from tasks.lib.config import build
from tasks.lib.domain import Dataset, Role
from tasks.lib.errors import ConfigError, DataError
from tasks.lib.files import Readable
from tasks.lib.mapping import SetAside, missing_column, to_record
from tasks.lib.readers import TEXTS, encoding_of, format_of, json_document, read
from tasks.lib.records import Row
from tasks.lib.rows import SourceRow
from tasks.lib.sources import ResolvedDataset, SourceFile

LOOKED_AT = 500  # rows
DELIMITERS = ",;\t|"
MAX_CHOICES, CHOICE_CHARS = 50, 60
ROUND = 80  # characters shown before and behind a letter beyond ASCII
DOCUMENTS = ("md", "html", "pdf", "docx", "txt")
TEXT = ("text", "content", "body", "document", "passage", "abstract", "article", "note", "paragraph")
PROMPT = ("prompt", "question", "instruction", "query", "q", "input", "dialogue", "utterance", "sentence", "message", "text")
RESPONSE = ("response", "answer", "output", "completion", "a", "target", "reply", "summary")
LABEL = ("label", "category", "class", "intent", "tag", "sentiment", "topic")
BETTER, WORSE = ("chosen", "better", "preferred", "winner_text"), ("rejected", "worse", "loser_text")
RATING = ("rating", "score", "judgment", "judgement", "grade", "stars")
SMILES = ("smiles", "canonical_smiles", "molecule")
GROUP = ("group", "patient_id", "patient", "case", "case_id", "document_id", "company", "issuer", "qid", "pmid")
Entry = dict[str, Any]


def look(file: Path, name: str, relative: str, encoding: str | None = None) -> tuple[Entry, list[SourceRow]]:
    """How a file is to be read (as keys of a dataset entry), and its first rows.

    Args:
        file: where it lies.
        name: the dataset's name.
        relative: the file's path in the domain's folder.
        encoding: as the user says; None to tell it from the bytes.

    Raises:
        DataError: if it cannot be read at all.
        ConfigError: if no dataset can have that name, or no text that encoding.
    """
    _plain(name, relative, {"encoding": encoding})
    with _first(file, name, relative) as first:
        how = _how(first, name, relative, encoding)
    return how, _first_rows(file, _plain(name, relative, how))


def _how(first: Readable, name: str, relative: str, encoding: str | None) -> Entry:
    """How a file is written, where its name does not say it."""
    how: Entry = {}
    form = format_of(first, name)
    if encoding is not None and form not in (*TEXTS, "html"):
        raise ConfigError(
            "--encoding for a text file", f"{Path(first.name).name}, a {form} file, which says itself how its text is written", "leave it out"
        )
    if encoding is None and form in TEXTS:
        encoding = encoding_of(first)
    if encoding not in (None, "utf-8"):
        how["encoding"] = encoding
    if form == "csv" and (mark := _delimiter(first, how.get("encoding", "utf-8"))) != ",":
        how["delimiter"] = mark
    if form == "json" and (path := _records(first, _plain(name, relative, how))) is not None:
        how["records"] = path
    return how


@contextmanager
def _first(file: Path, name: str, relative: str) -> Iterator[Readable]:
    """The first file of an archive, or the file itself; a member of a tar is there only as long as this."""
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


def _rows(file: Path, dataset: Dataset) -> Iterator[SourceRow]:
    source = SourceFile(name=dataset.file_name, sha256="0" * 64, bytes=file.stat().st_size, path=file)
    return read(ResolvedDataset.of(dataset, [source]))


def _first_rows(file: Path, dataset: Dataset) -> list[SourceRow]:
    rows = list(itertools.islice(_rows(file, dataset), LOOKED_AT))
    if not rows:
        raise DataError(f"rows in {file.name}", "none", "add a file that holds rows", file=file)
    return rows


def _dataset(entry: Entry) -> Dataset:
    return build(Dataset, {"licence": "unknown", "kind": "user", **entry}, f"an entry for the dataset {entry['name']!r}")


def _plain(name: str, relative: str, how: Entry) -> Dataset:
    """A dataset whose rows are only looked at."""
    return _dataset({"name": name, "role": "corpus", "source": {"path": relative}, "map": {"text": ""}, **how})


def _delimiter(file: Readable, encoding: str) -> str:
    with file.open() as stream:
        head = stream.read(20_000).decode(encoding, "replace")
    try:
        return csv.Sniffer().sniff(head, DELIMITERS).delimiter
    except csv.Error:  # one column has none
        return ","


def _records(file: Readable, dataset: Dataset) -> str | None:
    """A jq expression for where the rows of a JSON document are; None where they are the list at its top."""
    document = json_document(file, dataset)
    if not isinstance(document, dict):
        return None  # its reader says so where it is no list
    lists = [key for key, value in document.items() if isinstance(value, list) and value and all(isinstance(v, dict) for v in value)]
    if len(lists) == 1:
        return f".[{json.dumps(lists[0])}][]"
    if document and all(isinstance(value, dict) for value in document.values()):
        return "to_entries[] | {key} + .value"
    found = f"an object with the keys {', '.join(map(repr, list(document)[:8]))}"
    raise DataError("rows in a JSON document", found, "write the entry into domain.yaml by hand, with `records:` (jq), such as `records: .data[]`", file=file.place)


def role_and_map(rows: list[SourceRow], form: str, asked: Role | None) -> Entry:
    """A role and a map for columns like these.

    Raises:
        ConfigError: if the columns look like nothing that is known, or not like the role that was asked for.
    """
    columns = list(rows[0].columns)
    known = {name.strip().lower().replace(" ", "_"): name for name in columns}
    for role, make in (("preference", _preference), ("corpus", _documents), ("tune", _molecule), ("tune", _exchange), ("corpus", _corpus)):
        wanted = asked in (None, role) or (asked == "eval" and role == "tune") or (asked == "general" and role == "corpus")
        if wanted and (made := make(known, rows, form)) is not None:
            if "prompt" in made["map"] and (group := _one(known, GROUP)) is not None:
                made["map"]["group"] = f"{{{group}}}"
            return {"role": asked or role, **made}
    raise ConfigError(
        f"columns that look like {'role ' + asked if asked else 'a corpus, questions with answers, or preferences'}",
        f"the columns {', '.join(map(repr, columns))}",
        'say what they are, for instance: --role tune --map prompt="{column}" --map response="{other column}"',
    )


def _one(known: dict[str, str], names: tuple[str, ...]) -> str | None:
    """The first column that has one of these names, or ends with one."""
    for name in names:
        if name in known:
            return known[name]
    return next((known[key] for name in names if len(name) > 2 for key in known if key.endswith(f"_{name}")), None)


def _preference(known: dict[str, str], rows: list[SourceRow], form: str) -> Entry | None:
    prompt, better, worse = _one(known, PROMPT), _one(known, BETTER), _one(known, WORSE)
    if prompt and better and worse:
        return {"map": {"prompt": f"{{{prompt}}}", "chosen": f"{{{better}}}", "rejected": f"{{{worse}}}"}}
    answer, rating = _one(known, RESPONSE), _one(known, RATING)
    if prompt and answer and rating and prompt != answer:
        return {"map": {"prompt": f"{{{prompt}}}", "answer": f"{{{answer}}}", "rating": f"{{{rating}}}"}}
    return None


def _documents(known: dict[str, str], rows: list[SourceRow], form: str) -> Entry | None:
    return {"map": {"text": "{text}"}} if form in DOCUMENTS else None


def _molecule(known: dict[str, str], rows: list[SourceRow], form: str) -> Entry | None:
    """A table of molecules and one number or label each becomes a question on the molecule."""
    smiles = _one(known, SMILES)
    if smiles is None:
        return None
    others = [name for name in rows[0].columns if name != smiles and not name.lower().endswith(("id", "name", "num"))]
    if len(others) != 1:
        return None
    (target,) = others
    return {
        "columns": {smiles: "smiles", target: "text"},
        "map": {"prompt": f"What is the {target} of {{{smiles}}}?", "response": f"{{{target}}}"},
    }


def _exchange(known: dict[str, str], rows: list[SourceRow], form: str) -> Entry | None:
    prompt = _one(known, PROMPT)
    response = _one({key: name for key, name in known.items() if name != prompt}, (*RESPONSE, *LABEL))
    if prompt is None or response is None:
        return None
    return {"map": {"prompt": f"{{{prompt}}}", "response": f"{{{response}}}"}}


def _corpus(known: dict[str, str], rows: list[SourceRow], form: str) -> Entry | None:
    text = _one(known, TEXT)
    if text is None and len(known) == 1:
        text = next(iter(known.values()))
    return None if text is None else {"map": {"text": f"{{{text}}}"}}


def choices(file: Path, entry: Entry, rows: list[SourceRow]) -> Counter[str]:
    """The answers of what seems to be a classification, by how often they stand in the whole file; none where it is none.

    A label that stands below the first rows would be set aside as unknown, so all rows are read, unless the first ones show
    that the answers are free text.
    """
    dataset = _dataset(entry)
    if dataset.role not in ("tune", "eval") or "choices" in entry or not _are_labels(_answers(dataset, iter(rows))):
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
    """Refuse a map with a column that the file does not have.

    Raises:
        ConfigError: naming the nearest column, or a field that the role does not take.
    """
    if (fault := missing_column(_dataset(entry), rows[0])) is not None:
        raise ConfigError(*fault)


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
