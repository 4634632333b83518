"""One self-contained HTML page: what went in, what came out, and whether it is better."""

from pathlib import Path
from typing import TypeVar

from pydantic import Field

from tasks.check import Checked
from tasks.evaluate import Scores
from tasks.lib import lineage
from tasks.lib.config import StageConfig
from tasks.lib.domain import Duties
from tasks.lib.model import Model
from tasks.lib.stage import stage
from tasks.lib.store import VIEW, Artifact, Record
from tasks.register import Version
from tasks.split import Split

A = TypeVar("A", bound=Artifact)


class ReportConfig(StageConfig):
    """What the page shows."""

    answers: int = Field(default=4, ge=0, description="sample answers side by side")


class Page(Artifact):
    """The report; open `file` in a browser."""

    title: str

    @property
    def file(self) -> Path:
        """The page."""
        return self.path / VIEW / "report.html"


@stage(version="5")
def report(
    out: Path, cfg: ReportConfig, duties: Duties, checked: Checked, models: tuple[Model, ...], scores: tuple[Scores, ...], version: Version
) -> Page:
    """Write the page from artifact records."""
    from tasks.lib import page

    data = lineage.ancestor(version, "split")  # whichever made it, its facts are the same: the version stands on their digest
    title = f"{version.name}, version {version.version}"
    shown = tuple(score.model_copy(update={"answers": score.answers[: cfg.answers]}) for score in scores)
    (out / VIEW).mkdir()
    html = page.render(title, duties, _load(Split, data), checked, models, shown, version)
    (out / VIEW / "report.html").write_text(html, encoding="utf-8")
    return Page(title=title)


def _load(kind: type[A], record: Record) -> A:
    return kind.model_validate({**record.facts, "id": record.id, "digest": record.digest})
