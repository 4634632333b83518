"""Continue pretraining on the domain's corpus, with general text replayed against forgetting."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from tasks.lib import balance, forgetting, progress
from tasks.lib.architecture import require
from tasks.lib.config import StageConfig
from tasks.lib.forgetting import Forgetting
from tasks.lib.mixing import EVEN, Draws, Weights, tokens_by_source
from tasks.lib.model import Model
from tasks.lib.records import iterate
from tasks.lib.stage import stage
from tasks.lib.training_config import TrainingConfig
from tasks.split import Split


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
class Attempt(forgetting.Attempt):
    """Also the words that were added."""

    extension: Any


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
    general = data.counts.get("general-valid", 0)
    best = forgetting.best(lambda replay: _attempt(cfg, replay, model, data, weights), cfg.replay, cfg.forgetting, general)
    (before, after), tokenizer = best.losses["corpus"], best.objective.tokenizer
    tracking.measure(**best.objective.facts(), heldout_loss_before=before, heldout_loss_after=after)
    models.save(best.network, tokenizer, out)
    changed: dict[str, Any] = {"bytes": models.weight_bytes(out)}
    if best.extension is not None:
        vocabulary.require_reloaded(best.network, tokenizer, out, best.extension.words)
        tracking.measure(**best.extension.measured())
        changed |= {"vocabulary": len(tokenizer), "parameters": models.parameters(best.network)}
    return model.model_copy(update={**changed, "data": best.facts, "drawn": best.drawn})


def _attempt(cfg: PretrainConfig, replay: float, model: Model, data: Split, weights: Weights) -> Attempt:
    """Train from the start with this share of replay."""
    from tasks.lib import models, objectives

    network, tokenizer = models.load(model.path), models.load_tokenizer(model.path)
    extension = _extended(network, tokenizer, cfg, data) if cfg.new_tokens else None
    objective = objectives.choose(network, tokenizer, cfg.length, cfg.mask, cfg.device)
    encoder, draws = objective.encoder, Draws(weights)
    mixed = mixture(data, replay, cfg.seed, draws)
    blocks = objective.blocks(mixed.pieces(encoder), cfg.seed)
    before = objective.held_out(network, data.path)
    learned = objective.fit(network, blocks, cfg, "pretrain")
    after = objective.held_out(network, data.path)
    losses = {kind: (before[kind], after[kind]) for kind in before}
    drawn = draws.facts(*tokens_by_source(blocks, encoder.sources, learned.times), encoder.lost)
    tally = encoder.tally.facts()
    balance.of_blocks("pretrain", draws.total, tally, learned.facts)
    facts = {**tally, **mixed.counted, **({} if extension is None else extension.facts()), **learned.facts}
    size = sum(len(text) for text, _ in mixed.texts)
    general = mixed.counted["general_characters"]
    exhausted = general < replay / (1 - replay) * (size - general)
    return Attempt(replay, round(general / size, 6), exhausted, network, objective, learned, facts, drawn, losses, extension)


def _extended(network: Any, tokenizer: Any, cfg: PretrainConfig, data: Split) -> Any:
    """The words that were added, counted on validation documents."""
    from tasks.lib import vocabulary

    texts, held_out = ([row["text"] for row in iterate(data.path, f"corpus-{part}")] for part in ("train", "valid"))
    return vocabulary.extend(network, tokenizer, cfg.new_tokens, texts, held_out or texts)


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
