"""The report card of a domain's data, for the people who made the data: one page, in plain words."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from tasks.lib import card_plots, chats, failing, page, pages
from tasks.lib.card_plots import Panels
from tasks.lib.domain import DomainCard
from tasks.lib.drift import Accepted, Profile
from tasks.lib.expectations_result import Verdict
from tasks.lib.records import TOLD, LedgerLine, Row, content_of, iterate, lost

EXCERPT = 280  # characters
SHOWN = (*TOLD, "rating", "winner")
# what to do about a reason; those of the second list need nothing
REMEDIES = {
    "missing-value": "fill the cell, or leave the column out of `columns:` if it may be empty",
    "broken-row": "write the row again: its cells, quotes or JSON are not whole",
    "missing-column": "write the column in every row, or map another one",
    "not-a-number": "write a number, with a decimal point and no unit, or remove the row",
    "unreadable-smiles": "correct the SMILES: RDKit names the atom that it cannot place",
    "unknown-value": "correct the value, or add it to `choices:` or `values:`",
    "spreadsheet-error": "repair the formula in the spreadsheet and save it again",
    "formula-without-value": "open the file in a spreadsheet program and save it, so that it keeps the results",
    "nested-value": "name the part of the object in the map, as `{column.key}`, or say `columns: {column: json}` for all of it",
    "not-json": "write the object as JSON, or take `json` away from `columns:`",
    "not-a-conversation": "write a list of turns, each with role and content",
    "no-assistant-turn": "write the answer, or remove the conversation",
    "unanswered-turn": "write the last answer, or remove the last question",
    "turns-out-of-order": "join turns of one side, and let the user begin",
    "unknown-role": "name the sides system, user and assistant; other turns cannot be trained on",
    "empty-turn": "write what was said, or remove the conversation",
    "contradictory-value": "decide which value is right, and remove the others",
    "broken-text": "write the text again: a character was cut in half",
    "undecodable": "say `encoding:` in domain.yaml, or save the file as UTF-8",
    "bom-only": "the document is empty: export it again from where it came",
    "empty-text": "the document or page is empty: export it again, or recognise the text of a scan",
    "empty-prompt": "write the question",
    "empty-answer": "write the answer, or remove the row",
    **dict.fromkeys(("empty-chosen", "empty-rejected"), "write the better and the worse answer, or remove the pair"),
    **dict.fromkeys(("empty-a", "empty-b"), "write both answers, or remove the comparison"),
    "equal-sides": "write a worse answer beside the better one, or remove the pair: both say the same",
    "too-short": "join it with what belongs to it, or lower `clean.min_chars`",
    "contradictory-label": "decide which label is right, and remove the others",
    "contradictory-rating": "decide which rating is right, and remove the others",
    "contradictory-choice": "decide which choice is right, and remove the others",
    "eval-overlap": "nothing, if the row is to measure with; else remove it from the evaluation set",
    "no-counterpart": "rate another answer to the same question higher or lower",
}

NOTHING_TO_DO = ("exact-repeat", "near-repeat", "page-furniture")


@dataclass(frozen=True)
class Example:
    """One row that stands for a reason, and how many there are like it."""

    reason: str
    count: int
    dataset: str
    place: str
    detail: str
    excerpt: str
    remedy: str


@dataclass(frozen=True)
class Judged:
    """What the check said: verdicts, profiles of the datasets, and what was accepted before, by dataset."""

    verdicts: Sequence[Verdict]
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    accepted: Mapping[str, Accepted] = field(default_factory=dict)


def render(
    domain: str, said: DomainCard, ledger: Sequence[LedgerLine], judged: Judged, folders: dict[str, Path], parts: Sequence[str] = ()
) -> str:
    """The page as HTML that loads nothing.

    Args:
        domain: its name.
        said: its card; where that names sensitive columns, no content of any row is shown.
        ledger: the ledger after the last data stage.
        judged: what the check said.
        folders: of the data stages' artifacts, by stage.
        parts: a sentence on each dataset of which not every row in use is trained on.
    """
    verdicts = judged.verdicts
    sensitive = bool(said.sensitive)
    examples = _examples(folders, sensitive)
    urgent = [example for example in examples if example.remedy]
    unmet = failing.failures(verdicts, folders.get("ingest"), withheld=sensitive)
    failed = [failure for failure in unmet if failure.verdict.severity != "info"]
    nothing = lost(list(ledger))
    rows_in, used = sum(line.rows_in for line in ledger), sum(line.rows_used for line in ledger)
    return (
        pages.templates()
        .get_template("card.html.jinja")
        .render(
            title=f"{domain}: the data", domain=domain, purpose=_sentence(said.purpose), owner=said.owner, verdicts=verdicts, failed=failed, notes=[failure for failure in unmet if failure not in failed], examples=examples, urgent=urgent,
            verdict=_verdict(rows_in, used, urgent, failed, nothing), lost=nothing, panels=_panels(judged, folders, sensitive), drift=drift_told(domain, judged.accepted), samples=_samples(folders, sensitive),
            latest=chats.latest, told=failing.told, sensitive=sensitive, unstated=said.unstated, data={"ledger": ledger}, held_out=parts, **page.ledger(_Data(list(ledger))),
        )
    )  # fmt: skip


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."


@dataclass(frozen=True)
class _Data:
    ledger: list[LedgerLine]


def _verdict(rows_in: int, used: int, urgent: Sequence[Example], failed: Sequence[Any], nothing: Sequence[str]) -> str:
    """Two sentences: what can be used, and what to look at first."""
    said = f"Of {rows_in:,} rows, {used:,} can be used and {rows_in - used:,} are set aside, each with a reason."
    if failed:
        return f"{said} {len(failed)} of the expectations on the data are not met: look at these first."
    if nothing:
        return f"{said} {len(nothing)} dataset(s) lost every row: look at these first."
    if urgent:
        repairable, most = sum(example.count for example in urgent), urgent[0]
        found = f"{most.count:,} at {most.dataset} ({most.reason.replace('-', ' ')})"
        told = "all of them" if len(urgent) == 1 else "the largest part"
        return f"{said} {repairable:,} of those set aside can be repaired, {told} {found}."
    return f"{said} Nothing needs to be repaired."


def _examples(folders: dict[str, Path], sensitive: bool) -> list[Example]:
    """The first row of every reason and dataset, the most frequent first."""
    counts: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], Row] = {}
    for stage, folder in folders.items():
        for row in iterate(folder, "set_aside"):
            key = (row["reason"], row["dataset"])
            counts[key] += 1
            if key not in first:
                content = content_of(row)  # columns as they were read, or a record, of which people know the fields
                first[key] = {**row, "record": content if stage == "ingest" else {k: content[k] for k in SHOWN if k in content}}
    return [_example(first[key], count, sensitive) for key, count in counts.most_common()]


def _example(row: Row, count: int, sensitive: bool) -> Example:
    content = row["record"]
    told = "; ".join(f"{name}: {' '.join(_said(value).split())}" for name, value in content.items() if _said(value).strip())
    excerpt = "" if sensitive else told if len(told) <= EXCERPT else told[:EXCERPT] + " …"
    detail = "" if sensitive else row["detail"]
    place = f"{row['file']}, row {row['row']}"
    return Example(row["reason"], count, row["dataset"], place, detail, excerpt, REMEDIES.get(row["reason"], ""))


def _said(value: Any) -> str:
    """A value as text; of the turns of a conversation, who said what."""
    return chats.told(value) if isinstance(value, list) else str(value)


def _panels(judged: Judged, folders: dict[str, Path], sensitive: bool) -> list[tuple[str, Panels]]:
    """Drawings under their headings; labels are values, and kept back where columns are sensitive."""
    found: list[tuple[str, Panels]] = []
    if not sensitive:
        found.append(("What the answers, ratings and choices are, in per cent", card_plots.labels(judged.profiles)))
        found.append(("How the numbers lie, in rows", card_plots.numbers(folders["ingest"]) if "ingest" in folders else []))
    found.append(("How long the texts are, in characters", card_plots.lengths(folders["split"]) if "split" in folders else []))
    return [(heading, panels) for heading, panels in found if panels]


def drift_told(domain: str, accepted: Mapping[str, Accepted]) -> str:
    """What drift is measured against, or that nothing was accepted yet, and how to."""
    if not accepted:
        told = "Drift is not judged: nothing has been accepted yet. When the data are as they should be, run"
        return f"{told} slmforge accept {domain} --by PERSON --why REASON; from then on, check tells how far they are from that."
    said = dict.fromkeys(f"{one.by} on {one.on} ({one.why})" for one in accepted.values())
    return f"Drift is measured against what was accepted by {'; by '.join(said)}."


def _samples(folders: dict[str, Path], sensitive: bool) -> list[tuple[str, list[Row]]]:
    """Two rows of every role, as the model will see them."""
    if sensitive or "split" not in folders:
        return []
    parts = [(part.removesuffix("-train"), list(islice(iterate(folders["split"], part), 2))) for part in _PARTS]
    return [(role, [{key: row[key] for key in ("id", *TOLD) if row.get(key)} for row in rows]) for role, rows in parts if rows]


_PARTS = ("corpus-train", "tune-train", "preference-train", "eval")
