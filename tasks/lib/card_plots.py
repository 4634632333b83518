"""What the report card draws of the data: how long the texts are, how often each label is given, how numbers lie."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks.lib import plots
from tasks.lib.drift import Profile
from tasks.lib.records import Row, iterate

EDGES = (0, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 50_000)  # of lengths, in characters
# what is trained on or measured with, by part
FIELDS = {
    "corpus-train": ("text",),
    "tune-train": ("system", "history", "prompt", "response"),
    "preference-train": ("prompt", "chosen", "rejected"),
    "eval": ("system", "history", "prompt", "response"),
}
MANY = 20  # labels drawn; what is rarer is drawn as one
BINS = 10  # of numbers
DISTINCT = 20  # so many different numbers are drawn as a distribution; fewer are labels
NUMBERS = {"tune": "response", "preference": "rating"}
Panels = list[tuple[str, Any]]


def lengths(split: Path) -> Panels:
    """A histogram of lengths for every field that is trained on or measured with."""
    counts: dict[str, Counter[int]] = {}
    for part, fields in FIELDS.items():
        for row in iterate(split, part):
            for field in fields:
                if row.get(field):
                    bins = counts.setdefault(f"{part.removesuffix('-train')} {field}", Counter())
                    bins[max(place for place, edge in enumerate(EDGES) if _length(row[field]) >= edge)] += 1
    return [(name, plots.bars(list(_bars(bins)), f"lengths of {name} in characters")) for name, bins in counts.items()]


def _length(value: Any) -> int:
    return sum(len(turn["content"]) for turn in value) if isinstance(value, list) else len(value)


def _bars(bins: Counter[int]) -> Iterator[plots.Dot]:
    for place in range(min(bins), max(bins) + 1):
        above = f"{EDGES[place]:,} –" if place + 1 == len(EDGES) else f"{EDGES[place]:,} – {EDGES[place + 1] - 1:,}"
        yield plots.Dot(above, float(bins[place]), strong=True)


def labels(profiles: Mapping[str, Profile]) -> Panels:
    """The shares of the labels of every dataset that has few answers, in per cent, the most frequent first."""
    made: Panels = []
    for name, profile in profiles.items():
        total = sum(profile.labels.values())
        if len(profile.labels) < 2 or not total:
            continue
        ranked = sorted(profile.labels.items(), key=lambda item: (-item[1], item[0]))
        shown = [plots.Dot(label, 100 * count / total, strong=True) for label, count in ranked[:MANY]]
        if further := ranked[MANY:]:
            shown.append(plots.Dot(f"{len(further)} others", 100 * sum(count for _, count in further) / total))
        made.append((f"{name}: {len(ranked)} labels, {total:,} rows", plots.bars(shown, f"shares of the labels of {name} in per cent", 1)))
    return made


def numbers(records: Path) -> Panels:
    """A histogram for every dataset whose answers or ratings are numbers of many values."""
    spans: dict[str, tuple[float, float]] = {}
    different: dict[str, set[float]] = defaultdict(set)
    other: set[str] = set()
    for name, number in _numbers(records):
        if number is None:
            other.add(name)
            continue
        low, high = spans.get(name, (number, number))
        spans[name] = (min(low, number), max(high, number))
        if len(different[name]) <= DISTINCT:
            different[name].add(number)
    drawn = {name: span for name, span in spans.items() if name not in other and len(different[name]) > DISTINCT}
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    for name, number in _numbers(records) if drawn else ():
        if name in drawn and number is not None:
            low, high = drawn[name]
            counts[name][min(BINS - 1, int((number - low) / (high - low) * BINS))] += 1
    return [(f"{name}: numbers", plots.bars(_spans(*drawn[name], counts[name]), f"numbers of {name}")) for name in drawn]


def _numbers(records: Path) -> Iterator[tuple[str, float | None]]:
    """Dataset and number of each answer or rating; None for one that is no number."""
    for role, field in NUMBERS.items():
        for row in iterate(records, role):
            if row.get(field) not in (None, ""):
                yield row["dataset"], _number(row, field)


def _number(row: Row, field: str) -> float | None:
    try:
        found = float(row[field])
    except ValueError:
        return None
    return found if abs(found) < float("inf") else None  # neither infinite nor NaN


def _spans(low: float, high: float, bins: Counter[int]) -> list[plots.Dot]:
    step = (high - low) / BINS
    kind = f",.{min(6, max(0, 1 - math.floor(math.log10(step))))}f" if step > 1e-6 and max(abs(low), abs(high)) < 1e9 else ".3e"
    edges = [f"{low + place * step:{kind}}" for place in range(BINS + 1)]
    return [plots.Dot(f"{edges[place]} to {edges[place + 1]}", float(bins[place]), strong=True) for place in range(BINS)]
