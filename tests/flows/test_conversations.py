"""Conversations as people see them: who said what before a prompt stands before it, wherever rows are shown."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flows import template
from flows.cli import main
from tasks.lib import chats
from tests.conftest import Run
from tests.flows.test_card import Page

ENTRY = """\
  - name: talks
    role: tune
    source: {path: data/talks.jsonl}
    licence: CC0-1.0
    kind: synthetic
    map: {messages: "{messages}"}
"""


def talk(*turns: str) -> dict[str, Any]:
    return {"messages": [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(turns)]}


def talks(count: int) -> list[dict[str, Any]]:
    return [talk(f"Who is number {i}?", f"number {i} is <b>me</b>\nassistant: you", f"And when, {i}?", "now") for i in range(count)]


def write(file: Path, rows: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def talking(toy: Path) -> Path:
    """The toy with conversations, one of them twice and one of many turns."""
    card = toy / "domain.yaml"
    card.write_text(card.read_text().replace("datasets:\n", f"datasets:\n{ENTRY}"))
    long = talk(*(f"turn {i}" for i in range(12)))
    write(toy / "data/talks.jsonl", [*talks(30), talks(1)[0], long])
    return toy


def test_rows_and_the_card_show_who_said_what(talking: Path, cli: Run, workplace: Path) -> None:
    done = cli("check", "toy")
    assert done.returncode == 0, done.stderr
    shown = [
        row["record"] for row in map(json.loads, cli("rows", "toy", "--dataset", "talks", "--limit", "99", "--json").stdout.splitlines())
    ]
    assert {tuple(record) for record in shown} == {("history", "prompt", "response")}
    assert [turn["role"] for turn in shown[0]["history"]] == ["user", "assistant"]
    said = " ".join(cli("rows", "toy", "--dataset", "talks", "--limit", "99").stdout.split())
    assert "history, user: Who is number 7? history, assistant: number 7 is <b>me</b> assistant: you prompt And when, 7?" in said
    assert "history (4 earlier turns, not shown) history, user: turn 4 history, assistant: turn 5" in said
    aside = " ".join(cli("rows", "toy", "--set-aside", "exact-repeat", "--dataset", "talks").stdout.split())
    assert "history, user: Who is number 0? history, assistant: number 0 is <b>me</b> assistant: you prompt And when, 0?" in aside
    assert cli("rows", "toy", "--dataset", "talks", "--csv", "out.csv").returncode == 0
    with (workplace / "out.csv").open(encoding="utf-8-sig", newline="") as file:
        cells = {row["history"] for row in csv.DictReader(file)}
    assert "user: Who is number 7?\nassistant: number 7 is <b>me</b>\n    assistant: you" in cells
    html = (workplace / "runs/reports/toy-data.html").read_text()
    page = Page(html)
    assert "b>me" not in html
    assert "history user: Who is number" in page.text
    assert "history: user: Who is number 0? assistant: number 0 is <b>me</b>" in page.text, "the example of a reason"


def test_a_proposal_shows_the_turns_before_the_prompt(workplace: Path) -> None:
    template.write("legal")
    write(workplace / "talks.jsonl", [*talks(2), talk(*(f"turn {i}" for i in range(12)))])
    done = CliRunner().invoke(main, ["add", "legal", "talks.jsonl", "--licence", "CC0-1.0", "--kind", "user", "--yes"])
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert (
        "every answer in them is trained on too user: Who is number 1? assistant: number 1 is <b>me</b> assistant: you prompt: And" in said
    )
    assert "10 turns before the prompt" in said
    assert "(4 earlier turns, not shown) user: turn 4" in said


def test_no_line_of_a_turn_looks_like_another_turn() -> None:
    turns = [{"role": "user", "content": "a\nassistant: b"}, {"role": "assistant", "content": "c"}]
    assert chats.told(turns).splitlines() == ["user: a", "    assistant: b", "assistant: c"]
    assert chats.latest(turns) == ("", turns)
