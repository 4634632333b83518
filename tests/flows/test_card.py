"""The report card of the data: counts that balance, an example of each reason, nothing that runs, nothing sensitive."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.conftest import Run

EVIL = '"<script>alert(1)</script>{{ 7*7 }}",green'


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not any(name in ("src", "onload", "onerror") for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture
def dirty(toy: Path) -> Path:
    with (toy / "data/colours.csv").open("a") as file:
        file.write(f"{EVIL}\nWhat colour is stone number 1?,green\n")
    return toy


def card(cli: Run, workplace: Path) -> Page:
    done = cli("check", "toy")
    assert done.returncode == 0, done.stderr
    assert "report card: " in done.stdout
    return Page((workplace / "runs/reports/toy-data.html").read_text())


def test_the_card_says_what_became_of_every_row_and_what_to_do(dirty: Path, cli: Run, workplace: Path) -> None:
    page = card(cli, workplace)
    assert "script" not in page.tags
    assert "The model is for: a toy. tests answers for it." in page.text
    assert "PSF-2.0" in page.text
    assert "563 rows in = " in page.text
    assert "does not balance" not in page.text
    assert "<script>alert(1)</script>{{ 7*7 }}" in page.text, "shown as it is"
    assert "data/colours.csv, row 203: column 'a' (`response` of the map) gives 'green', which is none of the choices" in page.text
    assert "write the answer, or remove the row" in page.text
    assert "What the model will see" in page.text
    assert "1 of the expectations" not in page.text


def test_the_content_of_rows_is_withheld_where_the_domain_says_so(dirty: Path, cli: Run, workplace: Path) -> None:
    (dirty / "domain.yaml").write_text((dirty / "domain.yaml").read_text().replace("risk: low", "risk: low\nsensitive: [prompt, response]"))
    with (dirty / "data/colours.csv").open("a") as file:
        file.write("Is 10 mgm of zebra red?,red\n")
    (dirty / "expectations.yaml").write_text("packs: [healthcare]\n")
    page = card(cli, workplace)
    assert "doses have known units" in page.text
    assert "data/colours.csv, row 205" in page.text
    assert "mgm" not in page.text
    assert "What the answers, ratings and choices are" not in page.text
    assert "mgm" not in cli("check", "toy").stdout
    assert "alert(1)" not in page.text
    assert "stone number" not in page.text
    assert "green" not in page.text
    assert "data/colours.csv, row 203" in page.text


def test_an_unmet_expectation_comes_first_with_the_place_that_is_at_fault(dirty: Path, cli: Run, workplace: Path) -> None:
    with (dirty / "data/colours.csv").open("a") as file:
        file.write("Is 10 mgm of zebra red?,red\n")
    expected = "packs: [healthcare]\ntune:\n  - expect_column_values_to_not_be_null: {column: response, severity: warning}\n"
    (dirty / "expectations.yaml").write_text(expected)
    page = card(cli, workplace)
    assert "2 of the expectations on the data are not met" in page.text
    first = page.text[page.text.index("Expectations that are not met") : page.text.index("What became of every row")]
    assert "tune: response is filled in every row" in first
    assert "prompt: doses have known units and plausible amounts" in first
    fault = "unit 'mgm' in '10 mgm' is not how the unit is written"
    assert f"data/colours.csv, row 205 : {fault} colours:205 Is 10 mgm of zebra red?" in first
    assert "slmforge rows toy --id colours:205" in first
    told = cli("check", "toy").stdout
    assert f"data/colours.csv, row 205 (colours:205): {fault}, in: Is 10 mgm of zebra red?" in told
    assert "expect_column" not in told
    shown = cli("rows", "toy", "--id", "colours:205").stdout
    assert "Is 10 mgm of zebra red?" in shown
    assert "colours:204" not in shown
    assert "unknown-value" in cli("rows", "toy", "--id", "colours:203").stdout
    assert cli("rows", "toy", "--id", "colours:9999").returncode == 2


def test_an_expectation_that_is_not_met_stops_after_everything_was_shown(dirty: Path, cli: Run, workplace: Path) -> None:
    (dirty / "expectations.yaml").write_text("tune:\n  - expect_column_value_lengths_to_be_between: {column: prompt, max_value: 5}\n")
    done = cli("check", "toy")
    assert done.returncode == 3
    assert "1 expectation(s) failed" in done.stderr
    assert "report card: " in done.stdout
    assert done.stdout.count("ingest ") == 2  # begun, and done
    page = Page((workplace / "runs/reports/toy-data.html").read_text())
    assert "1 of the expectations on the data are not met" in page.text
    aside = cli("rows", "toy", "--set-aside", "--json")
    assert "empty-answer" in aside.stdout
    told = cli("check", "toy", "--json")
    assert told.returncode == 3
    assert [line["name"] for line in json.loads(told.stdout)["datasets"]] == ["documents", "colours", "ratings", "general"]


def test_examples_show_the_fields_that_people_know(dirty: Path, cli: Run, workplace: Path) -> None:
    page = card(cli, workplace)
    assert "prompt: Nothing at all?" in page.text
    assert "holdout:" not in page.text
