"""What `slmforge add` makes of columns: roles and maps of the layouts in which people share data."""

from typing import Any

import pytest

from tasks.lib import guess, propose
from tasks.lib.rows import SourceRow

TURNS = [{"role": "user", "content": "who?"}, {"role": "assistant", "content": "me"}]
LAYOUTS: dict[str, tuple[dict[str, Any], str, dict[str, str]]] = {
    "Alpaca": (
        {"instruction": "a", "input": "b", "output": "c"},
        "tune",
        {"prompt": "{instruction}\n\n{input}", "response": "{output}"},
    ),
    "OpenAI chat": ({"messages": TURNS, "id": 1}, "tune", {"messages": "{messages}"}),
    "ShareGPT": ({"id": 1, "conversations": [{"from": "human", "value": "a"}]}, "tune", {"messages": "{conversations}"}),
    "dialogue and note": (
        {"ID": "0", "section_header": "GENHX", "section_text": "a", "dialogue": "b"},
        "tune",
        {"prompt": "{dialogue}", "response": "{section_text}"},
    ),
    "dialogue and summary": ({"dialogue": "a", "summary": "b"}, "tune", {"prompt": "{dialogue}", "response": "{summary}"}),
    "SQuAD": (
        {"context": "a", "question": "b", "answers": {"text": ["c"], "answer_start": [1]}, "answer": "c"},
        "tune",
        {"prompt": "{context}\n\n{question}", "response": "{answer}"},
    ),
    "filing": (
        {"pre_text": ["a"], "post_text": ["b"], "question": "c", "answer": "d"},
        "tune",
        {"prompt": "{pre_text}\n\n{post_text}\n\n{question}", "response": "{answer}"},
    ),
    "object": ({"question": "a", "answer": {"text": "b"}}, "tune", {"prompt": "{question}", "response": "{answer.text}"}),
    "passages": ({"passage": "a"}, "corpus", {"text": "{passage}"}),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_known_layouts_are_proposed_with_all_that_they_hold(name: str) -> None:
    columns, role, maps = LAYOUTS[name]
    assert guess.role_and_map([SourceRow("a.jsonl", 1, columns)], "jsonl", None) == {"role": role, "map": maps}


def test_columns_that_nothing_uses_are_named() -> None:
    columns = {"question": "a", "answer": {"text": "b"}, "input": "c", "id": 1}
    entry = {"name": "d", "role": "tune", "source": {"path": "a"}, "map": {"prompt": "{question}", "response": "{answer.text}"}}
    assert propose.unused(entry, [SourceRow("a.jsonl", 1, columns)]) == ["input", "id"]
