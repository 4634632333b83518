"""Looking at rows: what was set aside and why, and what the model will see."""

import csv
import itertools
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.lib import chats, replacing, store
from tasks.lib.errors import ConfigError
from tasks.lib.flow import Order
from tasks.lib.formulas import harmless
from tasks.lib.records import ROLES, TOLD, content_of, iterate

STAGES = ("ingest", "clean", "dedup", "split")  # those that set rows aside, in their order
PARTS = (*(f"{role}-{part}" for role in ("corpus", "tune", "preference", "general") for part in ("train", "valid")), "eval")
SHOWN = (*TOLD, "rating", "winner")
Row = dict[str, Any]


def rows(made: dict[str, Path], reason: str | None, dataset: str | None, limit: int, out: str | None, as_json: bool) -> None:
    """Show rows of a preparation, or write all of them to a CSV file.

    Args:
        made: the folders of the data stages' artifacts, by stage.
        reason: the reason for which they were set aside, "all" for every one, None for rows in use.
        dataset: of this dataset alone; with `-heldout` behind its name, its rows that are kept for evaluation.
        limit: how many are shown.
        out: a CSV file that takes all of them; cells that a spreadsheet would run as formulas get a leading apostrophe.
        as_json: print one JSON object a line.

    Raises:
        ConfigError: naming those that there are, for a dataset or a reason that there is not.
    """
    if out is not None:
        _require_new(Path(out))
    asked = (made, reason, dataset)
    known: Counter[str] = Counter()
    chosen = _chosen(*asked, known)
    shown = list(itertools.islice(chosen, 1 if out is not None else limit))
    if reason not in (None, "all") and not shown:
        told = ", ".join(f"{name} ({count:,})" for name, count in known.most_common()) or "none at all"
        raise ConfigError(f"rows set aside as {reason!r}", f"reasons there are: {told}", "give one of them, or no reason for all")
    if out is not None:
        print(f"{_write(Path(out), asked):,} rows written to {out}")
        return
    if as_json:
        for row in shown:
            print(json.dumps(row, ensure_ascii=False))
        return
    from flows import screen

    screen.rows(shown, reason is not None)
    total = len(shown) + sum(1 for _ in chosen)
    counts = ", ".join(f"{count:,} {name}" for name, count in known.most_common())
    print(f"{len(shown):,} of {total:,} rows shown; in all: {counts or 'none'}")


def _chosen(made: dict[str, Path], reason: str | None, dataset: str | None, known: Counter[str]) -> Iterator[Row]:
    """The rows that are asked for, one at a time; all that are passed over are counted too, by their reason."""
    found = _used(made) if reason is None else _set_aside(made)
    if dataset is not None:
        dataset, found = _of(made, dataset, found, used=reason is None)
    for row in found:
        if dataset in (None, row["dataset"]):
            known[row.get("reason", "used")] += 1
            if reason in (None, "all", row.get("reason")):
                yield row


def one(made: dict[str, Path], identifier: str, as_json: bool) -> None:
    """Show one row in full, wherever it is: set aside, in use, or read and not yet gone through the later stages.

    Raises:
        ConfigError: if no row has that id.
    """
    found = [row for row in _set_aside(made) if row["id"] == identifier]
    if "split" in made and not found:
        found = [row for row in _used(made) if row["id"] == identifier or _is_pair_with(identifier, row["id"])]
    if not found:
        latest = next((made[stage] for stage in reversed(STAGES) if stage in made), None)
        found = [_shown(row, role) for role in ROLES if latest for row in iterate(latest, role) if row["id"] == identifier]
    if not found:
        asked, remedy = f"a row with the id {identifier!r}", "ids are DATASET:ROW, or DATASET:FILE:ROW where a dataset has several files"
        raise ConfigError(asked, "no row of these data has it", remedy)
    if as_json:
        print("\n".join(json.dumps(row, ensure_ascii=False) for row in found))
        return
    from flows import screen

    screen.rows(found, "reason" in found[0], whole=True)


def _is_pair_with(identifier: str, pair: str) -> bool:
    """Whether a rated row is one of the two of a pair, whose id is `ROW>NUMBER` of the better and the worse row."""
    (head, _, number), (of, _, two) = identifier.rpartition(":"), pair.rpartition(":")
    return head == of and ">" in two and number in two.split(">")


def _shown(row: Row, part: str) -> Row:
    place = {key: row[key] for key in ("id", "dataset", "file", "row", "page", "heading") if row.get(key)}
    return {**place, "part": part, "record": {key: row[key] for key in TOLD if row.get(key)}}


def _prepared(asked: Order) -> dict[str, Path]:
    """The folders of the data stages' artifacts for this order, as far as they are made."""
    from flows.prepare import prepare

    plan = prepare.plan(prepare.job(asked))
    made = {row.name: store.root() / row.id for row in plan.rows if row.id}
    if not made:
        raise ConfigError(
            f"rows of domain {asked.domain!r}", "its data have changed, or were not read yet", f"run `slmforge check {asked.domain}` first"
        )
    return made


def folders(asked: Order, artifact: str | None, version: str | None) -> dict[str, Path]:
    """The folders of the data stages' artifacts: of this order as far as they are made, or behind an artifact or a version.

    Raises:
        ConfigError: if the data were not read, or if there is no such artifact or version.
    """
    if artifact is None and version is None:
        return _prepared(asked)
    from tasks.lib import evidence

    if artifact is not None and version is not None:
        raise ConfigError("rows of one preparation", f"the id {artifact!r} and version {version}", "give one of them")
    named = (
        evidence.behind_version(evidence.version(asked.domain, version)) if version is not None else [evidence.artifact(str(artifact)).id]
    )
    found = {one.split("/")[0]: store.root() / evidence.artifact(one).id for one in evidence.behind(named)}
    return {stage: found[stage] for stage in STAGES if stage in found}


def _of(made: dict[str, Path], asked: str, found: Iterator[Row], *, used: bool) -> tuple[str, Iterator[Row]]:
    """The dataset that is meant, and the rows; of an evaluation set NAME-heldout, those that are kept for it."""
    records = [store.find("/".join(folder.parts[-2:])) for folder in made.values()]
    facts = [record.facts for record in records if record is not None]
    names = list(dict.fromkeys(line["dataset"] for fact in facts for line in fact.get("ledger", [])))
    held = [name for fact in facts for name in fact.get("eval_sets", {}) if name not in names]
    if asked in names:
        return asked, found
    if asked in held and used:
        return asked.removesuffix("-heldout"), (row for row in found if row["part"] == "eval")
    if asked in held:
        raise ConfigError(f"rows of {asked!r} that were set aside", "an evaluation set, whose rows are all in use", "leave --set-aside out")
    told = f"datasets there are: {', '.join(names)}" + (f"; evaluation sets of rows kept back: {', '.join(held)}" if held else "")
    raise ConfigError(f"rows of a dataset {asked!r}", told, "give one of them, or no dataset for all")


def _set_aside(made: dict[str, Path]) -> Iterator[Row]:
    for stage, folder in made.items():
        if stage in STAGES:
            for row in iterate(folder, "set_aside"):
                record = content_of(row)  # ingest keeps the columns as they were read, later stages the record
                content = record if stage == "ingest" else {key: record[key] for key in SHOWN if key in record}
                place: Row = {key: record[key] for key in ("page", "heading") if stage != "ingest" and key in record}
                yield {**row, **place, "stage": stage, "record": content}


def _used(made: dict[str, Path]) -> Iterator[Row]:
    if "split" not in made:
        known = ", ".join(made) or "none"
        raise ConfigError(
            "rows in use, which are those of stage split", f"data stages there are: {known}", "run `slmforge check NAME` first"
        )
    for part in PARTS:
        for row in iterate(made["split"], part):
            yield _shown(row, part)


def _require_new(file: Path) -> None:
    if file.exists():
        raise ConfigError(f"a new file {file}", "it is there already", "remove it, or give another name")
    if not file.parent.is_dir():
        raise ConfigError(f"a new file {file}", f"no folder {file.parent}", "make the folder, or give another name")


def _write(file: Path, asked: tuple[dict[str, Path], str | None, str | None]) -> int:
    """All rows as CSV, the record's fields as columns of their own; harmless in a spreadsheet. They are read twice, and not held.

    Returns:
        How many.
    """
    columns: dict[str, None] = {}
    fields: dict[str, None] = {}
    for row in _chosen(*asked, Counter()):
        columns |= dict.fromkeys(key for key in row if key != "record")
        fields |= dict.fromkeys(row["record"])
    count = 0
    with replacing.writing(file) as stream:
        stream.write("\ufeff")  # the mark by which spreadsheets know UTF-8
        writer = csv.writer(stream)
        writer.writerow([harmless(name) for name in [*columns, *fields]])
        for count, row in enumerate(_chosen(*asked, Counter()), start=1):  # noqa: B007  # used behind the loop
            cells = [row.get(key, "") for key in columns] + [_cell(row["record"].get(key, "")) for key in fields]
            writer.writerow([harmless(str(cell)) for cell in cells])
    return count


def _cell(value: Any) -> Any:
    """A value as a cell holds it; of the turns of a conversation, who said what."""
    return chats.told(value) if isinstance(value, list) else value
