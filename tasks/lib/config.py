"""Configuration: frozen pydantic models, strict YAML, and `key.sub=value` overrides."""

import difflib
import re
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import pydantic
from pydantic import BaseModel, ConfigDict, Field
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent

from tasks.lib import locations
from tasks.lib.errors import ConfigError

RUNTIME: Any = {"runtime": True}  # marks a field that changes how, never what: not in the identity
MAX_YAML_BYTES = 1_000_000
TAG = re.compile(r"'([^']+)'")  # how pydantic lists the members of a union
MAX_YAML_DEPTH = 100  # lists and mappings in each other; the parser's time grows with its square
M = TypeVar("M", bound=BaseModel)


class Declared(BaseModel):
    """A value that is written down by a person and is part of an identity."""

    # a traceback shows no input: someone may have written a secret where none belongs
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    def identity(self) -> dict[str, Any]:
        """The fields that change a result, as JSON values; runtime fields are left out."""
        kept: dict[str, Any] = {}
        for name, field in type(self).model_fields.items():
            if field.json_schema_extra == RUNTIME:
                continue
            value = getattr(self, name)
            kept[name] = _plain(value)
        return kept


def _plain(value: Any) -> Any:
    if isinstance(value, Declared):
        return value.identity()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, date):
        return value.isoformat()
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def tried_again(usual: int) -> Any:
    """The field of a stage that is usually tried again so often."""
    return Field(default=usual, ge=0, json_schema_extra=RUNTIME, description="tries after the first, after a fault that may pass")


class StageConfig(Declared):
    """What a person may set of one stage."""

    retries: int = tried_again(0)
    timeout: float = Field(default=24, gt=0, json_schema_extra=RUNTIME, description="hours after which the stage is ended")

    @property
    def off(self) -> bool:
        """Whether the stage is left out (only where it is declared with `through`)."""
        return False


def read_yaml(path: Path) -> Any:
    """Read a YAML 1.2 file with the safe loader.

    Raises:
        ConfigError: on duplicate keys, tags, aliases, bad UTF-8, more than 100 levels, or a file over 1 MB.
    """
    asked = f"configuration from {path}"
    if path.stat().st_size > MAX_YAML_BYTES:
        raise ConfigError(asked, f"{path.stat().st_size:,} bytes", f"keep YAML below {MAX_YAML_BYTES:,} bytes")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(asked, f"bytes that are not UTF-8 at offset {error.start}", "save the file as UTF-8") from error
    return _load(text, asked)


def _load(text: str, asked: str) -> Any:
    """YAML text as plain values; no aliases, no tags, each key once."""
    try:
        _require_flat(text, asked)
        return YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        line = "" if mark is None else f" (line {mark.line + 1}, column {mark.column + 1})"
        raise ConfigError(asked, f"{error.problem}{line}", "correct the YAML at that line") from error
    except YAMLError as error:  # for instance a control character, which has no mark
        raise ConfigError(asked, str(error).splitlines()[0], "correct the YAML") from error


def _require_flat(text: str, asked: str) -> None:
    """Refuse aliases and deep nesting by the parser's events, which come one by one: what lies deeper is never read."""
    depth = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if isinstance(event, AliasEvent):
            raise ConfigError(asked, "an alias (*name)", "write the value out; aliases are not allowed")
        if depth > MAX_YAML_DEPTH:
            line = event.start_mark.line + 1
            raise ConfigError(asked, f"lists or mappings nested more than {MAX_YAML_DEPTH} deep (line {line})", "write it flat")


def merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` laid on `under`, mapping by mapping; neither is changed. Another `kind` replaces what belongs to the old one."""
    merged = dict(under)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and old.get("kind", value.get("kind")) == value.get("kind", old.get("kind")):
            merged[key] = merge(old, value)
        else:
            merged[key] = value
    return merged


def parse_overrides(words: list[str]) -> dict[str, Any]:
    """Turn `["tune.epochs=2", …]` into nested mappings; values are read as YAML."""
    result: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key or any(not part for part in key.split(".")):
            raise ConfigError(f"setting {word!r}", "no key.sub=value", "write for instance tune.epochs=2")
        value: Any = _load(text, f"setting {word!r}") if text else ""
        for part in reversed(key.split(".")):
            value = {part: value}
        result = merge(result, value)
    return result


def build(model: type[M], values: Any, source: str) -> M:
    """Validate `values` as `model`.

    Raises:
        ConfigError: naming the key as it is typed, what was found and, for an unknown key, the nearest known one.
    """
    try:
        return model.model_validate(values)
    except pydantic.ValidationError as error:
        told = [_told(model, fault) for fault in error.errors()]
        lines, remedies = (dict.fromkeys(column) for column in zip(*told, strict=True))
        raise ConfigError(source, "; ".join(lines), "; ".join(remedies)) from error


def _told(model: type[BaseModel], fault: Any) -> tuple[str, str]:
    """What is wrong at one key, and what to do about it."""
    where = locations.place(model, fault["loc"])
    if fault["type"] == "extra_forbidden":
        remedy = locations.remedy(locations.place(model, fault["loc"][:-1]), str(fault["loc"][-1]))
        return f"{where}: unknown key", f"{where}: {remedy}" if remedy else f"remove {where}"
    if fault["type"] == "union_tag_invalid":
        tag, known = str(fault["ctx"]["tag"]), TAG.findall(str(fault["ctx"]["expected_tags"]))
        near = difflib.get_close_matches(tag, known, 1, 0.4)
        name = fault["ctx"]["discriminator"].strip("'")
        return (
            f"{where}: no {name} is called {tag!r}",
            f"{where}: {f'did you mean {near[0]!r}? ' if near else ''}one of: {', '.join(known)}",
        )
    found = fault["input"] if not isinstance(fault["input"], dict) else "a mapping"
    line = f"{where}: {fault['msg']} (given: {found!r})"[:300]
    if words := [f"{name}: {word}" for name, word, _ in locations.told_apart(where.declared)]:
        return line, f"{where}: say which one it is, with `{'` or `'.join(words)}`"
    return line, f"correct {where}"
