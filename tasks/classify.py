"""Train a head that names one label for a text, on tuning rows that declare their choices; all weights or LoRA adapters."""

from collections import Counter
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from tasks.lib import balance
from tasks.lib.architecture import require
from tasks.lib.config import StageConfig
from tasks.lib.errors import ConfigError, DataError
from tasks.lib.mixing import EVEN, Draws, Weights, tokens_by_source
from tasks.lib.model import Classifier, Model
from tasks.lib.records import Row, iterate
from tasks.lib.score import interval
from tasks.lib.stage import stage
from tasks.lib.training_config import TrainingConfig
from tasks.split import Split
from tasks.tune import Full, Lora, Method


class ClassifyConfig(TrainingConfig, StageConfig):
    """A classification head, and how it is trained."""

    epochs: float = Field(default=4.0, gt=0)
    learning_rate: float = Field(default=3e-4, ge=0)
    batch: int = Field(default=16, ge=1, description="rows in a step on one device")
    method: Method = Full()
    dataset: str | None = Field(default=None, description="the dataset with `choices`; needed where several have different ones")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if isinstance(self.method, Lora) and self.method.frozen != "whole":
            raise ValueError("a classifier is trained on whole weights; take `frozen: nf4` out")
        return self


@stage(version="3", needs=("models", "heads", "objectives", "scoring", "adapters"))
def classify(out: Path, cfg: ClassifyConfig, model: Model, data: Split, weights: Weights = EVEN) -> Classifier:
    """Train a classifier from an encoder or a decoder, and measure it on validation rows beside the most frequent label of training.

    Raises:
        DataError: if no tuning row has choices.
        ConfigError: if datasets have different choices and none is named.
    """
    from transformers import set_seed

    from tasks.lib import adapters, heads, models, tracking
    from tasks.lib.collations import Collation
    from tasks.lib.environment import muted
    from tasks.lib.training import fit

    require(model.architecture, ("encoder", "decoder"), "classify")
    labels = choices(data, cfg.dataset)
    tokenizer = models.load_tokenizer(model.path)
    set_seed(cfg.seed)
    with muted():  # the library reports each weight of the head as missing
        network: Any = heads.with_head(model.path, labels, tokenizer)
    if isinstance(cfg.method, Lora):
        m = cfg.method
        network = adapters.wrap(network, m.rank, m.alpha, m.dropout, m.targets, use_dora=m.dora, **heads.adapter_settings(network))
    encoder, draws = heads.TextEncoder(tokenizer, heads.text_length(network, cfg.length)), Draws(weights)
    rows = list(draws.of(labelled(data, "tune-train", labels, cfg.dataset)))
    blocks = encoder.labelled(rows, labels)
    learned = fit(network, tokenizer, blocks, cfg, "classify", Collation(layout=None))
    if isinstance(cfg.method, Lora):
        network, parity = adapters.folded(network, model.path, out, blocks[: adapters.PROBES]["input_ids"])
        tracking.measure(**parity)
    models.save(network, tokenizer, out)
    tracking.measure(objective="classification", **_validated(network, tokenizer, data, cfg, labels))
    tally = encoder.tally.facts()
    balance.of_blocks("classify", draws.total, tally, learned.facts)
    facts = {**tally, **learned.facts}
    return Classifier(
        parameters=models.parameters(network),
        vocabulary=model.vocabulary,
        bytes=models.weight_bytes(out),
        architecture="classifier",
        data=facts,
        drawn=draws.facts(*tokens_by_source(blocks, encoder.sources, learned.times), encoder.lost),
        labels=labels,
        trained_on={label: count for label in labels if (count := Counter(row["response"] for row in rows)[label])},
    )


def choices(data: Split, dataset: str | None) -> list[str]:
    """The labels to tell apart, in the order of the dataset's choices."""
    found: dict[tuple[str, ...], set[str]] = {}
    for row in iterate(data.path, "tune-train"):
        if row.get("choices") and dataset in (None, row["dataset"]):
            found.setdefault(tuple(row["choices"]), set()).add(row["dataset"])
    asked = "tuning rows with `choices`" + ("" if dataset is None else f" of dataset {dataset!r}")
    if not found:
        raise DataError(asked, "none", "declare `choices:` at a dataset with role tune, or correct classify.dataset", file=data.path)
    if len(found) > 1:
        names = "; ".join(f"{', '.join(sorted(names))}: {', '.join(labels)}" for labels, names in sorted(found.items()))
        raise ConfigError(f"{asked}, all the same", names, "name one with classify.dataset=NAME")
    return list(next(iter(found)))


def labelled(data: Split, part: str, labels: list[str], dataset: str | None) -> list[Row]:
    """The rows of a part that have these labels to choose from."""
    return [row for row in iterate(data.path, part) if row.get("choices") == labels and dataset in (None, row["dataset"])]


def _validated(network: Any, tokenizer: Any, data: Split, cfg: ClassifyConfig, labels: list[str]) -> dict[str, Any]:
    """Accuracy on validation rows, which no step has seen, and that of the most frequent label of the training rows."""
    from tasks.lib import heads
    from tasks.lib.paired import Paired, marks

    rows = labelled(data, "tune-valid", labels, cfg.dataset)
    if not rows:
        return {"valid_rows": 0}
    said = heads.answer(network, tokenizer, rows, cfg.length, cfg.batch)
    low, high = interval(said.right)
    counted = Counter(row["response"] for row in labelled(data, "tune-train", labels, cfg.dataset))
    constant = max(labels, key=lambda label: counted[label])
    always = said.always(constant)
    majority_low, majority_high = interval(always)
    return {
        "valid_rows": len(rows),
        "valid_accuracy": round(sum(said.right) / len(rows), 6),
        "valid_low": low,
        "valid_high": high,
        "valid_majority": round(sum(always) / len(rows), 6),
        "valid_majority_label": constant,
        "valid_majority_low": majority_low,
        "valid_majority_high": majority_high,
        "valid_against_majority": Paired.of(marks(said.right), marks(always)).model_dump(),
        "classes": said.by_label(labels),
    }
