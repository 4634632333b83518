"""Profiles of datasets, made in one pass over the records."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from tasks.lib import progress
from tasks.lib.drift import Profile
from tasks.lib.frames import Frames
from tasks.lib.records import ROLES, TOLD, LedgerLine, withheld

MANY, LONG, OFTEN = 200, 60, 5  # more answers, longer ones (in characters), or ones that are rarer on average are no labels
SAMPLE = 2_000  # rows of a dataset whose words are counted
WORDS = 500
WORD = re.compile(r"[^\W\d_]{2,}")
LABELS = ("response", "winner", "rating")


class _Counts:
    def __init__(self, role: str) -> None:
        self.role, self.rows = role, 0
        self.lengths: dict[str, Counter[int]] = defaultdict(Counter)
        self.labels: Counter[str] | None = Counter()
        self.words: Counter[str] = Counter()


def profiles(folder: Path, ledger: Sequence[LedgerLine], sensitive: Collection[str]) -> dict[str, Profile]:
    """The profile of every dataset; labels and words of sensitive columns are left out.

    Args:
        folder: a records artifact's folder.
        ledger: its ledger, which says how many rows a dataset has.
        sensitive: columns of which no value may leave the records.
    """
    used: Counter[str] = Counter()
    for line in ledger:
        used[line.dataset] += line.rows_used
    every = {name: max(1, count // SAMPLE) for name, count in used.items()}
    found: dict[str, _Counts] = {}
    hidden = withheld(sensitive)
    for role in ROLES:
        frames = Frames(folder, role)
        shown = [column for column in frames.columns if column not in hidden]
        with progress.Bar(f"describe {role}", frames.rows, " rows") as bar:
            for table in frames.batches() if frames.rows else []:
                for name, part in table.groupby("dataset", sort=False):
                    _count(found.setdefault(str(name), _Counts(role)), part, shown, every[str(name)])
                bar.advance(len(table))
    return {name: _profile(counts, sorted(sensitive)) for name, counts in found.items()}


def _count(counts: _Counts, rows: Any, columns: Sequence[str], every: int) -> None:
    # every so many rows by their place among the dataset's, so that the same data give the same sample
    places = range(counts.rows, counts.rows + len(rows))
    sampled = rows[[place % every == 0 for place in places]]
    counts.rows += len(rows)
    for field in TOLD:
        if f"{field}_chars" not in rows:
            continue
        lengths = rows[f"{field}_chars"].dropna().astype(int)
        counts.lengths[field].update(length.bit_length() for length in lengths.tolist())
        if field in columns:
            for text in sampled[field].dropna():
                counts.words.update(WORD.findall(text.lower()))
    for field in LABELS:
        if counts.labels is not None and field in columns:
            counts.labels.update(map(str, rows[field].dropna()))
            if len(counts.labels) > MANY or any(len(label) > LONG for label in counts.labels):
                counts.labels = None


def _profile(counts: _Counts, hidden: list[str]) -> Profile:
    lengths = {field: [bins[place] for place in range(max(bins) + 1)] for field, bins in sorted(counts.lengths.items()) if bins}
    words = sorted(counts.words.items(), key=lambda item: (-item[1], item[0]))[:WORDS]
    few = {} if counts.labels is None or counts.rows < OFTEN * len(counts.labels) else dict(sorted(counts.labels.items()))
    return Profile(role=counts.role, rows=counts.rows, lengths=lengths, labels=few, words=dict(words), hidden=hidden)
