"""Judge what was read by the domain's expectations, before anything expensive starts."""

from pathlib import Path

from pydantic import Field

from tasks.lib import packs
from tasks.lib.config import RUNTIME, StageConfig
from tasks.lib.domain import Expectations
from tasks.lib.environment import muted
from tasks.lib.expectations_result import Verdict
from tasks.lib.records import ROLES, Records, filled
from tasks.lib.stage import stage
from tasks.lib.store import VIEW, Artifact


class CheckConfig(StageConfig):
    """How the check reports."""

    docs: bool = Field(default=True, json_schema_extra=RUNTIME, description="write GX Data Docs")


class Checked(Artifact):
    """The verdicts; refuses what follows when a critical one failed."""

    verdicts: list[Verdict]

    def refusal(self) -> str | None:
        """The critical expectations that failed, with rows."""
        failed = [v for v in self.verdicts if not v.passed and v.severity != "warning"]
        if not failed:
            return None
        lines = [v.sentence() for v in failed]
        return f"{len(failed)} expectation(s) failed: " + "; ".join(lines) + f". Data Docs: {self.path / VIEW}/index.html"


@stage(version="1", needs=("expectations",))
def check(out: Path, cfg: CheckConfig, expectations: Expectations, records: Records) -> Checked:
    """Judge the records by the domain's expectations, with Great Expectations; Data Docs go to view/."""
    from tasks.lib.expectations import judge

    suites = {role: packs.fitting(getattr(expectations, role), filled(records.path, role)) for role in ROLES}
    with muted():
        verdicts = judge(records.path, suites, expectations.sensitive, out / VIEW if cfg.docs else None)
    return Checked(verdicts=verdicts)
