"""Score one model: the domain's tasks, bits per byte on held-out text, size and speed, sample answers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from tasks.lib import progress
from tasks.lib.config import RUNTIME, StageConfig
from tasks.lib.domain import Suite
from tasks.lib.environment import muted
from tasks.lib.model import Model
from tasks.lib.records import Row, iterate, texts
from tasks.lib.score import TaskScore
from tasks.lib.stage import stage
from tasks.lib.store import Artifact
from tasks.split import Split


class EvaluateConfig(StageConfig):
    """How much is scored."""

    limit: int | None = Field(default=None, ge=1, description="rows of each task; all when not set")
    texts: int = Field(default=60, ge=1, description="held-out documents of each kind for bits per byte")
    length: int = Field(default=512, ge=16, description="window in tokens")
    answers: int = Field(default=4, ge=0, description="sample answers kept")
    untrained: int = Field(default=32, ge=0, description="rows of each task asked of a scratch base's architecture with random weights")
    general_tasks: list[Literal["general_word", "general_next"]] = Field(
        default=["general_word", "general_next"],
        description="built-in tasks on general text, before and after each stage; an empty list for none",
    )
    general_limit: int = Field(default=40, ge=1, description="rows of each general task, those of the domain folder included")
    general_budget: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="fall of the share of general tasks' rows that are right against the base that the report accepts",
    )
    speed_tokens: int = Field(default=16, ge=2, description="tokens decoded in each of three measurements of speed")
    batch: int = Field(default=16, ge=1, json_schema_extra=RUNTIME)
    device: str = Field(default="auto", json_schema_extra=RUNTIME)


class Scores(Artifact):
    """Scores of one model; speed is measured and therefore in the record, not here."""

    subject: str
    domain_bits_per_byte: float | None
    general_bits_per_byte: float | None
    tasks: list[TaskScore]
    general: list[TaskScore] = []  # tasks on general text, for forgetting
    answers: list[dict[str, str]]
    weight_bytes: int
    parameters: int
    masked_loss: dict[str, float] = {}  # of an encoder: nats a masked token, by kind of held-out text
    not_measured: dict[str, str] = {}  # what this kind of model does not have, and why
    untrained: list[TaskScore] = []  # of the base's architecture with random weights
    no_untrained: str | None = None  # why that is not measured


@stage(version="7", label="model", needs=("models", "scoring", "latency", "quantization", "labels", "baselines"))
def evaluate(out: Path, cfg: EvaluateConfig, suite: Suite, data: Split, model: Model) -> Scores:
    """Score a model on the domain's tasks and on held-out domain and general text.

    Beside each score stands what the most frequent answer of the training rows scores and, of a scratch base, what its
    architecture scores with random weights. Of a model that writes no text, an encoder or a classifier, other things are
    measured, and what is not is named.
    """
    from tasks.lib import latency, models, scoring, tracking

    sets = {name: data.eval_file(name) for name in data.eval_sets}
    held_out = {
        part: [row["text"] for row, _ in zip(iterate(data.path, f"{part}-valid"), range(cfg.texts), strict=False)]
        for part in ("corpus", "general")
    }
    if model.architecture != "decoder":
        return _without_text(cfg, suite, data, sets, held_out, model)
    place = models.device(cfg.device)
    tokenizer = models.load_tokenizer(model.path)
    network = models.load(model.path, dtype=models.answering(place)).to(place).eval()
    bits = {
        part: scoring.bits_per_byte(network, tokenizer, texts_, cfg.length, cfg.batch, f"{part} bits per byte")
        for part, texts_ in held_out.items()
    }
    with muted():
        tasks = scoring.run_tasks(network, tokenizer, suite.of_domain(), sets, cfg)
        general = _general(out, network, tokenizer, suite, data, sets, cfg)
        untrained, no_untrained = _untrained(network, tokenizer, suite, sets, cfg, model)
    tasks = _compared(tasks, suite, data, sets, cfg)
    prompts = [row for row, _ in zip(iterate(data.path, "eval"), range(cfg.answers), strict=False)]
    answers = [_answered(network, tokenizer, row) for row in progress.rows(prompts, "sample answers", len(prompts), " answers")]
    sample = prompts[0]["prompt"] if prompts else "The"
    tracking.measure(**latency.latency(latency.on_cpu(network, model.path), tokenizer, sample, cfg.speed_tokens))
    tracking.measure(**{f"task_{score.task}_untrained": score.value for score in untrained if score.value is not None})
    return Scores(
        subject=model.stage,
        domain_bits_per_byte=None if bits["corpus"] is None else round(bits["corpus"], 5),
        general_bits_per_byte=None if bits["general"] is None else round(bits["general"], 5),
        tasks=tasks,
        general=general,
        answers=answers,
        weight_bytes=model.bytes,
        parameters=model.parameters,
        untrained=untrained,
        no_untrained=no_untrained,
    )


def _answered(network: Any, tokenizer: Any, row: Row) -> dict[str, str]:
    """A sample: what was asked, what was wanted, and what the model says."""
    from tasks.lib import scoring

    said, left_out = scoring.answer(network, tokenizer, row, 40)
    prompt = scoring.asked({**row, "turns": row.get("history")})
    if left_out:
        prompt += f"\n[the model had no room for the first {left_out} tokens of this]"
    return {"prompt": prompt, "wanted": row["response"], "answer": said}


def _general(
    out: Path, network: Any, tokenizer: Any, suite: Suite, data: Split, sets: dict[str, Path], cfg: EvaluateConfig
) -> list[TaskScore]:
    """Scores of the general tasks, asked as plain text: the built-in ones, whose rows are kept below `out`, and the folder's."""
    from tasks.lib import general_tasks, scoring, tracking

    limit = min(cfg.general_limit, cfg.limit or cfg.general_limit)
    limited = cfg.model_copy(update={"limit": limit})
    made = general_tasks.write(out, cfg.general_tasks, limit, _trained(data))
    built_in = scoring.run_tasks(network, tokenizer, general_tasks.tasks(cfg.general_tasks), made, limited, chat=False)
    absent = "the documentation topics that they are made from are trained on"
    built_in = [score.model_copy(update={"not_run": absent}) if score.not_run else score for score in built_in]
    found = [*built_in, *scoring.run_tasks(network, tokenizer, suite.general(), sets, limited, chat=False)]
    tracking.measure(**{f"general_{score.task.removeprefix('general_')}": score.value for score in found if score.value is not None})
    return found


def _trained(data: Split) -> Iterator[str]:
    """All texts that are trained on: any file may hold sentences that the built-in tasks would ask about."""
    for part in ("corpus-train", "general-train", "tune-train", "preference-train"):
        for row in iterate(data.path, part):
            yield from texts(row)


def _compared(scores: list[TaskScore], suite: Suite, data: Split, sets: dict[str, Path], cfg: EvaluateConfig) -> list[TaskScore]:
    """The scores with their baselines, which are tracked as well."""
    from tasks.lib import baselines, tracking

    found = baselines.beside(scores, suite.tasks, baselines.Training(data.path), sets, cfg.limit)
    tracking.measure(**{f"task_{score.task}": score.value for score in found if score.value is not None})
    for score in found:
        if score.baseline is not None and score.value is not None:
            name, paired = f"task_{score.task}_majority", score.baseline.paired
            tracking.measure(**{name: score.baseline.value, f"{name}_p": paired.p, f"{name}_gain": score.value - score.baseline.value})
    return found


def _untrained(
    network: Any, tokenizer: Any, suite: Suite, sets: dict[str, Path], cfg: EvaluateConfig, model: Model
) -> tuple[list[TaskScore], str | None]:
    """Scores of the architecture with random weights, of a scratch base only; else why there are none."""
    from tasks.lib import baselines, scoring, store

    record = store.find(model.id) if model.stage == "base" else None
    if record is None or (record.config.get("source") or {}).get("kind") != "scratch":
        return [], "the base was trained elsewhere" if model.stage == "base" else None
    if not cfg.untrained:
        return [], "evaluate.untrained is 0"
    limited = cfg.model_copy(update={"limit": min(cfg.untrained, cfg.limit or cfg.untrained)})
    return scoring.run_tasks(baselines.random_weights(network), tokenizer, suite.of_domain(), sets, limited), None


def _without_text(
    cfg: EvaluateConfig, suite: Suite, data: Split, sets: dict[str, Path], held_out: dict[str, list[str]], model: Model
) -> Scores:
    """Scores of an encoder or a classifier."""
    from tasks.lib import labels, models

    kind = model.architecture
    network = models.load(model.path).to(models.device(cfg.device)).eval()
    tokenizer = models.load_tokenizer(model.path)
    losses: dict[str, float] = {}
    if kind == "encoder":
        named = {"domain": held_out["corpus"], "general": held_out["general"]}
        losses = labels.masked_losses(network, tokenizer, named, cfg.length)
    tasks = _compared(labels.run_tasks(network, tokenizer, kind, suite.of_domain(), sets, cfg), suite, data, sets, cfg)
    return Scores(
        subject=model.stage,
        domain_bits_per_byte=None,
        general_bits_per_byte=None,
        tasks=tasks,
        answers=[],
        weight_bytes=model.bytes,
        parameters=model.parameters,
        masked_loss=losses,
        not_measured=labels.not_measured(kind),
        no_untrained="the base writes no text" if model.stage == "base" else None,
    )
