"""A reviewed sheet against the drafts it was made from: every fault at once, then decisions, and rows to train on."""

import os
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tasks.lib import digests
from tasks.lib.cleaning import clean, folded
from tasks.lib.domain import Dataset
from tasks.lib.drafts import Batch, Draft
from tasks.lib.errors import DataError
from tasks.lib.origins import PathSource
from tasks.lib.sheets import COLUMNS, FOR_THE_REVIEWER, VERDICTS, SheetRow
from tasks.lib.sources import matched
from tasks.lib.support import located

KEPT = ("passage", "question", "answer")  # must come back as they were sent
READ = ("id", *KEPT, *FOR_THE_REVIEWER)
NEEDED = tuple(name for name in READ if name != "comment")  # who says nothing more may take its column out
DECISIONS, PREFERENCE = "-decisions", "-preference"  # endings of the names of what a sheet becomes, beside its rows to tune on
Line = dict[str, Any]


def sheet_name(file: Path) -> str:
    """What a sheet is called, as XLSX or as CSV, on any file system."""
    return unicodedata.normalize("NFC", file.stem)


def dataset_name(sheet: str) -> str:
    """A sheet's name as the name of a dataset: no two sheets have the same."""
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in sheet.lower()).strip("-")
    if plain != sheet or len(plain) > 40 or plain.endswith((DECISIONS, PREFERENCE)):  # what is lost stands in a digest
        plain = f"{plain[:31].strip('-') or 'sheet'}-{digests.of_text(sheet)[:8]}"
    return f"review-{plain}"


def reader(folder: Path, datasets: list[Dataset], targets: list[str]) -> tuple[str, str] | None:
    """The first dataset that would read one of these files of a domain, which need not be there yet, and its path."""
    with _sketch(folder, targets) as sketch:
        for dataset in datasets:
            if isinstance(dataset.source, PathSource) and _reads(sketch, dataset.source.path, dataset.name):
                return dataset.name, dataset.source.path
    return None


def _reads(sketch: Path, path: str, name: str) -> bool:
    try:
        return bool(matched(sketch, path, name))
    except DataError:
        return False  # none of them


@contextmanager
def _sketch(folder: Path, targets: list[str]) -> Iterator[Path]:
    """A folder with these files and no other, and with the domain's own links to them and to its folders."""
    home = folder.resolve()
    meant = {(folder / target).resolve() for target in targets}
    with tempfile.TemporaryDirectory() as place:
        sketch = Path(place).resolve()
        for link in (found for found in folder.rglob("*") if found.is_symlink()):
            to = Path(os.path.realpath(link))  # of links in a circle too
            if to.is_relative_to(home) and (to.is_dir() or to in meant):
                there, copy = sketch / to.relative_to(home), sketch / link.relative_to(folder)
                (there if to.is_dir() else there.parent).mkdir(parents=True, exist_ok=True)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.symlink_to(there)
        for target in targets:
            (sketch / target).parent.mkdir(parents=True, exist_ok=True)
            (sketch / target).touch()
        yield sketch


class Faults(NamedTuple):
    """Sentences on what is wrong with a sheet, each with its row."""

    sentences: list[str]


class Judged(NamedTuple):
    """A draft with a person's verdict on it."""

    id: str
    draft: Draft
    verdict: str
    question: str  # as corrected
    answer: str
    comment: str


class Outcome(NamedTuple):
    """What a sheet says: drafts judged, how many are open, and ids that the sheet no longer has."""

    judged: list[Judged]
    open: int
    absent: int


def judge(rows: list[SheetRow], columns: list[str], batch: Batch | None) -> Outcome | Faults:
    """Check a sheet row by row.

    Args:
        rows: as they came back.
        columns: the sheet's.
        batch: the drafts that it was made from; None if the first row's id names none.
    """
    if missing := [name for name in NEEDED if name not in columns]:
        return Faults([f"row 1: no column {name!r}" for name in missing])
    drafts = {} if batch is None else batch.numbered()
    seen: dict[str, int] = {}
    faults, judged, unjudged = list[str](), list[Judged](), 0
    for row in rows:
        cells = {name: clean(row.cells.get(name, "")) for name in READ}
        draft = drafts.get(cells["id"])
        said = list(_faults(row, cells, draft, seen))
        seen.setdefault(cells["id"], row.number)
        faults += [f"row {row.number} ({cells['id'] or 'no id'}): {fault}" for fault in said]
        if said or draft is None:
            continue
        if verdict := cells["verdict"].casefold():
            question, answer = cells["corrected_question"] or draft.question, cells["corrected_answer"] or draft.answer
            judged.append(Judged(cells["id"], draft, verdict, question, answer, cells["comment"]))
        else:
            unjudged += 1
    if faults:
        return Faults(faults)
    return Outcome(judged, unjudged, len(drafts.keys() - seen.keys()))


def _faults(row: SheetRow, cells: dict[str, str], draft: Draft | None, seen: dict[str, int]) -> Iterator[str]:
    for name in (name for name in row.errors if name in READ):
        yield f"{name} shows {row.cells[name]}, the error of a formula: write the text itself"
    if cells["id"] in seen:
        yield f"the id stands in row {seen[cells['id']]} already"
    if draft is None:
        yield "no draft has this id"
        return
    for name in KEPT:
        if cells[name] != clean(getattr(draft, name)):
            remedy = "" if name == "passage" else f"; write what it should be into corrected_{name}, with the verdict correct"
            yield f"{name} is not what was drafted ({_short(getattr(draft, name))}): restore it{remedy}"
    yield from _verdict_faults(cells, draft)


def _verdict_faults(cells: dict[str, str], draft: Draft) -> Iterator[str]:
    verdict = cells["verdict"].casefold()
    corrected = [name for name in ("question", "answer") if cells[f"corrected_{name}"]]
    if verdict and verdict not in VERDICTS:
        yield f"the verdict {_short(cells['verdict'])} is none of {', '.join(VERDICTS)}"
    elif verdict == "correct" and not corrected:
        yield "the verdict is correct, and neither corrected_question nor corrected_answer is written"
    elif verdict == "correct" and all(cells[f"corrected_{name}"] == getattr(draft, name) for name in corrected):
        yield f"the verdict is correct, and corrected_{corrected[0]} says what was drafted"
    elif verdict != "correct" and corrected:
        found = f"the verdict is {verdict}" if verdict else "there is no verdict"
        yield f"corrected_{corrected[0]} is written, but {found}: make it correct, or empty that cell"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= 60 else f"{line[:60]}…")


def unused(columns: list[str]) -> list[str]:
    """Columns that a sheet has and that are not ours: nothing reads them."""
    return [name for name in columns if name not in COLUMNS]


def tune_rows(judged: list[Judged], batch: Batch, reviewer: str) -> list[Line]:
    """Accepted drafts as they are and corrected ones as corrected, with the place of the answer in the document."""
    return [
        {"id": one.id, "question": one.question, "answer": one.answer, "document": one.draft.document, "reviewer": reviewer,
         "verdict": one.verdict, "synthetic": True, "model": batch.about.model, "file": one.draft.file, "page": one.draft.page,
         "heading": one.draft.heading, **_span(one)}
        for one in judged if one.verdict != "reject"
    ]  # fmt: skip


def preference_rows(judged: list[Judged], batch: Batch, reviewer: str) -> list[Line]:
    """Right answers over drafts that are worse, to the same question on the same passage."""
    return [
        {"id": one.id, "question": one.draft.question, "chosen": better.answer, "rejected": one.draft.answer, "document": one.draft.document,
         "reviewer": reviewer, "synthetic": True, "model": batch.about.model, "file": one.draft.file, "page": one.draft.page,
         "heading": one.draft.heading}
        for one in judged
        if (better := _better(one, judged)) is not None
    ]  # fmt: skip


def _better(one: Judged, judged: list[Judged]) -> Judged | None:
    """What says a better answer than a draft: its own correction, or of a rejected one another draft that was accepted or corrected."""
    if one.verdict == "accept":
        return None
    others = [one] if one.verdict == "correct" else [other for other in judged if other.verdict != "reject"]
    asked = folded(one.draft.question)
    return next(
        (
            other
            for other in others
            if other.draft.passage == one.draft.passage
            and folded(other.question) == asked
            and folded(other.answer) != folded(one.draft.answer)
        ),
        None,
    )


def _feeds(one: Judged, judged: list[Judged]) -> str:
    """What a decision becomes, or why it becomes nothing."""
    better = _better(one, judged)
    if one.verdict != "reject":
        return "tune" if better is None else "tune, preference"
    if better is not None:
        return f"preference, below {better.id}"
    return "nothing: no draft of this sheet that was accepted or corrected answers the same question on the same passage"


def decisions(judged: list[Judged], batch: Batch, sheet: str, reviewer: str, date: str, before: dict[str, Line]) -> list[Line]:
    """A line per judged draft, rejected ones too: who said what on which text from where.

    Args:
        judged: the drafts with a verdict.
        batch: where they are from.
        sheet: what the sheet is called.
        reviewer: who judged.
        date: today; a decision that stands in `before` keeps its own.
        before: the lines of the last time, by id.
    """
    lines = []
    for one in judged:
        draft = one.draft
        line: Line = {
            "id": one.id, "verdict": one.verdict, "sheet": sheet, "reviewer": reviewer, "date": date, "comment": one.comment,
            "question": one.question, "answer": one.answer, "drafted_question": draft.question, "drafted_answer": draft.answer,
            "synthetic": True, "domain": batch.about.domain, "dataset": batch.about.dataset, "source_sha256": batch.about.source_sha256,
            "row": draft.row, "document": draft.document, "file": draft.file, "page": draft.page, "heading": draft.heading,
            "quote": draft.quote, "start": draft.start, "end": draft.end, "supported": draft.supported, "passage": draft.passage,
            "model": batch.about.model, "model_sha256": batch.about.model_sha256, "drafted": batch.about.date,
        }  # fmt: skip
        known = before.get(one.id, {})
        same = {key: value for key, value in known.items() if key != "feeds"} == {**line, "date": known.get("date")}
        lines.append({**(known if same else line), "feeds": _feeds(one, judged)})
    return lines


def _span(one: Judged) -> Line:
    """Where the answer stands: the draft's own place, or that of the corrected answer in the same passage."""
    draft = one.draft
    if one.answer == draft.answer:
        return {"quote": draft.quote, "start": draft.start, "end": draft.end, "supported": draft.supported}
    found = located(one.answer, draft.passage)
    if found.start is None or found.end is None:
        return {"quote": "", "start": None, "end": None, "supported": found.share}
    offset = draft.passage_start
    quote = draft.passage[found.start : found.end]
    return {"quote": quote, "start": offset + found.start, "end": offset + found.end, "supported": found.share}
