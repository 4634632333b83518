"""Continue pretraining on the domain's corpus, with general text replayed against forgetting."""

import random
from pathlib import Path

from pydantic import Field

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


@stage(version="3", needs=("models", "training"))
def pretrain(out: Path, cfg: PretrainConfig, model: Model, data: Split, weights: Weights = EVEN) -> Model:
    """Continue pretraining the model on domain documents and a replayed share of general ones."""
    from tasks.lib import models
    from tasks.lib.packing import Encoder
    from tasks.lib.training import fit

    network, tokenizer = models.load(model.path), models.load_tokenizer(model.path)
    encoder = Encoder(tokenizer, cfg.length)
    draws = Draws(weights)
    texts, counted = mixture(data, cfg.replay, cfg.seed, draws)
    blocks = encoder.pack((piece for text, source in texts for piece in encoder.document(text, source)), cfg.seed)
    learned = fit(network, tokenizer, blocks, cfg, "pretrain")
    models.save(network, tokenizer, out)
    drawn = draws.facts(*tokens_by_source(blocks, encoder.sources, learned.times), encoder.lost)
    facts = {**encoder.tally.facts(), **counted, **learned.facts}
    return model.model_copy(update={"bytes": models.weight_bytes(out), "data": facts, "drawn": drawn})


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
