"""A fourth domain from nothing, without opening a Python file."""

import json
from pathlib import Path

from tests.conftest import Run


def test_a_new_domain_needs_only_its_files(cli: Run, workplace: Path) -> None:
    made = cli("new", "legal")
    assert made.returncode == 0, made.stderr
    folder = workplace / "domains" / "legal"
    empty = cli("check", "legal")
    assert empty.returncode == 3
    assert "data/documents.jsonl: no such file" in empty.stderr or "no such file" in empty.stderr
    lines = [{"text": f"Clause {i} binds the tenant to clause {i * 7} of the lease, in number {i * 13} words."} for i in range(40)]
    (folder / "data/documents.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "data/questions.csv").write_text(
        "question,answer\n" + "".join(f"Who pays item {i}?,the tenant pays {i}\n" for i in range(60))
    )
    (folder / "data/preferences.csv").write_text("question,better,worse\n" + "".join(f"Item {i}?,yes {i},no\n" for i in range(30)))
    done = cli("check", "legal", "--json", "dedup.near=false")
    assert done.returncode == 0, done.stderr
    found = {line["name"]: line for line in json.loads(done.stdout)["datasets"]}
    assert {name: line["rows_in"] for name, line in found.items() if name != "python-topics"} == {
        "documents": 40,
        "questions": 60,
        "preferences": 30,
    }
    assert all(line["rows_in"] == line["rows_used"] + sum(line["set_aside"].values()) for line in found.values())
    assert cli("plan", "legal").returncode == 0


def test_a_folder_that_is_there_is_not_overwritten(cli: Run, toy: Path) -> None:
    before = (toy / "domain.yaml").read_bytes()
    done = cli("new", "toy")
    assert done.returncode == 2
    assert (toy / "domain.yaml").read_bytes() == before


def test_a_name_that_is_no_plain_one_is_refused(cli: Run, workplace: Path) -> None:
    assert cli("new", "../evil").returncode == 2
    assert not (workplace.parent / "evil").exists()
