"""Continue pretraining on the domain's corpus, with general text replayed against forgetting."""

import random
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from tasks.lib.architecture import require
from tasks.lib.mixing import EVEN, Draws, Weights, tokens_by_source
from tasks.lib.model import Model
from tasks.lib.records import iterate
from tasks.lib.stage import stage
from tasks.lib.training_config import TrainingConfig
from tasks.split import Split


class PretrainConfig(TrainingConfig):
    """Continued pretraining."""

    learning_rate: float = Field(default=8e-4, ge=0)
    replay: float = Field(default=0.15, ge=0, lt=1, description="share of general text among the documents' characters")
    mask: float = Field(default=0.15, gt=0, lt=1, description="share of the tokens that an encoder learns to fill in")
    new_tokens: Annotated[int, Field(ge=0)] | list[str] = Field(
        default=0, description="words of the documents that become tokens: so many, those that save most, or a list of them"
    )


@stage(version="4", needs=("models", "objectives", "vocabulary"))
def pretrain(out: Path, cfg: PretrainConfig, model: Model, data: Split, weights: Weights = EVEN) -> Model:
    """Continue pretraining on domain documents and a replayed share of general ones.

    A decoder learns the next token, an encoder the masked ones; the record says which, how documents are kept apart,
    and the loss on validation documents before and after.
    """
    from tasks.lib import models, objectives, tracking, vocabulary

    require(model.architecture, ("decoder", "encoder"), "pretrain")
    network, tokenizer = models.load(model.path), models.load_tokenizer(model.path)
    extension = _extended(network, tokenizer, cfg, data) if cfg.new_tokens else None
    objective = objectives.choose(network, tokenizer, cfg.length, cfg.mask)
    encoder, draws = objective.encoder, Draws(weights)
    texts, counted = mixture(data, cfg.replay, cfg.seed, draws)
    blocks = objective.blocks((piece for text, source in texts for piece in encoder.document(text, source)), cfg.seed)
    before = _held_out(objective, network, data)
    learned = objective.fit(network, blocks, cfg, "pretrain")
    tracking.measure(**objective.facts(), heldout_loss_before=before, heldout_loss_after=_held_out(objective, network, data))
    models.save(network, tokenizer, out)
    changed: dict[str, Any] = {"bytes": models.weight_bytes(out)}
    if extension is not None:
        vocabulary.require_reloaded(network, tokenizer, out, texts[0][0])
        tracking.measure(**extension.measured())
        counted |= extension.facts()
        changed |= {"vocabulary": len(tokenizer), "parameters": models.parameters(network)}
    drawn = draws.facts(*tokens_by_source(blocks, encoder.sources, learned.times), encoder.lost)
    facts = {**encoder.tally.facts(), **counted, **learned.facts}
    return model.model_copy(update={**changed, "data": facts, "drawn": drawn})


def _extended(network: Any, tokenizer: Any, cfg: PretrainConfig, data: Split) -> Any:
    """The words that were added, counted on validation documents."""
    from tasks.lib import vocabulary

    texts, held_out = ([row["text"] for row in iterate(data.path, f"corpus-{part}")] for part in ("train", "valid"))
    return vocabulary.extend(network, tokenizer, cfg.new_tokens, texts, held_out or texts)


def _held_out(objective: Any, network: Any, data: Split) -> float | None:
    """Nats a token on validation documents."""
    loss = objective.loss_of(network, (row["text"] for row in iterate(data.path, "corpus-valid")))
    return None if loss is None else round(loss, 5)


def mixture(data: Split, replay: float, seed: int, draws: Draws) -> tuple[list[tuple[str, str]], dict[str, int]]:
    """Domain documents by their weights, and enough general ones to make up `replay` of all characters.

    Returns (text, dataset) of each, and counts; `draws` counts by dataset.
    """
    domain = [(row["text"], row["dataset"]) for row in draws.of(iterate(data.path, "corpus-train"))]
    general = [(row["text"], row["dataset"]) for row in iterate(data.path, "general-train")]
    random.Random(seed).shuffle(general)
    wanted = replay / (1 - replay) * sum(len(text) for text, _ in domain)
    drawn, characters = [], 0
    for text, source in general:
        draws.count(source, int(characters < wanted))
        if characters < wanted:
            piece = text[: int(wanted - characters) + 1]
            drawn.append((piece, source))
            characters += len(piece)
    counted = {"domain_documents": len(domain), "general_documents": len(drawn), "general_characters": characters}
    return [*domain, *drawn], counted
