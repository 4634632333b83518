"""Fix which rows train, which validate and which are held out; nothing is in two of them."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field

from tasks.lib import asked, cleaning, digests
from tasks.lib.config import Declared, StageConfig
from tasks.lib.errors import DataError
from tasks.lib.general import is_heldout
from tasks.lib.holding import Questions
from tasks.lib.pairs import pairs_of
from tasks.lib.records import LedgerLine, Records, RecordWriter, Row, advance, lost, not_trained, texts
from tasks.lib.stage import stage
from tasks.lib.store import Artifact


class SplitConfig(StageConfig):
    """Shares, and what to do about overlap."""

    valid: float = Field(default=0.05, gt=0, lt=0.5, description="share of groups kept for validation")
    overlap: Literal["refuse", "set-aside"] = Field(
        default="refuse", description="what to do when a training row asks what a declared evaluation row asks"
    )


class Size(Declared):
    """What one dataset has in a part."""

    rows: int = 0
    characters: int = 0


class Split(Artifact):
    """Records by role and part, evaluation sets by name, and the final ledger."""

    ledger: list[LedgerLine]
    counts: dict[str, int]
    eval_sets: dict[str, int]
    sizes: dict[str, dict[str, Size]] = {}
    several: dict[str, int] = {}  # by tune dataset: questions of free text that are trained with more than one answer

    @property
    def remarks(self) -> list[str]:
        """A sentence on what a person would not expect: rows in use that are not trained on, questions with several answers."""
        told = "with several answers, all of which are learnt; if some are worse, give them a rating and the role preference."
        several = (f"{name}: {count:,} question{'s' * (count > 1)} {told}" for name, count in self.several.items())
        return [*self._not_trained(), *several]

    def _not_trained(self) -> list[str]:
        """A sentence on each dataset, and on pairs, of which not all that is used is trained on."""
        kinds = {line.dataset for line in self.ledger if line.role in ("corpus", "general", "tune")}
        of_part = (sizes for part, sizes in self.sizes.items() if not part.startswith("preference"))
        trained = {**dict.fromkeys(kinds, 0), **{name: size.rows for sizes in of_part for name, size in sizes.items() if name in kinds}}
        pairs, valid = (self.counts.get(f"preference-{part}", 0) for part in ("train", "valid"))
        told = f"preferences: the rows used make {pairs + valid:,} pairs, {valid:,} of which are for validation, and not trained on."
        return [*not_trained(self.ledger, self.eval_sets, trained), *([told] if valid else [])]

    def refusal(self) -> str | None:
        """The datasets of which nothing is left: what they were brought for would be missing, unseen."""
        return "; ".join(lost(self.ledger)) or None

    def eval_file(self, name: str) -> Path:
        """The JSON-lines file of an evaluation set."""
        return self.path / "eval" / f"{name}.jsonl"


@stage(version="8")
def split(out: Path, cfg: SplitConfig, records: Records) -> Split:
    """Split by group; hold out evaluation sets; refuse (or set aside) training rows that overlap them, set aside documents that do.

    Raises:
        DataError: if a training row asks what a declared evaluation row asks, naming both.
    """
    with RecordWriter(out) as writer:
        work = _Splitting(out, cfg, records, writer)
        for row in records.each("eval", "split"):
            work.hold_out(row, row["dataset"])
        for row in records.each("general", "split"):
            if not work.overlaps(row):
                work.keep(row, "general", {_group(row)} if is_heldout(row["text"]) else set())
        for role in ("corpus", "tune"):
            valid = _groups((row for row in records.each(role, "group") if row["id"] not in work.held), cfg.valid)
            for row in records.each(role, "split"):
                if row["id"] in work.held:
                    work.hold_out(row, f"{row['dataset']}-heldout")
                elif not work.overlaps(row):
                    work.keep(row, role, valid)
        work.preferences(records)
    ledger = advance(records.ledger, writer)
    counts, sets = dict(sorted(work.counts.items())), dict(sorted(work.sets.items()))
    return Split(ledger=ledger, counts=counts, eval_sets=sets, sizes=work.sizes(), several=work.several())


class _Held(NamedTuple):
    """The rows that are held out of tune datasets: their ids, what they ask, in each spelling, and what was said before (digests)."""

    ids: set[str]
    asks: set[str]
    begun: set[str]


class _Splitting:
    """One split under way: what is held out, where rows go, and how many went."""

    def __init__(self, out: Path, cfg: SplitConfig, source: Records, writer: RecordWriter) -> None:
        self._out, self._cfg, self._writer = out, cfg, writer
        self._questions = Questions()
        self.held, self._held_questions, self._beginnings = _held_out(source, self._questions)
        messages = asked.Messages()
        for row in source.each("eval", "read"):
            messages.add(row)
        self._asked: dict[str, Any] = {}
        for row in source.each("eval", "note"):
            self._asked.update(dict.fromkeys(asked.measured(row, told_apart=messages.differ(row)), row["id"]))
            self._beginnings.update(asked.begun(row, told_apart=messages.differ(row)))
            self._questions.add(row)
        self.counts: Counter[str] = Counter()
        self.sets: Counter[str] = Counter()
        self._sizes: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
        self._answered: dict[str, dict[bytes, int]] = defaultdict(dict)

    def sizes(self) -> dict[str, dict[str, Size]]:
        """By training part and dataset."""
        return {part: {name: Size(**size) for name, size in sizes.items()} for part, sizes in sorted(self._sizes.items())}

    def several(self) -> dict[str, int]:
        """By dataset, how many questions have several answers; repeats are gone by now, so that they differ."""
        found = {name: sum(count > 1 for count in answered.values()) for name, answered in sorted(self._answered.items())}
        return {name: count for name, count in found.items() if count}

    def _measure(self, row: Row, part: str) -> None:
        self._sizes[part][row["dataset"]].update(rows=1, characters=sum(map(len, texts(row))))
        if part == "tune-train" and not row.get("choices"):
            question, answered = bytes.fromhex(digests.of_text(cleaning.question(row)))[:16], self._answered[row["dataset"]]
            answered[question] = answered.get(question, 0) + 1

    def keep(self, row: Row, role: str, valid: set[str]) -> None:
        """Send a row to train or valid."""
        part = f"{role}-{'valid' if _group(row) in valid else 'train'}"
        self.counts[part] += 1
        if part.endswith("-train"):
            self._measure(row, part)
        self._writer.keep(row, part)

    def hold_out(self, row: Row, name: str) -> None:
        """Send a row to an evaluation set, as the evaluation harness reads it."""
        self.sets[name] += 1
        self._writer.keep(row, "eval")
        line = {key: row[key] for key in ("id", "system", "history", "prompt", "response") if row.get(key)}
        if row.get("choices"):
            line |= {"choices": row["choices"], "label": row["choices"].index(row["response"])}
        folder = self._out / "eval"
        folder.mkdir(exist_ok=True)
        with (folder / f"{name}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def overlaps(self, row: Row) -> bool:
        """Whether a training row is out because an evaluation row asks the same; it is set aside then."""
        if "prompt" not in row:
            return self._holds_question(row)
        questions = asked.trained(row)
        other = next((self._asked[question] for question in questions if question in self._asked), None)
        if other is not None and self._cfg.overlap == "refuse":
            raise DataError(
                "training rows and evaluation rows that have no question in common",
                f"it asks the same as the evaluation row {other}",
                f"remove one of the two (`slmforge rows NAME --id {row['id']}` shows it), or set split.overlap=set-aside",
                file=row["file"],
                row=row["row"],
            )
        if other is not None or not self._held_questions.isdisjoint(questions):
            self._writer.set_aside(row, "eval-overlap", f"asks the same as {other or 'a held-out row'}")
        elif not self._beginnings.isdisjoint(asked.whole(row)):
            self._writer.set_aside(row, "eval-overlap", "is the beginning of a held-out conversation")
        else:
            return False
        return True

    def _holds_question(self, row: Row) -> bool:
        """Whether a document is out because it holds what an evaluation row asks: a part of it, so whatever the setting."""
        if (why := self._questions.held_by(row["text"])) is not None:
            self._writer.set_aside(row, "eval-overlap", why)
        return why is not None

    def preferences(self, source: Records) -> None:
        """Turn preference rows into (chosen, rejected) pairs; a pair of equal sides and a rated row without a counterpart are set aside."""
        rows = [row for row in source.each("preference", "pair") if not self.overlaps(row)]
        valid = _groups(rows, self._cfg.valid)
        made = pairs_of(rows)
        for pair in made.pairs:
            part = f"preference-{'valid' if _group(pair) in valid else 'train'}"
            self.counts[part] += 1
            if part.endswith("-train"):
                self._measure(pair, part)
            self._writer.put(pair, part)
        for row in rows:
            if row["id"] in made.used:
                self._writer.used[row["dataset"], row["file"]] += 1
            elif row["id"] in made.equal:
                self._writer.set_aside(row, "equal-sides", "the chosen and the rejected answer say the same")
            else:
                self._writer.set_aside(row, "no-counterpart", "no answer to the same question has another rating")


def _group(row: Row) -> str:
    """What must stay together: the declared group, else the question or the text itself."""
    key = row.get("group") or _opening(row) or row.get("text") or row["id"]
    return digests.of_text(f"{row['dataset'] if row.get('group') else ''}\x1f{key}")


def _opening(row: Row) -> str:
    """The first question of a row: conversations that begin alike stay together."""
    return str(row["history"][0]["content"]) if row.get("history") else str(row.get("prompt", ""))


def _groups(rows: Iterable[Row], share: float) -> set[str]:
    """The groups that validate: those whose draw falls below the share; always one where there are two.

    The draw is not the group's own digest, by which evaluation sets are held out: the two must not favour the same groups.
    """
    draws = {digests.of_text(f"valid\x1f{group}"): group for group in {_group(row) for row in rows}}
    bound = f"{int(share * 2**64):016x}"
    chosen = {group for draw, group in draws.items() if draw[:16] < bound}
    return chosen or ({draws[min(draws)]} if len(draws) > 1 else set())


def _held_out(source: Records, questions: Questions) -> _Held:
    """The rows held out of tune datasets: whole groups, by digest. Of rows only digests are kept, 16 bytes of a group's.

    What they ask is added to `questions`.
    """
    sizes: dict[str, Counter[bytes]] = defaultdict(Counter)
    wanted: dict[str, int] = {}
    messages = asked.Messages()
    for row in source.each("tune", "weigh"):
        if row.get("holdout"):
            sizes[row["dataset"]][_short(row)] += 1
            wanted[row["dataset"]] = row["holdout"]
            messages.add(row)
    chosen = {name: _chosen(name, groups, wanted[name], source.path) for name, groups in sizes.items()}
    held = _Held(set(), set(), set())
    for row in source.each("tune", "hold out"):
        if row.get("holdout") and _short(row) in chosen[row["dataset"]]:
            held.ids.add(row["id"])
            held.asks.update(asked.measured(row, told_apart=messages.differ(row)))
            held.begun.update(asked.begun(row, told_apart=messages.differ(row)))
            questions.add(row)
    return held


def _short(row: Row) -> bytes:
    """A group's digest, cut to 16 bytes: they sort alike."""
    return bytes.fromhex(_group(row)[:32])


def _chosen(name: str, groups: Counter[bytes], wanted: int, folder: Path) -> set[bytes]:
    """The first groups that hold so many rows together."""
    chosen: set[bytes] = set()
    taken = 0
    for group in sorted(groups):
        if taken >= wanted:
            break
        taken += groups[group]
        chosen.add(group)
    if taken == groups.total():
        raise DataError(
            f"dataset {name!r}: rows to train on after its holdout",
            f"the holdout takes all {taken} rows, in {len(groups)} group(s)",
            "lower `holdout:`, or declare a `group` with more than one value",
            file=folder,
        )
    return chosen
