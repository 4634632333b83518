"""Continue pretraining on the domain's corpus, with general text replayed against forgetting."""

import random
from pathlib import Path

from pydantic import Field

from tasks.lib.model import Model
from tasks.lib.records import iterate
from tasks.lib.stage import stage
from tasks.lib.training_config import TrainingConfig
from tasks.split import Split


class PretrainConfig(TrainingConfig):
    """Continued pretraining."""

    learning_rate: float = Field(default=8e-4, ge=0)
    replay: float = Field(default=0.15, ge=0, lt=1, description="share of general text among the documents' characters")


@stage(version="2", needs=("models", "training"))
def pretrain(out: Path, cfg: PretrainConfig, model: Model, data: Split) -> Model:
    """Continue pretraining the model on domain documents and a replayed share of general ones."""
    from tasks.lib import models
    from tasks.lib.packing import Encoder
    from tasks.lib.training import fit

    network, tokenizer = models.load(model.path), models.load_tokenizer(model.path)
    encoder = Encoder(tokenizer, cfg.length)
    texts, drawn = mixture(data, cfg.replay, cfg.seed)
    blocks = encoder.pack((piece for text in texts for piece in encoder.document(text)), cfg.seed)
    seen = fit(network, tokenizer, blocks, cfg, "pretrain")
    models.save(network, tokenizer, out)
    facts = {**encoder.tally.facts(), **drawn, **seen}
    return model.model_copy(update={"bytes": models.weight_bytes(out), "data": facts})


def mixture(data: Split, replay: float, seed: int) -> tuple[list[str], dict[str, int]]:
    """Domain documents and enough general ones to make up `replay` of all characters, and what was drawn."""
    domain = [row["text"] for row in iterate(data.path, "corpus-train")]
    general = [row["text"] for row in iterate(data.path, "general-train")]
    random.Random(seed).shuffle(general)
    wanted = replay / (1 - replay) * sum(map(len, domain))
    drawn, characters = [], 0
    for text in general:
        if characters >= wanted:
            break
        piece = text[: int(wanted - characters) + 1]
        drawn.append(piece)
        characters += len(piece)
    facts = {"domain_documents": len(domain), "general_documents": len(drawn), "general_characters": characters}
    return [*domain, *drawn], facts
