"""Whether the arguments of the trainers take what `trainer:` says; imports them, so it is asked through `examine`."""

import dataclasses
import difflib
import tempfile
import typing
from typing import Any

import pydantic
from transformers import TrainingArguments
from trl import SFTConfig

from tasks.lib import preferences, reinforcement, training
from tasks.lib.errors import ConfigError
from tasks.lib.training_config import FIXED, OWN_FIELDS, TrainingConfig

# by method or stage; every other training has the arguments of transformers
KINDS: dict[str, Any] = {"tune": SFTConfig, **preferences.ARGUMENTS, **reinforcement.ARGUMENTS}
Fault = tuple[str, str]  # what was found, and what to do


def faults(question: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What is wrong with `trainer:` of each stage: (stage, found, remedy).

    Args:
        question: by stage, the kind of its method (None where it has none) and the fields of its training configuration.
    """
    return [
        (stage, *fault)
        for stage, (method, given) in question.items()
        for fault in _stage(stage, KINDS.get(method or stage, TrainingArguments), TrainingConfig(**given))
    ]


def _stage(stage: str, kind: Any, cfg: TrainingConfig) -> list[Fault]:
    hints = typing.get_type_hints(kind)
    known = {field.name: hints[field.name] for field in dataclasses.fields(kind) if field.init}
    found = [fault for key, value in cfg.trainer.items() if (fault := _key(stage, kind, key, value, known))]
    if found or stage == "reinforce":  # whose arguments fit together only with those of its method
        return found
    return _together(stage, kind, cfg)


def _key(stage: str, kind: Any, key: str, value: Any, known: dict[str, Any]) -> Fault | None:
    """What is wrong with one key by itself."""
    if key not in known:
        near = difflib.get_close_matches(key, [name for name in known if name not in FIXED], 1)
        if near and near[0] in OWN_FIELDS:
            remedy = f"write `{stage}.{OWN_FIELDS[near[0]]}:` beside `trainer:`"
        else:
            remedy = f"did you mean {near[0]!r}?" if near else f"remove {key!r}"
        return f"trainer.{key}: {kind.__name__} has no such argument", f"{stage}.trainer.{key}: {remedy}"
    try:
        rule = pydantic.ConfigDict(strict=True, arbitrary_types_allowed=True)
        pydantic.TypeAdapter(known[key], config=rule).validate_python(value)
    except pydantic.ValidationError as error:
        said = " or ".join(dict.fromkeys(fault["msg"].removeprefix("Input ") for fault in error.errors()))
        return f"trainer.{key}: {value!r} {said}", f"correct {stage}.trainer.{key}"
    return None


def _together(stage: str, kind: Any, cfg: TrainingConfig) -> list[Fault]:
    """What the library itself says of all of them."""
    with tempfile.TemporaryDirectory() as work:
        try:
            training.arguments(kind, cfg, 1, work)
        except ConfigError as error:
            return [(f"trainer: {error.found.splitlines()[0]}", f"correct {stage}.trainer")]
    return []
