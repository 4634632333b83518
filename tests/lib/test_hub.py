"""Datasets of the hub: from a server that speaks its protocol, then from the cache that this leaves."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import ROOT, Run, write_toy

REVISION = "0123456789abcdef0123456789abcdef01234567"
DATASET = "someone/notes"
OFFLINE, ONLINE = {"HF_HUB_OFFLINE": "1"}, {"HF_HUB_OFFLINE": "0"}


@dataclass
class Hub:
    """A running server, and the environment of a client that knows it."""

    folder: Path
    port: str
    client: dict[str, str] = field(default_factory=dict)

    @property
    def asked(self) -> list[str]:
        file = self.folder / "asked"
        return [line for line in file.read_text().splitlines() if DATASET in line] if file.is_file() else []


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    folder = tmp_path / "hub"
    commit = folder / DATASET / REVISION
    (commit / "data/old").mkdir(parents=True)
    for part in (1, 0):
        rows = [{"text": f"note {i} of part {part} is about {'cats' if i % 2 else 'dogs'}"} for i in range(40)]
        (commit / f"data/train-{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (commit / "data/old/train-9.jsonl").write_text('{"text": "old"}\n')
    (commit / "notes.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')")  # a dataset script
    server = subprocess.Popen([sys.executable, "-m", "tests.hub", str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    port = server.stdout.readline().strip()
    client = {"HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    yield Hub(folder, port, client)
    server.terminate()
    server.wait()
    assert not (tmp_path / "canary").exists(), "a dataset script ran"


def toy_from_hub(workplace: Path, files: str, revision: str = REVISION) -> None:
    card = write_toy(workplace) / "domain.yaml"
    source = f'{{hub: {DATASET}, revision: "{revision}", files: "{files}"}}'
    card.write_text(card.read_text().replace("{path: data/documents.jsonl}", source))


def ledger(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    assert done.returncode == 0, done.stderr
    return next(line for line in json.loads(done.stdout)["datasets"] if line["name"] == "documents")


@pytest.mark.long
def test_files_are_fetched_once_when_the_hub_may_be_asked_and_then_come_from_the_cache(hub: Hub, cli: Run, workplace: Path) -> None:
    toy_from_hub(workplace, "data/train-*.jsonl")
    refused = cli("check", "toy", **hub.client)
    assert refused.returncode == 3
    assert "HF_HUB_OFFLINE=0" in refused.stderr
    assert hub.asked == [], "the hub is out of reach by default"
    first = ledger(cli("check", "toy", "--json", **hub.client, **ONLINE))
    assert (first["file"], first["rows_in"]) == ("2 files", 80)
    fetched = [line.rpartition("/")[2] for line in hub.asked if line.startswith("GET /datasets/")]
    assert sorted(fetched) == ["train-0.jsonl", "train-1.jsonl"], "nothing else is fetched"
    before = len(hub.asked)
    assert ledger(cli("check", "toy", "--json", **hub.client, **ONLINE)) == first
    assert ledger(cli("check", "toy", "--json", **hub.client, **OFFLINE)) == first
    assert len(hub.asked) == before
    planned = cli("plan", "toy", "--json", **hub.client)
    assert planned.returncode == 0, planned.stderr
    assert {row["state"] for row in json.loads(planned.stdout)["stages"] if row["stage"] in ("ingest", "split")} == {"cached"}
    shown = cli("rows", "toy", "--json", **hub.client)
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout.splitlines()[0])["id"].startswith("documents:data/train-0.jsonl:")


@pytest.mark.long
def test_one_file_needs_no_list_of_files(hub: Hub, cli: Run, workplace: Path) -> None:
    toy_from_hub(workplace, "data/train-1.jsonl")
    line = ledger(cli("check", "toy", "--json", **hub.client, **ONLINE))
    assert (line["file"], line["rows_in"]) == ("data/train-1.jsonl", 40)
    shutil.rmtree(next((workplace / "home/hub").glob("datasets--*/trees")))
    assert ledger(cli("check", "toy", "--json", **hub.client)) == line


@pytest.mark.long
def test_a_cache_that_may_lack_files_is_not_taken_for_all_of_them(hub: Hub, cli: Run, workplace: Path) -> None:
    toy_from_hub(workplace, "data/train-1.jsonl")
    ledger(cli("check", "toy", "--json", **hub.client, **ONLINE))
    card = workplace / "domains/toy/domain.yaml"
    card.write_text(card.read_text().replace("train-1", "train-*"))
    for lost in (None, "datasets--*/trees"):  # with the list of files, one of them is missing; without, none can be known to be
        if lost:
            shutil.rmtree(next((workplace / "home/hub").glob(lost)))
        refused = cli("check", "toy", **hub.client)
        assert refused.returncode == 3, refused.stderr
        assert "not in the local hub cache" in refused.stderr


def test_a_pattern_that_finds_nothing_is_told_what_there_is(hub: Hub, cli: Run, workplace: Path) -> None:
    toy_from_hub(workplace, "train-*.parquet")
    done = cli("check", "toy", **hub.client, **ONLINE)
    assert done.returncode == 3
    assert "no such file" in done.stderr
    assert "'data/train-0.jsonl', 'data/train-1.jsonl', 'notes.py'" in done.stderr


@pytest.mark.parametrize("away", [False, True])
def test_a_commit_or_a_hub_that_is_not_there_is_told(away: bool, hub: Hub, cli: Run, workplace: Path) -> None:
    toy_from_hub(workplace, "data/*.jsonl", "f" * 40)
    endpoint = {"HF_ENDPOINT": "http://127.0.0.1:1"} if away else {}
    done = cli("check", "toy", **{**hub.client, **ONLINE, **endpoint})
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert "cannot be fetched" in done.stderr
    assert not (Path(os.fspath(workplace)) / "runs/artifacts").exists()
