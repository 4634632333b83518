"""Expectations: what fails is named by rows and never by value."""

from pathlib import Path
from typing import Any

import pytest

from tasks.check import CheckConfig, Checked, check
from tasks.ingest import IngestConfig, ingest
from tasks.lib import domain, sources, store
from tasks.lib.domain import Expectations
from tasks.lib.errors import ConfigError, DataError
from tasks.lib.records import Records

MARK = "ZEBRAMARKER"
ROWS = [
    {"expect_column_values_to_not_match_regex": {"column": "prompt", "regex": "ZEBRA"}},
    {"expect_column_value_lengths_to_be_between": {"column": "prompt", "max_value": 5}},
    {"expect_column_values_to_be_in_set": {"column": "prompt", "value_set": ["x"]}},
    {"expect_column_pair_values_to_be_equal": {"column_A": "prompt", "column_B": "response"}},
]


@pytest.fixture
def read(toy: Path) -> Records:
    with (toy / "data" / "colours.csv").open("a") as file:
        file.write(f"{MARK} what?,red\n")
    return ingest(IngestConfig(), sources.resolve(domain.load("toy"), "starter", None))


def last_check() -> store.Record:
    (folder,) = [path for path in (store.root() / "check").iterdir() if path.is_dir()]
    record = store.find(f"check/{folder.name}")
    assert record is not None
    return record


def pages(record: store.Record) -> str:
    return "".join(path.read_text() for path in (store.root() / record.id).rglob("*") if path.suffix in (".html", ".json"))


@pytest.mark.parametrize("sensitive", [["prompt", "response"], []])
def test_a_failed_expectation_names_rows_and_shows_no_sensitive_value(sensitive: list[str], read: Records) -> None:
    given = Expectations.model_validate({"tune": ROWS, "sensitive": sensitive})
    with pytest.raises(DataError) as caught:
        check(CheckConfig(), given, read)
    for entry in ROWS:
        assert next(iter(entry)) in str(caught.value)
    assert "data/colours.csv, row 203" in str(caught.value)
    assert MARK not in str(caught.value)
    record = last_check()
    assert record.files
    assert (MARK in pages(record)) is not bool(sensitive)  # without the duty the pages show what failed


def test_the_number_of_failing_rows_is_right(read: Records) -> None:
    made = check(CheckConfig(docs=False), Expectations.model_validate({"tune": [warned(ROWS[0])]}), read)
    (verdict,) = made.verdicts
    assert (verdict.failing, verdict.judged, verdict.failing_ids, verdict.passed) == (1, 202, ["colours:203"], False)
    assert verdict.failing_at == [("data/colours.csv", 203)]


def warned(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: {**arguments, "severity": "warning"} for name, arguments in entry.items()}


def test_a_warning_does_not_stop_and_a_critical_one_does_each_time(read: Records) -> None:
    assert isinstance(check(CheckConfig(docs=False), Expectations.model_validate({"tune": [warned(ROWS[0])]}), read), Checked)
    for _ in range(2):  # the second time from the store
        with pytest.raises(DataError, match="1 expectation"):
            check(CheckConfig(docs=False), Expectations.model_validate({"tune": [ROWS[0]]}), read)


def test_one_expectation_with_two_severities_is_judged_as_both(read: Records) -> None:
    given = Expectations.model_validate({"tune": [warned(ROWS[0]), ROWS[0], ROWS[0]]})
    with pytest.raises(DataError, match="1 expectation"):
        check(CheckConfig(docs=False), given, read)
    assert [entry["judged"] for entry in last_check().facts["verdicts"]] == [202, 202]


@pytest.mark.parametrize("entry", [{"expect_nothing": {}}, {"expect_column_values_to_not_be_null": {"colum": "prompt"}}])
def test_an_expectation_that_is_none_is_refused_by_name_and_leaves_nothing(entry: dict[str, Any], read: Records) -> None:
    with pytest.raises(ConfigError, match=next(iter(entry))):
        check(CheckConfig(), Expectations.model_validate({"tune": [entry]}), read)
    assert not [path for path in (store.root() / "check").iterdir() if path.is_dir()]


@pytest.mark.parametrize(
    ("entry", "found", "remedy"),
    [
        ({"expect_column_values_to_not_be_nul": {}}, "neither", "did you mean expect_column_values_to_not_be_null?"),
        ({"plausible_doses": {}}, "a pack", "did you mean expect_column_values_to_hold_plausible_doses?"),
        ({"expect_nothing": {}}, "neither", "domains/README.md"),
        (
            {"expect_column_values_to_not_be_null": {"colum": "prompt"}},
            "colum: extra fields not permitted",
            "arguments are severity, column",
        ),
    ],
)
def test_what_is_written_wrong_is_told_with_what_would_be_right(entry: dict[str, Any], found: str, remedy: str, read: Records) -> None:
    with pytest.raises(ConfigError) as caught:
        check(CheckConfig(docs=False), Expectations.model_validate({"tune": [entry]}), read)
    assert found in caught.value.found
    assert remedy in caught.value.remedy
    assert caught.value.remedy.count("expect_") <= 3


@pytest.mark.parametrize("named", ["colours", "nowhere"])
def test_a_condition_that_few_batches_meet_is_judged_over_all_of_them(named: str, read: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.lib.frames.BATCH_ROWS", 50)
    condition = f'dataset=="{named}" and prompt.str.contains("{MARK}")'
    told = {"column": "response", "value_set": ["blue"], "row_condition": condition, "condition_parser": "pandas"}
    entry = warned({"expect_column_values_to_be_in_set": told})
    (verdict,) = check(CheckConfig(docs=False), Expectations.model_validate({"tune": [entry]}), read).verdicts
    assert (verdict.failing, verdict.passed) == ((1, False) if named == "colours" else (0, True))


@pytest.mark.parametrize("severity", ["warning", "info"])
def test_what_is_not_critical_stops_nothing(severity: str, read: Records) -> None:
    entry = {name: {**arguments, "severity": severity} for name, arguments in ROWS[0].items()}
    (verdict,) = check(CheckConfig(docs=False), Expectations.model_validate({"tune": [entry]}), read).verdicts
    assert (verdict.passed, verdict.severity) == (False, severity)


def test_an_expectation_on_a_sensitive_column_as_a_whole_is_refused_because_it_would_show_values(read: Records) -> None:
    entry = warned({"expect_column_most_common_value_to_be_in_set": {"column": "prompt", "value_set": ["x"]}})
    with pytest.raises(ConfigError, match="sensitive column 'prompt'"):
        check(CheckConfig(), Expectations.model_validate({"tune": [entry], "sensitive": ["prompt", "response"]}), read)


def test_expectations_of_a_role_without_rows_are_said_to_have_judged_nothing(read: Records) -> None:
    made = check(
        CheckConfig(docs=False), Expectations.model_validate({"eval": [{"expect_table_row_count_to_be_between": {"min_value": 1}}]}), read
    )
    assert [(v.role, v.passed, v.observed) for v in made.verdicts] == [("eval", False, "no rows with this role")]


def test_nothing_in_a_row_can_run_in_data_docs(toy: Path) -> None:
    with (toy / "data" / "colours.csv").open("a") as file:
        file.write("<img src=x onerror=alert(1)>ZEBRA</head><script>alert(2)</script>,red\n")
    rows = ingest(IngestConfig(), sources.resolve(domain.load("toy"), "starter", None))
    made = check(CheckConfig(), Expectations.model_validate({"tune": [warned(ROWS[0])]}), rows)
    found = [path for path in made.path.rglob("*.html") if "onerror" in path.read_text()]
    assert found, "the failing row is shown"
    for page in [*found, made.path / "view/index.html"]:
        head, policy, _ = page.read_text().partition("default-src 'none'")
        assert policy
        assert "onerror" not in head
        assert "<script" not in head
