"""What is shown and kept of a training while it runs, and which rows are in a batch."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tasks.lib import progress, tracking
from tasks.lib.errors import StageError
from tasks.lib.shares import NUMBER

POINT = ("loss", "learning_rate", "rewards/accuracies")  # what a point of the curve holds


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
            self.points.append({"step": state.global_step, **{k: v for k, v in numbers.items() if k in POINT}})
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
