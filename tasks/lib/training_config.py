"""What may be set of any training, without the libraries that train."""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from tasks.lib import places
from tasks.lib.config import RUNTIME, StageConfig
from tasks.lib.errors import ConfigError, DataError


class TrainingConfig(StageConfig):
    """Budget, optimisation and place of one training run."""

    epochs: float = Field(default=1.0, gt=0, description="passes over the data, unless tokens caps them")
    tokens: int | None = Field(default=None, ge=1, description="token budget; the data repeat or stop there")
    length: int = Field(default=512, ge=16, description="tokens in a block")
    batch: int = Field(default=8, ge=1, description="blocks (or pairs) at once on one device, at most")
    accumulation: int = Field(default=1, ge=1, description="batch x accumulation are a step, on however many devices")
    learning_rate: float = Field(default=5e-4, ge=0)
    warmup: float = Field(default=0.05, ge=0, le=1, description="share of the steps")
    weight_decay: float = Field(default=0.01, ge=0)
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    seed: int = 42
    trainer: dict[str, Any] = Field(default={}, description="passed verbatim to the library's own arguments")
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
