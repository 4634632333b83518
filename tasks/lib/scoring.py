"""Scores of a model: the domain's tasks by lm-evaluation-harness (imported here and in `asking`), and bits per byte."""

import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from lm_eval.api.metrics import exact_match_hf_evaluate
from lm_eval.api.task import ConfigurableTask
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import PreTrainedTokenizerBase, set_seed

from tasks.lib import chats, models, progress
from tasks.lib.asking import Asked
from tasks.lib.errors import ConfigError
from tasks.lib.packing import Encoder, chat_ids
from tasks.lib.paired import marks
from tasks.lib.records import Row
from tasks.lib.score import TaskScore, interval
from tasks.lib.suite import Generation, Metric, Task, only_field

TEMPLATES = ("description", "doc_to_text", "doc_to_choice", "doc_to_target")
OURS = ("dataset_kwargs", "metadata", "training", "general")  # the harness does not know them, or would hand them to what makes the data
# what each metric divides the log-likelihood of a choice by
LENGTHS: dict[str, Callable[[str], int]] = {"acc": lambda text: 1, "acc_norm": len, "acc_bytes": lambda text: len(text.encode())}


def run_tasks(
    model: Any, tokenizer: PreTrainedTokenizerBase, suite: dict[str, dict[str, Any]], sets: dict[str, Path], cfg: Any, *, chat: bool = True
) -> list[TaskScore]:
    """Run every task whose evaluation sets are at hand; the others come back as not run.

    Nothing is written: the rows go to the harness as they are, and neither it nor `datasets` keeps a copy.

    Args:
        model: a causal language model.
        tokenizer: its tokenizer, with a chat template.
        suite: task files by name, as `tasks.lib.suite` admits them.
        sets: evaluation set name -> JSON-lines file.
        cfg: `limit` rows a task, `batch` rows at once.
        chat: ask under the chat template; otherwise as plain text, which a model that was never tuned can continue as well.

    Raises:
        ConfigError: if a task wants more room, or more examples, than there are.
    """
    encoder = Encoder(tokenizer, _positions(model))
    tasks = sorted((Task.model_validate(task) for task in suite.values()), key=lambda task: task.task)
    runnable, scores = [], []
    for task in tasks:
        if absent := [name for name in task.sets.values() if name not in sets]:
            scores.append(TaskScore(task=task.task, metric="", n=0, not_run=f"no evaluation set {absent[0]!r} in this edition"))
        else:
            data = {split: _rows(sets[name], encoder) for split, name in task.sets.items()}
            runnable.append((task, _for_harness(task, data)))
            _require_room(task, encoder.length)
    if not runnable:
        return scores
    for noisy in ("lm_eval", "lm-eval", "datasets"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    harness = Asked(pretrained=model, tokenizer=tokenizer, batch_size=cfg.batch, max_length=encoder.length)
    # not by `simple_evaluate`, which lists the installed packages each time, for seconds; the artifact's record has them
    loaded = TaskManager(include_defaults=False).load([made for _, made in runnable])
    for made in loaded["tasks"].values():
        made.set_fewshot_seed(seed=0)
    set_seed(0)
    result = evaluate(
        lm=harness,
        task_dict=loaded,
        limit=cfg.limit,
        apply_chat_template=chat,
        fewshot_as_multiturn=True,
        log_samples=True,
        bootstrap_iters=0,
    )
    if result is None:
        raise ConfigError("evaluation tasks", "the harness returned nothing", "check the task files")
    return [*(_score(task, result["samples"][task.task], harness) for task, _ in runnable), *scores]


def _positions(model: Any) -> int:
    return int(getattr(model.config, "max_position_embeddings", 2048))


def _rows(file: Path, encoder: Encoder) -> Dataset:
    """An evaluation set in memory: typed by the rows alone (JSON readers turn dates into times), control tokens broken up."""
    with file.open(encoding="utf-8") as lines:
        rows: list[Row] = [{"system": "", **json.loads(line)} for line in lines]
    for row in rows:
        row |= {key: encoder.harmless(row[key]) for key in ("system", "prompt", "response")}
        if "choices" in row:
            row["choices"] = [encoder.harmless(choice) for choice in row["choices"]]
        turns = [{**turn, "content": encoder.harmless(turn["content"])} for turn in row.get("history", [])]
        row |= {"turns": turns, "history": chats.told(turns)}
    return Dataset.from_list(rows)


def _for_harness(task: Task, data: dict[str, Dataset]) -> dict[str, Any]:
    """The task as the harness takes it, with its rows."""
    if task.fewshot_split is not None and task.num_fewshot >= len(data[task.fewshot_split]):
        found = f"{len(data[task.fewshot_split])} rows to draw {task.num_fewshot} examples from"
        raise ConfigError(f"evaluation task {task.task}: num_fewshot", found, "lower num_fewshot, or hold out more rows")
    made = {key: value for key, value in task.model_dump(exclude_unset=True).items() if key not in OURS}
    for key in TEMPLATES:
        if made.get(key):
            # a lone field is given by its name: rendered, a prompt "12" or a response "[1]" would become a number or a list
            made[key] = only_field(made[key]) or made[key]
    # a row's own system message, unless the task has one for all rows
    made |= {"description": made.get("description") or "system", "custom_dataset": lambda **_: data}
    if any(data[task.test_split]["turns"]) and not task.renders_history:
        made["class"] = _Conversations
    return made


class _Conversations(ConfigurableTask):
    """A task whose rows are asked after the turns before them, as in training: as turns, not as text."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(
            config={key: value for key, value in config.items() if key != "class"}
        )  # which names this class, and is no setting

    def fewshot_context(self, doc: Row, num_fewshot: int, **settings: Any) -> Any:
        render = settings.pop("chat_template")

        def after_turns(messages: list[dict[str, str]], **how: Any) -> Any:
            return render([*messages[:-1], *doc["turns"], messages[-1]], **how)

        return super().fewshot_context(doc, num_fewshot, chat_template=after_turns, **settings)


def _require_room(task: Task, positions: int) -> None:
    wanted = (task.generation_kwargs or Generation()).max_gen_toks
    if task.output_type == "generate_until" and wanted >= positions:
        raise ConfigError(
            f"evaluation task {task.task}: room for generation_kwargs.max_gen_toks = {wanted} tokens",
            f"a model with {positions} positions",
            "lower max_gen_toks, or use a base with more positions",
        )


def _score(task: Task, samples: list[dict[str, Any]], harness: HFLM) -> TaskScore:
    """The share of rows that are right, with its 95 % interval, and how many rows lost their beginning."""
    samples = sorted(samples, key=lambda sample: int(sample["doc_id"]))  # the order of the set
    values = [float(sample[task.metric.metric]) for sample in samples]
    low, high = interval(values)
    return TaskScore(
        task=task.task,
        metric=task.metric.metric,
        n=len(values),
        value=round(sum(values) / len(values), 6),
        low=low,
        high=high,
        right=marks(values),
        truncated=sum(_cut(sample["arguments"], harness) for sample in samples),
        samples=[_sample(task, sample) for sample in samples[:3]],
    )


def equal(metric: Metric, answer: str, wanted: str) -> float:
    """Whether an answer is the one that is wanted (1 or 0), as a task's exact match compares them."""
    settings = metric.model_dump(include={"ignore_case", "ignore_punctuation", "ignore_numbers"})
    ignored = metric.regexes_to_ignore or None
    return float(exact_match_hf_evaluate([answer], [wanted], regexes_to_ignore=ignored, **settings)["exact_match"])


def _cut(arguments: list[tuple[str, Any]], harness: HFLM) -> bool:
    """Whether the harness has dropped the beginning of a row's context, for one of its choices at least.

    A context is followed by a choice, whose last token is predicted and not read, or by generation settings.
    """
    for context, rest in arguments:
        if isinstance(rest, str):
            text, room = context + rest, harness.max_length + 1
        else:
            text, room = context, harness.max_length - rest.get("max_gen_toks", harness.max_gen_toks)
        if len(harness.tok_encode(text)) > room:
            return True
    return False


def asked(document: dict[str, Any]) -> str:
    """What a row asks, behind what was said before, if anything was."""
    if not document.get("turns"):
        return str(document["prompt"])
    return chats.told([*document["turns"], {"role": "user", "content": str(document["prompt"])}])


def _sample(task: Task, sample: dict[str, Any]) -> dict[str, str]:
    document, answers = sample["doc"], sample["filtered_resps"]
    answer = str(answers[0])
    if task.output_type == "multiple_choice":
        length = LENGTHS[task.metric.metric]
        scores = [likelihood / length(choice) for (likelihood, _), choice in zip(answers, document["choices"], strict=True)]
        answer = str(document["choices"][scores.index(max(scores))])
    return {"prompt": asked(document), "wanted": str(document["response"]), "answer": answer.strip()[:400]}


@torch.inference_mode()
def bits_per_byte(
    model: Any, tokenizer: PreTrainedTokenizerBase, texts: list[str], length: int, batch: int, what: str = "bits per byte"
) -> float | None:
    """Negative log2-likelihood of texts, divided by their UTF-8 bytes; None without texts.

    Each text is cut into windows of `length` tokens, or of as many as the model has positions for; every window starts
    anew behind the begin-of-text token, so that all tokens are scored.
    """
    begin = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    length = min(length, _positions(model) - 1)  # the token that begins a window has a position too
    windows: list[list[int]] = []
    size = 0
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        windows += [[begin, *ids[i : i + length]] for i in range(0, len(ids), length)]
        size += len(text.encode())
    if not size:
        return None
    windows.sort(key=len)
    nats = 0.0
    with progress.Bar(what, sum(map(len, windows)), " tokens") as bar:
        for start in range(0, len(windows), batch):
            rows = windows[start : start + batch]
            nats += _nats(model, tokenizer, rows)
            bar.advance(sum(map(len, rows)))
    return nats / math.log(2) / size


def _nats(model: Any, tokenizer: PreTrainedTokenizerBase, rows: list[list[int]]) -> float:
    """Negative log-likelihood of all tokens but the first of each row."""
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), tokenizer.pad_token_id)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    ids, mask = ids.to(model.device), mask.to(model.device)
    with torch.autocast(model.device.type, torch.bfloat16, enabled=models.use_bf16("auto", model.device)):
        logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
    losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    return float((losses * mask[:, 1:].flatten()).sum())


@torch.inference_mode()
def answer(model: Any, tokenizer: PreTrainedTokenizerBase, row: Row, tokens: int) -> tuple[str, int]:
    """A greedy answer of at most `tokens` tokens to a row's prompt under its system message, as in training.

    Returns:
        The answer, and how many tokens at the prompt's beginning the model had no positions for.
    """
    room = max(1, _positions(model) - tokens)
    asked_ids = chat_ids(tokenizer, Encoder(tokenizer, room).messages(row)[:-1], generation=True)
    ids = torch.tensor([asked_ids[-room:]], device=model.device)
    made = model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=tokens, pad_token_id=tokenizer.pad_token_id
    )
    return str(tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True)).strip(), len(asked_ids) - ids.shape[1]
