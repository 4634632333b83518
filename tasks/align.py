"""Preference tuning: direct preference optimisation with TRL."""

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from tasks.lib.mixing import EVEN, Draws, Weights, pairs_by_source
from tasks.lib.model import Model
from tasks.lib.records import iterate
from tasks.lib.stage import stage
from tasks.lib.training_config import OWN_FIELDS, TrainingConfig
from tasks.split import Split


class AlignConfig(TrainingConfig):
    """Direct preference optimisation."""

    own_fields: ClassVar[dict[str, str]] = {**OWN_FIELDS, "beta": "beta", "loss_type": "loss"}

    learning_rate: float = Field(default=5e-5, ge=0)
    beta: float = Field(default=0.1, gt=0, description="how strongly the model is held to where it started")
    loss: Literal["sigmoid", "ipo", "hinge", "robust", "apo_zero", "sigmoid_norm"] = "sigmoid"


@stage(version="4", needs=("models", "training"))
def align(out: Path, cfg: AlignConfig, model: Model, data: Split, weights: Weights = EVEN) -> Model:
    """Tune towards the chosen and away from the rejected answers; pairs that do not fit are counted and left out."""
    from datasets import Dataset

    from tasks.lib import models
    from tasks.lib.packing import Encoder
    from tasks.lib.training import fit_preferences

    network, tokenizer = models.load(model.path), models.load_tokenizer(model.path)
    encoder = Encoder(tokenizer, cfg.length)
    draws, tally = Draws(weights), encoder.tally
    drawn = [(pair, row["dataset"]) for row in draws.of(iterate(data.path, "preference-train")) if (pair := _pair(encoder, row))]
    pairs = [pair for pair, _ in drawn]
    learned = fit_preferences(network, tokenizer, Dataset.from_list(pairs), cfg, cfg.beta, cfg.loss)
    tokenizer.padding_side = "right"
    models.save(network, tokenizer, out)
    counted = {"pairs_too_long": tally.rows_too_long, "control_tokens_neutralised": tally.control_tokens_neutralised}
    facts = {"pairs": len(pairs), **counted, **learned.facts}
    return model.model_copy(
        update={
            "bytes": models.weight_bytes(out),
            "data": facts,
            "drawn": draws.facts(*pairs_by_source([source for _, source in drawn], learned.times), encoder.lost),
        }
    )


def _pair(encoder: Any, row: dict[str, Any]) -> dict[str, Any] | None:
    """A pair in TRL's conversational form, or None (counted) when one of its answers does not fit whole."""
    from tasks.lib.packing import chat_ids

    chosen = encoder.messages(row, row["chosen"])
    rejected = [*chosen[:-1], {"role": "assistant", "content": encoder.harmless(row["rejected"])}]
    longest = max(len(chat_ids(encoder.tokenizer, messages, generation=False)) for messages in (chosen, rejected))
    if longest > encoder.length:
        encoder.tally.rows_too_long += 1
        encoder.lost[row["dataset"]].too_long += 1
        return None
    return {"prompt": chosen[:-1], "chosen": chosen[-1:], "rejected": rejected[-1:]}
