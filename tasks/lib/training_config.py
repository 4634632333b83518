"""What may be set of any training, without the libraries that train."""

import math
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from tasks.lib import places
from tasks.lib.config import RUNTIME, Declared
from tasks.lib.errors import ConfigError, DataError

# what the libraries call a thing that has a field here: said twice, one of the two would be without effect
OWN_FIELDS = {
    "learning_rate": "learning_rate", "num_train_epochs": "epochs", "per_device_train_batch_size": "batch",
    "per_device_eval_batch_size": "batch", "auto_find_batch_size": "batch", "gradient_accumulation_steps": "accumulation",
    "warmup_steps": "warmup", "warmup_ratio": "warmup", "weight_decay": "weight_decay", "bf16": "precision", "seed": "seed",
    "data_seed": "seed", "use_cpu": "device", "deepspeed": "parallel", "dataloader_num_workers": "workers", "max_length": "length",
    "lr_scheduler_type": "schedule", "lr_scheduler_kwargs": "schedule",
}  # fmt: skip
# what is as the pipeline needs it, with the reason
FIXED = {
    **dict.fromkeys(("output_dir", "save_strategy", "save_steps", "resume_from_checkpoint"), "the model is kept in the store, when it is whole"),
    **dict.fromkeys(("report_to", "disable_tqdm", "run_name"), "metrics go to the spool, and from there to MLflow"),
    **dict.fromkeys(("eval_strategy", "do_eval", "load_best_model_at_end"), "no evaluation rows are given; the stage `evaluate` scores"),
    **dict.fromkeys(("push_to_hub", "hub_model_id", "hub_token"), "nothing is sent to a hub"),
    **dict.fromkeys(("trust_remote_code", "model_init_kwargs"), "the model is loaded from safetensors, without code"),
    **dict.fromkeys(("dataset_kwargs", "packing", "padding_free", "remove_unused_columns"), "blocks are packed before they are trained on"),
    **dict.fromkeys(("packing_strategy", "eval_packing", "pad_to_multiple_of"), "blocks are packed and padded before they are trained on"),
    **dict.fromkeys(("dataset_text_field", "dataset_num_proc", "truncation_mode"), "rows are tokenised, and counted where cut, before the training"),
    **dict.fromkeys(("pad_token", "eos_token", "chat_template_path"), "tokens and chat template are those of the base"),
    **dict.fromkeys(("assistant_only_loss", "completion_only_loss"), "the loss sees the answers only, in any case"),
    **dict.fromkeys(("ddp_backend", "accelerator_config"), "it follows from `devices`, `parallel` and `device`"),
    "precompute_ref_log_probs": "the reference is asked once, before the training",
    "dataloader_drop_last": "no row is left out without being counted",
}  # fmt: skip
# of methods with a loss of their own, which takes no notice of it
UNSMOOTHED = {**FIXED, "label_smoothing_factor": "the loss of this stage has no labels to smooth"}

LIBRARY_NAMES = {"constant": "constant_with_warmup"}  # the library's `constant` has no warm-up


class TrainingConfig(Declared):
    """Budget, optimisation and place of one training run."""

    own_fields: ClassVar[dict[str, str]] = OWN_FIELDS
    fixed: ClassVar[dict[str, str]] = FIXED

    epochs: float = Field(default=1.0, gt=0, description="passes over the data, unless tokens caps them")
    tokens: int | None = Field(default=None, ge=1, description="token budget; the data repeat or stop there (a pair counts as `length`)")
    length: int = Field(default=512, ge=16, description="tokens in a block")
    batch: int = Field(default=8, ge=1, description="blocks (or pairs) at once on one device, at most")
    accumulation: int = Field(default=1, ge=1, description="batch x accumulation are a step, on however many devices")
    learning_rate: float = Field(default=5e-4, ge=0)
    schedule: Literal["cosine", "wsd", "linear", "constant"] = Field(
        default="cosine", description="of the learning rate after its warm-up; wsd stays, then decays (warm-up, stable, decay)"
    )
    warmup: float = Field(default=0.05, ge=0, le=1, description="share of the steps")
    decay: float = Field(default=0.2, ge=0, le=1, description="share of the steps in which wsd decays to zero")
    weight_decay: float = Field(default=0.01, ge=0)
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    seed: int = 42
    trainer: dict[str, Any] = Field(default={}, description="passed verbatim to the library's own arguments; no key that has a field here")
    device: str = Field(default="auto", json_schema_extra=RUNTIME)
    workers: int = Field(default=0, ge=0, json_schema_extra=RUNTIME, description="data loading processes")
    devices: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        default=1, json_schema_extra=RUNTIME, description="how many devices share a step, one process each; auto takes all accelerators"
    )
    parallel: str = Field(
        default="ddp", json_schema_extra=RUNTIME, description="ddp, zero2, zero3, or a DeepSpeed JSON of your own; of several devices"
    )

    @model_validator(mode="after")
    def _can_be_shared(self) -> Self:
        """What can be refused before anything is started, is."""
        if self.parallel != "ddp":
            places.deepspeed_file(self.parallel)
        if self.devices != "auto":
            self.shared(self.devices)
        return self

    def shared(self, devices: int) -> tuple[int, int]:
        """How many blocks each device takes at once, and how often for one step.

        A step is of `batch` x `accumulation` blocks whatever the number of devices: it is their share that changes.

        Raises:
            ConfigError: if a step cannot be shared evenly.
        """
        step = self.batch * self.accumulation
        if step % devices:
            fitting = max(n for n in range(1, devices) if step % n == 0)
            raise ConfigError(
                f"a step of batch x accumulation = {self.batch} x {self.accumulation} = {step}, shared by devices = {devices}",
                f"{step} is no multiple of {devices}",
                f"set `devices: {fitting}`, or make `batch` a multiple of {devices} (another batch is another result)",
            )
        share = step // devices
        at_once = max(n for n in range(1, min(self.batch, share) + 1) if share % n == 0)
        return at_once, share // at_once

    def require_shared_batch(self, devices: int) -> None:
        """Of a method whose loss is no sum over rows.

        Raises:
            ConfigError: if devices cannot share a `batch` evenly.
        """
        if self.batch % devices:
            fitting = max(n for n in range(1, devices) if self.batch % n == 0)
            raise ConfigError(
                f"a batch of {self.batch} pairs, shared by devices = {devices}",
                f"{self.batch} is no multiple of {devices}, and the loss is computed over a whole batch",
                f"set `devices: {fitting}`, or make `batch` a multiple of {devices} (another batch is another result)",
            )

    @field_validator("device")
    @classmethod
    def _of_no_number(cls, given: str) -> str:
        if ":" in given:  # which the library's trainers do not heed
            raise ValueError(f"{given!r} names one of several; write {given.partition(':')[0]!r}, and choose with CUDA_VISIBLE_DEVICES")
        return given

    @field_validator("trainer")
    @classmethod
    def _not_said_elsewhere(cls, given: dict[str, Any]) -> dict[str, Any]:
        for key in given:
            if key in cls.own_fields:
                raise ValueError(f"{key!r} would contradict `{cls.own_fields[key]}:`; write `{cls.own_fields[key]}:` beside `trainer:`")
            if key in cls.fixed:
                raise ValueError(f"{key!r} cannot be set: {cls.fixed[key]}; remove it")
        if given.get("train_sampling_strategy") == "group_by_length":
            raise ValueError("'train_sampling_strategy' group_by_length would be another order on several devices; remove it")
        steps = given.get("max_steps", 1)
        if type(steps) is not int or steps < 1:
            raise ValueError(f"'max_steps' is {steps!r}; write a whole number from 1, or `epochs:` or `tokens:` in its place")
        return given

    @model_validator(mode="after")
    def _fits(self) -> "TrainingConfig":
        if self.schedule == "wsd" and self.warmup + self.decay > 1:
            raise ValueError(f"warmup {self.warmup} and decay {self.decay} are more than all steps; lower one of them")
        return self

    def scheduler(self, steps: int) -> dict[str, Any]:
        """The library's own settings of the schedule, over `steps` optimiser steps."""
        # the first step of a warm-up has a rate of zero: of a training of one step nothing would be learned
        warmup = min(math.ceil(self.warmup * steps), steps - 1)
        if self.schedule == "wsd":  # Hu et al., 2024: MiniCPM
            decay = min(math.ceil(self.decay * steps), steps - warmup)
            return {
                "warmup_steps": warmup,
                "lr_scheduler_type": "warmup_stable_decay",
                "lr_scheduler_kwargs": {"num_decay_steps": decay, "decay_type": "linear"},
            }
        return {"warmup_steps": warmup, "lr_scheduler_type": LIBRARY_NAMES.get(self.schedule, self.schedule)}

    def steps(self, blocks: int, filled: float | None = None) -> int:
        """Optimiser steps over `blocks` blocks of `filled` tokens on average (or pairs, each of which counts as `length`).

        Raises:
            DataError: if there is nothing to train on.
        """
        if blocks == 0:
            raise DataError("something to train on", "no row that fits", "add rows, or raise `length`")
        if "max_steps" in self.trainer:
            return int(self.trainer["max_steps"])
        if self.tokens is not None:
            return max(1, round(self.tokens / (self.batch * self.accumulation * (filled or self.length))))
        # the last step of an epoch may be a short one, and is a step all the same
        return math.ceil(self.epochs * math.ceil(blocks / (self.batch * self.accumulation)))
