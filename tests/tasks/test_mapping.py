"""One row becomes one record, or a reason why not."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tasks.lib.domain import Dataset
from tasks.lib.errors import DataError
from tasks.lib.mapping import SetAside, columns_used, require_columns, to_record
from tasks.lib.records import Row
from tasks.lib.rows import SourceRow

ROOT = Path(__file__).resolve().parents[2]
BASE = {"name": "d", "role": "tune", "source": {"path": "a.csv"}, "licence": "MIT", "kind": "public"}
QUESTION = {"prompt": "{q}", "response": "{a}"}


def dataset(**card: Any) -> Dataset:
    return Dataset.model_validate({**BASE, "map": QUESTION, **card})


def record(card: Dataset, row: dict[str, Any]) -> Row:
    return to_record(card, SourceRow("a.csv", 7, row))


def reason(row: dict[str, Any], **card: Any) -> str:
    with pytest.raises(SetAside) as aside:
        record(dataset(**card), row)
    assert aside.value.detail
    return aside.value.reason


def test_a_record_knows_its_dataset_file_row_and_role() -> None:
    made = record(dataset(), {"q": "why", "a": "so"})
    wanted = {"id": "d:7", "dataset": "d", "file": "a.csv", "row": 7, "role": "tune", "prompt": "why", "response": "so"}
    assert {key: made[key] for key in wanted} == wanted


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "yes"),
        (False, "no"),
        (3, "3"),
        (3.0, "3"),
        (0.1, "0.1"),
        ("  kept as it is ", "  kept as it is "),
        (["one", 2, None], "one\n2\n"),
        ([["a", 1], ["b", 2.5]], "a | 1\nb | 2.5"),
        ([["a"], "bc", None], "a\nbc\n"),
    ],
)
def test_a_cell_of_any_kind_becomes_text(value: Any, text: str) -> None:
    assert record(dataset(), {"q": value, "a": "so"})["prompt"] == text


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (float("inf"), "not-a-number"),
        ([1.0, float("nan")], "not-a-number"),
        ([("drug", "x")], "nested-value"),
        ({"drug": "x"}, "nested-value"),
    ],
)
def test_what_is_no_text_is_not_made_into_any(value: Any, why: str) -> None:
    assert reason({"q": value, "a": "so"}) == why


def test_a_template_joins_columns_and_literal_text_and_braces() -> None:
    made = record(dataset(map={"prompt": "{{{q}}} is {a}?", "response": "{a}"}), {"q": "{a}", "a": "1"})
    assert made["prompt"] == "{{a}} is 1?"


@pytest.mark.parametrize("template", ["{q!r}", "{q:>9}", "{q", "}"])
def test_a_template_that_formats_or_does_not_close_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match="prompt"):
        dataset(map={"prompt": template, "response": "{a}"})


@pytest.mark.parametrize("template", ["{q.__class__}", "{q[0]}", "{0}", "{}"])
def test_a_template_reaches_into_no_value(template: str) -> None:
    with pytest.raises(DataError, match="which its map names"):
        require_columns(dataset(map={"prompt": template, "response": "{a}"}), SourceRow("a.csv", 1, {"q": "x", "a": "y"}))


@pytest.mark.parametrize("card", [{"map": {"prompt": "{questoin}", "response": "{a}"}}, {"columns": {"questoin": "text"}}])
def test_a_column_that_is_missing_is_refused_and_the_nearest_named(card: dict[str, Any]) -> None:
    with pytest.raises(DataError) as caught:
        require_columns(dataset(**card), SourceRow("a.csv", 1, {"question": "x", "a": "y", "q": "z"}))
    assert "'questoin'" in caught.value.asked
    assert "'question'" in caught.value.remedy


def test_values_are_replaced_and_others_set_aside() -> None:
    card = {"values": {"a": {"1": "active", "0": "inactive"}}}
    assert record(dataset(**card), {"q": "x", "a": " 1 "})["response"] == "active"
    assert record(dataset(**card), {"q": "x", "a": 0.0})["response"] == "inactive"
    assert reason({"q": "x", "a": "2"}, **card) == "unknown-value"
    assert reason({"q": "x", "a": ""}, **card) == "unknown-value"


def test_an_answer_outside_the_choices_is_set_aside_but_an_empty_one_is_left_to_clean() -> None:
    card = {"choices": ["red", "blue"]}
    assert record(dataset(**card), {"q": "x", "a": " red"})["choices"] == ["red", "blue"]
    assert reason({"q": "x", "a": "Red"}, **card) == "unknown-value"
    assert record(dataset(**card), {"q": "x", "a": " "})["response"] == " "


@pytest.mark.parametrize("value", ["many", "", "nan", "inf", "-Infinity", "1,500", "1.500,25", "1,5,2", ","])
def test_a_rating_that_is_no_finite_number_is_set_aside(value: str) -> None:
    fields = {"prompt": "{q}", "answer": "{a}", "rating": "{r}"}
    card: dict[str, Any] = {"role": "preference", "map": fields}
    assert reason({"q": "x", "a": "y", "r": value}, **card) == "not-a-number"
    for written, number in {"-2.5": -2.5, "1,5": 1.5, " -0,125": -0.125, "10,25": 10.25}.items():
        assert record(dataset(**card), {"q": "x", "a": "y", "r": written})["rating"] == number
    turned = {**card, "map": {**fields, "rating": "-{r}"}}
    assert record(dataset(**turned), {"q": "x", "a": "y", "r": "1,5"})["rating"] == -1.5


def test_a_winner_is_a_or_b() -> None:
    card = {"role": "preference", "map": {"prompt": "{q}", "a": "{a}", "b": "{b}", "winner": "{w}"}}
    assert reason({"q": "x", "a": "y", "b": "z", "w": "A"}, **card) == "unknown-value"
    assert record(dataset(**card), {"q": "x", "a": "y", "b": "z", "w": "b"})["winner"] == "b"


@pytest.mark.parametrize(
    ("value", "why"), [("", "missing-value"), ("  ", "missing-value"), (None, "missing-value"), ("x1", "not-a-number")]
)
def test_a_cell_that_is_declared_a_number_is_one(value: Any, why: str) -> None:
    assert reason({"q": "x", "a": value}, columns={"a": "number"}) == why


@pytest.mark.parametrize("smiles", ["C1CC", "c1cccc1", "C(C)(C)(C)(C)C", "no molecule", "C:C:"])
def test_a_cell_that_is_declared_a_molecule_can_be_read_as_one(smiles: str) -> None:
    assert reason({"q": smiles, "a": "y"}, columns={"q": "smiles"}) == "unreadable-smiles"
    assert record(dataset(columns={"q": "smiles"}), {"q": "CCO  ", "a": "y"})["prompt"] == "CCO"


def test_half_a_character_sets_the_row_aside() -> None:
    assert reason(json.loads('{"q": "\\ud83d", "a": "y"}')) == "broken-text"


def test_a_row_with_two_faults_has_the_same_reason_in_every_process() -> None:
    """Columns come in the order of the card, not in that of a set, which changes with each process's hash seed."""
    program = (
        "from tasks.lib.domain import Dataset; from tasks.lib.mapping import columns_used; import sys, json;"
        "print(columns_used(Dataset.model_validate(json.loads(sys.argv[1]))))"
    )
    card = {**BASE, "map": QUESTION, "columns": {"smiles": "smiles", "active": "text"}, "values": {"label": {"1": "a"}}}
    found = {
        subprocess.run(
            [sys.executable, "-c", program, json.dumps(card)],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            check=True, capture_output=True, text=True, timeout=60,
        ).stdout
        for seed in ("1", "2", "3", "4")
    }  # fmt: skip
    assert found == {f"{columns_used(Dataset.model_validate(card))}\n"} == {"['smiles', 'active', 'label', 'q', 'a']\n"}


def test_a_row_without_a_column_that_the_map_names_is_set_aside() -> None:
    assert reason({"q": "x"}) == "missing-column"


def test_bytes_are_text_or_set_aside() -> None:
    assert record(dataset(), {"q": "Größe".encode(), "a": "y"})["prompt"] == "Größe"
    assert reason({"q": b"\xff\x00", "a": "y"}) == "undecodable"


@pytest.mark.parametrize(
    ("given", "row", "said"),
    [
        (
            {"prompt": "{q}", "answer": "{a}", "rating": "{Score 1-5}"},
            {"Score 1-5": "good"},
            "column 'Score 1-5' (`rating` of the map) holds 'good'",
        ),
        ({"prompt": "{q}", "answer": "{a}", "rating": "{rating}"}, {"rating": "good"}, "column 'rating' holds 'good'"),
        ({"prompt": "{q}", "answer": "{a}", "rating": "{x}.{y}"}, {"x": "good", "y": 1}, "columns 'x', 'y' (`rating` of the map) holds"),
        ({"prompt": "{q}", "answer": "{a}", "rating": "good"}, {}, "`rating` of the map holds 'good'"),
        (
            {"prompt": "{q}", "a": "{a}", "b": "{a}", "winner": "{best}"},
            {"best": "A"},
            "column 'best' (`winner` of the map) gives 'A', not a or b",
        ),
    ],
)
def test_what_a_person_must_correct_is_called_as_in_their_file(given: dict[str, str], row: dict[str, Any], said: str) -> None:
    with pytest.raises(SetAside) as aside:
        record(dataset(role="preference", map=given), {"q": "x", "a": "y", **row})
    assert aside.value.detail.startswith(said)
    assert "good" not in aside.value.where, "a place, no value"
