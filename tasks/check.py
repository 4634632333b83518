"""Judge what was read by the domain's expectations, before anything expensive starts."""

from pathlib import Path

from pydantic import Field

from tasks.lib import drift, packs, waivers
from tasks.lib.config import RUNTIME, StageConfig
from tasks.lib.domain import Expectations
from tasks.lib.drift import Profile
from tasks.lib.environment import muted
from tasks.lib.expectations_result import Verdict
from tasks.lib.records import ROLES, Records
from tasks.lib.stage import stage
from tasks.lib.store import VIEW, Artifact


class CheckConfig(StageConfig):
    """How the check reports."""

    docs: bool = Field(default=True, json_schema_extra=RUNTIME, description="write GX Data Docs")
    workers: int | None = Field(
        default=None, ge=1, json_schema_extra=RUNTIME, description="processes that judge large data [one per core, as far as 2 GB allow]"
    )


class Checked(Artifact):
    """The verdicts, and what the datasets look like; refuses what follows when a critical expectation failed."""

    verdicts: list[Verdict]
    profiles: dict[str, Profile] = {}

    def refusal(self) -> str | None:
        """The critical expectations that failed, with rows."""
        failed = [v for v in self.verdicts if v.stops]
        if not failed:
            return None
        lines = [v.sentence() for v in failed]
        return f"{len(failed)} expectation(s) failed: " + "; ".join(lines) + f". Data Docs: {self.path / VIEW}/index.html"

    def remedy(self, domain: str) -> str:
        """Where the expectations that failed can be changed, if the data are right."""
        stopping = [v for v in self.verdicts if v.stops]
        keys = dict.fromkeys(f"`{v.role}:`, `{v.expectation}:`" for v in stopping if v.expectation.startswith("expect_"))
        if not keys:
            return super().remedy(domain)
        return (
            f"correct the data; or change (of a pack: write) domains/{domain or 'NAME'}/expectations.yaml, there {' and '.join(keys)}: "
            "`mostly:` says which share of the rows must be right, where it takes that, and with `severity: warning` it is only told; "
            "then run the same command again"
        )


@stage(version="4", needs=("expectations",))
def check(out: Path, cfg: CheckConfig, expectations: Expectations, records: Records) -> Checked:
    """Judge the records by the domain's expectations, with Great Expectations, and by what was accepted before."""
    from tasks.lib import molecules
    from tasks.lib.expectations import judge
    from tasks.lib.frames import Frames
    from tasks.lib.profiles import profiles

    suites = {role: packs.fitting(getattr(expectations, role), set(Frames(records.path, role).columns)) for role in ROLES}
    with muted():
        verdicts = judge(records.path, suites, expectations.sensitive, out / VIEW if cfg.docs else None, cfg.workers)
    verdicts += molecules.unseen(records.path, suites)
    found = profiles(records.path, records.ledger, expectations.sensitive)
    verdicts += drift.judge(found, expectations.accepted, expectations.drift)
    return Checked(verdicts=waivers.apply(expectations.waivers, expectations.lapsed, verdicts), profiles=found)
