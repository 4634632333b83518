"""Whether a base model can be trained as the settings say, before it is: lengths, tokens, chat template, adapters."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.lib import examine, hub
from tasks.lib.errors import DataError
from tasks.lib.trial import require_usable_tokenizer

LENGTHS = ("pretrain", "tune", "align", "distill")
# the modules of the decoder that a scratch base is, by the part of a layer that holds them
SCRATCH = {"self_attn": ("q_proj", "k_proj", "v_proj", "o_proj"), "mlp": ("gate_proj", "up_proj", "down_proj")}
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
        depth = {"positions": source.positions, "layers": source.layers, "adapters": _scratch_adapters(cfg, source.layers)}
        return [*_scratch_lengths(cfg), *_misfits(cfg, running, depth)]
    folder = folder_of(job)
    if folder is None:
        return []
    try:
        found = _facts(job, folder)
    except DataError as error:
        return [Fault("base", error.found, error.remedy)]
    if "fault" in found:
        return [Fault("base", f"the model cannot be loaded: {found['fault']}", OTHER)]
    return [*_tokens(found), *_template(job, found), *_misfits(cfg, running, found)]


def folder_of(job: Any) -> Path | None:
    """Where the files of a base model from outside lie on this machine."""
    given = job.base
    found: Path | None = given.folder if given.hub is None else hub.cached_model(*given.hub)
    return found


def _facts(job: Any, folder: Path) -> dict[str, Any]:
    """What is known of the base; asked once for the same files.

    Raises:
        DataError: if its tokenizer or its chat template hangs, grows or does not load.
    """
    targets = getattr(job.cfg.tune.method, "targets", None)
    known_by = [job.base.content, targets]
    question = {"folder": str(folder), "targets": targets}
    found: dict[str, Any] = examine.answer("base", question, seen_as=known_by, before=lambda: require_usable_tokenizer(folder))
    return found


def _tokens(found: dict[str, Any]) -> Iterator[Fault]:
    if found["highest"] >= found["embedded"]:
        told = f"the tokenizer has tokens up to number {found['highest']:,}, of which the model embeds {found['embedded']:,}"
        yield Fault("base", told, "put the tokenizer that the model was trained with beside it")
    if found["end"] is None:
        padding = "" if found["pad"] else ", which would also pad"
        yield Fault("base", f"the tokenizer has no end token{padding}", "name it as `eos_token` in tokenizer_config.json")


def _template(job: Any, found: dict[str, Any]) -> Iterator[Fault]:
    """A template of which no mask for the loss can be made, or that refuses what the data hold."""
    remedy = "correct chat_template.jinja, or remove the template: a base without one gets a plain one"
    if found["mask"] is not None:
        yield Fault("tune", f"the chat template is of no use for training: {found['mask']}", remedy)
    elif found["system"] is not None:
        names = [resolved.dataset.name for resolved in job.sources.datasets if "system" in resolved.dataset.map]
        if names:
            told = f"the chat template takes no system message ({found['system']}), and {', '.join(names)} has one"
            yield Fault("tune", told, f"take `system` out of the map, or {OTHER}")


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
    if "tune" in running and found["adapters"] is not None:
        yield Fault("tune", f"no weight would learn: {found['adapters']}", "correct tune.method.targets; all-linear fits every model")


def _scratch_lengths(cfg: Any) -> Iterator[Fault]:
    """A scratch base whose own training has longer blocks than it has positions."""
    source = cfg.base.source
    if source.kind == "scratch" and source.training.length > source.positions:
        told = f"base.source.training.length is {source.training.length:,}, and base.source.positions is {source.positions:,}"
        yield Fault("base", told, "lower the one, or raise the other")


def _scratch_adapters(cfg: Any, layers: int) -> str | None:
    """Why adapters would find nothing in a base made from scratch; matched as PEFT does."""
    targets = getattr(cfg.tune.method, "targets", "all-linear")
    if targets == "all-linear":
        return None
    names = [f"model.layers.{layer}.{part}.{name}" for layer in range(layers) for part, held in SCRATCH.items() for name in held]
    if isinstance(targets, str):
        hit = any(re.fullmatch(targets, name) for name in names)
    else:
        hit = any(name == target or name.endswith(f".{target}") for name in names for target in targets)
    return None if hit else f"{targets!r} is none of its modules, such as {', '.join(names[:2])}"
