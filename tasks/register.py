"""Register the model as a version of its domain, with the record of where it comes from."""

import json
from pathlib import Path

from tasks.evaluate import Scores
from tasks.lib import lineage
from tasks.lib.config import StageConfig
from tasks.lib.domain import Duties
from tasks.lib.local_registry import missing_version
from tasks.lib.model import Model
from tasks.lib.stage import stage
from tasks.lib.store import Artifact
from tasks.split import Split


class RegisterConfig(StageConfig):
    """How the version is called."""

    name: str | None = None  # the domain's name when not set


class Version(Artifact):
    """A model version in the registry, and the digest of its lineage record."""

    name: str
    version: str
    run: str
    lineage_sha256: str

    def gone(self) -> str | None:
        """Why the local registry does not know this version any more."""
        return missing_version(self.name, self.version)


@stage(version="1", needs=("registry",), retries=2)
def register(out: Path, cfg: RegisterConfig, duties: Duties, model: Model, scores: tuple[Scores, ...], data: Split) -> Version:
    """Create the model version with its `lineage.json`; a version that already exists is found again."""
    from tasks.lib import digests, registry

    record = lineage.build(duties, model, scores, data)
    text = json.dumps(record, indent=1, sort_keys=True)
    (out / "lineage.json").write_text(text)
    digest = digests.of_text(text)
    key = digests.of_value([model.digest, [s.digest for s in scores], data.digest, duties.identity()])
    name = cfg.name or duties.domain
    found = registry.register(name, model.path, out, {"slmforge.register": key, "slmforge.lineage_sha256": digest})
    return Version(name=name, version=found.version, run=found.run, lineage_sha256=digest)
