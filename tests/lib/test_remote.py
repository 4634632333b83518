"""Objects of a store, from an S3 server in a process of its own."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tasks.ingest import IngestConfig, ingest
from tasks.lib import digests
from tasks.lib.errors import DataError
from tasks.lib.sources import Sources, resolve
from tests.conftest import Run, write_toy
from tests.datasets import sourced, texts

SECRET = "the-secret-of-the-store"


@dataclass
class Store:
    """A running server, a client that fills its bucket, and the log of what it was asked."""

    client: Any
    log: Path

    def put(self, key: str, content: str) -> None:
        self.client.put_object(Bucket="bucket", Key=key, Body=content.encode())

    @property
    def fetched(self) -> list[str]:
        """The keys that were read so far, one for each time."""
        return re.findall(r'"GET /bucket/([^? ]+) HTTP', self.log.read_text())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("s3") / "log"
    with log.open("ab") as said:
        process = subprocess.Popen([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=said, stderr=said)
    for _ in range(600):
        with socket.socket() as probe:
            if process.poll() is not None or probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    assert process.poll() is None, log.read_text()
    yield f"http://127.0.0.1:{port}", log
    process.terminate()
    process.wait()


@pytest.fixture
def store(server: tuple[str, Path], workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    import boto3

    endpoint, log = server
    given = {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**given, "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="bucket")
    for found in client.list_objects_v2(Bucket="bucket").get("Contents", []):
        client.delete_object(Bucket="bucket", Key=found["Key"])
    log.write_text("")
    return Store(client, log)


def read(workplace: Path, source: dict[str, str], mirror: Path | None = None) -> tuple[Any, list[str]]:
    sources = resolve(sourced(workplace, source), "starter", mirror)
    return sources.datasets[0], texts(ingest(IngestConfig(), sources))


def test_an_object_is_kept_by_its_digest_and_fetched_again_only_when_it_changed(store: Store, workplace: Path) -> None:
    store.put("deep/notes.csv", "text\none\ntwo\n")
    first, found = read(workplace, {"url": "s3://bucket/deep/notes.csv"})
    assert found == ["one", "two"]
    (file,) = first.files
    assert file.name == "notes.csv"
    assert file.path == workplace / "runs/downloads" / digests.of_file(file.path)
    assert read(workplace, {"url": "s3://bucket/deep/notes.csv"})[0] == first
    assert store.fetched == ["deep/notes.csv"]
    store.put("deep/notes.csv", "text\none\nsix\n")
    second, found = read(workplace, {"url": "s3://bucket/deep/notes.csv"})
    assert found == ["one", "six"]
    assert len(store.fetched) == 2
    assert file.path.is_file(), "what was fetched before stays"
    second.files[0].path.unlink()
    assert read(workplace, {"url": "s3://bucket/deep/notes.csv"})[0] == second
    assert len(store.fetched) == 3
    assert sorted(path.name for path in (workplace / "runs/downloads").iterdir()) == sorted([file.sha256, second.sha256, "index.json"])


def test_an_object_whose_kept_file_was_spoilt_is_fetched_again(store: Store, workplace: Path) -> None:
    store.put("notes.csv", "text\none\n")
    first, _ = read(workplace, {"url": "s3://bucket/notes.csv"})
    path = first.files[0].path
    assert path is not None
    path.write_text("text\nspoilt\n")
    again, found = read(workplace, {"url": "s3://bucket/notes.csv"})
    assert (again, found) == (first, ["one"])
    assert store.fetched == ["notes.csv"] * 2
    path.write_text("text\nspoilt\n")
    assert read(workplace, {"url": "s3://bucket/notes.csv", "sha256": first.sha256})[1] == ["one"], "a pinned one too"


def test_where_an_object_lies_is_not_part_of_what_it_is(store: Store, workplace: Path) -> None:
    for key in ("here/notes.csv", "there/notes.csv"):
        store.put(key, "text\none\n")
    one, other = (read(workplace, {"url": f"s3://bucket/{place}/notes.csv"})[0] for place in ("here", "there"))
    assert one.identity() == other.identity()
    pattern = read(workplace, {"url": "s3://bucket/here/note*.csv"})[0]
    assert pattern.identity() != one.identity(), "its rows are called after their file"


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("s3://bucket/data/*.csv", ["a.csv", "b.csv"]),
        ("s3://bucket/data/", ["a.csv", "b.csv", "deep/c.csv"]),
        ("s3://bucket/data/**/*.csv", ["a.csv", "b.csv", "deep/c.csv"]),
        ("s3://bucket/*/*/c.csv", ["data/deep/c.csv"]),
    ],
)
def test_a_pattern_or_all_below_a_key_is_read_in_name_order(url: str, names: list[str], store: Store, workplace: Path) -> None:
    for key in ("data/b.csv", "data/a.csv", "data/deep/c.csv", "other/d.csv"):
        store.put(key, f"text\n{Path(key).name}\n")
    store.put("data/empty/", "")  # what a console makes for a folder
    store.put("data/.hidden.csv", "text\nnot this\n")
    resolved, found = read(workplace, {"url": url})
    assert [file.name for file in resolved.files] == names
    assert found == [Path(name).name for name in names]
    pinned = read(workplace, {"url": url, "sha256": resolved.sha256})[0]
    assert pinned.identity() == resolved.identity()
    with pytest.raises(DataError, match="pin the new digest"):
        read(workplace, {"url": url, "sha256": "0" * 64})


def test_a_pinned_object_comes_from_the_mirror_first(store: Store, workplace: Path) -> None:
    (workplace / "mirror").mkdir()
    (workplace / "mirror/whatever").write_text("text\nfrom the mirror\n")
    source = {"url": "s3://bucket/notes.csv", "sha256": digests.of_file(workplace / "mirror/whatever")}
    assert read(workplace, source, workplace / "mirror")[1] == ["from the mirror"]
    assert store.log.read_text() == "", "the store was not asked"
    store.put("notes.csv", "text\nfrom the mirror\n")
    assert read(workplace, source)[1] == ["from the mirror"]
    assert store.fetched == ["notes.csv"]
    assert read(workplace, source)[1] == ["from the mirror"]
    assert store.fetched == ["notes.csv"]
    with pytest.raises(DataError, match="pin the new digest"):
        read(workplace, {**source, "sha256": "0" * 64})


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://bucket/nothing.csv", "cannot be read"),
        ("s3://bucket/no*.csv", "none"),
        ("s3://bucket/nothing/", "none|cannot be read"),
        ("s3://no-such-bucket/notes.csv", "cannot be read"),
        ("s3://bucket/data", "end the address in /"),
    ],
)
def test_what_is_not_there_is_told_and_leaves_nothing(url: str, said: str, store: Store, workplace: Path) -> None:
    store.put("data/notes.csv", "text\none\n")
    with pytest.raises(DataError, match=said) as caught:
        read(workplace, {"url": url})
    assert SECRET not in str(caught.value)
    assert not [path for path in workplace.rglob("*") if path.is_file()]


def test_a_name_with_a_control_character_is_refused(store: Store, workplace: Path) -> None:
    store.put("data/a\tb.csv", "text\none\n")
    with pytest.raises(DataError, match=r"a\\tb\.csv"):
        read(workplace, {"url": "s3://bucket/data/*"})


@pytest.mark.parametrize("change", [{"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}])
def test_a_store_that_is_away_or_a_user_without_keys_is_told(
    change: dict[str, str], store: Store, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    for name, value in change.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    with pytest.raises(DataError, match="credentials"):
        read(workplace, {"url": "s3://bucket/notes.csv"})


def test_an_object_that_changes_between_plan_and_reading_is_read_as_planned(store: Store, workplace: Path) -> None:
    store.put("notes.csv", "text\none\n")
    sources: Sources = resolve(sourced(workplace, {"url": "s3://bucket/notes.csv"}), "starter", None)
    store.put("notes.csv", "text\ntwo\n")
    assert texts(ingest(IngestConfig(), sources)) == ["one"]
    path = sources.datasets[0].files[0].path
    assert path is not None
    path.write_text("text\nspoilt\n")
    with pytest.raises(DataError, match="as it was when the run began"):
        ingest(IngestConfig(max_set_aside=0.4), sources)


def test_a_domain_with_an_object_is_checked_planned_and_explained(store: Store, cli: Run, workplace: Path) -> None:
    toy = write_toy(workplace)
    store.put("documents.jsonl", (toy / "data/documents.jsonl").read_text())
    (toy / "data/documents.jsonl").unlink()
    card = toy / "domain.yaml"
    card.write_text(card.read_text().replace("{path: data/documents.jsonl}", '{url: "s3://bucket/documents.jsonl"}'))
    done = cli("check", "toy", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["datasets"][0]["file"] == "documents.jsonl"
    planned = cli("plan", "toy", "--json")
    assert planned.returncode == 0, planned.stderr
    states = {row["stage"]: row["state"] for row in json.loads(planned.stdout)["stages"]}
    assert states["ingest"] == states["split"] == "cached"
    assert "ingest: cached" in cli("why", "toy", "ingest").stdout
    assert store.fetched == ["documents.jsonl"]
    shown = cli("rows", "toy", "--set-aside", "--json")
    assert json.loads(shown.stdout.splitlines()[0])["id"].startswith("documents:")
    written = "".join(file.read_text(errors="replace") for file in (workplace / "runs").rglob("*") if file.is_file())
    assert SECRET not in written
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == SECRET
