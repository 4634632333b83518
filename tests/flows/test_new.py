"""A fourth domain from nothing, without opening a Python file: `new`, `add`, `check`."""

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tasks.lib.domain import load
from tests.conftest import Run

SAID = ("--licence", "CC0-1.0", "--kind", "user", "--yes")


def entries(folder: Path) -> dict[str, dict[str, Any]]:
    card = YAML(typ="safe", pure=True).load((folder / "domain.yaml").read_text())
    return {entry["name"]: entry for entry in card["datasets"]}


@pytest.fixture
def legal(cli: Run, workplace: Path) -> Path:
    made = cli("new", "legal")
    assert made.returncode == 0, made.stderr
    return workplace / "domains" / "legal"


def test_a_new_domain_needs_only_its_files(legal: Path, cli: Run, workplace: Path) -> None:
    lines = [{"text": f"Clause {i} binds the tenant to clause {i * 7} of the lease, in number {i * 13} words."} for i in range(40)]
    (workplace / "clauses.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (workplace / "Questions (final).csv").write_text(
        "question;answer\n" + "".join(f"Who pays item {i}?;the tenant pays {i}\n" for i in range(60))
    )
    (workplace / "pairs.csv").write_text("question,better,worse\n" + "".join(f"Item {i}?,yes {i},no\n" for i in range(30)))
    for file in ("clauses.jsonl", "Questions (final).csv", "pairs.csv"):
        done = cli("add", "legal", file, *SAID)
        assert done.returncode == 0, done.stderr
        assert "as the model will see it" in done.stdout
    found = entries(legal)
    assert found["questions--final"]["delimiter"] == ";"
    assert found["pairs"]["map"] == {"prompt": "{question}", "chosen": "{better}", "rejected": "{worse}"}
    assert "# what the model is for" not in (legal / "domain.yaml").read_text()
    assert "# low | medium | high" in (legal / "domain.yaml").read_text(), "comments are kept"
    done = cli("check", "legal", "--json", "dedup.near=false")
    assert done.returncode == 0, done.stderr
    lines_of = {line["name"]: line for line in json.loads(done.stdout)["datasets"]}
    assert {name: line["rows_in"] for name, line in lines_of.items() if name != "python-topics"} == {
        "clauses": 40,
        "questions--final": 60,
        "pairs": 30,
    }
    assert all(line["rows_in"] == line["rows_used"] + sum(line["set_aside"].values()) for line in lines_of.values())


def test_the_task_in_the_readme_is_one(legal: Path, cli: Run, workplace: Path) -> None:
    (workplace / "questions.csv").write_text("question,answer\n" + "".join(f"Who pays item {i}?,the tenant pays {i}\n" for i in range(60)))
    assert cli("add", "legal", "questions.csv", *SAID).returncode == 0
    card = legal / "domain.yaml"
    card.write_text(card.read_text().replace("  - name: questions\n", "  - name: questions\n    holdout: 20\n"))
    task = (legal / "README.md").read_text().split("```yaml\n")[1].split("```")[0]
    (legal / "eval/answers.yaml").write_text(task)
    done = cli("check", "legal")
    assert done.returncode == 0, done.stderr


def test_an_encoding_is_found_and_written_down(legal: Path, cli: Run, workplace: Path) -> None:
    (workplace / "a.csv").write_bytes(b"frage,answer\n" + "question,über Öl für Ärzte geht’s\n".encode("cp1252") * 30)
    (workplace / "a.csv").write_bytes((workplace / "a.csv").read_bytes().replace(b"frage", b"question"))
    assert cli("add", "legal", "a.csv", *SAID).returncode == 0
    assert entries(legal)["a"]["encoding"].startswith("cp125")


@pytest.mark.parametrize(
    ("content", "words", "says"),
    [
        ("x,y\n1,2\n", SAID, "the columns 'x', 'y'"),
        ("text\nhello\n", ("--yes", "--kind", "user"), "--licence, with --yes"),
        ("text\nhello\n", ("--yes", "--kind", "user", "--licence", "GPL-9"), "licence 'GPL-9'"),
        ("x,y\n1,2\n", ("--map", "prompt={x}", *SAID), "a role for the map"),
        ("x,y\n1,2\n", ("--map", "nonsense", *SAID), "FIELD=TEMPLATE"),
        ("text\n", SAID, "none"),
        ("text\nhello\n", ("--name", "python-topics", *SAID), "given twice: python-topics"),
    ],
)
def test_what_cannot_be_added_leaves_the_card_as_it_was(
    content: str, words: tuple[str, ...], says: str, legal: Path, cli: Run, workplace: Path
) -> None:
    before = {path: path.read_bytes() for path in legal.rglob("*") if path.is_file()}
    (workplace / "a.csv").write_text(content)
    done = cli("add", "legal", "a.csv", *words)
    assert done.returncode in (2, 3), done.stdout
    assert says in done.stderr
    assert {path: path.read_bytes() for path in legal.rglob("*") if path.is_file()} == before


def test_what_the_template_leaves_open_is_told_and_recorded_as_not_stated(legal: Path, cli: Run, workplace: Path) -> None:
    (workplace / "clauses.jsonl").write_text("".join(f'{{"text": "Clause {i} of the lease, in {i * 13} words."}}\n' for i in range(20)))
    assert cli("add", "legal", "clauses.jsonl", *SAID).returncode == 0
    checked = cli("check", "legal")
    assert checked.returncode == 0, checked.stderr
    page = (workplace / "runs/reports/legal-data.html").read_text()
    first = page.split("Fix this first")[1].split("</section>")[0]
    for key in ("purpose", "owner"):
        assert f"`{key}:` in domain.yaml is still the template" in checked.stdout
        assert f"`{key}:` in domain.yaml is still the template" in first
    notes = json.loads(cli("plan", "legal", "--json").stdout)["notes"]
    assert len(notes) == 2
    assert load("legal").duties.purpose == load("legal").duties.owner == "not stated"
    card = legal / "domain.yaml"
    card.write_text(card.read_text().replace("who answers for it", "A. Example").replace("say in one", "answers; say in one"))
    assert load("legal").duties.owner == "A. Example"
    assert json.loads(cli("check", "legal", "--json").stdout)["warnings"] == []


def test_text_that_nobody_brought_is_introduced(legal: Path, cli: Run, workplace: Path) -> None:
    done = cli("check", "legal")
    assert done.returncode == 0, done.stderr
    sentence = "python-topics is Python's own documentation, plain English"
    assert sentence in done.stdout
    page = (workplace / "runs/reports/legal-data.html").read_text()
    assert sentence.replace("'", "&#39;") in page
