"""A reward model: scores answers as the preference pairs would have them scored, with TRL."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from tasks.lib import balance
from tasks.lib.config import StageConfig
from tasks.lib.mixing import EVEN, Draws, Weights, pairs_by_source
from tasks.lib.model import Model, RewardModel
from tasks.lib.records import iterate
from tasks.lib.stage import stage
from tasks.lib.training_config import UNSMOOTHED, TrainingConfig
from tasks.split import Split


class RewardConfig(TrainingConfig, StageConfig):
    """Training of a reward model."""

    fixed: ClassVar[dict[str, str]] = UNSMOOTHED

    learning_rate: float = Field(default=1e-4, ge=0)
    centre: float = Field(default=0.01, ge=0, description="weight of what keeps scores around zero; 0 switches it off")


@stage(version="3", needs=("models", "preferences"))
def reward(out: Path, cfg: RewardConfig, model: Model, data: Split, weights: Weights = EVEN) -> RewardModel:
    """Train a model that scores the chosen above the rejected answers; the share of held-out pairs ranked right is a fact."""
    from tasks.lib import models, preferences, tracking
    from tasks.lib.packing import Encoder

    tokenizer = models.load_tokenizer(model.path)
    network = preferences.new_scorer(model.path, tokenizer)
    encoder, draws = Encoder(tokenizer, cfg.length), Draws(weights)
    pairs, sources = preferences.pairs(encoder, draws.of(iterate(data.path, "preference-train")))
    held, _ = preferences.pairs(Encoder(tokenizer, cfg.length), iterate(data.path, "preference-valid"))
    learned = preferences.fit_reward(network, tokenizer, pairs, cfg, cfg.centre)
    ranking = preferences.ranking(network, tokenizer, held)
    if ranking is not None:
        tracking.measure(held_out_accuracy=ranking.value)
    models.save(network, tokenizer, out)
    counted = balance.of_examples("reward", "pairs", draws.total, encoder.tally.facts(), learned.facts)
    return RewardModel(
        parameters=models.parameters(network),
        bytes=models.weight_bytes(out),
        data={"pairs": len(pairs), **counted, **learned.facts},
        drawn=draws.facts(*pairs_by_source(sources, learned.times), encoder.lost),
        ranking=ranking,
    )
