"""Where a fault lies, as a person would type it: pydantic's location without the tags of unions."""

import difflib
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, Tag

Location = tuple[Any, ...]
NAMED = 3  # keys that are proposed for one that is none
NEAR = 0.4  # how alike two keys are, from 0 to 1, so that one is proposed for the other


@dataclass(frozen=True)
class Place:
    """What a location leads to: its keys as they are typed, what is declared there, and the union that it is a member of."""

    keys: tuple[str, ...]
    declared: Any = None
    union: Any = None

    def __str__(self) -> str:
        return ".".join(self.keys) or "(top)"

    def under(self, *keys: str) -> "Place":
        """The same place, seen from further up."""
        return Place((*keys, *self.keys), self.declared, self.union)


def place(declared: Any, location: Location, union: Any = None) -> Place:
    """Follow a location from a model; what cannot be followed keeps its steps as they are.

    Where several types are possible, pydantic puts a step into the location that says which one was taken: the value of
    the field that tells them apart, a tag, or the type's name. Nobody can type that step.
    """
    declared, _ = _bare(declared)
    if not location:
        return Place((), declared, union)
    first, rest = location[0], location[1:]
    if (members := _members(declared)) is not None:
        chosen = next((member for member in members if first in _labels(member)), None)
        return place(chosen, rest, declared)
    if isinstance(declared, type) and issubclass(declared, BaseModel):
        named = {field.alias or name: field for name, field in declared.model_fields.items()}
        field = named.get(str(first))
        return place(None if field is None else field.annotation, rest).under(str(first))
    inner = typing.get_args(declared)
    if first == "[key]" and isinstance(declared, types.GenericAlias) and not rest:  # of a mapping: the key itself is at fault
        return Place(())
    return place(inner[-1] if inner and inner[-1] is not Ellipsis else None, rest).under(str(first))


def _bare(declared: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type without its annotations and without None, and the annotations."""
    notes: tuple[Any, ...] = ()
    while True:
        if typing.get_origin(declared) is Annotated:
            declared, *more = typing.get_args(declared)
            notes = (*notes, *more)
            continue
        kept = [kind for kind in typing.get_args(declared) if kind is not types.NoneType] if _is_union(declared) else []
        if len(kept) != 1:
            return declared, notes
        declared = kept[0]


def _is_union(declared: Any) -> bool:
    return typing.get_origin(declared) in (typing.Union, types.UnionType)


def _members(declared: Any) -> list[Any] | None:
    """The types of a union; None where there is only one possibility."""
    return [kind for kind in typing.get_args(declared) if kind is not types.NoneType] if _is_union(declared) else None


def _labels(member: Any) -> set[str]:
    """What pydantic may call a member of a union."""
    bare, notes = _bare(member)
    found = {note.tag for note in notes if isinstance(note, Tag)} | {getattr(bare, "__name__", ""), str(bare)}
    return found | {value for values in _kinds(bare).values() for value in values}


def _kinds(model: Any) -> dict[str, list[str]]:
    """Fields of a model that take one of a few words, and the words."""
    fields = model.model_fields if isinstance(model, type) and issubclass(model, BaseModel) else {}
    return {
        name: [str(value) for value in typing.get_args(field.annotation)]
        for name, field in fields.items()
        if typing.get_origin(field.annotation) is typing.Literal
    }


def remedy(found: Place, key: str) -> str | None:
    """What to type instead of an unknown key: the same key further down or of another kind, or the nearest one."""
    deeper = [way for way in _ways(found.declared) if way.split(".")[-1] == key and "." in way]
    if deeper:
        return f"did you mean {' or '.join(map(repr, deeper[:NAMED]))}?"
    if others := [f"{name}: {word}" for name, word, fields in told_apart(found.union) if key in fields]:
        return f"it is a key of `{' or '.join(others)}`"
    near = difflib.get_close_matches(key, [way for way in _ways(found.declared) if "." not in way], 1, NEAR)
    return f"did you mean {near[0]!r}?" if near else None


def told_apart(union: Any) -> Iterator[tuple[str, str, list[str]]]:
    """Of each member of a union that a field tells apart: the field, its word, and the keys that may stand beside it."""
    members = [_bare(member)[0] for member in _members(union) or []]
    for member in members:
        for name, words in _kinds(member).items():
            if all(name in _kinds(other) for other in members):
                yield from ((name, word, list(_ways(member))) for word in words)


def _ways(declared: Any) -> Iterator[str]:
    """Keys that may be typed below a model, those of the models in it included."""
    if not (isinstance(declared, type) and issubclass(declared, BaseModel)):
        return
    for name, field in declared.model_fields.items():
        key = field.alias or name
        yield key
        yield from (f"{key}.{way}" for way in _ways(_bare(field.annotation)[0]))
