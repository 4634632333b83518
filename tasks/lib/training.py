"""One trainer call per method, from transformers and TRL; the loop is theirs, the plumbing is ours."""

import itertools
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase, PrinterCallback, Trainer, TrainingArguments, set_seed
from trl import SFTConfig, SFTTrainer

from tasks.lib import launch, models, precision, progress, ranks, tracking
from tasks.lib.collations import Collation, Masked
from tasks.lib.counting import CountingTrainer
from tasks.lib.curve import Curve
from tasks.lib.distilling import DistillTrainer
from tasks.lib.errors import ConfigError
from tasks.lib.launch import Job
from tasks.lib.packing import BlockCollator
from tasks.lib.training_config import TrainingConfig

PACKED = Collation()
LOG_POINTS = 60  # points of a curve


class PlainLossSFT(CountingTrainer, SFTTrainer):
    """TRL's SFT with the model's own loss.

    TRL's fused language-model head falls back to fp32 tiles on a CPU and also computes entropy
    and accuracy; the plain loss is the same number at a fraction of the time.
    """

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """The loss of `transformers.Trainer`."""
        found = Trainer.compute_loss(self, model, inputs, return_outputs, num_items_in_batch)
        return self.weighed(found, return_outputs, num_items_in_batch)


def arguments(
    kind: type[TrainingArguments], cfg: TrainingConfig, blocks: int, work: str, *, filled: float | None = None, **extra: Any
) -> Any:
    """The library's own arguments: ours, then what the user passes verbatim in `trainer:`; a block holds `filled` tokens on average."""
    place = models.device(cfg.device)
    steps, rank, bf16 = cfg.steps(blocks, filled), ranks.mine(), models.use_bf16(cfg.precision, place)
    at_once, times = cfg.shared(rank.count)
    chosen: dict[str, Any] = {
        "output_dir": work,
        "per_device_train_batch_size": at_once,
        "per_device_eval_batch_size": at_once,
        "gradient_accumulation_steps": times,
        "max_steps": steps,
        "learning_rate": cfg.learning_rate,
        **cfg.scheduler(steps),
        "weight_decay": cfg.weight_decay,
        "max_grad_norm": 1.0,
        "bf16": bf16,
        "use_cpu": place.type == "cpu",
        "dataloader_num_workers": cfg.workers,
        "gradient_checkpointing": False,
        "logging_steps": max(1, steps // LOG_POINTS),
        "logging_nan_inf_filter": False,  # else a loss that is no number is logged as the last one that was
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "seed": cfg.seed,
        "data_seed": cfg.seed,
        **extra,
        **rank.arguments(cpu=place.type == "cpu", bf16=bf16),
    }
    try:
        made = kind(**{**chosen, **cfg.trainer})
    except (TypeError, ValueError, ImportError) as error:
        raise ConfigError(f"trainer settings for {kind.__name__}: {cfg.trainer}", str(error), "correct `trainer:`") from error
    # one device was asked for: the library would spread every batch over all accelerators that it sees (DataParallel)
    made._n_gpu = min(made.n_gpu, 1)
    return made


@dataclass(frozen=True)
class Learned:
    """What a training saw: facts that are the same every time, how often each block or pair was trained on, and measurements."""

    facts: dict[str, int]
    times: Counter[int]
    measured: dict[str, Any]


@dataclass(frozen=True)
class Lesson:
    """A trainer that is ready, its curve, what it counts (such as `tokens` or `pairs`), and what else will have been measured."""

    trainer: CountingTrainer
    curve: Curve
    unit: str
    told: dict[str, Any] = field(default_factory=dict)


def learn(job: Job) -> Learned:
    """Train in this process, or in one for each device; what is measured of a distillation is the student's training."""
    count = launch.devices(job.cfg)
    if count == 1:
        learned, _ = learned_here(job)
    else:
        said = launch.launched(job, count)
        learned = Learned(said["facts"], Counter({int(k): v for k, v in said["times"].items()}), said["measured"])
    if not job.options.get("what", "").endswith("(control)"):
        tracking.measure(**learned.measured)
    return learned


def learned_here(job: Job) -> tuple[Learned, dict[str, torch.Tensor]]:
    """Train in this process, alone or as one of several; of several, the first also gets the weights that learned."""
    set_seed(job.cfg.seed)
    with tempfile.TemporaryDirectory() as work:
        lesson: Lesson = job.make(job, work)
        lesson.trainer.remove_callback(PrinterCallback)  # the bar says it already
        lesson.trainer.train()
        precision.drop(lesson.trainer.model)
        models.require_finite(lesson.trainer.model)
        learned = _counted(lesson)
        return learned, ranks.trained(lesson.trainer.model) if ranks.mine().count > 1 else {}


def _counted(lesson: Lesson) -> Learned:
    """Count what was seen, by all processes."""
    trainer, curve, unit = lesson.trainer, lesson.curve, lesson.unit
    seen, sizes = ranks.total(trainer.seen), [1] * len(trainer.train_dataset)
    facts = {"steps": trainer.state.global_step}
    if unit == "tokens":
        sizes = [len(ids) for ids in trainer.train_dataset["input_ids"]]
        facts |= _reached(trainer.train_dataset, seen)
    facts |= {
        f"{unit}_seen": sum(sizes[number] for number in seen),
        f"{unit}_not_reached": sum(size for number, size in enumerate(sizes) if number not in seen),
        f"{unit}_trained": sum(sizes[number] * times for number, times in seen.items()),
    }
    speed = round(facts[f"{unit}_trained"] / max(curve.seconds, 1e-9), 1)
    epochs = round(sum(seen.values()) / len(sizes), 3)
    measured = {
        **lesson.told,
        "curve": curve.points,
        "training_seconds": round(curve.seconds, 2),
        "epochs": epochs,
        f"{unit}_per_second": speed,
    }
    if ranks.mine().count > 1:
        measured |= {"devices": ranks.mine().count, "engine": trainer.engine, "processes_peak_memory": ranks.peak_memory()}
    return Learned(facts, seen, measured)


def _reached(blocks: Dataset, seen: Counter[int]) -> dict[str, int]:
    """How many blocks the budget did not reach, and rows: one is seen when any of its tokens is."""
    every = set(itertools.chain.from_iterable(blocks["rows"]))
    reached = set(itertools.chain.from_iterable(blocks.select(sorted(seen))["rows"]))
    return {"blocks_not_reached": len(blocks) - len(seen), "rows_seen": len(reached), "rows_not_reached": len(every - reached)}


def fit(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    blocks: Dataset,
    cfg: TrainingConfig,
    what: str,
    collation: Collation = PACKED,
    **distill: Any,
) -> Learned:
    """Train on packed blocks; returns what was seen of them, in the same counts every time.

    What is "seen" was trained on at least once, what is "not reached" never, because the budget ended before; together
    they are all there was. `tokens_trained` counts a token as often as it was trained on.

    `what` is "tune" for TRL's SFT trainer, else transformers' own; with `teacher=, weight=,
    temperature=` (and `hidden=`) it is distillation. Blocks are of `cfg.length` tokens, and are packed documents of a causal model
    unless `collation` says otherwise.
    """
    return learn(Job(blocks_lesson, model, tokenizer, blocks, cfg, {"what": what, "collation": collation.said(), **distill}))


def blocks_lesson(job: Job, work: str) -> Lesson:
    """The trainer of `fit`."""
    blocks, cfg, distill = job.data, job.cfg, dict(job.options)
    what, collation = distill.pop("what"), Collation.of(distill.pop("collation"))
    # padding is no work worth counting
    filled = sum(map(len, blocks["input_ids"])) / max(1, len(blocks))
    curve = Curve(what, cfg.batch * cfg.accumulation * filled, "tok")
    collate = collation.collator(job.tokenizer, cfg.length)
    if what == "tune":
        own = {"dataset_kwargs": {"skip_prepare_dataset": True}, "max_length": None}
        args = arguments(SFTConfig, cfg, len(blocks), work, filled=filled, **own)
        given = {"data_collator": collate, "train_dataset": blocks, "processing_class": job.tokenizer, "callbacks": [curve]}
        trainer = PlainLossSFT(job.model, args, **given)
        for weight in trainer.model.parameters():
            if weight.requires_grad:  # TRL rounds adapters on a quantised model to bf16, in which small steps are lost
                weight.data = weight.data.float()
        return Lesson(trainer, curve, "tokens")
    args = arguments(TrainingArguments, cfg, len(blocks), work, filled=filled)
    kind: Any = CountingTrainer
    if distill:
        kind, distill["masked"], distill["pad"] = DistillTrainer, collation.mask is not None, job.tokenizer.pad_token_id
    told = [curve, collate] if isinstance(collate, Masked) else [curve]
    given = {"data_collator": collate, "train_dataset": blocks, "callbacks": told, **distill}
    if collation.loss is not None:
        given["compute_loss_func"] = partial(collation.loss, smoothing=args.label_smoothing_factor)
    return Lesson(kind(job.model, args, **given), curve, "tokens")


@torch.inference_mode()
def loss_on(model: Any, tokenizer: PreTrainedTokenizerBase, blocks: Dataset, length: int, batch: int = 8, collate: Any = None) -> float:
    """Mean negative log-likelihood (nats a token) over the labelled positions of blocks."""
    collate = collate or BlockCollator(tokenizer.pad_token_id, length)
    model.eval()
    total, count = 0.0, 0
    bf16 = models.use_bf16("auto", model.device)
    for start in progress.batches(len(blocks), batch, "held-out loss", " blocks"):
        inputs = models.moved(collate([blocks[i] for i in range(start, min(start + batch, len(blocks)))]), model.device)
        n = int((inputs["labels"][:, 1:] != -100).sum())
        with torch.autocast(model.device.type, torch.bfloat16, enabled=bf16):
            total += float(model(**inputs).loss) * n
        count += n
    return total / max(1, count)
