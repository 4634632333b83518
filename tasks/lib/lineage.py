"""The lineage of a model version: from the version back to every source file, setting and library."""

from typing import Any

from tasks.lib import places, store
from tasks.lib.config import Declared
from tasks.lib.domain import Duties
from tasks.lib.errors import DataError
from tasks.lib.sources import Sources
from tasks.lib.store import Artifact, Record

SCHEMA = "slmforge.lineage/2"
LINEAGE = "lineage.json"
COMMIT = "git commit"  # unknown of some runs only, each for a reason of its own
UNKNOWN = {  # of every version; the README says the same, in the same words
    "approval": "no decision of a person on a model is recorded; decisions on drafted questions are in the domain's "
    "data/review-*-decisions.jsonl, and who accepted the data, when and why, is in the record of the check",
    "energy": "it is not measured",
    "de-identification": "nothing detects or removes personal data; sensitive: in domain.yaml only keeps raw values out of check results "
    "and their pages; rows, sets of rows set aside, and sample answers are kept as they are",
    "signature": "nothing is signed, and there is no hash-chained ledger; files are named by sha256, and whoever can write to the runs "
    "folder can change both a file and its record; keep the lineage digest elsewhere if that matters",
}


class Declaration(Declared):
    """What a domain says of a version now: its duties, and every source as it is written, addresses included.

    An address changes no data, so it is in no identity before this one; here it is what is recorded.
    """

    duties: Duties
    edition: str
    sources: list[dict[str, Any]]


def declare(duties: Duties, sources: Sources) -> Declaration:
    """The declaration of a domain with resolved sources; where their files lie on this machine is no part of it."""
    written = [
        {**resolved.identity(), "dataset": resolved.dataset.model_dump(mode="json"), **_server(resolved.server)}
        for resolved in sources.datasets
    ]
    return Declaration(duties=duties, edition=sources.edition, sources=written)


def _server(name: str | None) -> dict[str, str]:
    """Which database server was asked, of a dataset for which one was."""
    return {} if name is None else {"server": name}


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


def build(declared: Declaration, checked: Any, model: Artifact, scores: tuple[Any, ...], data: Any) -> dict[str, Any]:
    """The whole record: what is declared and judged now, and the artifact records of everything else.

    The declaration and the verdicts are given, not looked up behind the data: data that come out the same keep
    their records, which name the sources and the check of the first time.

    Raises:
        DataError: if an artifact on the way is gone, so that a version without its lineage cannot be.
    """
    stages: dict[str, Any] = {}
    for artifact in (checked, model, data, *scores):
        _walk(artifact.id, stages)
    return {
        "schema": SCHEMA,
        "duties": declared.duties.identity(),
        "edition": declared.edition,
        "model": {"artifact": model.id, "digest": model.digest},
        "sources": _sources(declared, data),
        "check": {"artifact": checked.id, "digest": checked.digest},
        "checks": [verdict.model_dump(mode="json") for verdict in checked.verdicts],
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


def _sources(declared: Declaration, data: Any) -> list[dict[str, Any]]:
    """Every source file: where from, under which licence, its digest, and what became of its rows."""
    found = []
    written = {source["dataset"]["name"]: source for source in declared.sources}
    for line in data.ledger:
        source = written[line.dataset]
        sizes = {file["sha256"]: file["bytes"] for file in source["files"]}
        found.append({**source["dataset"], **_server(source.get("server")), **line.identity(), "bytes": sizes[line.sha256]})
    return found


def _diffs(stages: dict[str, Any]) -> dict[str, str]:
    """What differed from the recorded commits when the stages ran, by digest."""
    digests = {str(v) for r in stages.values() for k, v in r["made"].items() if k.endswith("_dirty_sha256") and v}
    files = {digest: places.runs() / "diffs" / f"{digest}.diff" for digest in sorted(digests)}
    # as bytes, so that the text has the digest that it is kept under
    return {digest: file.read_bytes().decode("utf-8", "backslashreplace") for digest, file in files.items() if file.is_file()}


def _unknown(stages: dict[str, Any]) -> list[dict[str, str]]:
    """What this record cannot say, and why."""
    unsaid = {
        record["made"].get("commit_unknown", "some stages ran outside a flow") for record in stages.values() if _unsaid(record["made"])
    }
    commit = {COMMIT: "; ".join(sorted(unsaid))} if unsaid else {}
    return [{"fact": fact, "reason": reason} for fact, reason in {**commit, **UNKNOWN}.items()]


def _unsaid(made: dict[str, Any]) -> bool:
    """Whether the code that ran is not known to the last byte."""
    return not made.get("commit") or "commit_unknown" in made
