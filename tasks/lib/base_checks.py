"""Whether a base model can be trained as the settings say, before it is: lengths, tokens, chat template, adapters."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.lib import architecture, examine, hub
from tasks.lib.architecture import Architecture
from tasks.lib.errors import ConfigError, DataError
from tasks.lib.trial import require_usable_tokenizer

LENGTHS = ("pretrain", "tune", "align", "classify", "reward", "reinforce", "distill")
CHATS = ("tune", "align", "reward", "reinforce", "distill")  # trainings that read rows under a decoder's chat template
ADAPTED = ("tune", "classify")  # trainings that can be one of adapters
# what a training can start from, where that is not both
ABLE: dict[str, tuple[Architecture, ...]] = dict.fromkeys(("tune", "align", "reward", "reinforce"), ("decoder",))
# the linear layers of a base that is made from scratch, by the part of a layer that holds them
SCRATCH: dict[str, dict[str, tuple[str, ...]]] = {
    "decoder": {"self_attn": ("q_proj", "k_proj", "v_proj", "o_proj"), "mlp": ("gate_proj", "up_proj", "down_proj")},
    "encoder": {"attn": ("Wqkv", "Wo"), "mlp": ("Wi", "Wo")},
}
OTHER = "take another base model"


@dataclass(frozen=True)
class Fault:
    """Why a stage cannot do its work."""

    stage: str
    found: str
    remedy: str

    def sentence(self) -> str:
        """Why, and what to do about it."""
        return f"{self.stage}: {self.found}; to do: {self.remedy}"


def faults(job: Any, running: set[str]) -> list[Fault]:
    """Why trainings that will run cannot; a base of the hub that is not on this machine is judged when it is.

    Args:
        job: of a flow.
        running: the trainings that are not cached.
    """
    cfg = job.cfg
    if not running & set(LENGTHS):
        return [fault for fault in _scratch_lengths(cfg) if "base" in running]
    if cfg.base.source.kind == "scratch":
        source = cfg.base.source
        wanted = _adapters(cfg, running)
        depth = {
            "positions": source.positions,
            "layers": source.layers,
            "adapters": {stage: _scratch_adapters(source, stage, targets) for stage, targets in wanted.items()},
        }
        return [*_unable(source.architecture, running), *_scratch_lengths(cfg), *_misfits(cfg, running, depth)]
    folder = folder_of(job)
    if folder is None:
        return []
    kind = architecture.of(folder)
    if unable := list(_unable(kind, running)):
        return unable
    try:
        found = _facts(job, folder, running)
    except DataError as error:
        return [Fault("base", error.found, error.remedy)]
    if "fault" in found:
        return [Fault("base", f"the model cannot be loaded: {found['fault']}", OTHER)]
    fit = _masks(found, running) if kind == "encoder" else [*_ends(found), *_template(job, found, running)]
    return [*_tokens(found), *fit, *_misfits(cfg, running, found)]


def notes(job: Any, running: set[str]) -> list[str]:
    """What is done about a base that `faults` finds nothing wrong with, and nobody asked for."""
    folder = folder_of(job) if job.cfg.base.source.kind != "scratch" and running & set(LENGTHS) else None
    found = {} if folder is None else _facts(job, folder, running)
    told = []
    if found.get("pad") is not None and found["pad"] == found["end"]:
        told.append(f"the base has no padding token: its end token {found['end']} also pads; ends of answers are learned all the same")
    if not found.get("stops", True) and running & set(CHATS):
        told.append(f"the base's chat template does not end an answer with its end token {found['end']}: a tuned model may not stop there")
    return told


def folder_of(job: Any) -> Path | None:
    """Where the files of a base model from outside lie on this machine."""
    given = job.base
    found: Path | None = given.folder if given.hub is None else hub.cached_model(*given.hub)
    return found


def _unable(kind: Architecture, running: set[str]) -> Iterator[Fault]:
    """The first training that can do nothing with such a model."""
    for stage in LENGTHS:
        if stage in running:
            try:
                architecture.require(kind, ABLE.get(stage, ("decoder", "encoder")), stage)
            except ConfigError as error:
                yield Fault(stage, error.found, error.remedy)
                return


def _adapters(cfg: Any, running: set[str]) -> dict[str, str | list[str]]:
    """What the adapters of each training that will run are put on."""
    methods = {stage: getattr(cfg, stage).method for stage in ADAPTED if stage in running}
    return {stage: method.targets for stage, method in methods.items() if method.kind == "lora"}


def _facts(job: Any, folder: Path, running: set[str]) -> dict[str, Any]:
    """What is known of the base; asked once for the same files.

    Raises:
        DataError: if its tokenizer or its chat template hangs, grows or does not load.
    """
    wanted = _adapters(job.cfg, running)
    known_by = [job.base.content, wanted]
    question = {"folder": str(folder), "adapters": wanted}
    found: dict[str, Any] = examine.answer("base", question, seen_as=known_by, before=lambda: require_usable_tokenizer(folder))
    return found


def _tokens(found: dict[str, Any]) -> Iterator[Fault]:
    if found["highest"] >= found["embedded"]:
        told = f"the tokenizer has tokens up to number {found['highest']:,}, of which the model embeds {found['embedded']:,}"
        yield Fault("base", told, "put the tokenizer that the model was trained with beside it")


def _masks(found: dict[str, Any], running: set[str]) -> Iterator[Fault]:
    """An encoder learns from documents what is under its mask; its texts are padded, and need no end."""
    if not found["masks"] and running & {"pretrain", "distill"}:
        yield Fault("base", "the tokenizer has no mask token", "name it as `mask_token` in tokenizer_config.json")
    if found["pad"] is None:
        yield Fault("base", "the tokenizer has no padding token", "name it as `pad_token` in tokenizer_config.json")


def _ends(found: dict[str, Any]) -> Iterator[Fault]:
    if found["end"] is None:
        padding = "" if found["pad"] else ", which would also pad"
        yield Fault("base", f"the tokenizer has no end token{padding}", "name it as `eos_token` in tokenizer_config.json")


def _template(job: Any, found: dict[str, Any], running: set[str]) -> Iterator[Fault]:
    """A template of which no mask for the loss can be made, or that refuses what the data hold."""
    stage = next((stage for stage in CHATS if stage in running), None)
    if stage is None:
        return
    remedy = "correct chat_template.jinja, or remove the template: a base without one gets a plain one"
    if found["template"] is not None:
        yield Fault(stage, f"the chat template is of no use for training: {found['template']}", remedy)
    elif found["system"] is not None:
        names = [resolved.dataset.name for resolved in job.sources.datasets if "system" in resolved.dataset.map]
        if names:
            told = f"the chat template takes no system message ({found['system']}), and {', '.join(names)} has one"
            yield Fault(stage, told, f"take `system` out of the map, or {OTHER}")


def _misfits(cfg: Any, running: set[str], found: dict[str, Any]) -> Iterator[Fault]:
    """Settings that the model has no room for."""
    positions, layers = found["positions"], found["layers"]
    for stage in LENGTHS:
        length = getattr(cfg, stage).length
        if stage in running and positions is not None and length > positions:
            told = f"{stage}.length is {length:,} tokens, and the model has {positions:,} positions"
            yield Fault(stage, told, f"set {stage}.length to {positions} or less")
    if "distill" in running and layers is not None and cfg.distill.layers >= layers:
        yield Fault("distill", f"distill.layers is {cfg.distill.layers}, while the teacher has {layers}", f"set it below {layers}")
    for stage, why in found["adapters"].items():
        if why is not None:
            yield Fault(stage, f"no weight would learn: {why}", f"correct {stage}.method.targets; all-linear fits every model")


def _scratch_lengths(cfg: Any) -> Iterator[Fault]:
    """A scratch base whose own training has longer blocks than it has positions."""
    source = cfg.base.source
    if source.kind == "scratch" and source.training.length > source.positions:
        told = f"base.source.training.length is {source.training.length:,}, and base.source.positions is {source.positions:,}"
        yield Fault("base", told, "lower the one, or raise the other")


def _scratch_adapters(source: Any, stage: str, targets: str | list[str]) -> str | None:
    """Why adapters would find nothing in a base made from scratch; matched as PEFT does."""
    if targets == "all-linear":
        return None
    parts = SCRATCH[source.architecture]
    names = [f"model.layers.{layer}.{part}.{name}" for layer in range(source.layers) for part, held in parts.items() for name in held]
    names += ["head.dense"] if source.architecture == "encoder" and stage == "classify" else []
    if isinstance(targets, str):
        hit = any(re.fullmatch(targets, name) for name in names)
    else:
        hit = any(name == target or name.endswith(f".{target}") for name in names for target in targets)
    return None if hit else f"{targets!r} is none of its modules, such as {', '.join(names[:2])}"
