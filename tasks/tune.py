"""Supervised fine-tuning on prompts and responses, with TRL; all weights or LoRA adapters."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from tasks.lib import asked, balance, forgetting, progress
from tasks.lib.architecture import require
from tasks.lib.config import Declared, StageConfig
from tasks.lib.forgetting import Forgetting
from tasks.lib.mixing import EVEN, Draws, Weights, tokens_by_source
from tasks.lib.model import Model
from tasks.lib.records import Row, iterate
from tasks.lib.stage import stage
from tasks.lib.training_config import FIXED, TrainingConfig
from tasks.split import Split


class Full(Declared):
    """Every weight learns."""

    kind: Literal["full"] = "full"


class Lora(Declared):
    """Low-rank adapters learn; they are merged into the weights at the end and kept beside them.

    The merged model must answer as the one that was trained, or the stage ends with an error.
    """

    kind: Literal["lora"]
    rank: int = Field(default=16, ge=1)
    alpha: int = Field(default=32, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: str | list[str] = "all-linear"
    dora: bool = Field(default=False, description="also learn the length of each weight vector (DoRA)")
    frozen: Literal["whole", "nf4"] = Field(default="whole", description="nf4 keeps the frozen weights in 4 bits meanwhile (QLoRA)")


Method = Annotated[Full | Lora, Field(discriminator="kind")]


class TuneConfig(TrainingConfig, StageConfig):
    """Supervised fine-tuning."""

    fixed: ClassVar[dict[str, str]] = {
        **FIXED,
        "loss_type": "the loss is the model's own, cross entropy",
        "shuffle_dataset": "blocks are shuffled, with `seed`, before they are trained on",
    }

    epochs: float = Field(default=3.0, gt=0)
    learning_rate: float = Field(default=8e-4, ge=0)
    method: Method = Full()
    replay: float = Field(
        default=0.3, ge=0, lt=1, description="share of documents among the tokens, against forgetting what pretraining taught"
    )
    forgetting: Forgetting | None = Field(default=None, description="a budget; without it the replay stays as it is")
    erase_system: bool | Annotated[str, Field(min_length=1)] = Field(
        default=False, description="rows are learned without their own system message (Orca 2); a text stands in its place"
    )

    @model_validator(mode="after")
    def _one_device(self) -> Self:
        if isinstance(self.method, Lora) and self.method.frozen != "whole" and self.devices != 1:
            raise ValueError("frozen: nf4 trains on one device; set `devices: 1`, or `frozen: whole`")
        return self


@dataclass
class Attempt(forgetting.Attempt):
    """Also sequences to ask the model and its merged copy."""

    probes: Sequence[Sequence[int]]


@stage(version="8", needs=("models", "objectives", "adapters"))
def tune(out: Path, cfg: TuneConfig, model: Model, data: Split, weights: Weights = EVEN) -> Model:
    """Fine-tune on prompts and responses, of which the loss sees the responses only, with documents replayed.

    Over a forgetting budget the training is done again with more of them, as `pretrain` does.
    """
    from tasks.lib import adapters, models, tracking

    require(model.architecture, ("decoder",), "tune")
    general = data.counts.get("general-valid", 0)
    best = forgetting.best(lambda replay: _attempt(cfg, replay, model, data, weights), cfg.replay, cfg.forgetting, general)
    network = best.network
    tracking.measure(**best.objective.facts())
    if isinstance(cfg.method, Lora):
        network, parity = adapters.folded(network, model.path, out, best.probes)
        tracking.measure(**parity)
    models.save(network, best.objective.tokenizer, out)
    return model.model_copy(update={"bytes": models.weight_bytes(out), "data": best.facts, "drawn": best.drawn})


def _attempt(cfg: TuneConfig, replay: float, model: Model, data: Split, weights: Weights) -> Attempt:
    """Train from the start with this share of replay; held-out text is looked at only where there is a budget."""
    from transformers import set_seed

    from tasks.lib import adapters, models, objectives

    network, tokenizer = models.load(model.path), models.load_tokenizer(model.path)
    objective = objectives.choose(network, tokenizer, cfg.length, device=cfg.device)
    if isinstance(cfg.method, Lora):
        m = cfg.method
        set_seed(cfg.seed)
        plain = network if m.frozen == "whole" else adapters.frozen_nf4(model.path, models.device(cfg.device), cfg.precision)
        network = adapters.wrap(plain, m.rank, m.alpha, m.dropout, m.targets, use_dora=m.dora)
    # adapters that have learned nothing change nothing
    before = {} if cfg.forgetting is None else objective.held_out(network, data.path)
    encoder, draws = objective.encoder, Draws(weights)
    exchanges, replayed, erased = pieces(encoder, data, cfg, draws, replay)
    blocks = objective.blocks([*exchanges, *replayed.pieces], cfg.seed)
    learned = objective.fit(network, blocks, cfg, "tune")
    after = objective.held_out(network, data.path) if before else {}
    tally = encoder.tally.facts()
    balance.of_blocks("tune", draws.total, tally, learned.facts)
    facts = {**tally, **erased, "replayed_tokens": replayed.tokens, **learned.facts}
    drawn = draws.facts(*tokens_by_source(blocks, encoder.sources, learned.times), encoder.lost)
    reached = replayed.tokens / max(1, replayed.tokens + sum(len(piece["input_ids"]) for piece in exchanges))
    losses = {kind: (before[kind], after[kind]) for kind in before}
    probes = blocks[: adapters.PROBES]["input_ids"]
    return Attempt(replay, round(reached, 6), replayed.exhausted, network, objective, learned, facts, drawn, losses, probes)


class Replayed(NamedTuple):
    """Pieces of documents, and whether there was less of them than asked for."""

    pieces: list[dict[str, Any]]
    tokens: int
    exhausted: bool


def pieces(
    encoder: Any, data: Split, cfg: TuneConfig, draws: Draws, replay: float
) -> tuple[list[dict[str, Any]], Replayed, dict[str, int]]:
    """Pieces of the training exchanges, and of the documents that are replayed beside them; how many rows lost their system message."""
    erased = Counter[str]() if cfg.erase_system is False else Counter(rows_system_erased=0)
    exchanges = []
    for row in draws.of(progress.rows(iterate(data.path, "tune-train"), "tokenise exchanges", data.counts.get("tune-train"))):
        exchanges += encoder.exchange(_shown(row, cfg.erase_system, erased))
    wanted = replay / (1 - replay) * sum(len(piece["input_ids"]) for piece in exchanges)
    return exchanges, _replay(encoder, data, cfg.seed, wanted, draws), erased


def _shown(row: Row, erase: bool | str, erased: Counter[str]) -> Row:
    """A row as the model sees it (Orca 2: Mitra et al., 2023).

    The answer was written under a message that the model that learns it does not see; `erase` may be a general one.
    """
    made = asked.shown(row, erase)
    if made is not row:
        erased["rows_system_erased"] += 1
    return made


def _replay(encoder: Any, data: Split, seed: int, wanted: float, draws: Draws) -> Replayed:
    """Pieces of training documents, domain and general alike, of so many tokens."""
    texts = [(row["text"], row["dataset"]) for part in ("corpus-train", "general-train") for row in iterate(data.path, part)]
    random.Random(seed).shuffle(texts)
    drawn: list[dict[str, Any]] = []
    size = 0
    for text, source in texts:
        draws.count(source, int(size < wanted))
        if size >= wanted:
            continue  # the encoder counts no row of which nothing is drawn
        for piece in encoder.document(text, source):
            if size < wanted:
                drawn.append(piece)
                size += len(piece["input_ids"])
            else:
                encoder.cut(len(piece["input_ids"]), source)
    return Replayed(drawn, size, size < wanted)
