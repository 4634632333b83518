"""What a card may say of where its data come from, and what it may not."""

import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest

from tasks.lib.config import build
from tasks.lib.domain import DomainCard
from tasks.lib.errors import ConfigError, DataError
from tasks.lib.sources import resolve
from tests.conftest import ROOT
from tests.datasets import sourced

REVISION = "0123456789abcdef0123456789abcdef01234567"
SHA = "0" * 64
QUERY = "SELECT text FROM notes ORDER BY id"
HUB = {"hub": "someone/set", "revision": REVISION}


def card(source: dict[str, Any], **more: Any) -> DomainCard:
    given = {"name": "d", "role": "corpus", "source": source, "licence": "MIT", "kind": "public", "map": {"text": "{text}"}, **more}
    return build(DomainCard, {"purpose": "p", "owner": "o", "risk": "low", "licences": ["MIT"], "datasets": [given]}, "the card")


GOOD: dict[str, dict[str, Any]] = {
    "key.csv": {"url": "s3://bucket/deep/key.csv"},
    "*.csv": {"url": "gs://bucket/deep/*.csv", "sha256": SHA},
    "": {"url": "abfs://container@account.dfs.core.windows.net/all/below/"},
    "rows.csv": {"url": "https://example.org/rows.csv", "sha256": SHA},
    "data/train-*.parquet": {**HUB, "files": "data/train-*.parquet"},
    "d.parquet": {"sql": QUERY, "database": "WAREHOUSE_URL"},
}


@pytest.mark.parametrize("name", GOOD)
def test_ledgers_call_it_by_its_own_name(name: str) -> None:
    (dataset,) = card(GOOD[name]).datasets
    assert dataset.file_name == name


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "local:///etc/passwd",
        "memory://x/y.csv",
        "http://example.org/rows.csv",
        "zip://rows.csv::s3://bucket/rows.zip",
        "s3://bucket/rows.zip::file:///etc/passwd",
        "simplecache::s3://bucket/key.csv",
        "reference://x/y",
        "dir://x/y",
        "git://x/y",
        "hf://datasets/someone/set/x.csv",
        "FILE:///etc/passwd",
        "/etc/passwd",
        "~/rows.csv",
        "s3://bucket/~/rows.csv",
        "s3://bucket/../other/rows.csv",
        "s3://bucket/rows\n.csv",
        "s3://bucket/rows\0.csv",
        "s3://bucket",
        "s3://bucket/",
        "s3://*/rows.csv",
        "s3:///rows.csv",
        "hdfs:///etc/passwd",
        "s3://bucket/rows.csv?versionId=1",
        "s3://bucket\\rows.csv",
        "",
        7,
        None,
    ],
)
def test_an_address_that_is_of_no_remote_store_is_refused_when_the_card_is_read(url: Any) -> None:
    with pytest.raises(ConfigError, match=r"datasets\.0\.source"):
        card({"url": url})


@pytest.mark.parametrize(
    "files", ["../x.csv", "/etc/passwd", "~/x.csv", "a\nb.csv", "a\0.csv", "file://x", "zip://a::b", "a\\b", "", "a/../b"]
)
def test_a_path_that_leaves_a_repository_is_refused(files: str) -> None:
    with pytest.raises(ConfigError, match="inside a repository"):
        card({**HUB, "files": files})


@pytest.mark.parametrize(
    "change", [{"revision": "main"}, {"revision": REVISION[:-1] + "\n"}, {"hub": "../set"}, {"hub": "set"}, {"hub": "a/b\n"}]
)
def test_a_branch_or_an_odd_repository_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=f"source.{next(iter(change))}"):
        card({**HUB, "files": "x.csv", **change})


SECRET = "s3cr3t"


@pytest.mark.parametrize(
    "source",
    [
        {"url": f"s3://KEY:{SECRET}@bucket/key.csv"},
        {"url": f"https://me:{SECRET}@example.org/rows.csv", "sha256": SHA},
        {"sql": QUERY, "database": f"postgresql://me:{SECRET}@host/db"},
    ],
)
def test_a_secret_in_a_card_is_refused_and_not_shown(source: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        card(source)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert "environment" in str(caught.value)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT text, x::date FROM notes WHERE text LIKE '%;%' ORDER BY id;",
        "WITH n AS (SELECT 1 AS text) SELECT * FROM n ORDER BY 1 LIMIT 5",
        "(SELECT text FROM a) UNION (SELECT text FROM b) ORDER BY text -- last",
        "select text\nfrom notes\norder   by id",
    ],
)
def test_one_ordered_query_is_taken(sql: str) -> None:
    card({"sql": sql, "database": "WAREHOUSE_URL"})


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT text FROM notes", "ORDER BY"),
        ("SELECT text FROM (SELECT text FROM notes ORDER BY id) x", "ORDER BY"),
        ("SELECT row_number() OVER (ORDER BY id) FROM notes", "ORDER BY"),
        ("SELECT text FROM notes -- ORDER BY id", "ORDER BY"),
        ("SELECT 'ORDER BY' FROM notes", "ORDER BY"),
        (f"{QUERY}; DROP TABLE notes", "one statement"),
        ("DELETE FROM notes", "one statement"),
        ("COPY notes TO '/tmp/x'", "one statement"),
        ("", "one statement"),
        ("-- nothing", "one statement"),
        ("(" * 3000, ""),
    ],
)
def test_what_is_no_ordered_query_is_refused_with_the_reason(sql: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        card({"sql": sql, "database": "WAREHOUSE_URL"})


@pytest.mark.parametrize("place", [{}, {"database": "A", "sqlite": "data/x.db"}, {"sqlite": "data/*.db"}])
def test_a_query_has_one_place(place: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="sqlite"):
        card({"sql": QUERY, **place})


@pytest.mark.parametrize("key", [{"format": "csv"}, {"encoding": "cp1252"}, {"delimiter": ";"}, {"sheet": "x"}])
def test_what_is_said_of_files_is_not_said_of_a_query(key: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=next(iter(key))):
        card(GOOD["d.parquet"], **key)


@pytest.mark.parametrize(
    "path", ["../x.db", "/etc/passwd", "~/x.db", "file:///etc/passwd", "data/a\nb.db", "data/\0.db", "data/missing.db"]
)
def test_an_sqlite_file_lies_in_the_domain_folder(path: str, workplace: Path) -> None:
    with pytest.raises(DataError):
        resolve(sourced(workplace, {"sql": QUERY, "sqlite": path}), "starter", None)
    assert not (workplace / "runs/downloads").exists()


def test_a_store_without_its_driver_names_the_package(workplace: Path) -> None:
    with pytest.raises(ConfigError, match="ocifs"):
        resolve(sourced(workplace, {"url": "oci://bucket/key.csv"}), "starter", None)


def test_cards_and_sources_load_no_driver() -> None:
    drivers = ("sqlalchemy", "psycopg", "s3fs", "fsspec", "botocore", "huggingface_hub", "sqlparse")
    program = f"import sys, tasks.lib.sources, flows.cli; print([name for name in {drivers} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
