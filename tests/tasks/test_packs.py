"""Packs: what they add, how an expert replaces them, and what Great Expectations makes of them."""

from pathlib import Path
from typing import Any

import pytest

from tasks.check import CheckConfig, check
from tasks.ingest import IngestConfig, ingest
from tasks.lib import domain, failing, packs, sources
from tasks.lib.domain import Expectations
from tasks.lib.errors import ConfigError, DataError
from tasks.lib.frames import Frames
from tasks.lib.records import Records, iterate
from tests.datasets import ingested, reasons, resolved

FILE = Path("expectations.yaml")
DATES = packs.HOLD + "existing_dates"
# per pack: an expectation, its arguments, a text that it fails
FAILING = {
    "text": (packs.HOLD + "well_decoded_text", {}, "Take the ZEBRAMARKER\ufffds."),
    "healthcare": (packs.HOLD + "no_error_prone_dose_writing", {}, "Take 5.0 mg of ZEBRAMARKER daily."),
    "finance": (packs.HOLD + "existing_dates", {}, "ZEBRAMARKER paid on 2021-02-30."),
    "chemistry": (packs.HOLD + "readable_smiles", {"pattern": r"SMILES (\S+)"}, "What is ZEBRAMARKER with the SMILES C(C?"),
}


def read(toy: Path, question: str) -> Records:
    with (toy / "data" / "colours.csv").open("a") as file:
        file.write(f'"{question}",red\n')
    return ingest(IngestConfig(), sources.resolve(domain.load("toy"), "starter", None))


def names(suite: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(name.removeprefix(packs.HOLD), arguments["column"]) for entry in suite for name, arguments in entry.items()]


@pytest.mark.parametrize("sensitive", [["prompt"], []])
@pytest.mark.parametrize("pack", FAILING)
def test_a_failing_row_is_named_and_a_sensitive_one_is_not_shown(pack: str, sensitive: list[str], toy: Path) -> None:
    name, arguments, text = FAILING[pack]
    rows = read(toy, text)
    entry = {name: {"column": "prompt", "severity": "warning", **arguments}}
    made = check(CheckConfig(), Expectations.model_validate({"tune": [entry], "sensitive": sensitive}), rows)
    (verdict,) = made.verdicts
    assert (verdict.expectation, verdict.passed, verdict.failing, verdict.failing_ids) == (name, False, 1, ["colours:203"])
    pages = "".join(page.read_text() for page in made.path.rglob("*.html"))
    assert "ZEBRAMARKER" not in verdict.sentence()
    assert ("ZEBRAMARKER" in pages) is not bool(sensitive)


def test_every_failing_row_of_a_sensitive_column_is_named(toy: Path) -> None:
    read(toy, "due 2021-02-30")
    rows = read(toy, "due 2021-02-31")
    given = Expectations.model_validate({"tune": [{DATES: {"column": "prompt", "severity": "warning"}}], "sensitive": ["prompt"]})
    assert check(CheckConfig(docs=False), given, rows).verdicts[0].failing_ids == ["colours:203", "colours:204"]


def test_every_pack_is_judged_where_the_data_have_the_column_and_only_there(toy: Path) -> None:
    (toy / "expectations.yaml").write_text(f"packs: [{', '.join(packs.PACKS)}]\n")
    made = check(CheckConfig(docs=False), domain.load("toy").expectations, read(toy, "what?"))
    unseen = [verdict for verdict in made.verdicts if not verdict.passed]
    assert [(verdict.role, verdict.observed.partition(";")[0]) for verdict in unseen] == [
        ("tune", "0 molecules found in 202 rows"),
        ("preference", "0 molecules found in 80 rows"),
    ]
    assert {verdict.severity for verdict in unseen} == {"warning"}
    judged = {(verdict.role, verdict.kwargs["column"]) for verdict in made.verdicts if verdict.passed}
    assert judged == {("corpus", "text"), ("tune", "prompt"), ("tune", "response"), ("preference", "prompt"), ("preference", "answer")}
    expected = {name for entries in packs.PACKS.values() for name, _, _ in entries}
    assert {verdict.expectation for verdict in made.verdicts if verdict.passed} == expected


def test_a_critical_expectation_of_a_pack_stops_what_follows(toy: Path) -> None:
    (toy / "expectations.yaml").write_text(f"packs: [finance]\ntune:\n  - {DATES}: {{column: prompt}}\n")
    with pytest.raises(DataError, match=f"{DATES}.*colours.csv, row 203"):
        check(CheckConfig(docs=False), domain.load("toy").expectations, read(toy, "on 31 April 2020"))


def test_columns_that_no_row_has_are_not_filled(toy: Path) -> None:
    rows = read(toy, "what?")
    assert set(Frames(rows.path, "tune").columns) & {"prompt", "response", "text", "chosen"} == {"prompt", "response"}
    assert set(Frames(rows.path, "eval").columns) == set()


def test_an_unknown_pack_is_refused_with_the_nearest(toy: Path) -> None:
    (toy / "expectations.yaml").write_text("packs: [finanse]\n")
    with pytest.raises(ConfigError, match="did you mean 'finance'"):
        domain.load("toy")


@pytest.mark.parametrize("written", ["finance", [1], {"finance": True}])
def test_packs_are_a_list_of_names(written: Any) -> None:
    with pytest.raises(ConfigError, match="write a list"):
        packs.expand({"packs": written}, FILE)


def test_the_packs_come_before_the_experts_own() -> None:
    own = {"expect_column_values_to_not_be_null": {"column": "text"}}
    made = packs.expand({"packs": ["chemistry", "finance"], "corpus": [own]}, FILE)["corpus"]
    assert names(made)[0] == ("readable_smiles", "text")
    assert made[-1] == own
    assert len(made) == len(packs.PACKS["chemistry"]) + len(packs.PACKS["finance"]) + 1


def test_an_own_entry_with_the_same_name_and_column_replaces_the_packs() -> None:
    own = {DATES: {"column": "prompt", "mostly": 0.5}}
    made = packs.expand({"packs": ["finance"], "tune": [own]}, FILE)["tune"]
    assert [entry for entry in made if names([entry]) == [("existing_dates", "prompt")]] == [own]
    assert ("existing_dates", "response") in names(made)


def test_an_entry_that_is_off_takes_the_packs_away_and_is_gone_itself() -> None:
    made = packs.expand({"packs": ["finance"], "tune": [{DATES: {"column": "prompt", "off": True}}]}, FILE)["tune"]
    assert ("existing_dates", "prompt") not in names(made)
    assert ("existing_dates", "response") in names(made)


@pytest.mark.parametrize("written", [{}, {"packs": ["healthcare"]}])
def test_switching_off_what_no_pack_has_is_refused(written: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="no pack of this file has it"):
        packs.expand({**written, "tune": [{DATES: {"column": "prompt", "off": True}}]}, FILE)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("readable_smiles", {"pattern": "("}),
        ("readable_smiles", {"pattern": "no group"}),
        ("plausible_formulas", {"pattern": "(two)(groups)"}),
        ("plausible_doses", {"limits": {"metformin": "a lot"}}),
        ("existing_dates", {"limits": {}}),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused(name: str, arguments: dict[str, Any], toy: Path) -> None:
    given = Expectations.model_validate({"tune": [{packs.HOLD + name: {"column": "prompt", **arguments}}]})
    with pytest.raises(ConfigError, match=name):
        check(CheckConfig(docs=False), given, read(toy, "what?"))


def test_the_greatest_doses_are_the_experts_to_give(toy: Path) -> None:
    entry = {packs.HOLD + "plausible_doses": {"column": "prompt", "limits": {"metformin": "1000 mg"}, "severity": "warning"}}
    made = check(CheckConfig(docs=False), Expectations.model_validate({"tune": [entry]}), read(toy, "metformin 5 g daily"))
    assert made.verdicts[0].failing_ids == ["colours:203"]


@pytest.mark.parametrize("name", ["healthcare", "finance", "chemistry"])
def test_the_shipped_domains_hold_what_their_pack_expects(name: str) -> None:
    loaded = domain.load(name)
    assert loaded.expectations.packs == ["text", name]
    made = check(CheckConfig(docs=False), loaded.expectations, ingest(IngestConfig(), sources.resolve(loaded, "starter", None)))
    assert [verdict.sentence() for verdict in made.verdicts if not verdict.passed and verdict.severity != "info"] == []


def test_molecules_of_declared_columns_are_judged_as_they_are_written(workplace: Path) -> None:
    answers = {"CCO": 1, "C1CC": 2, "[Na+].[Cl-]": 3, "OCC": 4}
    about = {"columns": {"s": "smiles"}, "map": {"prompt": "What is the solubility of {s}?", "response": "{v}"}}
    rows = ingested(resolved(workplace, "d", "tune", [{"s": s, "v": str(v)} for s, v in answers.items()], **about))
    assert reasons(rows) == {"d:2": "unreadable-smiles"}
    assert [row["smiles"] for row in iterate(rows.path, "tune")] == [["CCO"], ["[Na+].[Cl-]"], ["OCC"]]
    given = Expectations.model_validate(packs.expand({"packs": ["chemistry"]}, FILE))
    found = {v.expectation: v for v in check(CheckConfig(docs=False), given, rows).verdicts if v.kwargs.get("column") == "smiles"}
    told = {name.removeprefix(packs.HOLD): (v.judged, v.failing_ids, v.severity) for name, v in found.items()}
    assert told == {
        "readable_smiles": (3, [], "critical"),
        "single_molecule_smiles": (3, ["d:3"], "info"),
        "canonical_smiles": (3, ["d:3", "d:4"], "info"),
    }
    (salt,) = failing.failures([found[packs.HOLD + "single_molecule_smiles"]], rows.path, withheld=False)
    assert salt.rows[0].fault == "2 fragments: [Na+].[Cl-]"


def test_earlier_turns_are_judged_and_kept_back_where_prompts_are_sensitive(workplace: Path) -> None:
    turns = [("user", "My card number is 4111 1111 1111 1112."), ("assistant", "Thanks"), ("user", "Zebra?"), ("assistant", "Yes")]
    said = [{"role": role, "content": text} for role, text in turns]
    rows = ingested(resolved(workplace, "d", "tune", [{"m": said}, {"m": said[2:]}], map={"messages": "{m}"}))
    entry = {packs.HOLD + "valid_bank_identifiers": {"column": "history", "severity": "warning"}}
    long = {"expect_column_values_to_be_between": {"column": "history_chars", "max_value": 20, "severity": "warning"}}
    made = check(CheckConfig(docs=False), Expectations.model_validate({"tune": [entry, long]}), rows)
    assert [(verdict.judged, verdict.failing_ids) for verdict in made.verdicts] == [(1, ["d:1"])] * 2
    assert "4111" in failing.failures(made.verdicts, rows.path, withheld=False)[0].rows[0].excerpt
    assert "card" in made.profiles["d"].words
    assert sum(made.profiles["d"].lengths["history"]) == 1
    hidden = check(CheckConfig(docs=False), Expectations.model_validate({"tune": [long], "sensitive": ["prompt"]}), rows)
    assert "card" not in hidden.profiles["d"].words, "earlier turns are prompts too"
    assert packs.expand({"packs": ["finance"]}, FILE)["tune"][0][packs.HOLD + "consistent_numbers"]["column"] == "history"
