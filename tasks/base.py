"""Provide the base model: from scratch, from a folder, or from a hub at a pinned revision."""

import shutil
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from tasks.lib.base_source import BaseSource, documents
from tasks.lib.config import RUNTIME, StageConfig
from tasks.lib.model import Model
from tasks.lib.stage import stage
from tasks.lib.training_config import TrainingConfig
from tasks.lib.trial import require_usable_tokenizer


class Scratch(StageConfig):
    """A small decoder pretrained on the spot on general text."""

    kind: Literal["scratch"] = "scratch"
    vocabulary: int = Field(default=4096, ge=300)
    hidden: int = Field(default=256, ge=32)
    layers: int = Field(default=6, ge=1)
    heads: int = Field(default=8, ge=1)
    positions: int = Field(default=1024, ge=64, description="longest sequence, in tokens")
    training: TrainingConfig = TrainingConfig(tokens=600_000, learning_rate=1.5e-3)


class Folder(StageConfig):
    """A model in a local folder, known by the contents of its files."""

    kind: Literal["folder"]
    path: Path = Field(json_schema_extra=RUNTIME)
    quantised: bool = Field(
        default=False, json_schema_extra=RUNTIME, description="also take a quantised model of our own store: to score, not to train"
    )


class Hub(StageConfig):
    """A model of a hub, pinned to a commit."""

    kind: Literal["hub"]
    model: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    revision: str = Field(pattern=r"^[0-9a-f]{40}$")


class BaseConfig(StageConfig):
    """Where the pipeline starts."""

    source: Annotated[Scratch | Folder | Hub, Field(discriminator="kind")] = Scratch()


@stage(version="2", needs=("models", "training"), retries=1)
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
    return Model(parameters=models.parameters(model), vocabulary=len(tokenizer), bytes=models.weight_bytes(out))


def _from_scratch(out: Path, cfg: Scratch) -> None:
    """Train a tokenizer and a decoder on the training part of the general text."""
    from transformers import set_seed

    from tasks.lib import models, tracking
    from tasks.lib.packing import Encoder
    from tasks.lib.training import fit

    texts = documents()
    tokenizer = models.train_tokenizer(texts, cfg.vocabulary)
    encoder = Encoder(tokenizer, cfg.training.length)
    blocks = encoder.pack((piece for text in texts for piece in encoder.document(text)), cfg.training.seed)
    set_seed(cfg.training.seed)
    model = models.new_decoder(tokenizer, cfg.hidden, cfg.layers, cfg.heads, cfg.positions)
    learned = fit(model, tokenizer, blocks, cfg.training, "base")
    tracking.measure(**encoder.tally.facts(), **learned.facts)
    models.save(model, tokenizer, out)
