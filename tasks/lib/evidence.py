"""Older artifacts: found by id, or as what stands behind a model version."""

import difflib
import json
from collections.abc import Iterable

from tasks.lib import history, store
from tasks.lib.errors import ConfigError, DataError
from tasks.lib.lineage import LINEAGE
from tasks.lib.store import Record

NEAR = 3  # ids that an error names


def artifact(identifier: str) -> Record:
    """The record of an artifact.

    Raises:
        ConfigError: if the store has none of that id; it names near ones.
    """
    record = store.find(identifier) if identifier.count("/") == 1 else None
    if record is None:
        known = store.identifiers()
        near = [one for one in known if one.startswith(identifier)][:NEAR] or difflib.get_close_matches(identifier, known, NEAR, 0.5)
        found = f"no such artifact in {store.root()}; near ones: {', '.join(near) or 'none'}"
        raise ConfigError(f"the artifact {identifier!r}", found, "give an id as STAGE/16 hex digits, as `slmforge plan --json` shows them")
    return record


def readable(identifier: str) -> Record | None:
    """The record of an artifact; None also for one that cannot be read, of which `slmforge verify` tells."""
    try:
        return store.find(identifier)
    except DataError:
        return None


def versions(domain: str | None) -> list[Record]:
    """The records of registered versions, of one domain or of all, the oldest first."""
    found = [record for one in store.identifiers() if one.startswith("register/") and (record := readable(one)) is not None]
    kept = [record for record in found if domain in (None, (record.inputs.get("declared") or {}).get("duties", {}).get("domain"))]
    return sorted(kept, key=lambda record: str(record.made["ended"]))


def version(domain: str, number: str) -> Record:
    """The record with which a version of a domain's model was registered; of several, the last.

    Raises:
        ConfigError: if there is none, or if models of two names have such a version.
    """
    known = versions(domain)
    found = [record for record in known if record.facts["version"] == number]
    names = sorted({record.facts["name"] for record in found})
    if not found:
        told = ", ".join(dict.fromkeys(f"{record.facts['name']} {record.facts['version']}" for record in known)) or "none"
        raise ConfigError(f"version {number} of domain {domain!r}", f"versions in this runs folder: {told}", "give one of their numbers")
    if len(names) > 1:
        ids = ", ".join(record.id for record in found)
        raise ConfigError(
            f"version {number} of domain {domain!r}", f"registered under several names: {', '.join(names)}", f"give an id: {ids}"
        )
    return found[-1]


def behind(starts: Iterable[str]) -> list[str]:
    """These artifacts and everything that their records say they were made from, near or far, each once."""
    found: dict[str, None] = {}
    open_ones = list(starts)
    while open_ones:
        one = open_ones.pop()
        if one in found:
            continue
        found[one] = None
        record = readable(one)
        if record is not None:
            given = [item for value in record.inputs.values() for item in (value if isinstance(value, list) else [value])]
            open_ones += [item["id"] for item in given if isinstance(item, dict) and set(item) == {"id", "digest"}]
    return sorted(found)


def behind_version(made: Record) -> list[str]:
    """Every artifact that the lineage of a version names, and the version's own.

    Raises:
        DataError: if the lineage cannot be read.
    """
    file = store.root() / made.id / LINEAGE
    try:
        named = list(json.loads(file.read_bytes())["stages"])
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        asked = f"the lineage of version {made.facts['version']}"
        raise DataError(asked, type(error).__name__, "run `slmforge verify` for what was changed", file=file) from error
    return [*named, made.id]


def of_version(made: Record, stage: str) -> Record:
    """What a stage, as `align` or `evaluate:tune`, made on the way to a version.

    Raises:
        ConfigError: if there is no such stage, or if it is several.
    """
    name, _, subject = stage.partition(":")
    named = [*behind_version(made), *_reports([made])]
    calls = {one: f"{one.split('/')[0]}{_subject(one)}" for one in named}
    found = [one for one, call in calls.items() if call == stage or (not subject and call.split(":")[0] == name)]
    if not found or (len(found) > 1 and stage != "report"):
        known = ", ".join(dict.fromkeys(calls.values()))
        raise ConfigError(f"stage {stage!r} of version {made.facts['version']}", f"stages behind it: {known}", "give one of them")
    return artifact(found[-1])


def _subject(identifier: str) -> str:
    """What tells the calls of a stage apart, where it has one."""
    record = readable(identifier)
    return f":{record.facts['subject']}" if record is not None and "subject" in record.facts else ""


def of_domain(domain: str) -> list[str]:
    """Every artifact behind what the domain's stages last made, and behind every version of its model, with its report."""
    last = [entry["id"] for entry in history.read(domain).values()]
    registered = versions(domain)
    return behind([*last, *(record.id for record in registered), *_reports(registered)])


def _reports(registered: list[Record]) -> list[str]:
    """The reports on these versions, the oldest first."""
    wanted = {record.id for record in registered}
    found = [record for one in store.identifiers() if one.startswith("report/") and (record := readable(one)) is not None]
    kept = [record for record in found if (record.inputs.get("version") or {}).get("id") in wanted]
    return [record.id for record in sorted(kept, key=lambda record: str(record.made["ended"]))]
