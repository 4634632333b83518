"""Learning from pairs: one trainer of TRL per method, and what pairs say that no training saw."""

import copy
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, RewardConfig, RewardTrainer, unpair_preference_dataset
from trl.trainer.reward_trainer import suppress_seqcls_warning

from tasks.lib import launch, progress, ranks
from tasks.lib.counting import CountingTrainer
from tasks.lib.curve import Curve
from tasks.lib.launch import Job
from tasks.lib.model import Preferred
from tasks.lib.packing import Encoder, chat_ids
from tasks.lib.records import Row
from tasks.lib.score import Change, Proportion
from tasks.lib.shares import BLANK, NUMBER
from tasks.lib.training import Learned, Lesson, arguments, learn
from tasks.lib.training_config import TrainingConfig

Pair = dict[str, Any]  # prompt, chosen and rejected in TRL's conversational form
# whose arguments `trainer:` gives
ARGUMENTS = {"dpo": DPOConfig, "kto": KTOConfig, "reward": RewardConfig}
TIE = 1e-6  # nats: what two passes over the same weights may differ by


class CountingDPO(CountingTrainer, DPOTrainer):
    """TRL's DPO, counted."""


class CountingKTO(CountingTrainer, KTOTrainer):
    """TRL's KTO, counted.

    Its loss has an estimate of the divergence, over what is taken at once. In each turn the processes together take what one
    process takes at once, so that the answers which are exchanged for the estimate, and their mean, are those of one process.
    """

    _part = 1.0  # this process's rows of a turn, as a multiple of the mean over the processes

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, dataset_name: str) -> Any:
        whole = copy.copy(args)
        whole.per_device_train_batch_size *= args.world_size  # within which TRL exchanges answers
        return super()._prepare_dataset(dataset, processing_class, whole, dataset_name)

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        """Note what part of the turn this process has, then take the step."""
        own = int((inputs[NUMBER] != BLANK).sum())
        self._part = own * self.args.world_size / max(1, int(self._everywhere(torch.tensor([own])).sum()))
        return super().training_step(model, inputs, num_items_in_batch)

    def _compute_kl_logps(self, model: Any, batch: Any) -> Any:
        """So that TRL's mean over the processes of their means is the mean over all rows, and a blank is none."""
        found = super()._compute_kl_logps(model, batch)
        if self.args.world_size == 1 or found is None or not self.model.training:
            return found
        return batch["ref_KL_logps"] + (found - batch["ref_KL_logps"]) * self._part


class CountingReward(CountingTrainer, RewardTrainer):
    """TRL's training of reward models, counted."""


def pairs(encoder: Encoder, rows: Iterable[Row]) -> tuple[list[Pair], list[str]]:
    """Rows as pairs, each with its dataset; one of which an answer does not fit whole is left out and counted."""
    made: list[Pair] = []
    sources: list[str] = []
    for row in rows:
        chosen = encoder.messages(row, row["chosen"])
        rejected = [*chosen[:-1], {"role": "assistant", "content": encoder.harmless(row["rejected"])}]
        sizes = [len(chat_ids(encoder.tokenizer, messages, generation=False)) for messages in (chosen, rejected)]
        encoder.tally.tokens_given += sum(sizes)
        if max(sizes) > encoder.length:
            encoder.leave_out(sum(sizes), row["dataset"])
            continue
        encoder.tally.tokens += sum(sizes)
        made.append({"prompt": chosen[:-1], "chosen": chosen[-1:], "rejected": rejected[-1:]})
        sources.append(row["dataset"])
    return made, sources


def fit_dpo(model: Any, tokenizer: PreTrainedTokenizerBase, data: list[Pair], cfg: TrainingConfig, method: Any) -> Learned:
    """Direct preference optimisation (Rafailov et al., 2023) with one of TRL's losses; what was seen, in the words of `fit`.

    `method` has beta, loss and smoothing.
    """
    said = {"beta": method.beta, "loss_type": [method.loss], "label_smoothing": method.smoothing}
    return learn(Job(dpo_lesson, model, tokenizer, Dataset.from_list(data), cfg, said))


def dpo_lesson(job: Job, work: str) -> Lesson:
    """The trainer of `fit_dpo`."""
    cfg = job.cfg
    args = arguments(DPOConfig, cfg, len(job.data), work, max_length=cfg.length, precompute_ref_log_probs=True, **job.options)
    curve = Curve("align", cfg.batch * cfg.accumulation, "pair")
    given = {"train_dataset": job.data, "processing_class": job.tokenizer, "callbacks": [curve]}
    return Lesson(CountingDPO(job.model, None, args, **given), curve, "pairs")


def fit_kto(model: Any, tokenizer: PreTrainedTokenizerBase, data: list[Pair], cfg: TrainingConfig, method: Any) -> Learned:
    """Kahneman-Tversky optimisation (Ethayarajh et al., 2024): each answer by itself is wanted or unwanted.

    A step has `cfg.batch` pairs, that is twice as many answers. TRL takes rows in the order that they have, and estimates
    the divergence from its neighbours' answers: pairs are shuffled first, wanted and unwanted ones alternate.

    Raises:
        ConfigError: if devices cannot share `cfg.batch`.
    """
    cfg.require_shared_batch(launch.devices(cfg))
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(cfg.seed)).tolist()
    # TRL puts all the wanted answers before all the unwanted ones
    split = unpair_preference_dataset(Dataset.from_list([data[number] for number in order]))
    rows = split.select([number + side * len(data) for number in range(len(data)) for side in (0, 1)])
    said = {
        "beta": method.beta,
        "desirable_weight": method.desirable_weight,
        "undesirable_weight": method.undesirable_weight,
    }
    learned = learn(Job(kto_lesson, model, tokenizer, rows, cfg, said))
    seen: Counter[int] = Counter()
    for number, times in learned.times.items():
        seen[order[number // 2]] = max(seen[order[number // 2]], times)
    counted = {"pairs_seen": len(seen), "pairs_not_reached": len(data) - len(seen), "pairs_trained": sum(seen.values())}
    return Learned({**learned.facts, **counted}, seen, learned.measured)


def kto_lesson(job: Job, work: str) -> Lesson:
    """The trainer of `fit_kto`."""
    cfg = job.cfg
    args = arguments(
        KTOConfig, cfg, len(job.data) // 2, work, per_device_train_batch_size=2 * cfg.batch // ranks.mine().count,
        gradient_accumulation_steps=cfg.accumulation, max_length=cfg.length, precompute_ref_log_probs=True, **job.options,
    )  # fmt: skip
    curve = Curve("align", cfg.batch * cfg.accumulation, "pair")
    given = {"train_dataset": job.data, "processing_class": job.tokenizer, "callbacks": [curve]}
    return Lesson(CountingKTO(job.model, None, args, **given), curve, "answers")


def fit_reward(model: Any, tokenizer: PreTrainedTokenizerBase, data: list[Pair], cfg: TrainingConfig, centre: float) -> Learned:
    """A reward model (Bradley and Terry, 1952; Ouyang et al., 2022): the chosen answer shall score above the rejected one.

    `centre` weighs the square of the two scores' sum, which keeps scores around zero (Eisenstein et al., 2023).
    """
    return learn(Job(reward_lesson, model, tokenizer, Dataset.from_list(data), cfg, {"center_rewards_coefficient": centre or None}))


def reward_lesson(job: Job, work: str) -> Lesson:
    """The trainer of `fit_reward`."""
    cfg = job.cfg
    # what does not fit was left out and counted before: TRL would do it without a word
    args = arguments(RewardConfig, cfg, len(job.data), work, max_length=None, **job.options)
    curve = Curve("reward", cfg.batch * cfg.accumulation, "pair")
    given = {"train_dataset": job.data, "processing_class": job.tokenizer, "callbacks": [curve]}
    return Lesson(CountingReward(job.model, args, **given), curve, "pairs")


def new_scorer(folder: Path, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A causal model's body with a head of one score, which is zero: before it has learned, it prefers nothing."""
    with suppress_seqcls_warning():  # that the head is new is what is wanted
        model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
            folder, num_labels=1, dtype=torch.float32, use_safetensors=True, local_files_only=True, trust_remote_code=False
        )
    head = next(module for name, module in model.named_modules() if name in ("score", "classifier"))
    for weight in head.parameters():
        torch.nn.init.zeros_(weight)
    model.config.pad_token_id = tokenizer.pad_token_id  # a score is read at the last token that is no padding
    return model


def load_scorer(folder: Path) -> PreTrainedModel:
    """A reward model from its folder."""
    model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True, local_files_only=True, trust_remote_code=False
    )
    return model


@torch.inference_mode()
def scores(model: Any, tokenizer: PreTrainedTokenizerBase, chats: list[list[dict[str, str]]], batch: int = 16) -> list[float]:
    """A reward model's score of each whole chat."""
    model.eval()
    found: list[float] = []
    for start in progress.batches(len(chats), batch, "score answers", " answers"):
        ids, mask, _ = _side_by_side([(chat_ids(tokenizer, chat, generation=False), 0) for chat in chats[start : start + batch]], tokenizer)
        found += model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device)).logits[:, 0].float().tolist()
    return found


def ranking(model: Any, tokenizer: PreTrainedTokenizerBase, data: list[Pair]) -> Proportion | None:
    """The share of pairs of which a reward model scores the chosen answer higher; a tie counts half."""
    chosen, rejected = (scores(model, tokenizer, [pair["prompt"] + pair[side] for pair in data]) for side in ("chosen", "rejected"))
    return Proportion.of([_won(a - b) for a, b in zip(chosen, rejected, strict=True)]) if data else None


Likelihoods = list[tuple[float, int]]  # of each answer: log-probability in nats, tokens


@torch.inference_mode()
def likelihoods(model: Any, tokenizer: PreTrainedTokenizerBase, data: list[Pair], batch: int = 16) -> tuple[Likelihoods, Likelihoods]:
    """How likely the model finds the chosen and the rejected answers, given their prompts."""
    model.eval()
    sides: list[Likelihoods] = []
    for side in ("chosen", "rejected"):
        found: Likelihoods = []
        for start in progress.batches(len(data), batch, f"held-out pairs, {side}", " pairs"):
            chats = [(pair["prompt"], pair[side]) for pair in data[start : start + batch]]
            whole = [chat_ids(tokenizer, prompt + answer, generation=False) for prompt, answer in chats]
            begun = [len(chat_ids(tokenizer, prompt, generation=True)) for prompt, _ in chats]
            ids, mask, answered = _side_by_side(list(zip(whole, begun, strict=True)), tokenizer)
            logits = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device)).logits[:, :-1].float().cpu()
            said = -F.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none") * answered[:, 1:]
            found += list(zip(said.sum(1).tolist(), answered[:, 1:].sum(1).tolist(), strict=True))
        sides.append(found)
    return sides[0], sides[1]


def preferred(before: tuple[Likelihoods, Likelihoods], after: tuple[Likelihoods, Likelihoods], beta: float) -> Preferred | None:
    """What changed between two measurements of the same pairs; None without any."""
    if not before[0]:
        return None
    gains = [[beta * (new[0] - old[0]) for old, new in zip(*side, strict=True)] for side in zip(before, after, strict=True)]
    margins = [chosen - rejected for chosen, rejected in zip(*gains, strict=True)]
    likelier = [[_won(c / n - r / m) for (c, n), (r, m) in zip(*both, strict=True)] for both in (before, after)]
    return Preferred(
        won=Proportion.of([_won(margin) for margin in margins]),
        margin=Change.of([0.0] * len(margins), margins),
        likelier=Change.of(*likelier),
    )


def _won(margin: float) -> float:
    return 0.5 if abs(margin) < TIE else float(margin > 0)


def _side_by_side(rows: list[tuple[list[int], int]], tokenizer: PreTrainedTokenizerBase) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Token ids with padding behind them, which of them are none, and which come from the given place on: [batch, longest]."""
    size = (len(rows), max(len(ids) for ids, _ in rows))
    padded, mask, answered = torch.full(size, tokenizer.pad_token_id), torch.zeros(size, dtype=torch.long), torch.zeros(size)
    for place, (ids, begun) in enumerate(rows):
        padded[place, : len(ids)], mask[place, : len(ids)] = torch.tensor(ids), 1
        answered[place, begun : len(ids)] = 1
    return padded, mask, answered
