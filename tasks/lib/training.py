"""One trainer call per method, from transformers and TRL; the loop is theirs, the plumbing is ours."""

import itertools
import math
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from datasets import Dataset
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)
from trl import SFTConfig, SFTTrainer

from tasks.lib import models, progress, tracking
from tasks.lib.errors import ConfigError, StageError
from tasks.lib.packing import BlockCollator
from tasks.lib.training_config import TrainingConfig

LOG_POINTS = 60  # points of a curve
NUMBER = "number"  # the column that tells which block or pair this is


class Curve(TrainerCallback):
    """Sends metrics to tracking, keeps the loss curve, moves the progress bar."""

    def __init__(self, what: str, per_step: float, unit: str) -> None:
        self.what, self._per_step, self._unit = what, per_step, unit
        self.points: list[dict[str, float]] = []
        self._bar: progress.Bar | None = None
        self._loss = math.nan
        self.seconds = 0.0
        self._started = 0.0

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Open the bar."""
        self._bar = progress.Bar(self.what, round(state.max_steps * self._per_step), self._unit)
        self._started = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.advance(round(self._per_step), f"loss {self._loss:.3f}")

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, float] | None = None, **_: Any
    ) -> None:
        """Keep numbers over time."""
        numbers = {k: float(v) for k, v in (logs or {}).items() if isinstance(v, (int, float))}
        if "loss" in numbers:
            self._loss = numbers["loss"]
            if not math.isfinite(self._loss):
                raise StageError(
                    f"{self.what} to converge", f"a loss of {self._loss} at step {state.global_step}", "lower the learning rate"
                )
            self.points.append({"step": state.global_step, **{k: v for k, v in numbers.items() if k in ("loss", "rewards/accuracies")}})
        # both trainings of a distillation are curves of one run: the control's has a name of its own
        mark = "control_" if self.what.endswith("(control)") else ""
        kept = {mark + k: v for k, v in numbers.items() if not k.startswith(("train_", "total_flos")) and math.isfinite(v)}
        if kept:
            tracking.metric(kept, state.global_step)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Close the bar."""
        self.seconds = time.monotonic() - self._started
        if self._bar is not None:
            self._bar.close()


@dataclass
class Numbered:
    """A collator that also says which blocks or pairs are in the batch."""

    collate: Callable[[list[dict[str, Any]]], dict[str, Any]]

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Collate rows and their numbers."""
        return {**self.collate(rows), NUMBER: torch.tensor([row[NUMBER] for row in rows])}


class CountingTrainer(Trainer):
    """Counts how often each block or pair was trained on.

    Counted is what reaches the model: the loader reads ahead, and the budget may end in the middle of an epoch.
    """

    train_dataset: Any
    data_collator: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.seen: Counter[int] = Counter()
        # after the start, because DPO asks its reference model first, with the collator as it is
        self.train_dataset = self.train_dataset.add_column(NUMBER, list(range(len(self.train_dataset))))
        self.data_collator = Numbered(self.data_collator)

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        """Note the numbers, which the model does not know, then take the step."""
        self.seen.update(inputs.pop(NUMBER).tolist())
        return super().training_step(model, inputs, num_items_in_batch)


class PlainLossSFT(CountingTrainer, SFTTrainer):
    """TRL's SFT with the model's own loss.

    TRL's fused language-model head falls back to fp32 tiles on a CPU and also computes entropy
    and accuracy; the plain loss is the same number at a fraction of the time.
    """

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """The loss of `transformers.Trainer`."""
        return Trainer.compute_loss(self, model, inputs, return_outputs, num_items_in_batch)


class DistillTrainer(CountingTrainer):
    """Learns from labels and from a teacher's distribution at once (Hinton et al., 2015).

    loss = (1 - weight) * cross entropy + weight * T^2 * KL(teacher || student), both in nats a token over the
    positions that have a label. With weight 0 the teacher is not asked.
    """

    def __init__(self, *args: Any, teacher: PreTrainedModel, weight: float, temperature: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._teacher, self._weight, self._temperature = teacher, weight, temperature

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """The weighted sum of both losses.

        `num_items_in_batch` is the number of labels in all the batches whose gradients are added up. Where it is given,
        the Trainer does not divide by the number of batches: both losses are sums over tokens, divided by it.
        """
        if self._weight == 0:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        asked = {key: value for key, value in inputs.items() if key != "labels"}
        here = inputs["labels"][:, 1:] != -100
        entropy, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        with torch.no_grad():
            teacher = self._teacher(**asked).logits
        t = self._temperature
        student_log = F.log_softmax(outputs.logits[:, :-1][here].float() / t, dim=-1)
        teacher_log = F.log_softmax(teacher[:, :-1][here].float() / t, dim=-1)
        kl = F.kl_div(student_log, teacher_log, reduction="sum", log_target=True)
        if num_items_in_batch is None:
            kl = kl / here.sum()
        else:  # gradients are averaged over processes, while the number counts the labels of all of them
            kl = kl / num_items_in_batch * (self.accelerator.num_processes if self.args.average_tokens_across_devices else 1)
        loss = (1 - self._weight) * entropy + self._weight * t * t * kl
        return (loss, outputs) if return_outputs else loss


def arguments(kind: type[TrainingArguments], cfg: TrainingConfig, blocks: int, work: str, **extra: Any) -> Any:
    """The library's own arguments: ours, then what the user passes verbatim in `trainer:`."""
    place = models.device(cfg.device)
    steps = cfg.steps(blocks)
    chosen: dict[str, Any] = {
        "output_dir": work,
        "per_device_train_batch_size": cfg.batch,
        "per_device_eval_batch_size": cfg.batch,
        "gradient_accumulation_steps": cfg.accumulation,
        "max_steps": steps,
        "learning_rate": cfg.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": math.ceil(cfg.warmup * steps),
        "weight_decay": cfg.weight_decay,
        "max_grad_norm": 1.0,
        "bf16": models.use_bf16(cfg.precision, place),
        "use_cpu": place.type == "cpu",
        "dataloader_num_workers": cfg.workers,
        "gradient_checkpointing": False,
        "logging_steps": max(1, steps // LOG_POINTS),
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "seed": cfg.seed,
        "data_seed": cfg.seed,
        **extra,
    }
    try:
        return kind(**{**chosen, **cfg.trainer})
    except (TypeError, ValueError) as error:
        raise ConfigError(f"trainer settings for {kind.__name__}: {cfg.trainer}", str(error), "correct `trainer:`") from error


@dataclass(frozen=True)
class Learned:
    """What a training saw: facts that are the same every time, and how often each block or pair was trained on."""

    facts: dict[str, int]
    times: Counter[int]


def learn(trainer: CountingTrainer, curve: Curve, unit: str) -> Learned:
    """Train, and count what was seen; what is measured of a distillation is the student's training, not its control's."""
    trainer.remove_callback(PrinterCallback)  # the bar says it already
    trainer.train()
    seen, sizes = trainer.seen, [1] * len(trainer.train_dataset)
    facts = {"steps": trainer.state.global_step}
    if unit == "tokens":
        sizes = [len(ids) for ids in trainer.train_dataset["input_ids"]]
        facts |= _reached(trainer.train_dataset, seen)
    facts |= {
        f"{unit}_seen": sum(sizes[number] for number in seen),
        f"{unit}_not_reached": sum(size for number, size in enumerate(sizes) if number not in seen),
        f"{unit}_trained": sum(sizes[number] * times for number, times in seen.items()),
    }
    if not curve.what.endswith("(control)"):
        speed = round(facts[f"{unit}_trained"] / max(curve.seconds, 1e-9), 1)
        epochs = round(sum(seen.values()) / len(sizes), 3)
        tracking.measure(curve=curve.points, training_seconds=round(curve.seconds, 2), epochs=epochs, **{f"{unit}_per_second": speed})
    return Learned(facts, seen)


def _reached(blocks: Dataset, seen: Counter[int]) -> dict[str, int]:
    """How many blocks the budget did not reach, and rows: one is seen when any of its tokens is."""
    every = set(itertools.chain.from_iterable(blocks["rows"]))
    reached = set(itertools.chain.from_iterable(blocks.select(sorted(seen))["rows"]))
    return {"blocks_not_reached": len(blocks) - len(seen), "rows_seen": len(reached), "rows_not_reached": len(every - reached)}


def fit(model: Any, tokenizer: PreTrainedTokenizerBase, blocks: Dataset, cfg: TrainingConfig, what: str, **distill: Any) -> Learned:
    """Train on packed blocks; returns what was seen of them, in the same counts every time.

    What is "seen" was trained on at least once, what is "not reached" never, because the budget ended before; together
    they are all there was. `tokens_trained` counts a token as often as it was trained on.

    `what` is "tune" for TRL's SFT trainer, else transformers' own; with `teacher=, weight=,
    temperature=` it is distillation. Blocks are of `cfg.length` tokens.
    """
    set_seed(cfg.seed)
    # padding is no work worth counting
    filled = sum(map(len, blocks["input_ids"])) / max(1, len(blocks))
    curve = Curve(what, cfg.batch * cfg.accumulation * filled, "tok")
    collate = BlockCollator(tokenizer.pad_token_id, cfg.length)
    with tempfile.TemporaryDirectory() as work:
        if what == "tune":
            args = arguments(SFTConfig, cfg, len(blocks), work, dataset_kwargs={"skip_prepare_dataset": True}, max_length=None)
            trainer: CountingTrainer = PlainLossSFT(
                model, args, data_collator=collate, train_dataset=blocks, processing_class=tokenizer, callbacks=[curve]
            )
        else:
            args = arguments(TrainingArguments, cfg, len(blocks), work)
            kind: Any = DistillTrainer if distill else CountingTrainer
            trainer = kind(model, args, data_collator=collate, train_dataset=blocks, callbacks=[curve], **distill)
        return learn(trainer, curve, "tokens")


@torch.inference_mode()
def loss_on(model: Any, tokenizer: PreTrainedTokenizerBase, blocks: Dataset, length: int, batch: int = 8) -> float:
    """Mean negative log-likelihood (nats a token) over the labelled positions of blocks."""
    collate = BlockCollator(tokenizer.pad_token_id, length)
    model.eval()
    total, count = 0.0, 0
    bf16 = models.use_bf16("auto", model.device)
    for start in range(0, len(blocks), batch):
        inputs = collate([blocks[i] for i in range(start, min(start + batch, len(blocks)))])
        inputs = {key: value.to(model.device) for key, value in inputs.items()}
        n = int((inputs["labels"][:, 1:] != -100).sum())
        with torch.autocast(model.device.type, torch.bfloat16, enabled=bf16):
            total += float(model(**inputs).loss) * n
        count += n
    return total / max(1, count)
