"""Every documented field with another value than its default, and what else has to be set for it to matter."""

import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from flows.adapt import AdaptConfig
from tasks.lib.config import RUNTIME, merge


@dataclass(frozen=True)
class Other:
    """Other settings of a stage than its defaults, those that have to be set beside them in any case, and whether they are refused."""

    value: dict[str, Any]
    beside: dict[str, Any] = field(default_factory=dict)
    refused: bool = False


def _training(path: str, place: Callable[[dict[str, Any]], dict[str, Any]] = dict) -> dict[str, Other]:
    """The fields that every training has."""
    values: dict[str, Any] = {
        "epochs": 0.2, "tokens": 300, "length": 40, "batch": 4, "accumulation": 2, "learning_rate": 2e-4, "schedule": "constant",
        "warmup": 0.7, "decay": 0.7, "weight_decay": 0.9, "precision": "bf16", "seed": 7, "trainer": {"adam_beta2": 0.5}, "device": "cpu",
        "workers": 1, "devices": 2, "parallel": "zero2",
    }  # fmt: skip
    beside: dict[str, dict[str, Any]] = {"decay": {"schedule": "wsd"}, "precision": {"precision": "fp32"}}
    return {
        f"{path}.{name}": Other(place(beside.get(name, {}) | {name: value}), place(beside.get(name, {}))) for name, value in values.items()
    }


def _lora(stage: str) -> dict[str, Other]:
    """The fields of adapters."""
    values = {"rank": 4, "alpha": 8, "dropout": 0.3, "targets": ["q_proj"], "dora": True, "frozen": "nf4"}
    return _of(f"{stage}.method", "lora", **values)


def _of(path: str, kind: str, **values: Any) -> dict[str, Other]:
    """Fields of one kind of a method."""
    return {
        f"{path}.{kind}.{name}": Other({"method": {"kind": kind, name: value}}, {"method": {"kind": kind}})
        for name, value in values.items()
    }


def _source(kind: str, default: dict[str, Any], **values: Any) -> dict[str, Other]:
    """Fields of one kind of a base model."""
    before = {"source": {"kind": kind, **default}}
    return {f"base.source.{kind}.{name}": Other(merge(before, {"source": {name: value}}), before) for name, value in values.items()}


def _forgetting(stage: str, most: float) -> dict[str, Other]:
    """A budget, and what changes where no training keeps it that may be tried once more."""
    before = {"budget": 0.0, "tries": 1, "most": 0.9}
    ruin = {"learning_rate": 0.1, "warmup": 0.0, "trainer": {"max_steps": 1}}
    values = {"budget": 9.0, "tries": 2, "most": most}
    return {
        f"{stage}.forgetting": Other({"forgetting": {}}),
        **{
            f"{stage}.forgetting.{name}": Other({"forgetting": before | {name: value}, **ruin}, {"forgetting": before, **ruin})
            for name, value in values.items()
        },
    }


GENERATED: dict[str, Any] = {"generations": 4, "temperature": 0.5, "beta": 0.3}
HUB = {"kind": "hub", "model": "someone/model", "revision": "0" * 40}
ROBUST = {"kind": "dpo", "loss": "robust", "smoothing": 0.1}
OTHERS: dict[str, Other] = {
    "base.source.kind": Other({"source": HUB}),
    **_source("scratch", {}, architecture="encoder", vocabulary=350, hidden=32, layers=1, heads=2, positions=128),
    **_source("scratch", {"architecture": "encoder"}, mask=0.4),
    **_training("base.source.scratch.training", lambda values: {"source": {"kind": "scratch", "training": values}}),
    "base.source.scratch.training.epochs": Other(
        {"source": {"kind": "scratch", "training": {"epochs": 0.01, "tokens": None}}},
        {"source": {"kind": "scratch", "training": {"epochs": 0.02, "tokens": None}}},
    ),
    **_source("folder", {"path": "somewhere"}, path="elsewhere", quantised=True),
    **_source("hub", HUB, model="other/model", revision="1" * 40),
    "ingest.max_set_aside": Other({"max_set_aside": 0.9}),
    "ingest.workers": Other({"workers": 1}),
    "check.docs": Other({"docs": False}),
    "check.workers": Other({"workers": 1}),
    "clean.min_chars": Other({"min_chars": 400}),
    "dedup.near": Other({"near": False}),
    "dedup.threshold": Other({"threshold": 0.99}),
    "dedup.shingle": Other({"shingle": 30}),
    "split.valid": Other({"valid": 0.3, "overlap": "set-aside"}, {"overlap": "set-aside"}),
    "split.overlap": Other({"overlap": "set-aside"}),
    **_training("pretrain"),
    "pretrain.replay": Other({"replay": 0.4}),
    "pretrain.mask": Other({"mask": 0.4}),
    "pretrain.new_tokens": Other({"new_tokens": ["stone"]}),
    **_forgetting("pretrain", most=0.2),
    "merge.method": Other({"method": {"kind": "slerp"}}),
    "merge.method.kind": Other({"method": {"kind": "ties"}}, {"method": {"kind": "slerp"}}),
    **_of("merge.method", "slerp", share=0.2),
    **_of("merge.method", "task-arithmetic", share=0.2),
    **_of("merge.method", "ties", share=0.2, density=0.9),
    **_training("tune"),
    "tune.method.kind": Other({"method": {"kind": "lora"}}),
    **_lora("tune"),
    "tune.replay": Other({"replay": 0.6}),
    **_forgetting("tune", most=0.4),
    "tune.erase_system": Other({"erase_system": True}),
    **_training("align"),
    "align.length": Other({"length": 16}),
    "align.method.kind": Other({"method": {"kind": "kto"}}),
    **_of("align.method", "dpo", beta=0.5, loss="hinge"),
    "align.method.dpo.smoothing": Other({"method": ROBUST | {"smoothing": 0.3}}, {"method": ROBUST}),
    **_of("align.method", "kto", beta=0.5, desirable_weight=3.0, undesirable_weight=3.0),
    **_training("classify"),
    "classify.length": Other({"length": 16}),
    "classify.method.kind": Other({"method": {"kind": "lora"}}),
    **_lora("classify"),
    "classify.method.lora.frozen": Other({"method": {"kind": "lora", "frozen": "nf4"}}, refused=True),
    "classify.dataset": Other({"dataset": "colours"}),
    **_training("reward"),
    "reward.length": Other({"length": 16}),
    "reward.centre": Other({"centre": 0.5}),
    **_training("reinforce"),
    "reinforce.tokens": Other({"tokens": 300}, refused=True),
    "reinforce.epochs": Other({"epochs": 0.6}),
    "reinforce.length": Other({"length": 16}),
    "reinforce.method.kind": Other({"method": {"kind": "rloo"}}),
    **_of("reinforce.method", "grpo", **GENERATED, loss="grpo", scale="none"),
    **_of("reinforce.method", "rloo", **GENERATED, normalise=True),
    "reinforce.rewards": Other({"rewards": ["right"]}),
    "reinforce.answer": Other({"answer": 2}),
    "reinforce.held_out": Other({"held_out": 4}),
    "reinforce.checks": Other({"checks": 1}),
    **_training("distill"),
    "distill.layers": Other({"layers": 1}),
    "distill.weight": Other({"weight": 0.9}),
    "distill.temperature": Other({"temperature": 4.0}),
    "distill.replay": Other({"replay": 0.5}),
    "distill.taken": Other({"taken": "stride"}),
    "distill.hidden": Other({"hidden": 0.5}),
    "distill.mask": Other({"mask": 0.4}),
    "distill.before_head": Other({"before_head": True}),
    "distill.control": Other({"control": False}),
    "quantize.scheme": Other({"scheme": "int8-dynamic"}),
    "evaluate.limit": Other({"limit": 5}),
    "evaluate.texts": Other({"texts": 5}),
    "evaluate.length": Other({"length": 64}),
    "evaluate.answers": Other({"answers": 2}),
    "evaluate.untrained": Other({"untrained": 4}),
    "evaluate.general_tasks": Other({"general_tasks": ["general_word"]}),
    "evaluate.general_limit": Other({"general_limit": 5}),
    "evaluate.general_budget": Other({"general_budget": 0.5}),
    "evaluate.speed_tokens": Other({"speed_tokens": 8}),
    "evaluate.batch": Other({"batch": 4}),
    "evaluate.device": Other({"device": "cpu"}),
    "register.name": Other({"name": "another"}),
    "report.answers": Other({"answers": 2}),
    **{f"{stage}.retries": Other({"retries": 3}) for stage in AdaptConfig.model_fields},
    **{f"{stage}.timeout": Other({"timeout": 0.5}) for stage in AdaptConfig.model_fields},
}


@dataclass(frozen=True)
class Documented:
    """A field as the reference has it, and whether it changes how, never what."""

    path: str
    runtime: bool


def documented(model: type[BaseModel], path: str = "", *, runtime: bool = False) -> Iterator[Documented]:
    """Every field of a configuration, those of all kinds of a method included."""
    for name, declared in model.model_fields.items():
        own, here = runtime or declared.json_schema_extra == RUNTIME, f"{path}{name}"
        members = [member for member in _members(declared.annotation) if issubclass(member, BaseModel)]
        if not members or declared.default is None:
            yield Documented(here, own)
        if len(members) == 1:
            yield from documented(members[0], f"{here}.", runtime=own)
        elif members:
            yield Documented(f"{here}.kind", own)
            for member in members:
                kind = typing.get_args(member.model_fields["kind"].annotation)[0]
                yield from (one for one in documented(member, f"{here}.{kind}.", runtime=own) if not one.path.endswith(".kind"))


def _members(annotation: Any) -> list[type]:
    """The classes that a type is made of."""
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return [annotation]
    return [member for part in typing.get_args(annotation) for member in _members(part)]
