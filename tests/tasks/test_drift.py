"""Waivers and drift: who lets what fail, and what changed since somebody accepted the data."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from flows.cli import main
from tasks.check import CheckConfig, Checked, check
from tasks.ingest import IngestConfig, ingest
from tasks.lib import domain, sources
from tasks.lib.domain import Expectations
from tasks.lib.drift import Accepted, DriftLimits
from tasks.lib.errors import ConfigError, DataError
from tasks.lib.records import Records
from tasks.lib.waivers import Waiver, parted
from tests.datasets import ingested, resolved

SHORT = {"expect_column_value_lengths_to_be_between": {"column": "prompt", "max_value": 5}}
HOLDS = {"expect_column_values_to_not_be_null": {"column": "prompt"}}
WAIVER = {"role": "tune", "expectation": next(iter(SHORT)), "column": "prompt", "who": "Dr. A. Example", "why": "known, harmless"}


def judged(read: Records, **expected: Any) -> Checked:
    return check(CheckConfig(docs=False), Expectations.model_validate(expected), read)


def rows(folder: Path, count: int, answer: str = "red", words: str = "the quick brown fox") -> Records:
    made = [{"q": f"{words} number {i}?", "a": answer if i % 2 else "blue"} for i in range(count)]
    return ingested(resolved(folder, "questions", "tune", made))


def accepted(made: Checked) -> dict[str, Any]:
    about = {"by": "A", "on": "2026-01-01", "why": "as it should be", "edition": "starter", "check": made.id}
    return {name: Accepted.model_validate({**about, "profile": profile}) for name, profile in made.profiles.items()}


def test_a_waived_expectation_does_not_stop_and_is_shown_with_who_and_why(workplace: Path) -> None:
    read = rows(workplace, 20)
    with pytest.raises(DataError, match="1 expectation"):
        judged(read, tune=[SHORT])
    (verdict,) = judged(read, tune=[SHORT], waivers=[WAIVER]).verdicts
    assert not verdict.passed
    assert verdict.failing == 20
    assert "waived by Dr. A. Example: known, harmless" in verdict.sentence()


def test_a_waiver_of_another_column_covers_nothing_and_is_told(workplace: Path) -> None:
    with pytest.raises(DataError, match="1 expectation"):
        judged(rows(workplace, 20), tune=[SHORT], waivers=[{**WAIVER, "column": "response"}])
    waivers = [{**WAIVER, "column": "response"}, WAIVER]
    told = judged(rows(workplace, 20), tune=[SHORT], waivers=waivers).verdicts
    assert [(v.expectation, v.stops) for v in told if not v.passed and not v.waived] == [(f"waiver of {next(iter(SHORT))}", False)]


@pytest.mark.parametrize("days", [-1, 0])
def test_a_waiver_runs_out(days: int, toy: Path) -> None:
    until = (datetime.now(UTC) + timedelta(days=days)).date()
    written = {"tune": [SHORT], "waivers": [{**WAIVER, "until": until.isoformat()}]}
    (toy / "expectations.yaml").write_text(json.dumps(written))
    expected = domain.load("toy").expectations
    read = ingest(IngestConfig(), sources.resolve(domain.load("toy"), "starter", None))
    if days < 0:
        with pytest.raises(DataError, match=f"the waiver of Dr. A. Example ran out on {until.isoformat()}"):
            check(CheckConfig(docs=False), expected, read)
    else:
        assert check(CheckConfig(docs=False), expected, read).verdicts[0].waived


def test_only_the_day_on_which_a_waiver_runs_out_makes_the_check_anew(toy: Path) -> None:
    today = date(2026, 2, 1)
    waivers = [Waiver.model_validate({**WAIVER, "until": until}) for until in (None, date(2026, 1, 31), today)]
    sides = [parted(waivers, today + timedelta(days=later)) for later in (-2, -1, 0, 1, 2, 300)]
    assert [(len(held), len(lapsed)) for held, lapsed in sides] == [(3, 0), (3, 0), (2, 1), (1, 2), (1, 2), (1, 2)]


def test_a_waiver_that_ran_out_is_told_of_what_fails_again_and_of_nothing_else(toy: Path) -> None:
    entries = [{name: {**arguments, "severity": "warning"}} for name, arguments in (SHORT | HOLDS).items()]
    ended = [{**WAIVER, "until": until, "who": who} for until, who in (("2026-01-31", "Dr. A"), ("2025-01-31", "Dr. B"))]
    other = {**WAIVER, "expectation": next(iter(HOLDS)), "until": "2026-01-31"}
    written = {"tune": entries, "waivers": [*ended, other]}
    (toy / "expectations.yaml").write_text(json.dumps(written))
    done = run("check", "toy")
    assert done.exit_code == 0, done.output
    assert done.output.count("ran out") == 1
    assert "(the waiver of Dr. A ran out on 2026-01-31)" in done.output
    card = Path("runs/reports/toy-data.html").read_text()
    assert "the waiver of Dr. A ran out on 2026-01-31" in card


def test_the_same_data_have_not_drifted(workplace: Path) -> None:
    first = judged(rows(workplace, 400))
    again = judged(rows(workplace, 400), accepted=accepted(first))
    assert {verdict.expectation: verdict.passed for verdict in again.verdicts} == {
        "drift of rows": True, "drift of lengths": True, "drift of labels": True, "drift of vocabulary": True,
    }  # fmt: skip
    assert all("(distance 0.000)" in verdict.observed or "(a change of 0%)" in verdict.observed for verdict in again.verdicts)


@pytest.mark.parametrize(
    ("changed", "measure", "told"),
    [
        ({"count": 1000}, "rows", "400 rows accepted, 1,000 now (a change of 150%)"),
        (
            {"words": "the quick brown fox " * 20},
            "lengths",
            "the median length of prompt was 16 to 31 characters when accepted, and is 256 to 511 now",
        ),
        ({"answer": "green"}, "labels", "the share of 'green' went from 0% to 50%"),
        ({"words": "ein schneller brauner fuchs"}, "vocabulary", "new among the most frequent words: brauner"),
    ],
)
def test_each_kind_of_drift_is_told_and_stops_where_it_is_critical(
    changed: dict[str, Any], measure: str, told: str, workplace: Path
) -> None:
    first = accepted(judged(rows(workplace, 400)))
    read = rows(workplace, **{"count": 400, **changed})
    found = {verdict.expectation: verdict for verdict in judged(read, accepted=first).verdicts if not verdict.passed}
    assert told in found[f"drift of {measure}"].observed
    with pytest.raises(DataError, match=f"drift of {measure}"):
        judged(read, accepted=first, drift=DriftLimits(severity="critical"))
    generous = {measure: 1.0 if measure != "rows" else 2.0}
    assert f"drift of {measure}" not in {v.expectation for v in judged(read, accepted=first, drift=generous).verdicts if not v.passed}


def test_lengths_are_told_in_a_sentence_that_is_true(workplace: Path) -> None:
    made = [{"q": "x" * length, "a": str(length)} for length in range(1, 401)]
    first = accepted(judged(ingested(resolved(workplace, "questions", "tune", made))))
    longer = [{**row, "q": row["q"] * 3} for row in made]
    found = judged(ingested(resolved(workplace, "questions", "tune", longer)), accepted=first).verdicts
    (told,) = (verdict.sentence() for verdict in found if "length of prompt" in verdict.observed)
    # medians of 200 and 600, and 360 and 1,080 for nine in ten; no word before the sentence
    assert (
        "): the median length of prompt was 128 to 255 characters when accepted, and is 512 to 1,023 now; "
        "nine in ten had at most 511, and have at most 2,047 now (distance " in told
    )


def test_a_field_without_values_is_told(workplace: Path) -> None:
    first = accepted(judged(rows(workplace, 40)))
    profile = first["questions"].profile
    without = {"questions": first["questions"].model_copy(update={"profile": profile.model_copy(update={"lengths": {}})})}
    told = [verdict.observed for verdict in judged(rows(workplace, 40), accepted=without).verdicts]
    assert "prompt had no values when it was accepted (distance 1.000)" in told


def test_a_new_dataset_is_told(workplace: Path) -> None:
    first = accepted(judged(rows(workplace, 20)))
    more = ingested(resolved(workplace, "others", "tune", [{"q": "What?", "a": "That."}]))
    gone, new = judged(more, accepted=first).verdicts
    assert (new.kwargs, new.passed, new.stops) == ({"dataset": "others"}, False, False)
    assert (gone.kwargs, gone.passed, gone.stops) == ({"dataset": "questions"}, False, False)
    with pytest.raises(DataError, match="no longer there"):
        judged(more, accepted=first, drift={"severity": "critical"})


def test_profiles_hold_no_word_of_a_sensitive_column(workplace: Path) -> None:
    made = judged(rows(workplace, 20), sensitive=["prompt"])
    profile = made.profiles["questions"]
    assert "quick" not in profile.words
    assert profile.labels == {"blue": 10, "red": 10}
    assert profile.lengths["prompt"]
    assert judged(rows(workplace, 20), sensitive=["prompt", "response"]).profiles["questions"].labels == {}


def test_a_snapshot_from_before_a_column_was_sensitive_is_refused(toy: Path) -> None:
    assert run("accept", "toy", "--by", "A", "--why", "first").exit_code == 0
    with (toy / "domain.yaml").open("a") as file:
        file.write("sensitive: [prompt]\n")
    with pytest.raises(ConfigError, match="before 'prompt' was called sensitive"):
        domain.load("toy")


def test_long_or_rare_answers_are_no_labels(workplace: Path) -> None:
    few = judged(rows(workplace, 40, answer="a" * 61)).profiles["questions"]
    assert few.labels == {}
    made = [{"q": f"Question {i}?", "a": f"answer {i % 20}"} for i in range(60)]
    assert judged(ingested(resolved(workplace, "rare", "tune", made))).profiles["rare"].labels == {}


def test_answers_that_are_no_longer_few_are_told_without_their_shares(workplace: Path) -> None:
    first = accepted(judged(rows(workplace, 400)))
    many = [{"q": f"the quick brown fox number {i}?", "a": "red" if i % 2 else f"blue {i}"} for i in range(400)]
    found = judged(ingested(resolved(workplace, "questions", "tune", many)), accepted=first).verdicts
    (verdict,) = (verdict for verdict in found if verdict.expectation == "drift of labels")
    assert verdict.observed == "the answers are no longer few: they were labels before (distance 1.000)"


def test_what_trains_does_not_depend_on_what_is_expected(toy: Path, asked_here: None) -> None:
    before = planned()
    (toy / "expectations.yaml").write_text("tune:\n  - expect_column_values_to_not_be_null: {column: response, severity: warning}\n")
    assert before["check"] == planned()["check"] == "run"
    run("check", "toy")
    assert planned()["check"] == "cached"
    (toy / "expectations.yaml").write_text("tune:\n  - expect_column_values_to_not_be_null: {column: prompt}\n")
    after = planned()
    assert after["check"] == "run"
    assert after["split"] == "cached"


def planned() -> dict[str, str]:
    return {row["stage"]: row["state"] for row in json.loads(run("plan", "toy", "--json").stdout)["stages"]}


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def test_accepting_writes_who_and_why_and_drift_is_measured_from_then_on(toy: Path) -> None:
    done = run("accept", "toy", "--by", "Dr. A. Example", "--why", "first delivery")
    assert done.exit_code == 0, done.output
    written = json.loads((toy / "accepted.json").read_text())
    assert {entry["by"] for entry in written.values()} == {"Dr. A. Example"}
    assert set(written) == {"documents", "colours", "ratings", "general"}
    assert "nothing has changed" in run("accept", "toy", "--by", "B", "--why", "again").output
    with (toy / "data" / "colours.csv").open("a") as file:
        file.writelines(f"what is number {i}?,blue\n" for i in range(300))
    (toy / "expectations.yaml").write_text("drift: {rows: 0.1, severity: critical}\n")
    refused = run("check", "toy")
    assert refused.exit_code == 3
    assert "drift of rows" in refused.output
    assert run("accept", "toy", "--by", "Dr. B", "--why", "the second delivery").exit_code == 0
    after = json.loads((toy / "accepted.json").read_text())
    assert (after["colours"]["by"], after["documents"]["by"]) == ("Dr. B", "Dr. A. Example")
    assert run("check", "toy").exit_code == 0


def test_a_broken_snapshot_is_named(toy: Path) -> None:
    (toy / "accepted.json").write_text('{"colours": {"by": "x"}}')
    with pytest.raises(ConfigError, match="the accepted snapshot of 'colours'"):
        domain.load("toy")
