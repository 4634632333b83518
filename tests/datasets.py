"""Small datasets that the tests of the data stages feed in."""

import json
from pathlib import Path
from typing import Any

from tasks.ingest import IngestConfig, ingest
from tasks.lib import digests
from tasks.lib.domain import Dataset, Domain, DomainCard, Expectations, Suite
from tasks.lib.records import Records, iterate
from tasks.lib.sources import ResolvedDataset, SourceFile, Sources

MAPS: dict[str, dict[str, str]] = {
    "corpus": {"text": "{text}"},
    "general": {"text": "{text}"},
    "tune": {"prompt": "{q}", "response": "{a}"},
    "eval": {"prompt": "{q}", "response": "{a}"},
}


def resolved(folder: Path, name: str, role: str, rows: list[dict[str, Any]], **card: Any) -> ResolvedDataset:
    """A dataset of these rows in a file of its own."""
    file = folder / f"{name}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {"name": name, "role": role, "source": {"path": file.name}, "licence": "CC0-1.0", "kind": "synthetic"}
    dataset = Dataset.model_validate({**given, "map": MAPS.get(role), **card})
    source = SourceFile(name=dataset.file_name, sha256=digests.of_file(file), bytes=file.stat().st_size, path=file)
    return ResolvedDataset.of(dataset, [source])


def ingested(*datasets: ResolvedDataset) -> Records:
    return ingest(IngestConfig(), Sources(edition="starter", datasets=list(datasets)))


def reasons(made: Any) -> dict[str, str]:
    """Row id -> why it was set aside in this stage."""
    return {row["id"]: row["reason"] for row in iterate(made.path, "set_aside")}


def sourced(folder: Path, source: dict[str, Any], role: str = "corpus", **card: Any) -> Domain:
    """A domain of one dataset from this source."""
    given = {"name": "d", "role": role, "source": source, "licence": "CC0-1.0", "kind": "public", "map": MAPS[role], **card}
    body = {"purpose": "p", "owner": "o", "risk": "low", "licences": ["CC0-1.0"], "datasets": [given]}
    return Domain(name="d", folder=folder, card=DomainCard.model_validate(body), expectations=Expectations(), suite=Suite(tasks={}))


def texts(made: Records) -> list[str]:
    return [row["text"] for row in iterate(made.path, "corpus")]
