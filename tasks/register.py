"""Register the model as a version of its domain, with the record of where it comes from."""

import json
from pathlib import Path

from pydantic import Field

from tasks.check import Checked
from tasks.evaluate import Scores
from tasks.lib import lineage, local_registry, store, tracking
from tasks.lib.config import StageConfig, tried_again
from tasks.lib.lineage import LINEAGE, Declaration
from tasks.lib.model import Model
from tasks.lib.stage import stage
from tasks.lib.store import Artifact
from tasks.split import Split

STORE = "registered_in"  # of the record: which MLflow; where a version lies is no part of what it is


class RegisterConfig(StageConfig):
    """How the version is called."""

    name: str | None = Field(default=None, pattern=r"^[\w][\w .()+-]{0,200}$")  # the domain's name when not set
    retries: int = tried_again(2)

    def named(self, name: str) -> "RegisterConfig":
        """The same with `name`, where none is set."""
        return self if self.name else self.model_copy(update={"name": name})


class Version(Artifact):
    """A model version in the registry, and the digest of its lineage record."""

    name: str
    version: str
    run: str
    lineage_sha256: str

    def gone(self) -> str | None:
        """Why the registry that is set now does not know this version, as far as that can be told without asking a server."""
        record = store.find(self.id)
        registered = None if record is None else record.measured.get(STORE)
        return local_registry.elsewhere(registered) or local_registry.missing_version(self.name, self.version)


@stage(version="3", needs=("registry",))
def register(
    out: Path, cfg: RegisterConfig, declared: Declaration, checked: Checked, model: Model, scores: tuple[Scores, ...], data: Split
) -> Version:
    """Create the model version with its `lineage.json`; a version that already exists is found again, with its own."""
    from tasks.lib import digests, registry

    text = json.dumps(lineage.build(declared, checked, model, scores, data), indent=1, sort_keys=True)
    (out / LINEAGE).write_text(text, encoding="utf-8")
    given = [model.digest, [score.digest for score in scores], data.digest, checked.digest, declared.identity()]
    key, digest = digests.of_value(given), digests.of_text(text)
    name = cfg.name or declared.duties.domain
    found = registry.register(name, model.path, out, {registry.KEY: key, registry.TAG: digest})
    tracking.measure(**{STORE: tracking.server()})
    if found.lineage_sha256 != digest:
        # registered before, from the same content, with a record of that time: that one is the version's evidence
        (out / LINEAGE).rename(out / "lineage-of-this-run.json")
        registry.fetch(found, name, out / LINEAGE)
        tracking.measure(found_again=f"version {found.version} of {name} was registered before; lineage.json is its own")
    return Version(name=name, version=found.version, run=found.run, lineage_sha256=found.lineage_sha256)
