"""Provide the base model: from scratch, from a folder, or from a hub at a pinned revision."""

import shutil
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from tasks.lib import architecture, balance
from tasks.lib.base_source import BaseSource, documents
from tasks.lib.config import RUNTIME, Declared, StageConfig, tried_again
from tasks.lib.model import Model
from tasks.lib.stage import stage
from tasks.lib.training_config import TrainingConfig
from tasks.lib.trial import require_usable_tokenizer


class Scratch(Declared):
    """A small decoder or encoder pretrained on the spot on general text."""

    kind: Literal["scratch"] = "scratch"
    architecture: Literal["decoder", "encoder"] = Field(
        default="decoder", description="a decoder continues text; an encoder fills in masked tokens, and is what `classify` starts from"
    )
    vocabulary: int = Field(default=4096, ge=300)
    hidden: int = Field(default=256, ge=32)
    layers: int = Field(default=6, ge=1)
    heads: int = Field(default=8, ge=1)
    positions: int = Field(default=1024, ge=64, description="longest sequence, in tokens")
    mask: float = Field(default=0.15, gt=0, lt=1, description="share of the tokens that an encoder learns to fill in")
    training: TrainingConfig = TrainingConfig(tokens=600_000, learning_rate=1.5e-3)


class Folder(Declared):
    """A model in a local folder, known by the contents of its files."""

    kind: Literal["folder"]
    path: Path = Field(json_schema_extra=RUNTIME)
    quantised: bool = Field(
        default=False, json_schema_extra=RUNTIME, description="also take a quantised model of our own store: to score, not to train"
    )


class Hub(Declared):
    """A model of a hub, pinned to a commit."""

    kind: Literal["hub"]
    model: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    revision: str = Field(pattern=r"^[0-9a-f]{40}$")


class BaseConfig(StageConfig):
    """Where the pipeline starts."""

    source: Annotated[Scratch | Folder | Hub, Field(discriminator="kind")] = Scratch()
    retries: int = tried_again(1)


@stage(version="5", needs=("models", "objectives"))
def base(out: Path, cfg: BaseConfig, given: BaseSource) -> Model:
    """Provide the base model as safetensors, with its tokenizer."""
    from tasks.lib import models

    if isinstance(cfg.source, Scratch):
        _from_scratch(out, cfg.source)
    else:
        for path in given.files():
            shutil.copyfile(path, out / path.name)
        require_usable_tokenizer(out)
    model, tokenizer = models.load(out, dtype="auto"), models.load_tokenizer(out)
    if not isinstance(cfg.source, Scratch):
        tokenizer.save_pretrained(out)
    return Model(
        parameters=models.parameters(model), vocabulary=len(tokenizer), bytes=models.weight_bytes(out), architecture=architecture.of(out)
    )


def _from_scratch(out: Path, cfg: Scratch) -> None:
    """Train a tokenizer and a model on the training part of the general text."""
    from transformers import set_seed

    from tasks.lib import models, objectives, progress, tracking

    texts, settings = documents(), cfg.training
    encoder = cfg.architecture == "encoder"
    tokenizer = (models.train_encoder_tokenizer if encoder else models.train_tokenizer)(texts, cfg.vocabulary)
    set_seed(settings.seed)
    make = models.new_encoder if encoder else models.new_decoder
    model = make(tokenizer, cfg.hidden, cfg.layers, cfg.heads, cfg.positions)
    objective = objectives.choose(model, tokenizer, settings.length, cfg.mask)
    shown = progress.rows(texts, "tokenise documents", len(texts), " documents")
    blocks = objective.blocks((piece for text in shown for piece in objective.encoder.document(text)), settings.seed)
    learned = objective.fit(model, blocks, settings, "base")
    tally = objective.encoder.tally.facts()
    balance.of_blocks("base", len(texts), tally, learned.facts)
    tracking.measure(**tally, **learned.facts, **objective.facts())
    models.save(model, tokenizer, out)
