"""Entries of datasets in a domain's card: written with its comments kept, and only if it still is a card."""

from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from tasks.lib import replacing
from tasks.lib.config import build
from tasks.lib.domain import DomainCard
from tasks.lib.errors import ConfigError

Entry = dict[str, Any]


class Revision(NamedTuple):
    """A card's text with other entries, and what was asked for: by the time of writing, the card may be another."""

    text: str
    added: list[Entry]
    changed: list[Entry]
    removed: list[str]


def with_entries(card: Path, added: list[Entry], changed: list[Entry] | None = None, removed: list[str] | None = None) -> Revision:
    """The card with entries appended, with keys of others replaced, and without those named.

    Raises:
        ConfigError: if that is no card, or a licence is not one that the domain allows. Nothing is written.
    """
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 160
    yaml.indent(mapping=2, sequence=4, offset=2)
    content = yaml.load(card.read_text(encoding="utf-8"))
    for entry in changed or []:
        next(known for known in content["datasets"] if known["name"] == entry["name"]).update(entry)
    for name in removed or []:
        del content["datasets"][[known["name"] for known in content["datasets"]].index(name)]
    content["datasets"].extend(added)
    made = text(content, yaml)
    names = ", ".join([entry["name"] for entry in [*added, *(changed or [])]] or removed or [])
    allowed = build(DomainCard, YAML(typ="safe", pure=True).load(made), f"the domain card {card} with {names}").licences
    for entry in [*added, *(changed or [])]:
        require_licence(entry["licence"], allowed, card)
    return Revision(made, added, changed or [], removed or [])


def require_licence(licence: str, allowed: list[str], card: Path) -> None:
    """Refuse a licence that the domain does not allow.

    Raises:
        ConfigError: saying what to add where.
    """
    if licence not in allowed:
        raise ConfigError(
            f"a licence that the domain allows ({', '.join(allowed)})",
            f"licence {licence!r}",
            f"have the domain's owner add it to `licences:` in {card}: licences: [{', '.join([*allowed, licence])}]",
        )


def replace(card: Path, revision: Revision) -> None:
    """Write a card at once, or not at all; what others have written into it since it was read stays.

    Raises:
        ConfigError: if the entries no longer fit the card as it is now. Nothing is written.
    """
    with replacing.alone(card.parent):
        replacing.replace({card: with_entries(card, revision.added, revision.changed, revision.removed).text})


def text(content: Any, yaml: YAML | None = None) -> str:
    """As YAML."""
    stream = StringIO()
    made = yaml or YAML()
    made.dump(content, stream)
    return stream.getvalue()
