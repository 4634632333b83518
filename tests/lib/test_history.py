"""The cause of a run is the field that changed."""

from pathlib import Path
from typing import Any

import pytest

from flows.adapt import adapt
from flows.prepare import prepare
from tasks.lib import history
from tasks.lib.execute import Direct, Session
from tasks.lib.flow import Order

OLD: dict[str, Any] = {
    "config": {"beta": 0.1, "deep": {"x": [1, 2]}, "gone": 1},
    "inputs": {"data": "a" * 64, "sources": {"datasets": [{"dataset": {"name": "one", "licence": "MIT"}, "sha256": "b" * 64}]}},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """OLD with one leaf changed."""
    import copy

    made = copy.deepcopy(OLD)
    place = made
    *way, last = path.split(".")
    for step in way:
        place = place[step]
    place[last] = value
    return made


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("config.beta", 0.2, "config.beta: 0.1 -> 0.2"),
        ("config.deep.x", [1, 3], "config.deep.x[1]: 2 -> 3"),
        ("config.deep.x", [1, 2, 3], "config.deep.x: [1, 2] -> [1, 2, 3]"),
        ("config.new", 1, "config.new is new (1)"),
        ("inputs.data", "c" * 64, "inputs.data: content changed"),
    ],
)
def test_the_one_leaf_that_differs_is_named(path: str, value: Any, said: str) -> None:
    assert list(history.differences(OLD, changed(path, value))) == [said]


def test_nothing_differs_from_itself_and_what_is_gone_is_named() -> None:
    assert list(history.differences(OLD, OLD)) == []
    new = {**OLD, "config": {k: v for k, v in OLD["config"].items() if k != "gone"}}
    assert list(history.differences(OLD, new)) == ["config.gone is gone (was 1)"]


LONG = {"tune": [{"expect_column_values_to_not_be_null": {"column": name * 20}} for name in "ab"]}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({"a": LONG["tune"]}, {"a": [*LONG["tune"], 1]}, "a: 2 entries -> 3 entries"),
        ({"a": "x" * 200}, {"a": LONG["tune"]}, 'a: "' + "x" * 42 + "... -> 2 entries"),
        ({}, {"a": LONG}, "a is new (1 entry)"),
        ({"a": LONG}, {}, "a is gone (was 1 entry)"),
    ],
)
def test_a_large_change_is_told_in_one_line(old: dict[str, Any], new: dict[str, Any], said: str) -> None:
    assert list(history.differences(old, new)) == [said]
    assert len(said) <= history.MAX_CHARS


def test_one_dataset_more_does_not_shift_the_others() -> None:
    more = [{"dataset": {"name": "first", "licence": "MIT"}, "sha256": "d" * 64}, *OLD["inputs"]["sources"]["datasets"]]
    (said,) = history.differences(OLD, changed("inputs.sources.datasets", more))
    assert said.startswith("inputs.sources.datasets.first is new")


def prepared(*settings: str) -> Session:
    session = Session(domain="toy", flow="prepare")
    prepare.under(Direct(session), prepare.job(Order("toy", settings=settings)))
    return session


def test_each_stage_says_why_it_runs_again(toy: Path) -> None:
    assert {e.cause for e in prepared().events if e.state == "made"} == {"it has not run before in this domain"}
    assert {e.state for e in prepared().events} == {"cached"}
    causes = {e.name: e.cause for e in prepared("clean.min_chars=21").events if e.state == "made"}
    assert causes["clean"] == "config.min_chars: 20 -> 21"
    assert "ingest" not in causes
    with (toy / "data" / "documents.jsonl").open("a") as file:
        file.write('{"text": "one more document that is long enough"}\n')
    causes = {e.name: e.cause for e in prepared("clean.min_chars=21").events if e.state == "made"}
    assert "inputs.sources.datasets.documents.sha256: content changed" in causes["ingest"]
    assert all(part.startswith("inputs.sources.datasets.documents.") for part in causes["ingest"].split("; "))


def test_a_cause_is_short_after_data_were_accepted(toy: Path) -> None:
    from click.testing import CliRunner

    from flows.cli import main

    assert CliRunner().invoke(main, ["accept", "toy", "--by", "A", "--why", "first"]).exit_code == 0
    causes = {e.name: e.cause for e in prepared().events if e.state == "made"}
    fields = causes["check"].removesuffix(" and 1 more").split("; ")
    assert causes["check"].endswith(" and 1 more")
    assert len(fields) == 3
    assert all(field.startswith("inputs.expectations.accepted.") and len(field) <= 100 for field in fields)


def test_a_plan_names_the_same_cause_without_doing_anything(toy: Path) -> None:
    prepared()
    rows = {row.name: row for row in adapt.plan(adapt.job(Order("toy", settings=("split.valid=0.1",)))).rows}
    assert [rows[name].state for name in ("ingest", "check", "clean", "dedup")] == ["cached"] * 4
    assert rows["split"].reason == "config.valid: 0.05 -> 0.1"
    assert rows["pretrain"].state == "run"


def test_workers_and_device_are_no_cause(toy: Path) -> None:
    plans = [
        {call.name: call.reason for call in adapt.plan(adapt.job(Order("toy", settings=words))).rows}
        for words in ((), ("pretrain.workers=3", "pretrain.device=cpu", "check.docs=true"))
    ]
    assert plans[0] == plans[1]
    prepared()
    states = {e.name: e.state for e in prepared("check.docs=true", "tune.workers=2").events}
    assert set(states.values()) == {"cached"}
