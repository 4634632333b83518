"""A budget for forgetting: a training after which general text is harder to predict than accepted is done again with more replay."""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import Field

from tasks.lib import tracking
from tasks.lib.config import Declared
from tasks.lib.errors import DataError
from tasks.lib.mixing import Drawn


class Forgetting(Declared):
    """How much general text may become harder to predict, and how far the replayed share may rise to keep it so."""

    budget: float = Field(default=0.02, ge=0, description="rise of the loss on held-out general text that is accepted, as a share")
    tries: int = Field(default=3, ge=1, description="further trainings, each with twice the replay of the one before, up to `most`")
    most: float = Field(default=0.5, gt=0, lt=1, description="the largest share of replay; from a `replay` as large, nothing is tried")

    def more(self, replay: float) -> float:
        """The share to try next."""
        return min(self.most, max(2 * replay, 0.05))


@dataclass
class Attempt:
    """One training with one share of replay, and the losses on held-out text before and after, in nats a token, by kind of text."""

    replay: float  # the share that was asked for
    reached: float  # the share that there was text for
    exhausted: bool  # whether all text is in it: a larger share would be the same training
    network: Any
    objective: Any
    learned: Any
    facts: dict[str, int]
    drawn: dict[str, Drawn]
    losses: dict[str, tuple[Any, Any]]  # None where no text of a kind is held out

    @property
    def forgot(self) -> float:
        """The rise of the loss on general text, as a share."""
        before, after = self.losses["general"]
        return float(round(after / before - 1, 6))

    def told(self) -> dict[str, Any]:
        """For the record."""
        losses = {kind: list(pair) for kind, pair in self.losses.items()}
        return {"replay": self.replay, "reached": self.reached, "exhausted": self.exhausted, "forgot": self.forgot, **losses}


A = TypeVar("A", bound=Attempt)


def best(attempt: Callable[[float], A], replay: float, budget: Forgetting | None, general: int) -> A:
    """The first training within the budget, else the one that forgot least; the stage's record tells of all.

    Args:
        attempt: trains from the same start with a share of replay; of those that are not kept no model stays in memory.
        replay: the share to begin with.
        budget: None for one training.
        general: how many general documents are held out.

    Raises:
        DataError: there is a budget, and no general text is held out.
    """
    if budget is None:
        return attempt(replay)
    if not general:
        raise DataError(
            f"a forgetting budget of {budget.budget:.1%}", "no general text that is held out", "add a dataset with role general"
        )
    kept = last = attempt(replay)
    tried, place = [last.told()], kept.network.device
    while not _enough(last, len(tried), budget):
        share = budget.more(last.replay)
        kept.network.to("cpu")  # an accelerator may hold no second one
        del last
        gc.collect()  # trainers hold their models in circles
        last = attempt(share)
        tried.append(last.told())
        if last.forgot <= budget.budget or last.forgot < kept.forgot:
            kept = last
    del last
    kept.network.to(place)
    tracking.measure(**kept.learned.measured, forgetting=tried, replay=kept.replay, replay_reached=kept.reached)
    return kept


def _enough(last: Attempt, tried: int, budget: Forgetting) -> bool:
    """Whether the last attempt is within the budget, or there is nothing left to try."""
    return last.forgot <= budget.budget or tried > budget.tries or last.replay >= budget.most or last.exhausted
