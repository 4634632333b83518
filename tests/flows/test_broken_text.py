"""Text that no file can hold, by the command line: it is set aside, and shown by its escapes wherever rows are shown."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from flows import rows
from tasks.lib.errors import ConfigError
from tests.conftest import Run
from tests.flows.test_card import Page


def lines(done: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.splitlines()]


# file -> its content, the keys of its dataset, why its row is set aside, and how the text of that row is shown
SPOILT: dict[str, tuple[bytes, str, str, str]] = {
    # half a character, as JSON may escape it, in a column of the map and in the name of another one
    "half.jsonl": (b'{"text": "\\ud800 what is it?", "\\udfff": "caf\\u00e9"}', "", "broken-text", "\\ud800 what is it?"),
    # a byte that is no UTF-8, where the card says what our own message recommends
    "byte.jsonl": (b'{"text": "caf\xe9 what is it?"}', "undecodable: set-aside", "undecodable", "caf\\xe9 what is it?"),
    # the same in a heading, which a record keeps beside its text
    "page.md": (b"# Caf\xe9\n\nThis is said of it.", "undecodable: set-aside", "undecodable", "This is said of it."),
}


def test_a_row_that_no_file_can_hold_is_shown_by_its_escapes_everywhere(toy: Path, cli: Run, workplace: Path) -> None:
    entries = ""
    for file, (content, keys, _, _) in SPOILT.items():
        whole = (
            b"# One\n\nText under a heading, of which enough is there to be used.\n\n"
            if file.endswith(".md")
            else b'{"text": "A whole row, long enough to be used: %s."}\n' % file.encode()
        )
        (toy / "data" / file).write_bytes(whole + content + b"\n")
        name = file.split(".")[0]
        entries += (
            f"  - {{name: {name}, role: corpus, source: {{path: data/{file}}}, licence: CC0-1.0, kind: user, map: {{text: '{{text}}'}}"
        )
        entries += f", {keys}}}\n" if keys else "}\n"
    card = toy / "domain.yaml"
    card.write_text(card.read_text().replace("  - name: colours", f"{entries}  - name: colours"))
    done = cli("check", "toy")
    assert done.returncode == 0, done.stderr
    page = Page((workplace / "runs/reports/toy-data.html").read_text(encoding="utf-8"))
    terminal = cli("rows", "toy", "--set-aside")
    assert terminal.returncode == 0, terminal.stderr
    told = {row["dataset"]: row for row in lines(cli("rows", "toy", "--set-aside", "--json").stdout)}
    done = cli("rows", "toy", "--set-aside", "--csv", "out.csv")
    assert done.returncode == 0, done.stderr
    with (workplace / "out.csv").open(encoding="utf-8-sig", newline="") as file:
        exported = {row["dataset"]: row for row in csv.DictReader(file)}
    for file, (_, _, reason, shown) in SPOILT.items():
        name = file.split(".")[0]
        assert shown in page.text
        assert shown in terminal.stdout
        assert told[name]["reason"] == exported[name]["reason"] == reason
        assert shown in told[name]["record"]["text"]
        assert shown in exported[name]["text"]


def test_an_export_into_a_folder_that_is_not_there_is_refused(workplace: Path) -> None:
    with pytest.raises(ConfigError, match="make the folder"):
        rows.rows({}, "all", None, 20, str(workplace / "away/out.csv"), as_json=False)
    assert not (workplace / "away").exists()
