"""Scores of a model: the domain's tasks by lm-evaluation-harness (its only importer), and bits per byte."""

import logging
import math
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from lm_eval.evaluator import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from ruamel.yaml import YAML
from transformers import PreTrainedTokenizerBase

from tasks.lib import models
from tasks.lib.errors import ConfigError
from tasks.lib.score import TaskScore

Z95 = 1.959963984540054


def run_tasks(
    model: Any, tokenizer: PreTrainedTokenizerBase, suite: dict[str, dict[str, Any]], sets: dict[str, Path], cfg: Any
) -> list[TaskScore]:
    """Run every task whose evaluation set is at hand; the others come back as not run.

    Args:
        model: a causal language model.
        tokenizer: its tokenizer, with a chat template.
        suite: lm-evaluation-harness task configurations by file name.
        sets: evaluation set name -> JSON-lines file.
        cfg: `limit` rows a task, `batch` rows at once.

    Raises:
        ConfigError: if the harness does not accept a task.
    """
    runnable, scores = {}, []
    for name, task in suite.items():
        made = _with_files(name, task, sets)
        if isinstance(made, str):
            scores.append(TaskScore(task=str(task["task"]), metric="", n=0, not_run=made))
        else:
            runnable[str(task["task"])] = made
    if runnable:
        scores += _run(model, tokenizer, runnable, cfg)
    return sorted(scores, key=lambda score: (score.not_run or "", score.task))


def _with_files(name: str, task: dict[str, Any], sets: dict[str, Path]) -> dict[str, Any] | str:
    """The task with its data files in place, or why it cannot run."""
    files = (task.get("dataset_kwargs") or {}).get("data_files")
    if task.get("dataset_path") != "json" or not isinstance(files, dict):
        raise ConfigError(f"evaluation task {name}", "no local data", "set dataset_path: json and dataset_kwargs.data_files")
    placed = {}
    for part, file in files.items():
        found = sets.get(Path(file).stem)
        if found is None:
            return f"no evaluation set {Path(file).stem!r} in this edition"
        placed[part] = str(found)
    return {**task, "dataset_kwargs": {**task["dataset_kwargs"], "data_files": placed}}


def _run(model: Any, tokenizer: PreTrainedTokenizerBase, tasks: dict[str, dict[str, Any]], cfg: Any) -> list[TaskScore]:
    for noisy in ("lm_eval", "lm-eval", "datasets"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        for name, task in tasks.items():
            with (Path(folder) / f"{name}.yaml").open("w", encoding="utf-8") as file:
                YAML(typ="safe", pure=True).dump(task, file)
        os.environ["HF_DATASETS_CACHE"] = folder
        harness = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=cfg.batch, max_length=_positions(model))
        manager = TaskManager(include_path=folder, include_defaults=False)
        result = simple_evaluate(
            model=harness,
            tasks=sorted(tasks),
            task_manager=manager,
            limit=cfg.limit,
            apply_chat_template=True,
            log_samples=True,
            bootstrap_iters=0,
            random_seed=0,
            numpy_random_seed=0,
            torch_random_seed=0,
            fewshot_random_seed=0,
        )
    if result is None:
        raise ConfigError("evaluation tasks", "the harness returned nothing", "check the task files")
    return [_score(name, result) for name in sorted(tasks)]


def _positions(model: Any) -> int:
    return int(getattr(model.config, "max_position_embeddings", 2048))


def _score(task: str, result: dict[str, Any]) -> TaskScore:
    """The task's first metric with a 95 % interval over its samples (Wilson, 1927, for right or wrong)."""
    numbers = {k: v for k, v in result["results"][task].items() if isinstance(v, (int, float)) and "stderr" not in k}
    key = next(k for k in numbers if k.split(",")[0] not in ("alias", "sample_len"))
    metric = key.split(",")[0]
    values = [float(sample[metric]) for sample in result["samples"][task] if metric in sample]
    n, value = len(values), float(numbers[key])
    low, high = interval(values)
    samples = result["samples"][task][:3]
    return TaskScore(
        task=task, metric=metric, n=n, value=round(value, 6), low=round(low, 6), high=round(high, 6),
        samples=[_sample(sample) for sample in samples],
    )  # fmt: skip


def _sample(sample: dict[str, Any]) -> dict[str, str]:
    document = sample["doc"]
    answers = sample["filtered_resps"]
    if document.get("choices"):
        scores = [answer[0] for answer in answers]
        answer = str(document["choices"][scores.index(max(scores))])
    else:
        answer = str(answers[0])
    return {"prompt": str(document["prompt"]), "wanted": str(document["response"]), "answer": answer.strip()[:400]}


def interval(values: list[float]) -> tuple[float, float]:
    """95 % interval of a mean: Wilson's for 0/1 values, else normal."""
    n = len(values)
    if n == 0:
        return (0.0, 1.0)
    mean = sum(values) / n
    if all(value in (0.0, 1.0) for value in values):
        centre = (mean + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
        half = Z95 / (1 + Z95**2 / n) * math.sqrt(mean * (1 - mean) / n + Z95**2 / (4 * n * n))
        return (max(0.0, centre - half), min(1.0, centre + half))
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / max(1, n - 1))
    half = Z95 * deviation / math.sqrt(n)
    return (mean - half, mean + half)


@torch.inference_mode()
def bits_per_byte(model: Any, tokenizer: PreTrainedTokenizerBase, texts: list[str], length: int, batch: int) -> float | None:
    """Negative log2-likelihood of texts, divided by their UTF-8 bytes; None without texts.

    Each text is cut into windows of `length` tokens; every window starts anew behind the
    begin-of-text token, so that all tokens are scored.
    """
    begin = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    windows: list[list[int]] = []
    size = 0
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        windows += [[begin, *ids[i : i + length]] for i in range(0, len(ids), length)]
        size += len(text.encode())
    if not size:
        return None
    nats = 0.0
    windows.sort(key=len)
    bf16 = models.use_bf16("auto", model.device)
    for start in range(0, len(windows), batch):
        rows = windows[start : start + batch]
        longest = max(map(len, rows))
        ids = torch.full((len(rows), longest), tokenizer.pad_token_id)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            mask[i, : len(row)] = 1
        ids, mask = ids.to(model.device), mask.to(model.device)
        with torch.autocast(model.device.type, torch.bfloat16, enabled=bf16):
            logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
        losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        nats += float((losses * mask[:, 1:].flatten()).sum())
    return nats / math.log(2) / size


@torch.inference_mode()
def decode_speed(model: Any, tokenizer: PreTrainedTokenizerBase, prompt: str, tokens: int) -> float:
    """Tokens a second of greedy decoding, one sequence at a time, after a warm-up."""
    inputs = tokenizer(prompt, return_tensors="pt", truncation=True, max_length=128).to(model.device)
    settings: dict[str, Any] = {
        "do_sample": False,
        "min_new_tokens": tokens,
        "max_new_tokens": tokens,
        "pad_token_id": tokenizer.pad_token_id,
    }
    model.generate(**inputs, **{**settings, "max_new_tokens": 4, "min_new_tokens": 4})
    started = time.perf_counter()
    model.generate(**inputs, **settings)
    return tokens / (time.perf_counter() - started)


@torch.inference_mode()
def answer(model: Any, tokenizer: PreTrainedTokenizerBase, prompt: str, tokens: int) -> str:
    """A greedy answer to a chat prompt."""
    chat = [{"role": "user", "content": prompt}]
    inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    inputs = inputs.to(model.device)
    made = model.generate(**inputs, do_sample=False, max_new_tokens=tokens, pad_token_id=tokenizer.pad_token_id)
    return str(tokenizer.decode(made[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)).strip()
