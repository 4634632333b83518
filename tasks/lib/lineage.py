"""The lineage of a model version: from the version back to every source file, setting and library."""

from typing import Any

from tasks.lib import places, store
from tasks.lib.domain import Duties
from tasks.lib.errors import DataError
from tasks.lib.store import Artifact, Record

SCHEMA = "slmforge.lineage/1"


def ancestor(artifact: Artifact, stage: str) -> Record:
    """The record of the stage's artifact that `artifact` was made from, near or far.

    Raises:
        DataError: if there is none.
    """
    found: dict[str, Any] = {}
    _walk(artifact.id, found)
    for identifier in found:
        if identifier.startswith(f"{stage}/") and (record := store.find(identifier)):
            return record
    raise DataError(f"the {stage} artifact behind {artifact.id}", "it is not in its records", "run the same command again")


def build(duties: Duties, model: Artifact, scores: tuple[Any, ...], data: Any) -> dict[str, Any]:
    """The whole record, from artifact records alone.

    Raises:
        DataError: if an artifact on the way is gone, so that a version without its lineage cannot be.
    """
    stages: dict[str, Any] = {}
    for artifact in (model, data, *scores):
        _walk(artifact.id, stages)
    return {
        "schema": SCHEMA,
        "duties": duties.identity(),
        "model": {"artifact": model.id, "digest": model.digest},
        "sources": _sources(stages, data),
        "checks": ancestor(data, "check").facts["verdicts"],
        "scores": [score.model_dump(mode="json", exclude={"answers"}) for score in scores],
        "stages": stages,
        "diffs": _diffs(stages),
        "unknown": _unknown(stages),
    }


def _walk(identifier: str, stages: dict[str, Any]) -> None:
    """Depth first from an artifact to everything that it was made from."""
    if identifier in stages:
        return
    record = store.find(identifier)
    if record is None:
        raise DataError(f"the record of {identifier}", "it is gone from the store", "run the same command again")
    for given in record.inputs.values():
        for item in given if isinstance(given, list) else [given]:
            if isinstance(item, dict) and set(item) == {"id", "digest"}:
                _walk(item["id"], stages)
    stages[identifier] = record.model_dump(mode="json", exclude={"identity"})


def _sources(stages: dict[str, Any], data: Any) -> list[dict[str, Any]]:
    """Every source file: where from, under which licence, its digest, and what became of its rows."""
    declared = {
        resolved["dataset"]["name"]: resolved
        for record in stages.values()
        for resolved in (record["inputs"].get("sources") or {}).get("datasets", [])
    }
    return [
        {**line.identity(), "source": declared[line.dataset]["dataset"]["source"], "bytes": declared[line.dataset]["bytes"]}
        for line in data.ledger
    ]


def _diffs(stages: dict[str, Any]) -> dict[str, str]:
    """What differed from the recorded commits when the stages ran, by digest."""
    digests = {str(v) for r in stages.values() for k, v in r["made"].items() if k.endswith("_dirty_sha256") and v}
    files = {digest: places.runs() / "diffs" / f"{digest}.diff" for digest in sorted(digests)}
    return {digest: file.read_text(encoding="utf-8") for digest, file in files.items() if file.is_file()}


def _unknown(stages: dict[str, Any]) -> list[dict[str, str]]:
    """What this record cannot say, and why."""
    gaps = []
    if any(not record["made"].get("commit") for record in stages.values()):
        gaps.append({"fact": "git commit", "reason": "some stages ran outside a git checkout"})
    gaps.append({"fact": "approval", "reason": "approval is not recorded by this pipeline"})
    gaps.append({"fact": "energy", "reason": "not measured"})
    gaps.append({"fact": "de-identification", "reason": "no stage looks for personal data"})
    gaps.append({"fact": "signature", "reason": "files are named by sha256, nothing is signed"})
    return gaps
