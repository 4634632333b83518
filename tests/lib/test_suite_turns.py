"""Tasks over conversations: turns are shown where there are some, and no conversation is an example."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tasks.lib import suite
from tasks.lib.domain import Dataset
from tasks.lib.errors import ConfigError
from tests.lib.test_suite import GENERATED

GIVEN = {"source": {"path": "x.jsonl"}, "licence": "MIT", "kind": "user"}
TALKS = {"name": "talks", "role": "tune", "map": {"messages": "{m}"}, "holdout": 5, **GIVEN}
JUDGED = {"name": "judged", "role": "eval", "map": {"messages": "{m}"}, **GIVEN}
ASKED = {"name": "asked", "role": "eval", "map": {"prompt": "{q}", "response": "{a}"}, **GIVEN}


def read(folder: Path, name: str, **changed: Any) -> dict[str, Any]:
    task = YAML(typ="safe", pure=True).load(GENERATED) | {"dataset_kwargs": {"data_files": {"test": f"{name}.jsonl"}}, **changed}
    (folder / "eval").mkdir()
    with (folder / "eval/t.yaml").open("w") as file:
        YAML(typ="safe", pure=True).dump(task, file)
    return suite.read(folder, [Dataset.model_validate(card) for card in (TALKS, JUDGED, ASKED)])


@pytest.mark.parametrize("name", ["talks-heldout", "judged"])
@pytest.mark.parametrize("text", ["{{prompt}}", "{{history}}\n{{prompt}}"])
def test_a_task_over_conversations_is_admitted(name: str, text: str, tmp_path: Path) -> None:
    found = read(tmp_path, name, doc_to_text=text)["t"]
    assert suite.Task.model_validate(found).renders_history == ("history" in text)


@pytest.mark.parametrize(
    ("name", "changed", "says"),
    [
        ("asked", {"doc_to_text": "{{history}} {{prompt}}"}, "do not have"),
        ("judged", {"num_fewshot": 2, "fewshot_split": "test"}, "num_fewshot 2"),
        ("judged", {"doc_to_target": "{{history}}"}, "no other field"),
        ("judged", {"general": True}, "asked as plain text"),
        ("talks-heldout", {"general": True}, "asked as plain text"),
    ],
)
def test_a_task_that_would_show_no_turns_or_half_a_conversation_is_refused(
    name: str, changed: dict[str, Any], says: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=says):
        read(tmp_path, name, **changed)


@pytest.mark.parametrize("changed", [{"doc_to_text": "{{history}} {{prompt}}"}, {"description": "{{history}} "}])
def test_a_general_task_that_writes_the_turns_itself_is_admitted(changed: dict[str, Any], tmp_path: Path) -> None:
    assert read(tmp_path, "judged", general=True, **changed)["t"]["general"]
