"""What a file seems to be: format details, role and map, proposed from its columns and first rows; never applied unasked."""

import csv
import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

from tasks.lib import files
from tasks.lib.domain import Dataset, Role
from tasks.lib.errors import ConfigError, DataError
from tasks.lib.files import Readable
from tasks.lib.mapping import SetAside, to_record
from tasks.lib.readers import encoding_of, format_of, read
from tasks.lib.records import Row
from tasks.lib.rows import SourceRow
from tasks.lib.sources import ResolvedDataset, SourceFile

LOOKED_AT = 500  # rows
DELIMITERS = ",;\t|"
MAX_CHOICES = 50
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


def look(file: Path, name: str, relative: str) -> tuple[Entry, list[SourceRow]]:
    """How a file is to be read (as keys of a dataset entry), and its first rows.

    Raises:
        DataError: if it cannot be read at all.
    """
    how: Entry = {}
    first = next(files.members(file, relative, name))
    form = format_of(first, name)
    if form in ("csv", "tsv", "jsonl", "json", "txt", "md") and (encoding := encoding_of(first)) not in (None, "utf-8"):
        how["encoding"] = encoding
    if form == "csv" and (mark := _delimiter(first, how.get("encoding", "utf-8"))) != ",":
        how["delimiter"] = mark
    if form == "json" and (path := _records(first, how.get("encoding", "utf-8"))) is not None:
        how["records"] = path
    return how, _first_rows(file, name, relative, how)


def _first_rows(file: Path, name: str, relative: str, how: Entry) -> list[SourceRow]:
    dataset = _dataset({"name": name, "role": "corpus", "source": {"path": relative}, "map": {"text": ""}, **how})
    source = SourceFile(name=relative, sha256="0" * 64, bytes=file.stat().st_size, path=file)
    rows = list(itertools.islice(read(ResolvedDataset.of(dataset, [source])), LOOKED_AT))
    if not rows:
        raise DataError(f"rows in {file.name}", "none", "add a file that holds rows", file=file)
    return rows


def _dataset(entry: Entry) -> Dataset:
    return Dataset.model_validate({"licence": "unknown", "kind": "user", **entry})


def _delimiter(file: Readable, encoding: str) -> str:
    with file.open() as stream:
        head = stream.read(20_000).decode(encoding, "replace")
    try:
        return csv.Sniffer().sniff(head, DELIMITERS).delimiter
    except csv.Error:  # one column has none
        return ","


def _records(file: Readable, encoding: str) -> str | None:
    """A jq expression for where the rows of a JSON document are; None where they are the list at its top."""
    with file.open() as stream:
        document = json.loads(stream.read(files.FREE).decode(encoding))
    if isinstance(document, list):
        return None
    lists = [key for key, value in document.items() if isinstance(value, list) and value and all(isinstance(v, dict) for v in value)]
    if len(lists) == 1:
        return f".[{json.dumps(lists[0])}]"
    if document and all(isinstance(value, dict) for value in document.values()):
        return "to_entries | map({key} + .value)"
    found = f"an object with the keys {', '.join(map(repr, list(document)[:8]))}"
    raise DataError("rows in a JSON document", found, "write the entry into domain.yaml by hand, with `records:` (jq)", file=file.place)


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
    made: Entry = {"map": {"prompt": f"{{{prompt}}}", "response": f"{{{response}}}"}}
    values = Counter(str(row.columns.get(response, "")).strip() for row in rows)
    values.pop("", None)
    if response.lower() in LABEL and 2 <= len(values) <= MAX_CHOICES and len(values) * 3 <= len(rows):
        made["choices"] = sorted(values)
    return made


def _corpus(known: dict[str, str], rows: list[SourceRow], form: str) -> Entry | None:
    text = _one(known, TEXT)
    if text is None and len(known) == 1:
        text = next(iter(known.values()))
    return None if text is None else {"map": {"text": f"{{{text}}}"}}


def sample(entry: Entry, rows: list[SourceRow]) -> tuple[list[Row], Counter[str]]:
    """The records that the first rows become, and why others would be set aside."""
    dataset, made, aside = _dataset(entry), [], Counter[str]()
    for row in rows:
        try:
            made.append(to_record(dataset, row))
        except SetAside as reason:
            aside[reason.reason] += 1
    return made, aside
