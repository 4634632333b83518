"""Which datasets a training would learn nothing from, by the trainings' own encoders; asked through `examine`."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.lib import models
from tasks.lib.mixing import Draws, Weights
from tasks.lib.packing import IGNORED, Encoder
from tasks.lib.preferences import pairs
from tasks.lib.records import Row, iterate

LOOKED = 20_000  # rows of a dataset: where none of so many fits, that all do not is likely, but not known, and not said
READ = 1_000_000  # rows in all, for the same reason
PARTS = {"tune": "tune-train", "distill": "tune-train", "align": "preference-train", "reward": "preference-train"}


def facts(question: dict[str, Any]) -> list[tuple[str, str, int]]:
    """Stage, dataset and drawn rows, of each dataset of which no row leaves anything to learn.

    Args:
        question: `tokenizer` and `split` (folders), `lengths` of the stages, `weights` of the datasets, and their `names` by part.
    """
    tokenizer = models.load_tokenizer(Path(question["tokenizer"]))
    found = []
    for part in sorted({PARTS[stage] for stage in question["lengths"]}):
        encoders = {stage: Encoder(tokenizer, length) for stage, length in question["lengths"].items() if PARTS[stage] == part}
        rows = Draws(Weights(of=question["weights"])).of(iterate(Path(question["split"]), part))
        found += _barren(encoders, rows, question["names"].get(part, []))
    return found


def _barren(encoders: dict[str, Encoder], rows: Iterator[Row], names: list[str]) -> list[tuple[str, str, int]]:
    """Stages and datasets with no label in any drawn row, or no pair that fits; rows are read until each has one."""
    looked: Counter[str] = Counter()
    waiting = {(stage, name) for stage in encoders for name in names}
    for number, row in enumerate(rows):
        if not waiting or number == READ:
            break
        name = row["dataset"]
        looked[name] += 1
        known = looked[name] > LOOKED
        waiting -= {(stage, name) for stage, encoder in encoders.items() if known or ((stage, name) in waiting and _learns(encoder, row))}
    else:
        return sorted((stage, name, looked[name]) for stage, name in waiting if looked[name])
    return []


def _learns(encoder: Encoder, row: Row) -> bool:
    """Whether the loss sees any token of a row; of a piece's first it sees none, as nothing precedes it."""
    if row["role"] == "preference":
        return bool(pairs(encoder, [row])[0])
    return any(label != IGNORED for piece in encoder.exchange(row) for label in piece["labels"][1:])
