"""A domain with a sheet of drafts, and the command that reviews it."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.lib import sheets
from tests.conftest import Run
from tests.drafting import WHO, batch, write_domain


@pytest.fixture
def clinic(workplace: Path) -> Path:
    """The domain with three drafts on a sheet, `drafts.xlsx`."""
    folder = write_domain(workplace)
    sheets.write(workplace / "drafts.xlsx", batch(folder))
    return folder


@pytest.fixture
def review(cli: Run) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Review a sheet without being asked."""
    return lambda sheet, *words: cli("review", "clinic", str(sheet), *(words or WHO), "--yes")
