"""`slmforge add` on objects and nested documents: what is left out is told, or the whole object is learned as JSON."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from flows import template
from tasks.lib.records import iterate
from tests.datasets import ingested, reasons, resolved
from tests.flows.test_add import SAID, add, entry

MEDQUAD = """<?xml version="1.0"?><Document id="1" source="NIH"><Focus>Flu</Focus><FocusAnnotations><UMLS/></FocusAnnotations><QAPairs>
{}</QAPairs></Document>"""
PAIR = '<QAPair pid="{0}"><Question qid="1-{0}" qtype="information">What is flu {0}?</Question><Answer>It is an infection, {0}.</Answer></QAPair>'


@pytest.fixture
def legal(workplace: Path) -> Path:
    return template.write("legal")


def jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_an_object_that_is_to_be_extracted_is_learned_whole(legal: Path, workplace: Path) -> None:
    jsonl(workplace / "a.jsonl", [{"question": f"Note {i}?", "answer": {"drug": "ibuprofen", "dose": f"{i} mg"}} for i in range(9)])
    done = add("a.jsonl", *SAID)
    assert done.exit_code == 0, done.output
    assert entry(legal, "a")["columns"] == {"answer": "json"}
    assert '{"drug": "ibuprofen", "dose": "0 mg"}' in done.output
    assert "'answer' holds objects: each is written as JSON, whole" in done.output


def test_parts_and_columns_that_are_left_out_are_told_wherever_they_first_stand(legal: Path, workplace: Path) -> None:
    rows = [{"question": f"{i}?", "answers": {"text": [f"so {i}"], "start": [1]}, **({"late": 1} if i > 5 else {})} for i in range(9)]
    jsonl(workplace / "a.jsonl", rows)
    done = add("a.jsonl", *SAID)
    assert entry(legal, "a")["map"] == {"prompt": "{question}", "response": "{answers.text}"}
    assert "not used: 'late', 'answers.start'" in done.output


def test_rated_answers_in_a_list_become_preferences_by_what_is_told(legal: Path, workplace: Path) -> None:
    said = [("Yes.", 4.5), ("No.", None), ("Ask a lawyer.", 4.2), ("Never.", 1)]
    asked = [{"q": {"text": f"May I {i}?"}, "answers": [{"text": text, "score": mark} for text, mark in said]} for i in range(9)]
    (workplace / "a.json").write_text(json.dumps({"meta": {"of": "2026"}, "results": asked}))
    done = add("a.json", "--name", "first", *SAID)
    assert done.exit_code == 0, done.output
    assert "Of several 'answers' to a question, only the first is taken" in done.output
    told = re.search(r"If 'score' rates them \(a higher number is better\), add: (.*)", done.output)
    assert told is not None
    done = add("a.json", "--name", "second", *shlex.split(told[1]), *SAID)
    assert done.exit_code == 0, done.output
    assert "about 27 can be used" in done.output
    assert "rather: Yes.\n  than: Ask a lawyer." in done.output


def test_questions_deep_in_an_xml_document_are_rows(legal: Path, workplace: Path) -> None:
    (workplace / "a.xml").write_text(MEDQUAD.format("".join(PAIR.format(i) for i in range(4))))
    done = add("a.xml", *SAID)
    assert done.exit_code == 0, done.output
    made = entry(legal, "a")
    assert (made["records"], made["map"]) == ("QAPair", {"prompt": "{Question}", "response": "{Answer}"})
    assert "Of the first 4 rows, about 4 can be used" in done.output


def test_a_column_of_json_is_an_object_a_list_or_its_text_and_nothing_else(workplace: Path) -> None:
    cells = [{"drug": "aspirin", "dose": "5 µg"}, [{"drug": "a"}], '{"drug":"b"}', "no JSON", "", None, 3]
    rows = [{"q": f"{i}?", "a": cell} for i, cell in enumerate(cells)]
    made = ingested(resolved(workplace, "d", "tune", rows, columns={"a": "json"}))
    kept = [row["response"] for row in iterate(made.path, "tune")]
    assert kept == ['{"drug": "aspirin", "dose": "5 µg"}', '[{"drug": "a"}]', '{"drug": "b"}', "3"]
    assert reasons(made) == {"d:4": "not-json", "d:5": "missing-value", "d:6": "missing-value"}
