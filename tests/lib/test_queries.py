"""Rows of a query: from SQLite files and from a PostgreSQL server that the test starts."""

import json
import shutil
import sqlite3
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq
import pytest

from tasks.check import CheckConfig, check
from tasks.ingest import IngestConfig, ingest
from tasks.lib import digests, lineage, queries
from tasks.lib.domain import Expectations
from tasks.lib.errors import ConfigError, DataError
from tasks.lib.sources import Sources, resolve
from tests.conftest import Run, write_toy
from tests.datasets import sourced, texts
from tests.postgres import PASSWORD, connect, running

QUERY = "SELECT text FROM notes ORDER BY id"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running() as port:
        yield port


@pytest.fixture
def postgres(port: int, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> "Iterator[psycopg.Connection[Any]]":
    monkeypatch.setenv("WAREHOUSE_URL", url(port))
    connection = connect(port)
    connection.execute("DROP TABLE IF EXISTS notes")
    connection.execute("CREATE TABLE notes (id int, text text)")
    connection.execute("INSERT INTO notes SELECT i, 'note ' || i FROM generate_series(1, 10) i")
    yield connection
    connection.close()


def url(port: int, password: str = "s3cr3t%40pass%2Fword", **settings: str) -> str:
    return f"postgresql://owner:{password}@127.0.0.1:{port}/postgres" + "".join(f"?{key}={value}" for key, value in settings.items())


def asked(sql: str, **place: str) -> dict[str, str]:
    return {"sql": sql, **(place or {"database": "WAREHOUSE_URL"})}


def read(workplace: Path, source: dict[str, str], mirror: Path | None = None) -> tuple[Any, list[str]]:
    sources = resolve(sourced(workplace, source), "starter", mirror)
    return sources.datasets[0], texts(ingest(IngestConfig(), sources))


def columns(sql: str) -> dict[str, Any]:
    """The columns of a query's one row."""
    path, _, _ = queries.snapshot(sql, "WAREHOUSE_URL", "d")
    (row,) = pq.read_table(path).to_pylist()
    return dict(row)


def clinic(workplace: Path, *statements: str) -> Path:
    file = workplace / "data" / "clinic.db"
    file.parent.mkdir(exist_ok=True)
    connection = sqlite3.connect(file)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    return file


def test_rows_of_a_server_are_a_snapshot_that_is_known_by_its_digest(postgres: "psycopg.Connection[Any]", workplace: Path) -> None:
    first, found = read(workplace, asked(QUERY))
    assert found == [f"note {i}" for i in range(1, 11)]
    (file,) = first.files
    assert file.name == "d.parquet"
    assert file.path == workplace / "runs/downloads" / digests.of_file(file.path)
    assert first.sha256 == file.sha256
    postgres.execute("INSERT INTO notes VALUES (11, 'one more')")
    second, found = read(workplace, asked(QUERY))
    assert found[-1] == "one more"
    assert second.sha256 != first.sha256
    postgres.execute("DELETE FROM notes WHERE id = 11")
    third, _ = read(workplace, asked(f"{QUERY} -- said otherwise"))
    assert third.identity() == first.identity(), "the same rows are the same dataset, whatever the query"
    assert sorted(path.name for path in (workplace / "runs/downloads").iterdir()) == sorted([first.sha256, second.sha256])


def test_the_same_rows_give_the_same_bytes_however_they_are_stored(postgres: "psycopg.Connection[Any]", workplace: Path) -> None:
    select = "SELECT text, id FROM notes ORDER BY id"
    here = queries.snapshot(select, "WAREHOUSE_URL", "d")[1]
    postgres.execute("CREATE INDEX ON notes (text)")
    postgres.execute("UPDATE notes SET text = text WHERE id % 2 = 0")
    assert queries.snapshot(select, "WAREHOUSE_URL", "d")[1] == here
    rows = ", ".join(f"({i}, 'note {i}')" for i in range(10, 0, -1))
    file = clinic(workplace, "CREATE TABLE notes (id, text)", f"INSERT INTO notes VALUES {rows}")
    assert queries.snapshot(select, file, "d")[1] == here
    assert queries.snapshot(f"{select} DESC", file, "d")[1] != here


def test_every_type_is_written_exactly(postgres: "psycopg.Connection[Any]", monkeypatch: pytest.MonkeyPatch) -> None:
    select = """SELECT 0.10000000000000000000000000001::numeric AS decimal, 10::numeric(10, 3) AS scaled, 9223372036854775807::bigint AS whole,
        0.1::float8 AS real, true AS truth, NULL::int AS nothing, '\\x00ff'::bytea AS raw, 'Zoë' AS text, date '2024-02-29' AS day,
        timestamp '2024-02-29 12:30:00.5' AS moment, timestamptz '2024-02-29 12:30:00+02' AS zoned,
        '{"a": 0.10000000000000000000000000001}'::json AS document, array[1.50, 2] AS list, 'a%(b)s:c%' AS marks ORDER BY 1"""
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")
    assert columns(select) == {
        "decimal": "0.10000000000000000000000000001",
        "scaled": "10.000",
        "whole": 9223372036854775807,
        "real": 0.1,
        "truth": True,
        "nothing": None,
        "raw": b"\x00\xff",
        "text": "Zoë",
        "day": "2024-02-29",
        "moment": "2024-02-29T12:30:00.500000",
        "zoned": "2024-02-29T10:30:00+00:00",
        "document": '{"a": 0.10000000000000000000000000001}',
        "list": '["1.50", "2"]',
        "marks": "a%(b)s:c%",
    }


def test_it_is_read_only_and_one_statement_and_comes_in_batches(postgres: "psycopg.Connection[Any]", workplace: Path) -> None:
    assert columns("SELECT current_setting('transaction_read_only') AS r ORDER BY 1") == {"r": "on"}
    (cursor,) = columns("SELECT statement FROM pg_cursors ORDER BY 1").values()
    assert "CURSOR FOR" in cursor, "the server keeps the rows and sends a batch at a time"
    postgres.execute("CREATE OR REPLACE FUNCTION spoil() RETURNS text LANGUAGE sql AS $$DELETE FROM notes RETURNING text$$")
    for sql in (
        "SELECT spoil() AS text ORDER BY 1",
        "SELECT set_config('transaction_read_only', 'off', true) AS text, spoil() ORDER BY 1",
        "WITH gone AS (DELETE FROM notes RETURNING text) SELECT text FROM gone ORDER BY 1",
    ):
        with pytest.raises(DataError, match="only reading is allowed"):
            read(workplace, asked(sql))
    with pytest.raises(DataError, match="SyntaxError"):  # past the card
        queries.snapshot("SELECT 1 AS text ORDER BY 1; COMMIT; DELETE FROM notes", "WAREHOUSE_URL", "d")
    assert postgres.execute("SELECT count(*) FROM notes").fetchone() == (10,)
    assert not list((workplace / "runs/downloads").glob("*.*"))


def test_more_rows_than_a_batch_all_arrive(postgres: "psycopg.Connection[Any]", workplace: Path) -> None:
    rows = 2 * queries.BATCH + 1
    sql = f"SELECT 'row ' || i AS text, CASE WHEN i > {queries.BATCH} THEN i END AS late FROM generate_series(1, {rows}) i ORDER BY i"
    given, found = read(workplace, asked(sql))
    assert found == [f"row {i}" for i in range(1, rows + 1)]
    table = pq.read_table(given.files[0].path)
    assert str(table.schema.field("late").type) == "int64", "the type is that of all rows, not of the first batch"
    assert table["late"].null_count == queries.BATCH


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "nothing"),
        ("", "nothing"),
        ("postgresql://owner:s3cr3t@pass:word@host:port/x", "no URL"),
        ("s3cr3t", "no URL"),
        ("sqlite:///s3cr3t.db", "sqlite"),
        ("mysql://owner:s3cr3t@host/x", "read only"),
    ],
)
def test_a_variable_that_holds_no_such_url_is_refused_and_not_shown(
    value: str | None, said: str, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAREHOUSE_URL", value) if value is not None else monkeypatch.delenv("WAREHOUSE_URL", raising=False)
    with pytest.raises(ConfigError, match=said) as caught:
        read(workplace, asked(QUERY))
    assert "WAREHOUSE_URL" in str(caught.value)
    assert "s3cr3t" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "change", [{"password": "wr0ng-s3cr3t"}, {"options": "-c%20nonsense%3Ds3cr3t"}, {"passfile": "s3cr3t", "password": ""}]
)
def test_what_the_driver_says_is_told_without_the_password(
    change: dict[str, str], postgres: "psycopg.Connection[Any]", port: int, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAREHOUSE_URL", url(port, **change))
    with pytest.raises(DataError, match=f"127.0.0.1:{port}") as caught:
        read(workplace, asked(QUERY))
    assert "s3cr3t" not in "".join(traceback.format_exception(caught.value))


def test_a_value_that_no_date_can_hold_and_a_query_that_fails_are_told(postgres: "psycopg.Connection[Any]", workplace: Path) -> None:
    with pytest.raises(DataError, match="no_such_table"):
        read(workplace, asked("SELECT text FROM no_such_table ORDER BY 1"))
    with pytest.raises(DataError, match="found: DataError;") as caught:
        read(workplace, asked("SELECT 'infinity'::date AS text ORDER BY 1"))
    assert "infinity" not in str(caught.value)
    with pytest.raises(DataError, match=r"'text' more than once.*\n.*AS"):
        read(workplace, asked("SELECT text, text FROM notes ORDER BY id"))
    with pytest.raises(DataError, match="at least one row"):
        read(workplace, asked("SELECT text FROM notes WHERE false ORDER BY id"))


@pytest.mark.parametrize(
    ("select", "kind"),
    [
        ("text::int::text", "InvalidTextRepresentation"),
        ("text::date::text", "InvalidDatetimeFormat"),
        ("to_tsquery(text)::text", "SyntaxError"),
        ("text::regclass::text", "InvalidName"),
        ("complain(text)", "RaiseException"),
    ],
)
def test_what_the_driver_says_of_a_row_is_not_told(select: str, kind: str, postgres: "psycopg.Connection[Any]", workplace: Path) -> None:
    postgres.execute("UPDATE notes SET text = 'Jane Doe' WHERE id = 3")
    postgres.execute(
        "CREATE OR REPLACE FUNCTION complain(t text) RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'no %', t; END$$"
    )
    with pytest.raises(DataError, match=f"found: {kind};") as caught:
        read(workplace, asked(f"SELECT {select} AS text FROM notes WHERE id = 3 ORDER BY id"))
    assert "Jane" not in "".join(traceback.format_exception(caught.value))


def test_what_the_driver_says_of_the_statement_or_the_rights_is_told(
    postgres: "psycopg.Connection[Any]", port: int, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match='syntax error at or near "FROM"'):
        read(workplace, asked("SELECT text, FROM notes ORDER BY id"))
    with pytest.raises(DataError, match='column "txt" does not exist'):
        read(workplace, asked("SELECT txt FROM notes ORDER BY id"))
    postgres.execute(f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'")
    monkeypatch.setenv("WAREHOUSE_URL", url(port).replace("owner", "reader"))
    with pytest.raises(DataError, match="permission denied for table notes"):
        read(workplace, asked(QUERY))


def test_a_quote_that_the_check_reads_otherwise_than_the_server_drops_nothing(postgres: "psycopg.Connection[Any]", workplace: Path) -> None:
    for second in ("DROP TABLE notes", "COMMIT; DROP TABLE notes"):
        sql = f"SELECT '\\' ; {second}; --' ORDER BY 1"
        assert sourced(workplace, asked(sql)), "for the check of the card this is one text"
        with pytest.raises(DataError, match="SyntaxError"):
            read(workplace, asked(sql))
        assert postgres.execute("SELECT count(*) FROM notes").fetchone() == (10,)


def test_sqlite_tells_of_the_statement_and_not_of_a_row(workplace: Path) -> None:
    clinic(workplace, "CREATE TABLE notes (id, text)", "INSERT INTO notes VALUES (1, CAST(x'ff4a616e65' AS TEXT)), (2, 'Jane')")
    for select, said in (
        ("text", "OperationalError in the column 'text';"),
        ("json_extract('{}', text)", "OperationalError;"),
        ("no_such_column", "no such column: no_such_column"),
        ("text FROM", "syntax error"),
        ("'\\' ; DROP TABLE notes; --' ", "one statement at a time"),
    ):
        with pytest.raises(DataError, match=said) as caught:
            read(
                workplace,
                asked(f"SELECT {select} AS text FROM notes WHERE id > {0 if select == 'text' else 1} ORDER BY id", sqlite="data/clinic.db"),
            )
        assert "Jane" not in "".join(traceback.format_exception(caught.value))


def test_the_lineage_names_query_variable_and_server_and_no_secret(postgres: "psycopg.Connection[Any]", port: int, workplace: Path) -> None:
    loaded = sourced(workplace, asked(QUERY))
    sources = resolve(loaded, "starter", None)
    rows = ingest(IngestConfig(), sources)
    checked = check(CheckConfig(), Expectations(corpus=[{"expect_column_values_to_not_be_null": {"column": "text"}}]), rows)
    made = lineage.build(lineage.declare(loaded.duties, sources), checked, rows, (), rows)
    (found,) = made["sources"]
    assert found["source"]["sql"] == QUERY
    assert found["source"]["database"] == "WAREHOUSE_URL"
    assert found["server"] == f"postgresql://127.0.0.1:{port}/postgres"
    assert (found["file"], found["sha256"]) == ("d.parquet", sources.datasets[0].sha256)
    told = json.dumps(made) + "".join(file.read_text(errors="replace") for file in (workplace / "runs").rglob("*") if file.is_file())
    assert not [secret for secret in (PASSWORD, "s3cr3t", "owner:") if secret in told]


def test_a_pinned_snapshot_needs_no_server(postgres: "psycopg.Connection[Any]", workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = read(workplace, asked(QUERY))
    pinned = {**asked(QUERY), "sha256": first.sha256}
    shutil.copytree(workplace / "runs/downloads", workplace / "mirror")
    shutil.rmtree(workplace / "runs")
    monkeypatch.delenv("WAREHOUSE_URL")
    again, found = read(workplace, pinned, workplace / "mirror")
    assert again.identity() == first.identity()
    assert len(found) == 10
    with pytest.raises(ConfigError, match="WAREHOUSE_URL"):
        read(workplace, pinned)


def test_a_pin_that_the_rows_no_longer_have_is_refused(postgres: "psycopg.Connection[Any]", workplace: Path) -> None:
    with pytest.raises(DataError, match="pin the new digest"):
        read(workplace, {**asked(QUERY), "sha256": "0" * 64})


def test_an_sqlite_file_is_read_and_never_written(workplace: Path) -> None:
    file = clinic(workplace, "CREATE TABLE notes (id, text)", "INSERT INTO notes VALUES (1, 'one'), (2, NULL), (3, x'c3a9'), (4, 5)")
    before = digests.of_file(file)
    with pytest.raises(DataError, match="CAST"):
        read(workplace, asked(QUERY, sqlite="data/clinic.db"))
    given, found = read(workplace, asked("SELECT CAST(text AS TEXT) AS text FROM notes ORDER BY id", sqlite="data/clinic.db"))
    assert found == ["one", "", "é", "5"]
    assert given.server is None
    with pytest.raises(DataError, match="readonly"):
        queries.snapshot("INSERT INTO notes VALUES (9, 'x') RETURNING text", file, "d")
    assert digests.of_file(file) == before
    assert [path.name for path in file.parent.iterdir()] == ["clinic.db"]
    (workplace / "data/none.db").write_bytes(b"this is no database, and never was one" * 100)
    with pytest.raises(DataError, match="not a database"):
        read(workplace, asked(QUERY, sqlite="data/none.db"))


def test_a_column_of_several_kinds_is_text(workplace: Path) -> None:
    file = clinic(workplace, "CREATE TABLE notes (id, text)", "INSERT INTO notes VALUES (1, 5), (2, 0.5), (3, 'many')")
    table = pq.read_table(queries.snapshot(QUERY, file, "d")[0])
    assert table["text"].to_pylist() == ["5", "0.5", "many"]


def test_a_snapshot_that_is_spoilt_after_the_plan_is_refused(workplace: Path) -> None:
    clinic(workplace, "CREATE TABLE notes (id, text)", "INSERT INTO notes VALUES (1, 'one')")
    sources: Sources = resolve(sourced(workplace, asked(QUERY, sqlite="data/clinic.db")), "starter", None)
    other = queries.snapshot("SELECT 'two' AS text ORDER BY 1", workplace / "data/clinic.db", "d")[0]
    path = sources.datasets[0].files[0].path
    assert path is not None
    shutil.copyfile(other, path)
    with pytest.raises(DataError, match="as it was when the run began"):
        ingest(IngestConfig(), sources)


def test_a_domain_with_a_query_is_checked_planned_and_its_rows_are_shown(cli: Run, workplace: Path) -> None:
    toy = write_toy(workplace)
    rows = [json.loads(line)["text"] for line in (toy / "data/documents.jsonl").read_text().splitlines()]
    connection = sqlite3.connect(toy / "data/clinic.db")
    connection.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, text)")
    connection.executemany("INSERT INTO notes (text) VALUES (?)", [(row,) for row in rows])
    connection.commit()
    card = toy / "domain.yaml"
    card.write_text(card.read_text().replace("{path: data/documents.jsonl}", f'{{sql: "{QUERY}", sqlite: data/clinic.db}}'))
    done = cli("check", "toy", "--json")
    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout)["datasets"][0]
    assert (line["file"], line["rows_in"]) == ("documents.parquet", len(rows))
    states = {row["stage"]: row["state"] for row in json.loads(cli("plan", "toy", "--json").stdout)["stages"]}
    assert states["ingest"] == states["split"] == "cached"
    shown = cli("rows", "toy", "--set-aside", "--json")
    assert json.loads(shown.stdout.splitlines()[0])["id"] == f"documents:{len(rows)}"
    connection.execute("UPDATE notes SET text = 'another text altogether' WHERE id = 1")
    connection.commit()
    connection.close()
    planned = {row["stage"]: row for row in json.loads(cli("plan", "toy", "--json").stdout)["stages"]}
    assert planned["ingest"]["state"] == "run"
    assert "documents" in planned["ingest"]["reason"] or "sources" in planned["ingest"]["reason"]
