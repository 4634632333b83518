"""What may be set of any training, without the libraries that train."""

import math
from typing import Any, Literal

from pydantic import Field, model_validator

from tasks.lib.config import RUNTIME, StageConfig
from tasks.lib.errors import DataError

LIBRARY_NAMES = {"constant": "constant_with_warmup"}  # the library's `constant` has no warm-up


class TrainingConfig(StageConfig):
    """Budget, optimisation and place of one training run."""

    epochs: float = Field(default=1.0, gt=0, description="passes over the data, unless tokens caps them")
    tokens: int | None = Field(default=None, ge=1, description="token budget; the data repeat or stop there")
    length: int = Field(default=512, ge=16, description="tokens in a block")
    batch: int = Field(default=8, ge=1, description="blocks (or pairs) in a step on one device")
    accumulation: int = Field(default=1, ge=1, description="steps whose gradients are added up")
    learning_rate: float = Field(default=5e-4, ge=0)
    schedule: Literal["cosine", "wsd", "linear", "constant"] = Field(
        default="cosine", description="of the learning rate after its warm-up; wsd stays, then decays (warm-up, stable, decay)"
    )
    warmup: float = Field(default=0.05, ge=0, le=1, description="share of the steps")
    decay: float = Field(default=0.2, ge=0, le=1, description="share of the steps in which wsd decays to zero")
    weight_decay: float = Field(default=0.01, ge=0)
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    seed: int = 42
    trainer: dict[str, Any] = Field(default={}, description="passed verbatim to the library's own arguments")
    device: str = Field(default="auto", json_schema_extra=RUNTIME)
    workers: int = Field(default=0, ge=0, json_schema_extra=RUNTIME, description="data loading processes")

    @model_validator(mode="after")
    def _fits(self) -> "TrainingConfig":
        if self.schedule == "wsd" and self.warmup + self.decay > 1:
            raise ValueError(f"warmup {self.warmup} and decay {self.decay} are more than all steps; lower one of them")
        return self

    def scheduler(self, steps: int) -> dict[str, Any]:
        """The library's own settings of the schedule, over `steps` optimiser steps."""
        warmup = math.ceil(self.warmup * steps)
        if self.schedule == "wsd":  # Hu et al., 2024: MiniCPM
            decay = min(math.ceil(self.decay * steps), steps - warmup)
            return {
                "warmup_steps": warmup,
                "lr_scheduler_type": "warmup_stable_decay",
                "lr_scheduler_kwargs": {"num_decay_steps": decay, "decay_type": "linear"},
            }
        return {"warmup_steps": warmup, "lr_scheduler_type": LIBRARY_NAMES.get(self.schedule, self.schedule)}

    def steps(self, blocks: int) -> int:
        """Optimiser steps over `blocks` blocks (or pairs).

        Raises:
            DataError: if there is nothing to train on.
        """
        if blocks == 0:
            raise DataError("something to train on", "no row that fits", "add rows, or raise `length`")
        if "max_steps" in self.trainer:
            return int(self.trainer["max_steps"])
        if self.tokens is not None:
            return max(1, round(self.tokens / (self.batch * self.accumulation * self.length)))
        # the last step of an epoch may be a short one, and is a step all the same
        return math.ceil(self.epochs * math.ceil(blocks / (self.batch * self.accumulation)))
