"""`slmforge review`: a sheet that an expert has filled in becomes data of the domain, with a record of every decision."""

import json
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import click

from flows import entries
from flows.entries import Entry
from tasks.lib import domain, drafts, replacing, reviewing, sheets
from tasks.lib.cleaning import clean
from tasks.lib.config import read_yaml
from tasks.lib.domain import Domain
from tasks.lib.drafts import Batch
from tasks.lib.errors import ConfigError, DataError
from tasks.lib.origins import PathSource
from tasks.lib.reviewing import DECISIONS, PREFERENCE, Faults, Line, Outcome
from tasks.lib.sheets import SheetRow

SHOWN = 10  # changed decisions that are named
MAP_TUNE = {"prompt": "{question}", "response": "{answer}", "group": "{document}"}
MAP_PREFERENCE = {"prompt": "{question}", "chosen": "{chosen}", "rejected": "{rejected}", "group": "{document}"}


class Change(NamedTuple):
    """What is to be done: files with their new content (None: to be removed), and entries of the card."""

    files: dict[Path, str | None]
    added: list[Entry]
    changed: list[Entry]
    removed: list[str]

    def __bool__(self) -> bool:
        return bool(self.files or self.added or self.changed or self.removed)


def review(name: str, sheet: Path, reviewer: str, agreed: bool) -> None:
    """Check a sheet and, if the user agrees, write what it says into the domain.

    Args:
        name: the domain.
        sheet: XLSX or CSV, from `slmforge draft`, filled in.
        reviewer: who filled it in.
        agreed: write without asking.

    Raises:
        DataError: naming every fault of the sheet by file and row; nothing is written.
        ConfigError: if files or entries of that name are not from this sheet, or the licence is not allowed.
    """
    if not reviewer.strip() or not reviewer.isprintable():
        raise ConfigError("the reviewer's name", repr(reviewer), 'give it on one line, for instance --reviewer "Dr. A. Example"')
    folder = domain.load(name).folder
    with ExitStack() as held:
        if agreed:
            held.enter_context(replacing.alone(folder))
        seen = _seen(folder)
        found = domain.load(name)
        change = _planned(found, sheet, reviewer.strip())
        if not change:
            print(f"nothing to do: the data of domain {name} are what {sheet.name} says")
            return
        made = entries.with_entries(folder / "domain.yaml", change.added, change.changed, change.removed)
        if not agreed:
            if not click.confirm(f"Write this into {folder}?"):
                print("nothing was written")
                return
            held.enter_context(replacing.alone(folder))  # not while a person thinks
            _require_unchanged(folder, seen)
        _write(change, folder / "domain.yaml", made.text)
    print(f"written; now: slmforge check {name}")


def _seen(folder: Path) -> dict[Path, bytes]:
    """All that is looked at before anything is written: the card, and what reviews have made."""
    return {file: file.read_bytes() for file in (folder / "domain.yaml", *sorted((folder / "data").glob("review-*.jsonl")))}


def _require_unchanged(folder: Path, seen: dict[Path, bytes]) -> None:
    now = _seen(folder)
    if changed := sorted(file.name for file in now.keys() | seen.keys() if now.get(file) != seen.get(file)):
        raise ConfigError(
            f"{folder} as it was when you were asked", f"other content of {', '.join(changed)}", "run this again; nothing was written"
        )


def _planned(found: Domain, sheet: Path, reviewer: str) -> Change:
    """Everything that a sheet changes, shown before anybody is asked."""
    name = reviewing.sheet_name(sheet)
    stem = reviewing.dataset_name(name)
    decided = found.folder / "data" / f"{stem}{DECISIONS}.jsonl"
    before = _lines(decided)
    rows, columns = sheets.read(sheet)
    outcome, batch = _judged(found, sheet, rows, columns, decided)
    _require_ours(found, stem, name, before, batch)
    _require_unread(found, stem)
    today = datetime.now(UTC).date().isoformat()
    contents = {
        # first: after a kill behind it, the same sheet finds its own decisions and goes on
        f"{stem}{DECISIONS}": reviewing.decisions(outcome.judged, batch, name, reviewer, today, before),
        stem: reviewing.tune_rows(outcome.judged, batch, reviewer),
        f"{stem}{PREFERENCE}": reviewing.preference_rows(outcome.judged, batch, reviewer),
    }
    _tell(outcome, contents[f"{stem}{PREFERENCE}"], reviewing.unused(columns))
    change = _change(found, contents, _entries(found, stem, batch, reviewer))
    if change:
        _show(change, before, contents[f"{stem}{DECISIONS}"])
    return change


def _lines(file: Path) -> dict[str, Line]:
    """The decisions of a file by id; none where there is no file."""
    if not file.is_file():
        return {}
    try:
        with file.open(encoding="utf-8") as stream:
            return {line["id"]: line for line in map(json.loads, stream)}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError("decisions as `slmforge review` wrote them", f"another content ({error})", "restore the file", file=file) from error


def _judged(found: Domain, sheet: Path, rows: list[SheetRow], columns: list[str], decided: Path) -> tuple[Outcome, Batch]:
    """What the sheet says, and the drafts that it was made from."""
    if not rows:
        raise DataError("drafts in a reviewed sheet", "no rows", "give the sheet that `slmforge draft` wrote, filled in", file=sheet)
    batches = (_batch(found.folder, row.cells.get("id", "")) for row in rows)
    batch = next((batch for batch in batches if batch is not None), None)
    outcome = reviewing.judge(rows, columns, batch)
    faults = outcome.sentences if isinstance(outcome, Faults) else _decided_elsewhere(outcome, rows, decided)
    if isinstance(outcome, Faults) or batch is None or faults:
        said = "".join(f"\n    {sheet.name}, {fault}" for fault in faults)
        count = "1 fault" if len(faults) == 1 else f"{len(faults):,} faults"
        raise DataError(
            f"a reviewed sheet of drafts of domain {found.name!r}", f"{count}{said}", "correct the sheet; nothing was written", file=sheet
        )
    return outcome, batch


def _batch(folder: Path, identifier: str) -> Batch | None:
    name = clean(identifier).rpartition("-")[0]
    return drafts.find(folder, name) if name.isascii() and name.isalnum() else None


def _decided_elsewhere(outcome: Outcome, rows: list[SheetRow], decided: Path) -> list[str]:
    """Drafts that the review of another sheet has decided: both would be trained on."""
    others = {
        identifier: f"{file.name} has a decision on it; give the sheet the name it had then ({line.get('sheet')})"
        for file in sorted(decided.parent.glob(f"review-*{DECISIONS}.jsonl"))
        if file != decided
        for identifier, line in _lines(file).items()
    }
    numbers = {clean(row.cells["id"]): row.number for row in rows}
    return [f"row {numbers[one.id]} ({one.id}): {others[one.id]}" for one in outcome.judged if one.id in others]


def _require_ours(found: Domain, stem: str, sheet: str, before: dict[str, Line], batch: Batch) -> None:
    """Refuse to write over what another sheet, or a person, has made."""
    data, names = found.folder / "data", (stem, f"{stem}{PREFERENCE}")
    others = sorted({line.get("sheet", sheet) for line in before.values()} - {sheet})
    files = [place for name in names if (place := data / f"{name}.jsonl").exists()]
    if others or before.keys() - batch.numbered().keys() or (files and not before):
        there = f"those of the sheet {others[0]!r}" if others else "those of other drafts"
        raise ConfigError(f"files {data / stem}*.jsonl of this sheet", there, "give the sheet another name, and run this again")
    for dataset in found.card.datasets:
        path = dataset.source.path if isinstance(dataset.source, PathSource) else ""
        if dataset.name in names and path != f"data/{dataset.name}.jsonl":
            raise ConfigError(f"a dataset {dataset.name!r} of this sheet", f"one with the source {path!r}", "give the sheet another name")


def _require_unread(found: Domain, stem: str) -> None:
    """Refuse to write where a dataset reads all files: it would read these, with the drafts that were rejected."""
    targets = {ending: f"data/{stem}{ending}.jsonl" for ending in ("", PREFERENCE, DECISIONS)}
    others = [dataset for dataset in found.card.datasets if dataset.name not in (stem, f"{stem}{PREFERENCE}")]
    if (reader := reviewing.reader(found.folder, others, list(targets.values()))) is not None:
        name, path = reader
        remedy = "let it name its own files only, for instance data/documents"
        raise ConfigError(f"a place for {targets['']}", f"dataset {name!r} reads every file of {path!r}, and would read it", remedy)


def _entries(found: Domain, stem: str, batch: Batch, reviewer: str) -> list[Entry]:
    """Both entries as the card should have them; the licence is the one that the documents have now."""
    about = batch.about
    source = next((dataset for dataset in found.card.datasets if dataset.name == about.dataset), None)
    licence, edition = (about.licence, about.edition) if source is None else (source.licence, source.edition)
    made = []
    for name, role, mapped in ((stem, "tune", MAP_TUNE), (f"{stem}{PREFERENCE}", "preference", MAP_PREFERENCE)):
        entry: Entry = {"name": name, "role": role, **({"edition": edition} if edition else {}), "title": _title(batch, role)}
        entry |= {"publisher": reviewer, "source": {"path": f"data/{name}.jsonl"}, "licence": licence, "kind": "synthetic"}
        made.append({**entry, "map": dict(mapped)})
    return made


def _title(batch: Batch, role: str) -> str:
    what = "Questions and answers" if role == "tune" else "Corrected answers over the drafts"
    return f"{what} drafted by {batch.about.model} from {batch.about.dataset}, reviewed by a person"


def _change(found: Domain, contents: dict[str, list[Line]], wanted: list[Entry]) -> Change:
    """What differs from what is there; keys of an entry that a person has added are left as they are."""
    files: dict[Path, str | None] = {}
    for name, lines in contents.items():
        file = found.folder / "data" / f"{name}.jsonl"
        made = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines) or None
        there = file.read_text(encoding="utf-8") if file.is_file() else None
        if made != there:
            files[file] = made
    known = {entry["name"]: entry for entry in read_yaml(found.folder / "domain.yaml")["datasets"]}
    there_are = [entry for entry in wanted if contents[entry["name"]]]
    return Change(
        files,
        [entry for entry in there_are if entry["name"] not in known],
        [entry for entry in there_are if entry["name"] in known and {**known[entry["name"]], **entry} != known[entry["name"]]],
        [entry["name"] for entry in wanted if entry["name"] in known and not contents[entry["name"]]],
    )


def _tell(outcome: Outcome, pairs: list[Line], unused: list[str]) -> None:
    counts = Counter(one.verdict for one in outcome.judged)
    print(f"{counts['accept']:,} accepted, {counts['correct']:,} corrected ({len(pairs):,} pair{'s' * (len(pairs) != 1)} for preference tuning), "
          f"{counts['reject']:,} rejected, {outcome.open:,} open, {outcome.absent:,} no longer in the sheet")  # fmt: skip
    paired = {line["id"] for line in pairs}
    if lost := sum(one.verdict == "reject" and one.id not in paired for one in outcome.judged):
        print(f"rejected, and nothing is learned from it, because no right answer to the same question is at hand: {lost:,}")
    if without := sum(one.verdict == "accept" and one.draft.start is None for one in outcome.judged):
        print(f"accepted although the answer does not stand in its passage: {without:,}")
    if unused:
        print(f"not read: the column(s) {', '.join(map(repr, unused))}")


def _show(change: Change, before: dict[str, Line], after: list[Line]) -> None:
    """What will change, before anybody is asked."""
    for file, content in change.files.items():
        number = 0 if content is None else content.count("\n")
        state = (
            "removed, it would be empty" if content is None else f"replaced, {number:,} rows" if file.exists() else f"new, {number:,} rows"
        )
        print(f"  {file.parent.name}/{file.name}: {state}")
    if before:
        now = {line["id"]: line for line in after}
        changed = [identifier for identifier in [*before, *(now.keys() - before.keys())] if before.get(identifier) != now.get(identifier)]
        print(f"  decisions that change: {len(changed):,}")
        for identifier in sorted(changed)[:SHOWN]:
            print(
                f"    {identifier}: {before.get(identifier, {}).get('verdict', 'open')} -> {now.get(identifier, {}).get('verdict', 'open')}"
            )
    if change.added or change.changed:
        print(f"\n{entries.text([*change.added, *change.changed])}")
    for name in change.removed:
        print(f"  the entry {name} is removed")


def _write(change: Change, card: Path, made: str) -> None:
    """Decisions, rows, the card; then what is to go, decisions last: a kill leaves nothing that the same sheet cannot repair."""
    new = {file: content for file, content in change.files.items() if content is not None}
    if change.added or change.changed or change.removed:
        new[card] = made
    replacing.replace(new)
    for file in reversed(change.files):
        if change.files[file] is None:
            file.unlink()
