"""Reinforcement learning with TRL: the model answers, the domain's rewards and the reward model judge, the model learns."""

import random
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from tasks.lib import balance
from tasks.lib.config import Declared, StageConfig
from tasks.lib.errors import ConfigError
from tasks.lib.mixing import EVEN, Draws, Weights, pairs_by_source
from tasks.lib.model import Model, Reinforced, RewardModel
from tasks.lib.records import iterate
from tasks.lib.rewards import LearnedReward, Rewards
from tasks.lib.stage import stage
from tasks.lib.training_config import UNSMOOTHED, TrainingConfig
from tasks.split import Split


class Grpo(Declared):
    """Group relative policy optimisation (Shao et al., 2024): an answer's reward beside those of the same prompt's others."""

    kind: Literal["grpo"] = "grpo"
    generations: int = Field(default=8, ge=2, description="answers to each prompt")
    temperature: float = Field(default=1.0, gt=0, description="at which answers are drawn")
    beta: float = Field(default=0.04, ge=0, description="weight of the divergence from where the model started; 0 lets it go")
    loss: Literal["dapo", "grpo", "dr_grpo", "bnpo", "cispo", "sapo"] = Field(
        default="dapo", description="how tokens are weighed, by TRL's names"
    )
    scale: Literal["group", "batch", "none"] = Field(default="group", description="by whose spread rewards are divided")


class Rloo(Declared):
    """REINFORCE leave-one-out (Ahmadian et al., 2024): an answer's reward less the mean of the same prompt's others."""

    kind: Literal["rloo"]
    generations: int = Field(default=8, ge=2, description="answers to each prompt")
    temperature: float = Field(default=1.0, gt=0, description="at which answers are drawn")
    beta: float = Field(default=0.05, ge=0, description="weight of the divergence from where the model started, as part of the reward")
    normalise: bool = Field(default=False, description="divide advantages by their spread in a batch")


PORTIONS = ("steps_per_generation", "generation_batch_size")  # TRL's, in batches of one device

Method = Annotated[Grpo | Rloo, Field(discriminator="kind")]


class ReinforceConfig(TrainingConfig, StageConfig):
    """Reinforcement learning; `batch` counts prompts, `length` a prompt with its answer."""

    fixed: ClassVar[dict[str, str]] = UNSMOOTHED

    learning_rate: float = Field(default=1e-5, ge=0)
    method: Method = Grpo()
    rewards: list[str] = Field(default=[], description="names of the rewards to train on; all that have a weight when none is named")
    answer: int = Field(default=64, ge=1, description="tokens of an answer at most")
    held_out: int = Field(default=64, ge=1, description="held-out prompts that are watched")
    checks: int = Field(default=8, ge=0, description="how often they are answered during the training")

    @model_validator(mode="after")
    def _can_be_dealt(self) -> "ReinforceConfig":
        """What several devices would make another result of is refused."""
        if self.devices == 1:
            return self
        if isinstance(self.method, Grpo) and self.method.loss == "bnpo":
            raise ValueError(
                "the loss bnpo is a mean over what one device takes at once; set `devices: 1`, or take dapo, over a whole step"
            )
        for key in PORTIONS:
            if key in self.trainer:
                raise ValueError(f"'{key}' counts what one device takes at once; set `devices: 1`, or remove it from `trainer:`")
        return self

    @model_validator(mode="after")
    def _no_token_budget(self) -> "ReinforceConfig":
        if self.tokens is not None:
            raise ValueError(
                "`tokens` says nothing of answers that are yet to be drawn; write `epochs`, passes over the prompts, in its place"
            )
        return self

    @field_validator("method", mode="before")
    @classmethod
    def _grpo_unless_said(cls, given: Any) -> Any:
        return {"kind": "grpo", **given} if isinstance(given, dict) else given


@stage(version="4", needs=("models", "policies"))
def reinforce(
    out: Path, cfg: ReinforceConfig, model: Model, data: Split, rewards: Rewards, scorer: RewardModel | None = None, weights: Weights = EVEN
) -> Reinforced:
    """Train on rewards of the model's own answers to training prompts; every reward is watched on held-out prompts.

    Rewards that are not trained on judge those that are; so does the reward model, if no reward is of its kind.

    Raises:
        ConfigError: if there is no reward to train on, or too few prompts for a step.
        DataError: if the rewards do not tell the model's answers apart.
    """
    from tasks.lib import models, policies, reinforcement, tracking
    from tasks.lib.packing import Encoder

    trained = rewards.chosen(cfg.rewards)
    judges = _judges(rewards, trained, scorer)
    place = models.device(cfg.device)
    network, start = (models.load(model.path).to(place) for _ in range(2))
    tokenizer = models.load_tokenizer(model.path)
    encoder, draws = Encoder(tokenizer, cfg.length), Draws(weights)
    rows = (row for row in iterate(data.path, "tune-train") if any(reward.applies(row) for reward in trained))
    asked = reinforcement.questions(encoder, draws.of(rows), trained, cfg.answer)
    _require_prompts(len(asked.rows), cfg)
    valid = list(iterate(data.path, "tune-valid"))
    random.Random(cfg.seed).shuffle(valid)
    held = reinforcement.questions(Encoder(tokenizer, cfg.length), valid, judges, cfg.answer).first(cfg.held_out)

    judge = _judge(scorer, place)
    constant = _constant(network, tokenizer, asked, judge, trained, cfg)
    watch = reinforcement.Watch(judge, judges, held, start.eval(), tokenizer, cfg.answer)
    before = watch.look(network, 0)
    learned = policies.fit_policy(network, tokenizer, asked, Rewards(of=trained), cfg, watch)
    after = watch.look(network, learned.facts["steps"])
    tracking.measure(watch=sorted([*watch.points, *learned.measured["watch"]], key=lambda point: point["step"]))
    models.save(network, tokenizer, out)
    counted = balance.of_examples("reinforce", "prompts", draws.total, encoder.tally.facts(), learned.facts)
    sources = [row["dataset"] for row in asked.rows]
    return Reinforced(
        parameters=model.parameters,
        vocabulary=model.vocabulary,
        bytes=models.weight_bytes(out),
        data={"prompts": len(asked.rows), **counted, **learned.facts},
        drawn=draws.facts(*pairs_by_source(sources, learned.times), encoder.lost),
        trained=[reward.name for reward in trained],
        constant=constant,
        watched=reinforcement.changes(before, after),
        ranking=None if scorer is None else scorer.ranking,
    )


def _constant(network: Any, tokenizer: Any, asked: Any, judge: Any, trained: list[Any], cfg: ReinforceConfig) -> list[str]:
    """Rewards that tell none of the answers apart that the model gives before the training."""
    from transformers import set_seed

    from tasks.lib import reinforcement

    sample = asked.sample(trained, reinforcement.SAMPLED, cfg.seed)
    set_seed(cfg.seed)
    repeated = [chat for chat in sample.chats for _ in range(cfg.method.generations)]
    drawn = reinforcement.answered(network, tokenizer, repeated, cfg.answer, cfg.method.temperature)
    return reinforcement.constant(judge, trained, sample, [reinforcement.text(tokenizer, ids) for ids in drawn])


def _judges(rewards: Rewards, trained: list[Any], scorer: RewardModel | None) -> list[Any]:
    """Every reward that can be measured."""
    learned = [reward for reward in rewards.of if isinstance(reward, LearnedReward)]
    if scorer is None:
        if wanted := [reward.name for reward in trained if isinstance(reward, LearnedReward)]:
            raise ConfigError(f"reward {wanted[0]!r} of a reward model", "no reward model", "train one, or remove the reward")
        return [reward for reward in rewards.of if reward not in learned]
    return [*rewards.of, *([] if learned else [LearnedReward(name="reward-model", kind="model", weight=0.0)])]


def _require_prompts(found: int, cfg: ReinforceConfig) -> None:
    if found < cfg.batch * cfg.accumulation:
        raise ConfigError(
            f"{cfg.batch * cfg.accumulation} prompts for one step of reinforcement learning",
            f"{found} to which a reward applies and which leave room for an answer of {cfg.answer} tokens",
            "lower `batch`, `accumulation` or `answer`, raise `length`, or declare rewards for more datasets",
        )


def _judge(scorer: RewardModel | None, place: Any) -> Any:
    from tasks.lib import models, preferences, reinforcement

    if scorer is None:
        return reinforcement.Scorer()
    return reinforcement.Scorer(preferences.load_scorer(scorer.path).to(place).eval(), models.load_tokenizer(scorer.path))
