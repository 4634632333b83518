"""How often a row is drawn: by its dataset's weight, the same rows every time."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tasks.lib import digests
from tasks.lib.config import Declared
from tasks.lib.records import Row


class Drawn(Declared):
    """What training drew of one dataset."""

    rows: int  # of its training part
    drawn: int  # draws in one pass: a row of weight 2 is drawn twice
    not_drawn: int  # rows that are in no pass, because the weight is below 1 or the share was full
    size: int = 0  # tokens in blocks, or pairs, of one pass
    trained: int = 0  # the same, each as often as it was trained on
    too_long: int = 0  # draws that were left out, because the answer (or an answer of a pair) does not fit
    part_too_long: int = 0  # draws of which some answers were left out, and others trained on
    truncated: int = 0  # draws of which the prompt lost its beginning
    tokens_truncated: int = 0  # tokens of it, in one pass
    tokens_left_out: int = 0  # tokens of what was left out, with the turns before it
    replay_cut: int = 0  # tokens of replayed documents beyond the share

    @property
    def losses(self) -> list[str]:
        """What did not fit, in a few words each."""
        told = {
            f"{self.too_long:,} too long": self.too_long,
            f"{self.part_too_long:,} in part too long": self.part_too_long,
            f"{self.tokens_left_out:,} tokens left out": self.tokens_left_out,
            f"{self.truncated:,} cut by {self.tokens_truncated:,} tokens": self.truncated,
            f"{self.replay_cut:,} tokens beyond the replayed share": self.replay_cut,
        }
        return [words for words, count in told.items() if count]


class Weights(Declared):
    """How often each row of a dataset is drawn in one pass; once, where nothing is said."""

    of: dict[str, float] = {}


EVEN = Weights()


class Draws:
    """Rows as often as the weight of their dataset says, counted."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights.of
        self.rows: Counter[str] = Counter()
        self.drawn: Counter[str] = Counter()
        self.not_drawn: Counter[str] = Counter()

    def of(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Each row, whole times the weight; the fraction is a draw by the row's id."""
        for row in rows:
            self.count(row["dataset"], drawn := times(row["id"], self._weights.get(row["dataset"], 1.0)))
            for _ in range(drawn):
                yield row

    def count(self, dataset: str, drawn: int) -> None:
        """Note that a row is drawn so many times."""
        self.rows[dataset] += 1
        self.drawn[dataset] += drawn
        self.not_drawn[dataset] += drawn == 0

    @property
    def total(self) -> int:
        """Rows that were drawn, of all datasets."""
        return self.drawn.total()

    def facts(self, size: Mapping[str, int], trained: Mapping[str, int], lost: Mapping[str, Any]) -> dict[str, Drawn]:
        """By dataset, with the tokens (or pairs) of one pass, those trained on, and those lost."""
        return {
            name: Drawn(
                rows=self.rows[name],
                drawn=self.drawn[name],
                not_drawn=self.not_drawn[name],
                size=size.get(name, 0),
                trained=trained.get(name, 0),
                **(vars(lost[name]) if name in lost else {}),
            )
            for name in sorted(self.rows)
        }


def times(identifier: str, weight: float) -> int:
    """How often a row is drawn in one pass."""
    whole = int(weight)
    return whole + (int(digests.of_text(f"draw\x1f{identifier}")[:16], 16) < (weight - whole) * 2**64)


def tokens_by_source(blocks: Any, sources: Sequence[str], trained: Mapping[int, int]) -> tuple[Counter[str], Counter[str]]:
    """Tokens of one pass and tokens trained on, by dataset.

    Args:
        blocks: packed blocks, whose column `rows` numbers the row of each token, from 1.
        sources: the dataset of each row, in the order of the numbers.
        trained: how often each block was trained on.
    """
    once: Counter[str] = Counter()
    often: Counter[str] = Counter()
    for number, rows in enumerate(blocks["rows"]):
        for row, count in Counter(rows).items():
            once[sources[row - 1]] += count
            often[sources[row - 1]] += count * trained.get(number, 0)
    return once, often


def pairs_by_source(sources: Sequence[str], trained: Mapping[int, int]) -> tuple[Counter[str], Counter[str]]:
    """Pairs of one pass and pairs trained on, by dataset: `sources` and `trained` are in the order of the pairs."""
    often: Counter[str] = Counter()
    for number, source in enumerate(sources):
        often[source] += trained.get(number, 0)
    return Counter(sources), often
