"""Classification heads: rows with choices become texts and labels, and a model with a head names a label for each text."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from tasks.lib import models, progress
from tasks.lib.isolation import first_position
from tasks.lib.packing import Encoder, frame
from tasks.lib.records import Row


@dataclass(frozen=True)
class Answered:
    """What a classifier said of labelled rows: for each, the label that is right and the one it named."""

    wanted: list[str]
    given: list[str]
    truncated: int

    @property
    def right(self) -> list[float]:
        """1 for each right answer, 0 for each wrong one."""
        return [float(wanted == given) for wanted, given in zip(self.wanted, self.given, strict=True)]

    def always(self, label: str) -> list[float]:
        """1 for each row of that label, 0 for each other: what naming it alone gets right."""
        return [float(wanted == label) for wanted in self.wanted]

    def by_label(self, labels: Sequence[str]) -> dict[str, dict[str, int]]:
        """Rows, right answers and answers of each label."""
        rows, given = Counter(self.wanted), Counter(self.given)
        hits = Counter(wanted for wanted, said in zip(self.wanted, self.given, strict=True) if wanted == said)
        return {label: {"rows": rows[label], "right": hits[label], "named": given[label]} for label in labels}


class TextEncoder(Encoder):
    """Turns a row's question (its system message first) into one sequence, framed as the model's tokenizer frames a text.

    A text that does not fit loses its beginning, as a prompt does in tuning, and is counted.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, length: int) -> None:
        super().__init__(tokenizer, length)
        self._begin, self._end = frame(tokenizer)

    def question(self, row: Row) -> dict[str, Any]:
        """The row's text as token ids, with the number of the row for each."""
        parts = [self.harmless(row[key]) for key in ("system", "prompt") if row.get(key)]
        self.tally.rows += 1
        self.sources.append(row.get("dataset", ""))
        ids = self.tokenizer.encode("\n".join(parts), add_special_tokens=False)
        room = self.length - len(self._begin) - len(self._end)
        self.tally.tokens_given += len(self._begin) + len(ids) + len(self._end) or 1
        if len(ids) > room:
            lost = self.lost[self.sources[-1]]
            self.tally.rows_truncated += 1
            self.tally.tokens_truncated += len(ids) - room
            lost.truncated, lost.tokens_truncated = lost.truncated + 1, lost.tokens_truncated + len(ids) - room
            ids = ids[-room:]
        framed = [*self._begin, *ids, *self._end] or [self.tokenizer.pad_token_id]
        self.tally.tokens += len(framed)
        return {"input_ids": framed, "rows": [self.tally.rows] * len(framed)}

    def labelled(self, rows: Iterable[Row], labels: Sequence[str]) -> Dataset:
        """Rows as a data set: input_ids and rows (one value a token), labels (one a row)."""
        made = [{**self.question(row), "labels": labels.index(row["response"])} for row in rows]
        self.tally.blocks = len(made)
        return Dataset.from_list(made)


@dataclass
class Padded:
    """A collator of questions: input_ids and attention_mask [batch, longest], labels [batch] where there are any."""

    pad: int

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Collate, with padding behind each text."""
        longest = max(len(row["input_ids"]) for row in rows)
        ids = torch.full((len(rows), longest), self.pad)
        mask = torch.zeros_like(ids)
        for place, row in enumerate(rows):
            ids[place, : len(row["input_ids"])] = torch.tensor(row["input_ids"])
            mask[place, : len(row["input_ids"])] = 1
        made = {"input_ids": ids, "attention_mask": mask}
        return made | {"labels": torch.tensor([row["labels"] for row in rows])} if "labels" in rows[0] else made


def with_head(folder: Path, labels: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A model of a folder with a new head over labels, drawn from torch's seed; the body is the folder's."""
    names = dict(enumerate(labels))
    model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True, local_files_only=True, trust_remote_code=False,
        id2label=names, label2id={label: number for number, label in names.items()}, problem_type="single_label_classification",
    )  # fmt: skip
    model.config.pad_token_id = tokenizer.pad_token_id  # a decoder's head reads the last token that is no padding
    return model


def adapter_settings(model: PreTrainedModel) -> dict[str, Any]:
    """What PEFT is told of adapters below a head, which learns whole.

    It saves what has `classifier` in its name as the head, and `all-linear` would adapt DistilBERT's first half of that too.
    """
    half = "pre_classifier"
    return {"task_type": "SEQ_CLS", **({"exclude_modules": [half]} if hasattr(model, half) else {})}


def labels_of(model: PreTrainedModel) -> list[str]:
    """The labels of a classifier, in the order of its head."""
    return [model.config.id2label[number] for number in range(model.config.num_labels)]


def text_length(model: PreTrainedModel, wanted: int) -> int:
    """Tokens of a text that the model takes, at most `wanted`."""
    return min(wanted, int(getattr(model.config, "max_position_embeddings", wanted)) - first_position(model))


@torch.inference_mode()
def answer(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], length: int, batch: int = 16) -> Answered:
    """The label that a classifier names for each row; a row's text beyond `length` tokens loses its beginning."""
    labels, encoder, collate = labels_of(model), TextEncoder(tokenizer, text_length(model, length)), Padded(tokenizer.pad_token_id)
    questions = [encoder.question(row) for row in rows]
    given: list[str] = []
    training = model.training
    model.eval()
    for start in progress.batches(len(questions), batch, "ask the classifier"):
        logits = model(**models.moved(collate(questions[start : start + batch]), model.device)).logits
        given += [labels[number] for number in logits.argmax(-1).tolist()]
    model.train(training)
    return Answered([row["response"] for row in rows], given, encoder.tally.rows_truncated)
