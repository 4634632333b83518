"""A step's blocks dealt to several processes, so that together they take the step that one process would take."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from accelerate.data_loader import SeedableRandomSampler
from torch.utils.data import Dataset, Sampler

from tasks.lib.packing import IGNORED

NUMBER = "number"  # the column that tells which block or pair a row is
BLANK = -1  # the number of a row that stands in for nothing


class Dealt(Sampler[list[int]]):
    """The batches of one process, as lists of indexes.

    In every epoch the order is the one in which a single process takes the rows; without a seed, that in which they are. Of each step, rank r takes every
    `count`-th row from the r-th on. The last step of an epoch may be short: then shares differ by one row at most, and a rank
    that would have nothing gets a blank (a negative index, see `Blanks`), because all ranks must compute equally often.
    """

    def __init__(self, rows: int, rank: int, count: int, share: tuple[int, int], seed: int | None) -> None:
        self._order = range(rows) if seed is None else SeedableRandomSampler(range(rows), data_seed=seed)
        self._rows, self._rank, self._count = rows, rank, count
        self._at_once, times = share
        self._step = self._at_once * times * count

    def _rounds(self, rows: int) -> int:
        return math.ceil(math.ceil(rows / self._count) / self._at_once)

    def __len__(self) -> int:
        whole, rest = divmod(self._rows, self._step)
        return whole * self._rounds(self._step) + self._rounds(rest)

    def __iter__(self) -> Iterator[list[int]]:
        order = list(self._order)
        for start in range(0, self._rows, self._step):
            step = order[start : start + self._step]
            mine = step[self._rank :: self._count]
            for turn in range(self._rounds(len(step))):
                yield mine[turn * self._at_once : (turn + 1) * self._at_once] or [~step[0]]


class Blanks(Dataset[dict[str, Any]]):
    """Rows, and at a negative index `~i` row i with no label and no number."""

    def __init__(self, rows: Any) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row: dict[str, Any] = self._rows[max(index, ~index)]
        if index >= 0:
            return row
        blank = {**row, NUMBER: BLANK}
        if "labels" in row:  # one for each token, or the one of a classified text
            blank["labels"] = [IGNORED] * len(row["labels"]) if isinstance(row["labels"], list) else IGNORED
        return blank


def weights(batches: Sequence[dict[str, Any]], gather: Callable[[Any], Any]) -> list[float]:
    """What the mean loss of each of a process's batches must be multiplied by, where all of them are one step.

    The libraries take the mean over a step's batches and over the processes, as if all were of one size. With these
    factors each label (without labels: each row) weighs the same, whichever batch it is in, and a blank nothing.
    """
    own = [_items(batch) for batch in batches]
    whole = gather(torch.tensor([[sum(own), len(own)]], device=batches[0][NUMBER].device)).sum(dim=0).tolist()
    return [count * whole[1] / max(1, whole[0]) for count in own]


def _items(batch: dict[str, Any]) -> int:
    real = batch[NUMBER] != BLANK
    if "labels" not in batch:
        return int(real.sum())
    return int((batch["labels"][real] != IGNORED).sum())


def uneven(gather: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A `gather` that also takes tensors of which the processes have different lengths."""

    def gathered(tensor: Any) -> Any:
        if not isinstance(tensor, torch.Tensor) or tensor.dim() == 0:
            return gather(tensor)
        sizes = gather(torch.tensor([len(tensor)], device=tensor.device)).tolist()
        if len(set(sizes)) == 1:
            return gather(tensor)
        filled = tensor.new_zeros((max(sizes), *tensor.shape[1:]))
        filled[: len(tensor)] = tensor
        return torch.cat([part[:size] for part, size in zip(gather(filled).split(max(sizes)), sizes, strict=True)])

    return gathered
