"""Continue pretraining on the domain's corpus, with general text replayed against forgetting."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from tasks.lib import balance, progress
from tasks.lib.architecture import require
from tasks.lib.config import Declared, StageConfig
from tasks.lib.errors import DataError
from tasks.lib.mixing import EVEN, Drawn, Draws, Weights, tokens_by_source
from tasks.lib.model import Model
from tasks.lib.records import iterate
from tasks.lib.stage import stage
from tasks.lib.training_config import TrainingConfig
from tasks.split import Split


class Forgetting(Declared):
    """How much general text may become harder to predict, and how far the replayed share may rise to keep it so."""

    budget: float = Field(default=0.02, ge=0, description="rise of the loss on held-out general text that is accepted, as a share")
    tries: int = Field(default=3, ge=1, description="further trainings, each with twice the replay of the one before")
    most: float = Field(default=0.5, gt=0, lt=1, description="the largest share of replay")

    def more(self, replay: float) -> float:
        """The share to try next."""
        return min(self.most, max(2 * replay, 0.05))


class PretrainConfig(TrainingConfig, StageConfig):
    """Continued pretraining."""

    learning_rate: float = Field(default=8e-4, ge=0)
    replay: float = Field(default=0.15, ge=0, lt=1, description="share of general text among the documents' characters")
    forgetting: Forgetting | None = Field(default=None, description="a budget; without it the replay stays as it is")
    mask: float = Field(default=0.15, gt=0, lt=1, description="share of the tokens that an encoder learns to fill in")
    new_tokens: Annotated[int, Field(ge=0)] | list[str] = Field(
        default=0, description="words of the documents that become tokens: so many, those that save most, or a list of them"
    )


@dataclass
class Attempt:
    """One training with one share of replay, and the held-out losses before and after, in nats a token."""

    replay: float  # the share that was asked for
    reached: float  # the share that there was general text for
    exhausted: bool  # whether all general text is in it: a larger share would be the same training
    network: Any
    objective: Any
    learned: Any
    facts: dict[str, int]
    drawn: dict[str, Drawn]
    extension: Any
    losses: dict[str, tuple[float | None, float | None]]

    @property
    def forgot(self) -> float | None:
        """The rise of the loss on general text, as a share; None where none is held out."""
        before, after = self.losses["general"]
        return None if not before or after is None else round(after / before - 1, 6)

    def told(self) -> dict[str, Any]:
        """For the record."""
        losses = {kind: list(pair) for kind, pair in self.losses.items()}
        return {"replay": self.replay, "reached": self.reached, "exhausted": self.exhausted, "forgot": self.forgot, **losses}


@stage(version="6", needs=("models", "objectives", "vocabulary"))
def pretrain(out: Path, cfg: PretrainConfig, model: Model, data: Split, weights: Weights = EVEN) -> Model:
    """Continue pretraining on domain documents and a replayed share of general ones.

    A decoder learns the next token, an encoder the masked ones; the record says which, how documents are kept apart,
    and the loss on held-out documents and general text before and after. Over a forgetting budget the training is done again
    with more replay, from the same start, as long as there is general text for it; the first within the budget is kept, else the
    one that forgot least.
    """
    from tasks.lib import models, tracking, vocabulary

    require(model.architecture, ("decoder", "encoder"), "pretrain")
    best, tried = _best(cfg, model, data, weights)
    (before, after), tokenizer = best.losses["corpus"], best.objective.tokenizer
    tracking.measure(**best.objective.facts(), heldout_loss_before=before, heldout_loss_after=after)
    if cfg.forgetting is not None:
        tracking.measure(**best.learned.measured, forgetting=tried, replay=best.replay, replay_reached=best.reached)
    models.save(best.network, tokenizer, out)
    changed: dict[str, Any] = {"bytes": models.weight_bytes(out)}
    if best.extension is not None:
        vocabulary.require_reloaded(best.network, tokenizer, out, best.extension.words)
        tracking.measure(**best.extension.measured())
        changed |= {"vocabulary": len(tokenizer), "parameters": models.parameters(best.network)}
    return model.model_copy(update={**changed, "data": best.facts, "drawn": best.drawn})


def _best(cfg: PretrainConfig, model: Model, data: Split, weights: Weights) -> tuple[Attempt, list[dict[str, Any]]]:
    """The training that is kept, and what there is to tell of all; of the others no model stays in memory."""
    best = last = _attempt(cfg, cfg.replay, model, data, weights)
    tried = [last.told()]
    if cfg.forgetting is None:
        return best, tried
    _require_measured(best, cfg.forgetting)
    while not _enough(last, len(tried), cfg.forgetting):
        replay = cfg.forgetting.more(last.replay)
        best.network.to("cpu")  # an accelerator may hold no second one
        del last
        last = _attempt(cfg, replay, model, data, weights)
        tried.append(last.told())
        if _within(last, cfg.forgetting) or (last.forgot or 0.0) < (best.forgot or 0.0):
            best = last
    return best, tried


def _attempt(cfg: PretrainConfig, replay: float, model: Model, data: Split, weights: Weights) -> Attempt:
    """Train from the start with this share of replay."""
    from tasks.lib import models, objectives

    network, tokenizer = models.load(model.path), models.load_tokenizer(model.path)
    extension = _extended(network, tokenizer, cfg, data) if cfg.new_tokens else None
    objective = objectives.choose(network, tokenizer, cfg.length, cfg.mask)
    encoder, draws = objective.encoder, Draws(weights)
    mixed = mixture(data, replay, cfg.seed, draws)
    blocks = objective.blocks(mixed.pieces(encoder), cfg.seed)
    before = {kind: _held_out(objective, network, data, kind) for kind in ("corpus", "general")}
    learned = objective.fit(network, blocks, cfg, "pretrain")
    losses = {kind: (loss, _held_out(objective, network, data, kind)) for kind, loss in before.items()}
    drawn = draws.facts(*tokens_by_source(blocks, encoder.sources, learned.times), encoder.lost)
    tally = encoder.tally.facts()
    balance.of_blocks("pretrain", draws.total, tally, learned.facts)
    facts = {**tally, **mixed.counted, **({} if extension is None else extension.facts()), **learned.facts}
    size = sum(len(text) for text, _ in mixed.texts)
    general = mixed.counted["general_characters"]
    exhausted = general < replay / (1 - replay) * (size - general)
    return Attempt(replay, round(general / size, 6), exhausted, network, objective, learned, facts, drawn, extension, losses)


def _require_measured(first: Attempt, budget: Forgetting) -> None:
    if first.forgot is None:
        raise DataError(
            f"a forgetting budget of {budget.budget:.1%}", "no general text that is held out", "add a dataset with role general"
        )


def _within(attempt: Attempt, budget: Forgetting) -> bool:
    return (attempt.forgot or 0.0) <= budget.budget


def _enough(last: Attempt, tried: int, budget: Forgetting) -> bool:
    """Whether the last attempt is within the budget, or there is nothing left to try."""
    return _within(last, budget) or tried > budget.tries or last.replay >= budget.most or last.exhausted


def _extended(network: Any, tokenizer: Any, cfg: PretrainConfig, data: Split) -> Any:
    """The words that were added, counted on validation documents."""
    from tasks.lib import vocabulary

    texts, held_out = ([row["text"] for row in iterate(data.path, f"corpus-{part}")] for part in ("train", "valid"))
    return vocabulary.extend(network, tokenizer, cfg.new_tokens, texts, held_out or texts)


def _held_out(objective: Any, network: Any, data: Split, kind: str) -> float | None:
    """Nats a token on validation documents, or on held-out general text."""
    loss = objective.loss_of(network, (row["text"] for row in iterate(data.path, f"{kind}-valid")))
    return None if loss is None else round(loss, 5)


class Mixture(NamedTuple):
    """Documents to learn from, (text, dataset) of each; the rest of the last general one, which is cut; and counts."""

    texts: list[tuple[str, str]]
    rest: tuple[str, str]
    counted: dict[str, int]

    def pieces(self, encoder: Any) -> Iterator[dict[str, Any]]:
        """All documents as pieces; what is cut is counted by the encoder."""
        for text, source in progress.rows(self.texts, "tokenise documents", len(self.texts), " documents"):
            yield from encoder.document(text, source)
        if self.rest[0]:
            encoder.rest(*self.rest)


def mixture(data: Split, replay: float, seed: int, draws: Draws) -> Mixture:
    """Domain documents by their weights, and enough general ones to make up `replay` of all characters; `draws` counts by dataset."""
    domain = [(row["text"], row["dataset"]) for row in draws.of(iterate(data.path, "corpus-train"))]
    general = [(row["text"], row["dataset"]) for row in iterate(data.path, "general-train")]
    random.Random(seed).shuffle(general)
    wanted = replay / (1 - replay) * sum(len(text) for text, _ in domain)
    drawn, characters, rest = [], 0, ("", "")
    for text, source in general:
        draws.count(source, int(characters < wanted))
        if characters < wanted:
            piece = text[: int(wanted - characters) + 1]
            drawn.append((piece, source))
            characters += len(piece)
            rest = (text[len(piece) :], source)  # of the last one, the only one that may be cut
    counted = {
        "domain_documents": len(domain),
        "general_documents": len(drawn),
        "general_characters": characters,
        "general_characters_cut": len(rest[0]),
    }
    return Mixture([*domain, *drawn], rest, counted)
