"""Reading a domain's datasets: every row is used or set aside, and the identity is the content."""

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tasks.ingest import IngestConfig, ingest
from tasks.lib import digests, sources, store
from tasks.lib.domain import Dataset, Domain, DomainCard, Expectations, Suite, load
from tasks.lib.errors import ConfigError, DataError, StageError
from tasks.lib.records import LedgerLine, Records, RecordWriter, advance, by_dataset, iterate, require_balance
from tasks.lib.sources import ResolvedDataset, Sources
from tasks.lib.stage import Call
from tests.datasets import ingested, reasons, resolved


def identifier(*datasets: ResolvedDataset) -> str:
    return Call(ingest, {"cfg": IngestConfig(), "sources": Sources(edition="starter", datasets=list(datasets))}).identifier()  # type: ignore[arg-type]  # Stage[P, A] is invariant in P; Call takes any stage


QUESTIONS = [{"q": f"Question {i}?", "a": str(i % 3), "n": i} for i in range(30)]


def test_every_row_is_used_or_set_aside_with_its_content_and_reason(workplace: Path) -> None:
    rows = [*QUESTIONS, {"q": "x", "a": "9", "n": 1}, {"q": "y", "a": "1", "n": "many"}, {"q": "z", "a": "1", "n": None}]
    card = {"choices": ["0", "1", "2"], "columns": {"n": "number"}}
    made = ingested(resolved(workplace, "asked", "tune", rows, **card))
    assert reasons(made) == {"asked:31": "unknown-value", "asked:32": "not-a-number", "asked:33": "missing-value"}
    (line,) = made.ledger
    assert (line.rows_in, line.rows_used) == (len(rows), len(QUESTIONS))
    assert line.set_aside == {"missing-value": 1, "not-a-number": 1, "unknown-value": 1}
    assert sum(1 for _ in iterate(made.path, "tune")) == len(QUESTIONS)
    kept = {row["id"]: json.loads(row["record"]) for row in iterate(made.path, "set_aside")}
    assert kept["asked:32"] == {"q": "y", "a": "1", "n": "many"}


def test_half_a_character_is_set_aside_and_stays_readable(workplace: Path) -> None:
    made = ingested(resolved(workplace, "asked", "tune", [*QUESTIONS, {"q": "\ud83d?", "a": "1"}]))
    assert reasons(made) == {"asked:31": "broken-text"}
    assert "ud83d" in next(iter(iterate(made.path, "set_aside")))["record"]


def test_what_is_set_aside_stays_as_its_file_wrote_it(workplace: Path) -> None:
    made = ingested(resolved(workplace, "asked", "tune", [*QUESTIONS, {"q": "x", "m": {"k": None}, "t": ["ü"], "z": None, "f": True}]))
    record = json.loads(next(iter(iterate(made.path, "set_aside")))["record"])
    assert record == {"q": "x", "m": '{"k": null}', "t": '["ü"]', "z": "", "f": "true"}


@pytest.mark.parametrize("kind", ["corpus", "tune"])
def test_what_is_nested_deep_is_set_aside_where_it_is_used(kind: str, workplace: Path) -> None:
    deep = json.loads("[" * 400 + "]" * 400)
    rows = [
        {"text": "a", "q": "b", "a": "c", "m": 1},
        {"text": deep, "q": deep, "a": "x", "m": 2},
        {"text": "d", "q": "e", "a": "f", "m": deep},
    ]
    made = ingested(resolved(workplace, "asked", kind, rows))
    assert reasons(made) == {"asked:2": "nested-value"}
    assert "more than 100 deep" in next(iter(iterate(made.path, "set_aside")))["detail"]


def test_a_fault_in_the_middle_leaves_nothing(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = resolved(workplace, "asked", "tune", QUESTIONS)
    with monkeypatch.context() as patch:
        patch.setattr("tasks.ingest.to_record", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ingested(given)
    assert not [path for path in (store.root() / "ingest").rglob("*") if path.is_dir()]
    assert ingested(given).rows == len(QUESTIONS)


@pytest.mark.parametrize("link", ["artifacts", "artifacts/ingest"])
def test_a_folder_of_artifacts_that_leads_elsewhere_is_refused_and_the_runs_folder_may(
    link: str, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, elsewhere = resolved(workplace, "asked", "tune", QUESTIONS), workplace / "elsewhere"
    (elsewhere / "runs").mkdir(parents=True)
    (workplace / "linked").symlink_to(elsewhere / "runs")
    monkeypatch.setenv("SLMFORGE_RUNS", str(workplace / "linked"))
    assert ingested(given).rows == len(QUESTIONS)
    shutil.rmtree(elsewhere / "runs/artifacts")
    place = elsewhere / "runs" / link
    place.parent.mkdir(exist_ok=True)
    (workplace / "away").mkdir()
    place.symlink_to(workplace / "away")
    with pytest.raises(ConfigError, match="is a link to"):
        ingested(given)
    assert list((workplace / "away").iterdir()) == []


def test_long_rows_are_written_before_there_are_many(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.lib.records.BATCH_CHARS", 10_000)
    made = ingested(resolved(workplace, "texts", "corpus", [{"text": f"{i} " + "x" * 4_000} for i in range(10)]))
    assert pq.read_metadata(made.path / "corpus-00000.parquet").num_row_groups == 4


def test_roles_go_to_files_of_their_own(workplace: Path) -> None:
    texts = [{"text": f"Document {i}"} for i in range(5)]
    made = ingested(resolved(workplace, "asked", "tune", QUESTIONS), resolved(workplace, "texts", "corpus", texts))
    assert [row["text"] for row in iterate(made.path, "corpus")] == [row["text"] for row in texts]
    assert {row["dataset"] for row in iterate(made.path, "tune")} == {"asked"}
    assert made.rows == len(QUESTIONS) + len(texts)


@pytest.mark.parametrize("content", ["", "\n\n", "[]"])
def test_a_dataset_without_rows_is_refused_and_leaves_nothing(content: str, workplace: Path) -> None:
    given = resolved(workplace, "asked", "tune", [], format="json" if content else "jsonl")
    file = given.files[0].path
    assert file is not None
    file.write_text(content or "\n")
    with pytest.raises(DataError) as caught:
        ingested(given)
    assert caught.value.file == str(file)
    assert not [path for path in (store.root() / "ingest").iterdir() if path.is_dir()]


def test_a_dataset_of_which_most_rows_cannot_be_mapped_is_refused_with_the_counts(workplace: Path) -> None:
    given = resolved(workplace, "asked", "tune", QUESTIONS, choices=["0"])
    wrong = sum(row["a"] != "0" for row in QUESTIONS)
    with pytest.raises(DataError, match=f"{wrong} of {len(QUESTIONS)}") as caught:
        ingested(given)
    assert "unknown-value" in caught.value.found
    assert ingest(IngestConfig(max_set_aside=1), Sources(edition="starter", datasets=[given])).rows == len(QUESTIONS) - wrong


def test_a_card_that_does_not_balance_stops(workplace: Path) -> None:
    made = ingested(resolved(workplace, "asked", "tune", QUESTIONS))
    writer = RecordWriter(workplace)
    for row in list(iterate(made.path, "tune"))[1:]:
        writer.keep(row)
    with pytest.raises(StageError, match=f"{len(QUESTIONS)} in, {len(QUESTIONS) - 1} used, 0 set aside"):
        advance(made.ledger, writer)
    line = LedgerLine.model_validate({**made.ledger[0].model_dump(), "set_aside": {"invented": 1}})
    with pytest.raises(StageError, match="'asked'"):
        require_balance(line)


def test_the_place_of_the_file_is_not_part_of_the_identity_but_every_row_is(workplace: Path) -> None:
    here, there = workplace / "here", workplace / "there"
    here.mkdir()
    there.mkdir()
    first = identifier(resolved(here, "asked", "tune", QUESTIONS))
    assert identifier(resolved(there, "asked", "tune", QUESTIONS)) == first
    assert identifier(resolved(there, "asked", "tune", [*QUESTIONS, {"q": "one more", "a": "1"}])) != first
    assert identifier(resolved(there, "asked", "tune", QUESTIONS[::-1])) != first
    assert identifier(resolved(there, "asked", "tune", QUESTIONS, licence="MIT")) != first


def test_the_same_rows_give_the_same_digest_in_another_runs_folder(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = resolved(workplace, "asked", "tune", QUESTIONS, choices=["0", "1"])
    first = ingested(given)
    monkeypatch.setenv("SLMFORGE_RUNS", str(workplace / "other"))
    second = ingested(given)
    assert first.digest == second.digest
    assert store.find(second.id) is not None
    assert (workplace / "other" / "artifacts" / second.id).is_dir()


def many(folder: Path, path: str, **card: Any) -> Records:
    given = {"name": "d", "role": "corpus", "source": {"path": path}, "licence": "CC0-1.0", "kind": "synthetic", "map": {"text": "{text}"}}
    body = {"purpose": "p", "owner": "o", "risk": "low", "licences": ["CC0-1.0"], "datasets": [{**given, **card}]}
    loaded = Domain(name="d", folder=folder, card=DomainCard.model_validate(body), expectations=Expectations(), suite=Suite(tasks={}))
    return ingest(IngestConfig(), sources.resolve(loaded, "starter", None))


@pytest.mark.parametrize("path", ["data", "data/*", "data/**/*.*"])
def test_a_folder_or_a_pattern_is_a_file_after_the_other_each_with_its_own_line(path: str, workplace: Path) -> None:
    (workplace / "data/deeper").mkdir(parents=True)
    (workplace / "data/b.csv").write_text("text\none\ntwo\n")
    (workplace / "data/a.jsonl").write_text('{"text": "zero"}\n')
    (workplace / "data/.hidden.csv").write_text("text\nnot this\n")
    if "/*" not in path or "**" in path:
        (workplace / "data/deeper/c.txt").write_text("three")
    else:
        (workplace / "data/deeper").rmdir()
    made = many(workplace, path)
    deep = [("data/deeper/c.txt", 1)] if path != "data/*" else []
    assert [(line.file, line.rows_in) for line in made.ledger] == [("data/a.jsonl", 1), ("data/b.csv", 2), *deep]
    assert [row["id"] for row in iterate(made.path, "corpus")][:2] == ["d:data/a.jsonl:1", "d:data/b.csv:2"]
    (total,) = by_dataset(made.ledger)
    assert (total.rows_in, total.rows_used) == (3 + len(deep), 3 + len(deep))


@pytest.mark.parametrize("path", ["../data", "data/../../x.csv", "/etc", "data/*.csv"])
def test_a_path_that_leaves_the_domain_or_finds_nothing_is_refused(path: str, workplace: Path) -> None:
    (workplace / "data").mkdir()
    with pytest.raises(DataError):
        many(workplace, path)


def test_a_file_that_changes_between_plan_and_reading_is_refused(workplace: Path) -> None:
    given = resolved(workplace, "d", "corpus", [{"text": "as planned"}])
    file = given.files[0].path
    assert file is not None
    file.write_text('{"text": "changed"}\n')
    with pytest.raises(DataError, match="as it was when the run began"):
        ingest(IngestConfig(), Sources(edition="starter", datasets=[given]))
    assert not list(store.root().glob("ingest/[!.]*/artifact.json"))


def test_a_mirror_or_download_is_read_by_its_declared_name_whatever_it_is_called(workplace: Path) -> None:
    content = gzip.compress(b"text,n\nfrom the mirror,1\n")
    (workplace / "mirror").mkdir()
    (workplace / "mirror/0001.txt").write_bytes(content)
    source = {"url": "https://example.org/rows.csv.gz", "sha256": digests.of_file(workplace / "mirror/0001.txt")}
    card = Dataset.model_validate(
        {"name": "d", "role": "corpus", "source": source, "licence": "MIT", "kind": "public", "map": {"text": "{text}"}}
    )
    body = {"purpose": "p", "owner": "o", "risk": "low", "licences": ["MIT"], "datasets": [card]}
    loaded = Domain(name="d", folder=workplace, card=DomainCard.model_validate(body), expectations=Expectations(), suite=Suite(tasks={}))
    made = ingest(IngestConfig(), sources.resolve(loaded, "full", workplace / "mirror"))
    assert [row["text"] for row in iterate(made.path, "corpus")] == ["from the mirror"]
    shutil.copytree(workplace / "mirror", workplace / "runs/downloads", dirs_exist_ok=True)
    (workplace / "runs/downloads/0001.txt").rename(workplace / "runs/downloads" / source["sha256"])
    again = sources.resolve(loaded, "full", None)
    assert again.identity() == sources.resolve(loaded, "full", workplace / "mirror").identity()
    assert again.datasets[0].files[0].path == workplace / "runs/downloads" / source["sha256"]


def test_what_is_set_aside_keeps_every_column_as_it_was_read(workplace: Path) -> None:
    row = {"text": "x", "id": "own id", "file": "own file", "reason": "own reason", "n": "many"}
    given = resolved(workplace, "d", "corpus", [row, {"text": "y", "n": 1}], columns={"n": "number"})
    made = ingest(IngestConfig(), Sources(edition="starter", datasets=[given]))
    (kept,) = iterate(made.path, "set_aside")
    assert json.loads(kept["record"]) == row
    assert (kept["id"], kept["file"], kept["reason"]) == ("d:1", "d.jsonl", "not-a-number")


def test_a_dataset_that_is_refused_is_told_with_the_column_of_its_file(toy: Path) -> None:
    lines = [{"q": f"Item {i}?", "a": "red", "r": "fine"} for i in range(20)]
    (toy / "data/ratings.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(DataError, match=r"20 of 20: 20 not-a-number \(column 'r' \(`rating` of the map\)\)"):
        ingest(IngestConfig(), sources.resolve(load("toy"), "starter", None))
