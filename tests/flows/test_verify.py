"""What lies in the store is compared with its records; older artifacts are found by id and by version."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import slmforge

DIFFERS = 3


@pytest.fixture
def place(adapted: Path, tmp_path: Path) -> Path:
    """The adapted working directory, moved elsewhere: a test may change it."""
    copied = tmp_path / "moved"
    shutil.copytree(adapted, copied)
    return copied


def verified(place: Path, *words: str, code: int = 0, **extra: str) -> dict[str, Any]:
    done = slmforge("verify", *words, "--json", cwd=place, **extra)
    assert done.returncode == code, done.stderr + done.stdout
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def one(place: Path, pattern: str) -> Path:
    (found,) = (place / "runs/artifacts").glob(pattern)
    return found


def flip(file: Path) -> None:
    """Change one byte in the middle."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_what_is_as_it_was_is_counted(place: Path) -> None:
    everything = verified(place)
    records = [json.loads(file.read_text()) for file in (place / "runs/artifacts").glob("*/[!.]*/artifact.json")]
    assert everything["differences"] == []
    assert everything["artifacts"] == len(records) == 19
    assert everything["files"] == sum(len(record["files"]) for record in records)
    assert everything["bytes"] == sum(entry["bytes"] for record in records for entry in record["files"])
    (version,) = everything["versions"]
    assert version["registry"] == version["lineage_sha256"]
    assert verified(place, "toy") == everything
    assert verified(place, "toy", "--version", "1")["artifacts"] == 18, "all but the report, which the version does not stand on"
    assert verified(place, one(place, "tune/[!.]*/artifact.json").parent.relative_to(place / "runs/artifacts").as_posix())["artifacts"] == 1
    said = slmforge("verify", "toy", cwd=place).stdout
    assert "toy version 1: lineage sha256" in said
    assert "the registry has the same" in said
    assert "19 artifacts, " in said
    assert said.endswith("read: all as recorded\n")


def test_one_flipped_byte_is_named_with_what_to_do(place: Path) -> None:
    file = one(place, "tune/*/model.safetensors")
    flip(file)
    (found,) = verified(place, "toy", "--version", "1", code=DIFFERS)["differences"]
    assert found["file"] == str(file)
    assert found["expected"].startswith(f"{file.stat().st_size:,} bytes with sha256 ")
    assert found["found"] != found["expected"]
    assert f"delete the folder {file.parent}" in found["remedy"]
    done = slmforge("verify", f"tune/{file.parent.name}", cwd=place)
    assert done.returncode == DIFFERS
    assert str(file) in "".join(done.stdout.split("\n"))
    assert "1 differ" in done.stdout
    assert verified(place, f"align/{one(place, 'align/[!.]*/artifact.json').parent.name}")["differences"] == []


def test_a_flipped_byte_of_the_lineage_is_named(place: Path) -> None:
    file = one(place, "register/*/lineage.json")
    flip(file)
    for words in ((), ("toy",), ("toy", "--version", "1")):
        found = verified(place, *words, code=DIFFERS)["differences"]
        assert {difference["file"] for difference in found} == {str(file)}
        assert any("as the record of register says" in difference["expected"] for difference in found)
        assert any("evidence/lineage.json" in difference["remedy"] for difference in found)


def test_a_changed_record_a_lost_file_and_one_too_many_are_named(place: Path) -> None:
    record = one(place, "clean/[!.]*/artifact.json")
    content = json.loads(record.read_text())
    content["facts"]["ledger"][0]["rows_used"] += 1
    record.write_text(json.dumps(content))
    lost, added = one(place, "align/*/config.json"), one(place, "dedup/[!.]*/artifact.json").with_name("more.txt")
    lost.unlink()
    added.write_text("more")
    one(place, "check/[!.]*/artifact.json").write_text("{")
    found = {Path(difference["file"]): difference for difference in verified(place, "toy", code=DIFFERS)["differences"]}
    assert found[record]["expected"].startswith("digest of files and facts ")
    assert found[lost]["found"] == "nothing"
    assert found[added]["expected"] == "no such file: the record does not name it"
    assert len(found) == 4


def test_files_and_record_changed_together_differ_from_the_lineage(place: Path) -> None:
    """As somebody does who can write to the runs folder and knows how records are made."""
    from tasks.lib import digests, store

    file = one(place, "align/*/config.json")
    file.write_text(file.read_text() + " ")
    record = store.Record.model_validate_json((file.parent / "artifact.json").read_bytes())
    entries = [
        store.FileEntry(path=entry.path, bytes=file.stat().st_size, sha256=digests.of_file(file)) if entry.path == file.name else entry
        for entry in record.files
    ]
    changed = record.model_copy(update={"files": entries, "digest": store.content_digest(entries, record.facts)})
    (file.parent / "artifact.json").write_text(changed.model_dump_json())
    assert verified(place, record.id)["differences"] == []
    (found,) = verified(place, "toy", code=DIFFERS)["differences"]
    assert "as the lineage of version 1 says" in found["expected"]
    assert found["file"] == str(file.parent / "artifact.json")


def test_the_registrys_tag_is_compared_where_it_can_be_reached(place: Path) -> None:
    with closing(sqlite3.connect(place / "runs/tracking/mlflow.db")) as registry, registry:
        registry.execute("update model_version_tags set value = ? where key = 'slmforge.lineage_sha256'", ("0" * 64,))
    uri = f"sqlite:///{place / 'runs/tracking/mlflow.db'}"
    for extra in ({}, {"MLFLOW_TRACKING_URI": uri}):
        (found,) = verified(place, "toy", code=DIFFERS, **extra)["differences"]
        assert found["file"] == "tag slmforge.lineage_sha256 of version 1 of 'toy' in MLflow"
        assert found["found"] == "000000000000…"
    away = verified(place, "toy", MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert away["versions"][0]["registry"].startswith("not compared: ")


def test_what_is_not_there_cannot_be_verified(place: Path) -> None:
    done = slmforge("verify", "toy", "--version", "7", cwd=place)
    assert done.returncode == 2
    assert "versions in this runs folder: toy 1" in done.stderr
    assert "slmforge verify NAME --version N" in slmforge("verify", "--version", "1", cwd=place).stderr
    assert "none of other" in slmforge("verify", "other", cwd=place).stderr


def shown(place: Path, *words: str) -> dict[str, Any]:
    done = slmforge("show", "toy", *words, cwd=place)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.long
def test_an_older_artifact_is_shown_by_its_id_and_by_its_version(place: Path) -> None:
    old = shown(place, "split")
    assert slmforge("check", "toy", "split.valid=0.2", cwd=place).returncode == 0
    new = shown(place, "split")
    assert new["id"] != old["id"]
    assert shown(place, old["id"]) == shown(place, "split", "--version", "1") == old
    assert shown(place, "evaluate:tune", "--version", "1")["facts"]["subject"] == "tune"
    assert shown(place, "register", "--version", "1")["facts"]["version"] == "1"
    assert shown(place, "report", "--version", "1")["stage"] == "report"
    assert "valid: 0.05" in slmforge("show", "toy", "--version", "1", cwd=place).stdout

    several = slmforge("show", "toy", "evaluate", "--version", "1", cwd=place)
    assert several.returncode == 2
    assert "evaluate:align" in several.stderr
    near = slmforge("show", "toy", old["id"][:-1], cwd=place)
    assert near.returncode == 2
    assert f"near ones: {old['id']}" in near.stderr
    assert "give an id, or a stage" in slmforge("show", "toy", old["id"], "--version", "1", cwd=place).stderr

    def parts(*words: str) -> int:
        lines = slmforge("rows", "toy", *words, "--limit", "9999", "--json", cwd=place).stdout.splitlines()
        return sum(json.loads(line)["part"].endswith("-valid") for line in lines)

    assert parts(old["id"]) == parts("--version", "1") < parts("split.valid=0.2") == parts(new["id"])
    aside = [slmforge("rows", "toy", *words, "--set-aside", cwd=place).stdout for words in ((), ("--version", "1"), (old["id"],))]
    assert len(set(aside)) == 1
    assert "empty-answer" in aside[0]
    done = slmforge(
        "rows", "toy", one(place, "ingest/[!.]*/artifact.json").parent.relative_to(place / "runs/artifacts").as_posix(), cwd=place
    )
    assert done.returncode == 2
    assert "data stages there are: ingest" in done.stderr
