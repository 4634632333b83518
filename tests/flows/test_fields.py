"""The plan of a flow with every documented field at another value: it runs the stage again and says which field it was."""

import json
from pathlib import Path
from typing import Any

import pytest

from flows.adapt import AdaptConfig, adapt
from tasks.lib.flow import Order
from tasks.lib.plan import PlanRow
from tests.fields import OTHERS, documented

FIELDS = {field.path: field for field in documented(AdaptConfig)}
# stages of the toy's own run; what they are beside has to be none, or every stage would be planned from scratch
PLANNED = [path for path, other in OTHERS.items() if not other.beside and not other.refused]
ELSEWHERE = ("classify", "reward", "reinforce")  # stages of other flows
ABSENT = "base.source.kind"  # its other value is a model of a hub, which is not there to be planned with


@pytest.fixture
def here(adapted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the adapted working directory, of which nothing is changed."""
    monkeypatch.chdir(adapted)
    monkeypatch.setenv("SLMFORGE_RUNS", str(adapted / "runs"))


def rows(**settings: Any) -> list[PlanRow]:
    """The rows of a plan that are to run."""
    words = tuple(f"{stage}.{key}={json.dumps(value)}" for stage, values in settings.items() for key, value in values.items())
    return [row for row in adapt.plan(adapt.job(Order("toy", settings=words))).rows if row.state == "run"]


@pytest.mark.parametrize("path", [path for path in PLANNED if path.split(".")[0] not in ELSEWHERE and path != ABSENT])
def test_a_plan_names_the_field_that_changed(path: str, here: None) -> None:
    stage, leaf = path.split(".", maxsplit=1)[0], path.rsplit(".", maxsplit=1)[-1]
    found = rows(**{stage: OTHERS[path].value})
    if FIELDS[path].runtime:
        assert found == []
    else:
        assert found[0].name.split(":")[0] == stage
        assert leaf in found[0].reason or "has not run before" in found[0].reason
