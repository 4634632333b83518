"""The part of the report that says who answers for the data, and which records stand behind each number."""

from collections.abc import Sequence
from typing import Any

from tasks.lib import store
from tasks.lib.store import Artifact


def accepted(checked: Artifact) -> list[tuple[dict[str, Any], list[str]]]:
    """Who accepted which datasets, as the record of the check keeps it, and with it the lineage."""
    record = store.find(checked.id)
    expectations = (record.inputs.get("expectations") or {}) if record else {}
    found: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for dataset, entry in sorted(expectations.get("accepted", {}).items()):
        said = {key: entry[key] for key in ("by", "on", "why")}
        found.setdefault(repr(said), (said, []))[1].append(dataset)
    return list(found.values())


def origin(calls: Sequence[tuple[str, Artifact]]) -> dict[str, Any]:
    """The record behind each number: artifacts, seeds, commits and libraries."""
    rows: list[dict[str, Any]] = []
    commits: set[str] = set()
    libraries: dict[str, set[str]] = {}
    for name, artifact in calls:
        record = store.find(artifact.id)
        config, made = (record.config, record.made) if record else ({}, {})
        seed = config.get("seed", ((config.get("source") or {}).get("training") or {}).get("seed"))
        rows.append({"call": name, "artifact": artifact, "seed": seed, "made": str(made.get("ended", ""))[:16]})
        if commit := made.get("commit"):
            commits.add(f"{commit}{' with changes' if made.get('commit_dirty_sha256') else ''}")
        for library, number in (record.libraries if record else {}).items():
            libraries.setdefault(library, set()).add(number)
    return {"origin": rows, "commits": sorted(commits), "libraries": {key: sorted(libraries[key]) for key in sorted(libraries)}}
