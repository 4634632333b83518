"""One training of a policy on rewards: TRL's trainers, in this process or in one per device."""

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase, Trainer
from trl import GRPOTrainer, RLOOTrainer

from tasks.lib import models, ranks
from tasks.lib.launch import Job
from tasks.lib.reinforcement import ARGUMENTS, Chat, PolicyCurve, Questions, Scorer, Watch
from tasks.lib.rewards import Rewards
from tasks.lib.training import Learned, Lesson, arguments, learn


class CountingPolicy(Trainer):
    """Asserts the engine; what was seen is counted where answers are rewarded.

    TRL deals whole groups: a process takes its part of a step's prompts, in the order of one process, each with all its answers.
    """

    seen: Counter[int]
    engine = ""  # what the model is wrapped in
    rounds = False  # whether DeepSpeed computes in bf16: its own forward pass only, where other engines wrap the model's

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        """The library's, once it is known what trains."""
        self.engine = self.engine or ranks.mine().require(model)
        return super().training_step(model, inputs, num_items_in_batch)

    def rounding(self) -> AbstractContextManager[Any]:
        """The precision of the training, for a model that is taken out of its engine."""
        return torch.autocast(self.args.device.type, torch.bfloat16, enabled=self.rounds)

    def _generate_single_turn(self, *given: Any, **more: Any) -> Any:
        with self.rounding():
            return super()._generate_single_turn(*given, **more)  # of TRL's class, which comes next


class CountingGRPO(CountingPolicy, GRPOTrainer):
    """TRL's GRPO, counted."""


class CountingRLOO(CountingPolicy, RLOOTrainer):
    """TRL's RLOO, counted."""


def fit_policy(model: Any, tokenizer: PreTrainedTokenizerBase, asked: Questions, rewards: Rewards, cfg: Any, watch: Watch) -> Learned:
    """GRPO (Shao et al., 2024) or RLOO (Ahmadian et al., 2024) on the weighted sum of rewards; what was seen of the prompts.

    A step has `cfg.batch` x `cfg.accumulation` prompts, each with as many answers as the method says. What was watched on
    the way is among what was measured, as `watch`.
    """
    rows = Dataset.from_list([{"prompt": chat, "number": number} for number, chat in enumerate(asked.chats)])
    said = {"method": cfg.method.model_dump(mode="json"), "checks": cfg.checks, "asked": asdict(asked)}
    return learn(Job(policy_lesson, model, tokenizer, rows, cfg, {**said, "rewards": rewards.model_dump(mode="json"), **watch.said()}))


def policy_lesson(job: Job, work: str) -> Lesson:
    """The trainer of `fit_policy`."""
    cfg, said, zero = job.cfg, job.options, ranks.mine().zero is not None
    method: dict[str, Any] = dict(said["method"])
    rewards = Rewards.model_validate(said["rewards"]).of
    kind, each = method.pop("kind"), method["generations"]
    renamed = {"generations": "num_generations", "loss": "loss_type", "scale": "scale_rewards", "normalise": "normalize_advantages"}
    args = arguments(
        ARGUMENTS[kind], cfg, len(job.data), work, per_device_train_batch_size=cfg.shared(ranks.mine().count)[0] * each,
        max_completion_length=said["answer"], logging_steps=1, reward_weights=[reward.weight for reward in rewards],
        **{renamed.get(name, name): value for name, value in method.items()},
    )  # fmt: skip
    watch = Watch.of(said, job.tokenizer, args.device)
    ranks.mine().prepare()
    watch.every = -(-args.max_steps // (said["checks"] + 1))
    asked, seen = Questions(**said["asked"]), Counter[int]()
    functions = [_function(reward, asked, watch.scorer, seen if place == 0 else Counter()) for place, reward in enumerate(rewards)]
    curve = PolicyCurve("reinforce", cfg.batch * cfg.accumulation, "prompt")
    given = {"train_dataset": job.data, "processing_class": job.tokenizer, "callbacks": [curve, watch]}
    trainer: Any = (CountingGRPO if kind == "grpo" else CountingRLOO)(job.model, functions, args, **given)
    trainer.seen, trainer.rounds = seen, zero and models.use_bf16(cfg.precision, args.device)
    watch.trainer = trainer
    return Lesson(trainer, curve, "prompts", {"watch": watch.points})


def _function(reward: Any, asked: Questions, scorer: Scorer, seen: Counter[int]) -> Callable[..., list[float | None]]:
    """A reward as TRL calls it, named as the domain names it; which prompts were answered is counted in `seen`."""

    def judge(completions: list[Chat], number: list[int], **_: Any) -> list[float | None]:
        seen.update(set(number))
        return scorer.score(reward, asked, number, [turns[0]["content"] for turns in completions])

    judge.__name__ = reward.name
    return judge
