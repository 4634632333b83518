"""Which datasets a training would learn nothing from, by the trainings' own encoders; asked through `examine`."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.lib import models, trial
from tasks.lib.mixing import Draws, Weights
from tasks.lib.packing import IGNORED, Encoder
from tasks.lib.preferences import pairs
from tasks.lib.records import Row, iterate

LOOKED = 20_000  # rows of a dataset: where none of so many fits, that all do not is likely, but not known, and not said


def facts(question: dict[str, Any]) -> list[tuple[str, str, int]]:
    """Stage, dataset and drawn rows, of each dataset of which no row leaves anything to learn.

    Args:
        question: `tokenizer` and `split` (folders), `lengths` of the stages, and `weights` of the datasets.
    """
    trial.limit()
    tokenizer = models.load_tokenizer(Path(question["tokenizer"]))
    found = []
    for stage, length in question["lengths"].items():
        part = "tune-train" if stage in ("tune", "distill") else "preference-train"
        rows = Draws(Weights(of=question["weights"])).of(iterate(Path(question["split"]), part))
        found += [(stage, name, count) for name, count in _barren(Encoder(tokenizer, length), rows, part)]
    return found


def _barren(encoder: Encoder, rows: Iterator[Row], part: str) -> Iterator[tuple[str, int]]:
    """Datasets with no label in any drawn row, or no pair that fits; a dataset is read until one is found."""
    looked: Counter[str] = Counter()
    good: set[str] = set()
    for row in rows:
        name = row["dataset"]
        if name in good:
            continue
        looked[name] += 1
        if looked[name] > LOOKED or (_answers(encoder, row) if part == "tune-train" else pairs(encoder, [row])[0]):
            good.add(name)
    return ((name, count) for name, count in looked.items() if name not in good)


def _answers(encoder: Encoder, row: Row) -> bool:
    """Whether the loss sees any token of a row; of a piece's first it sees none, as nothing precedes it."""
    return any(label != IGNORED for piece in encoder.exchange(row) for label in piece["labels"][1:])
