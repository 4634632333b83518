"""The toy's split and what trainings start from, made once for each module that asks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.prepare import prepare
from tasks.lib.execute import Direct
from tasks.lib.flow import Order
from tasks.split import Split
from tests.conftest import write_toy


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with the toy and one runs folder: artifacts are cached across the tests of a module."""
    folder = tmp_path_factory.mktemp("place")
    write_toy(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SLMFORGE_RUNS", str(folder / "runs"))
        yield folder


@pytest.fixture(scope="module")
def data(place: Path) -> Split:
    """The toy's split."""
    made: Split = prepare.under(Direct(), prepare.job(Order("toy")))
    return made
