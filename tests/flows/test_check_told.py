"""What `check` and `rows` tell of rows that are kept for evaluation, and of expectations that failed."""

import json
import re
from pathlib import Path

import pytest

from flows import template
from tests.conftest import Run


@pytest.fixture
def prepared(toy: Path, cli: Run) -> Run:
    done = cli("check", "toy")
    assert done.returncode == 0, done.stderr
    kept = r"colours: of the 200 rows used, 20 for evaluation \(set colours-heldout\) and [1-9]\d? for validation are kept back, and not trained on"
    assert re.search(kept, done.stdout), done.stdout
    assert re.search(r"the rows used make 40 pairs, \d+ of which are for validation, and not trained on", done.stdout)
    assert "nothing has been accepted yet" in done.stdout
    assert "slmforge accept toy --by PERSON --why REASON" in done.stdout
    return cli


def test_rows_kept_for_evaluation_are_counted_and_shown(prepared: Run, workplace: Path) -> None:
    page = (workplace / "runs/reports/toy-data.html").read_text()
    assert "of the 200 rows used, 20 for evaluation (set colours-heldout) and" in page
    assert "Drift is not judged: nothing has been accepted yet" in page
    assert "colours: 2 labels, 200 rows" in page
    for drawn in ("tune prompt", "preference rejected", "eval response", "corpus text"):
        assert f"<figcaption>{drawn}</figcaption>" in page
    lines = prepared("rows", "toy", "--dataset", "colours-heldout", "--limit", "1000", "--json").stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == 20
    assert {(row["dataset"], row["part"]) for row in rows} == {("colours", "eval")}


@pytest.mark.parametrize("aside", [(), ("--set-aside",)])
def test_a_dataset_that_is_none_is_refused_and_those_that_are_named(aside: tuple[str, ...], prepared: Run) -> None:
    done = prepared("rows", "toy", "--dataset", "colors", *aside)
    assert done.returncode == 2
    assert "datasets there are: documents, colours, ratings, general; evaluation sets of rows kept back: colours-heldout" in done.stderr
    done = prepared("rows", "toy", "--dataset", "general", "--set-aside")
    assert done.returncode == 0, "it is there, if nothing of it is set aside"


def test_every_file_of_a_dataset_is_counted_by_itself(toy: Path, cli: Run) -> None:
    lines = (toy / "data/documents.jsonl").read_text().splitlines(keepends=True)
    (toy / "data/many").mkdir()
    for place, part in enumerate((lines[:150], [*lines[150:], '{"text": ["x", {"y": 1}]}\n'])):
        (toy / f"data/many/{place}.jsonl").write_text("".join(part))
    card = toy / "domain.yaml"
    card.write_text(card.read_text().replace("data/documents.jsonl", "data/many"))
    done = cli("check", "toy", "--json")
    assert done.returncode == 0, done.stderr
    told = next(dataset for dataset in json.loads(done.stdout)["datasets"] if dataset["name"] == "documents")
    assert (told["file"], told["rows_in"], told["sha256"]) == ("2 files", 202, None)
    files = {file["name"]: (file["rows_in"], file["rows_used"], file["set_aside"].get("nested-value", 0)) for file in told["files"]}
    assert [(name, rows, nested) for name, (rows, _, nested) in files.items()] == [
        ("data/many/0.jsonl", 150, 0),
        ("data/many/1.jsonl", 52, 1),
    ]
    assert sum(used for _, used, _ in files.values()) == told["rows_used"]
    assert "documents: what became of the rows of each file is told by --json" in cli("check", "toy").stdout


def test_an_expectation_that_stops_says_where_it_can_be_changed(toy: Path, cli: Run) -> None:
    (toy / "expectations.yaml").write_text("tune:\n  - expect_column_values_to_not_be_null: {column: response}\n")
    done = cli("check", "toy")
    assert done.returncode == 3
    said = " ".join(done.stderr.split())
    assert "domains/toy/expectations.yaml, there `tune:`, `expect_column_values_to_not_be_null:`" in said


def test_empty_answers_do_not_stop_a_new_domain(workplace: Path, cli: Run) -> None:
    folder = template.write("legal")
    rows = [f"Who pays item {i}?,{f'the tenant pays {i}' if i % 5 else ''}\n" for i in range(60)]
    (workplace / "a.csv").write_text("question,answer\n" + "".join(rows))
    assert cli("add", "legal", "a.csv", "--licence", "CC0-1.0", "--kind", "user", "--yes").returncode == 0
    done = cli("check", "legal", "dedup.near=false")
    assert done.returncode == 0, done.stderr
    assert "12 empty answer" in done.stdout.replace("-", " ")
    assert "warning tune: response is filled in every row" in done.stdout
    assert "severity: warning" in (folder / "expectations.yaml").read_text()
