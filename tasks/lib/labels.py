"""What can be measured of a model that writes no text: an encoder's masked loss, a classifier's answers to tasks with choices."""

import json
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from tasks.lib import heads, objectives
from tasks.lib.architecture import CAN, Architecture
from tasks.lib.paired import marks
from tasks.lib.records import Row
from tasks.lib.score import TaskScore, interval
from tasks.lib.suite import Task

SHOWN = 3  # sample answers of a task


def not_measured(kind: Architecture) -> dict[str, str]:
    """What is measured of a decoder and not of this kind of model, each with the reason."""
    why = f"a model that {CAN[kind]}"
    found = {
        "bits per byte": f"{why} gives a text no probability",
        "tokens decoded per second": why,
        "sample answers": why,
        "general tasks": why,
    }
    return found | ({"masked loss": "its head is over labels"} if kind == "classifier" else {})


def masked_losses(model: Any, tokenizer: PreTrainedTokenizerBase, texts: dict[str, list[str]], length: int) -> dict[str, float]:
    """Nats a masked token of each kind of held-out text, under the same masks for every model; no entry without texts."""
    objective = objectives.choose(model, tokenizer, heads.text_length(model, length), device=str(model.device))
    losses = {kind: objective.loss_of(model, found) for kind, found in texts.items()}
    return {kind: round(loss, 5) for kind, loss in losses.items() if loss is not None}


def run_tasks(
    model: Any, tokenizer: PreTrainedTokenizerBase, kind: Architecture, suite: dict[str, dict[str, Any]], sets: dict[str, Path], cfg: Any
) -> list[TaskScore]:
    """Tasks of multiple choice among a classifier's own labels; the others come back as not run, with the reason.

    The classifier is given the row's system message and prompt as in training; examples and descriptions of the task are
    not for it.

    Args:
        model: a classifier, or an encoder, which runs no task.
        tokenizer: its tokenizer.
        kind: which of the two.
        suite: task files by name.
        sets: evaluation set name -> JSON-lines file.
        cfg: `limit` rows a task, `length` tokens of a text, `batch` rows at once.
    """
    tasks = sorted((Task.model_validate(task) for task in suite.values()), key=lambda task: task.task)
    labels = heads.labels_of(model) if kind == "classifier" else []
    found = []
    for task in tasks:
        if absent := [name for name in task.sets.values() if name not in sets]:
            found.append(_not_run(task, f"no evaluation set {absent[0]!r} in this edition"))
        elif kind == "encoder":
            found.append(_not_run(task, f"the model {CAN[kind]}"))
        else:
            found.append(_run(model, tokenizer, task, labels, _rows(sets[task.sets[task.test_split]]), cfg))
    return found


def _not_run(task: Task, why: str) -> TaskScore:
    return TaskScore(task=task.task, metric="", n=0, not_run=why)


def _rows(file: Path) -> list[Row]:
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _run(model: Any, tokenizer: PreTrainedTokenizerBase, task: Task, labels: list[str], rows: list[Row], cfg: Any) -> TaskScore:
    if task.output_type != "multiple_choice" or any(set(row.get("choices") or ()) != set(labels) for row in rows):
        return _not_run(task, f"the model names only {', '.join(labels)}, which are not the choices of this task")
    rows = rows[: cfg.limit]
    said = heads.answer(model, tokenizer, rows, cfg.length, cfg.batch)
    low, high = interval(said.right)
    return TaskScore(
        task=task.task,
        metric="acc",
        n=len(rows),
        value=round(sum(said.right) / len(rows), 6),
        low=low,
        high=high,
        right=marks(said.right),
        truncated=said.truncated,
        samples=[
            {"prompt": row["prompt"], "wanted": row["response"], "answer": given}
            for row, given in list(zip(rows, said.given, strict=True))[:SHOWN]
        ],
    )
