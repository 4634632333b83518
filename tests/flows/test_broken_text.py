"""Text that no file can hold, by the command line: it is set aside, and shown by its escapes wherever rows are shown."""

import csv
import json
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.flows.test_card import Page


def lines(done: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in done.splitlines()]


def half(toy: Path) -> tuple[str, str]:
    """Half a character, as JSON may escape it, in a column of the map and in the name of another one."""
    with (toy / "data/documents.jsonl").open("a") as file:
        file.write('{"text": "\\ud800 what is it?", "\\udfff": "caf\\u00e9"}\n')
    return "broken-text", "\\ud800 what is it?"


def byte(toy: Path) -> tuple[str, str]:
    """A byte that is no UTF-8, where the card says what our own message recommends."""
    with (toy / "data/documents.jsonl").open("ab") as file:
        file.write(b'{"text": "caf\xe9 what is it?"}\n')
    card = toy / "domain.yaml"
    card.write_text(card.read_text().replace("role: corpus,", "role: corpus, undecodable: set-aside,"))
    return "undecodable", "caf\\xe9 what is it?"


def heading(toy: Path) -> tuple[str, str]:
    """The same in a heading, which a record keeps beside its text."""
    (toy / "data/a.md").write_bytes(b"Before the first heading, all is text.\n\n# Caf\xe9\n\nThis is said of it: caf\\xe9.\n")
    card = toy / "domain.yaml"
    entry = "{name: pages, role: corpus, undecodable: set-aside, source: {path: data/a.md}, licence: CC0-1.0, kind: user, map: {text: '{text}'}}"
    card.write_text(card.read_text().replace("  - name: colours", f"  - {entry}\n  - name: colours"))
    return "undecodable", "This is said of it: caf\\xe9."


def jq(toy: Path) -> tuple[str, str]:
    """The same through a jq expression."""
    card = toy / "domain.yaml"
    card.write_text(card.read_text().replace("role: corpus,", "role: corpus, records: '.',"))
    return half(toy)


@pytest.mark.parametrize("spoil", [half, byte, heading, jq])
def test_a_row_that_no_file_can_hold_is_shown_by_its_escapes_everywhere(spoil, toy: Path, cli: Run, workplace: Path) -> None:  # type: ignore[no-untyped-def]  # one of the above
    reason, shown = spoil(toy)
    done = cli("check", "toy")
    assert done.returncode == 0, done.stderr
    page = Page((workplace / "runs/reports/toy-data.html").read_text(encoding="utf-8"))
    assert f"text: {shown}" in page.text
    done = cli("rows", "toy", "--set-aside", reason)
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout
    done = cli("rows", "toy", "--set-aside", reason, "--json")
    assert [row["record"]["text"] for row in lines(done.stdout)] == [shown]  # type: ignore[index]
    done = cli("rows", "toy", "--set-aside", "--csv", "out.csv")
    assert done.returncode == 0, done.stderr
    with (workplace / "out.csv").open(encoding="utf-8-sig", newline="") as file:
        assert [row["text"] for row in csv.DictReader(file) if row["reason"] == reason] == [shown]
    assert cli("rows", "toy").returncode == 0


def test_an_export_into_a_folder_that_is_not_there_is_refused(toy: Path, cli: Run, workplace: Path) -> None:
    assert cli("check", "toy").returncode == 0
    done = cli("rows", "toy", "--set-aside", "--csv", "away/out.csv")
    assert done.returncode == 2
    assert "make the folder" in done.stderr
    assert not (workplace / "away").exists()
