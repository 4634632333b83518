"""Expectations that are not met, in plain words, with the place that is at fault."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from tasks.lib import card, cleaning, failing
from tasks.lib.expectations_result import Verdict
from tasks.lib.judgments import HOLD
from tasks.lib.records import CONTENT

ROOT = Path(__file__).resolve().parents[2]
CALLS = ("SetAside", "Malformed", "_unknown", "set_aside", "aside")


def verdict(expectation: str, **kwargs: Any) -> Verdict:
    said = {"role": "tune", "expectation": expectation, "kwargs": kwargs, "severity": "warning", "passed": False}
    return Verdict.model_validate({**said, "judged": 202, "failing": 1, "failing_ids": ["colours:202"]})


@pytest.mark.parametrize(
    ("expectation", "kwargs", "says"),
    [
        (HOLD + "plausible_doses", {"column": "prompt"}, "prompt: doses have known units and plausible amounts"),
        (
            HOLD + "existing_dates",
            {"column": "text", "mostly": 0.999},
            "text: dates are ones of the calendar, in at least 99.9 % of the rows",
        ),
        (HOLD + "readable_smiles", {"column": "prompt", "pattern": r"(?<=x)(\S+)"}, "prompt: SMILES are ones that RDKit can read"),
        ("expect_column_values_to_not_be_null", {"column": "response", "mostly": 1.0}, "response is filled in every row"),
        (
            "expect_column_values_to_be_between",
            {"column": "prompt_chars", "max_value": 60000},
            "the length of prompt, in characters, is at most 60,000",
        ),
        ("expect_column_values_to_be_dateutil_parseable", {"column": "group"}, "group: column values to be dateutil parseable"),
        ("drift of lengths", {"dataset": "colours", "at_most": 0.2}, "drift of lengths, dataset colours"),
    ],
)
def test_what_was_expected_is_told_without_names_of_code(expectation: str, kwargs: dict[str, Any], says: str) -> None:
    assert failing.told(verdict(expectation, **kwargs)) == says


@pytest.mark.parametrize(
    ("expectation", "kwargs", "text", "fault"),
    [
        (HOLD + "plausible_doses", {"column": "prompt"}, "Take 10 mgm daily", "unit 'mgm' in '10 mgm' is not how the unit is written"),
        ("expect_column_values_to_not_match_regex", {"column": "prompt", "regex": "Z[a-z]+"}, "A Zebra", "it holds 'Zebra'"),
        ("expect_column_value_lengths_to_be_between", {"column": "prompt", "max_value": 5}, "x" * 1200, "1,200 characters"),
        ("expect_column_values_to_not_be_null", {"column": "prompt"}, "", "empty"),
        ("expect_column_values_to_be_in_set", {"column": "prompt", "value_set": ["x"]}, "y", ""),
    ],
)
def test_the_fault_of_a_text_is_told(expectation: str, kwargs: dict[str, Any], text: str, fault: str) -> None:
    assert failing.fault_of(verdict(expectation, **kwargs), text) == fault


def test_the_place_that_is_at_fault_is_shown_of_a_long_text() -> None:
    long = "word " * 400 + "Take 10 mgm daily. " + "word " * 400
    shown = failing._excerpt(long, "unit 'mgm' in '10 mgm' is not how the unit is written")
    assert "Take 10 mgm daily." in shown
    assert shown.startswith("… ")
    assert shown.endswith(" …")
    assert len(shown) < 4 * failing.AROUND


def reasons() -> set[str]:
    """Every reason that code of tasks/ gives: words of calls that set aside, constants, and those that are put together."""
    found = {f"empty-{cleaning.NAMES.get(field, field)}" for field in CONTENT if field != "system"}
    for file in (ROOT / "tasks").rglob("*.py"):
        written = file.read_text(encoding="utf-8")
        if not re.search(r"SetAside\(|Malformed\(|aside\(|FURNITURE =|REASON =|def put_right", written):
            continue
        for node in ast.walk(ast.parse(written)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in CALLS:
                found |= {arg.value for arg in node.args[:2] if isinstance(arg, ast.Constant) and isinstance(arg.value, str)}
            elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in ("REASON", "FURNITURE"):
                assert isinstance(node.value, ast.Constant)
                found.add(str(node.value.value))
            elif isinstance(node, ast.FunctionDef) and node.name in ("put_right", "_contradictions"):
                words = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)]
                kinds = [
                    part.slice.elts[0] for part in ast.walk(node) if isinstance(part, ast.Subscript) and isinstance(part.slice, ast.Tuple)
                ]
                found |= {f"contradictory-{kind.value}" for kind in kinds if isinstance(kind, ast.Constant)}
                found |= {word for word in words if re.fullmatch("[a-z]+-[a-z]+", word)}
    return {reason for reason in found if re.fullmatch("[a-z]+(-[a-z]+)*", reason)}


def test_every_reason_has_a_remedy_or_needs_none() -> None:
    used = reasons()
    assert {"empty-chosen", "equal-sides", "contradictory-value", "broken-row", "too-short", "unknown-role", "page-furniture"} <= used
    assert used - set(card.REMEDIES) == set(card.NOTHING_TO_DO)
    assert set(card.REMEDIES) <= used, "a remedy for a reason that nothing gives"
