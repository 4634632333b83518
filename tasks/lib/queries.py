"""Rows of a database query as a Parquet snapshot: read only, in batches (importer of sqlalchemy and psycopg)."""

import json
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from tasks.lib import digests, downloads, progress
from tasks.lib.errors import ConfigError, DataError

BATCH = 2_000  # rows fetched at once, and rows of a row group
TIMEOUT = "30"  # seconds to connect
# what a server writes the same values with, whatever the client's own settings are
SETTINGS = ("SET LOCAL TIME ZONE 'UTC'", "SET LOCAL datestyle TO 'ISO, YMD'")
# SQLSTATE classes whose text is of the connection, the server or the transaction, never of a row
OF_THE_SERVER = frozenset({"08", "25", "28", "3D", "53", "57"})
NO_RIGHT = "42501"
# the same of SQLite, by primary result code: PERM BUSY LOCKED NOMEM READONLY INTERRUPT IOERR CORRUPT FULL CANTOPEN AUTH NOTADB
OF_THE_FILE = frozenset({3, 5, 6, 7, 8, 9, 10, 11, 13, 14, 23, 26})
COMPILE = "EXPLAIN "
KINDS = {"whole numbers": "int64", "reals": "float64", "truth values": "bool", "bytes": "binary"}  # else text


def snapshot(sql: str, place: str | Path, dataset: str) -> tuple[Path, str, str | None]:
    """Run a query and keep its rows as a Parquet file: where it lies, its sha256, and the server without user or password.

    The same rows in the same order give the same bytes (of one version of Arrow). A column is of whole numbers, reals,
    truth values or bytes if all its values are; any other is text: decimals digit by digit, dates and times in
    ISO 8601 (in UTC where they have a zone), arrays and documents as JSON.

    Args:
        sql: one SELECT.
        place: an SQLite file, or the name of the environment variable that holds a PostgreSQL server's URL.
        dataset: the dataset's name, for errors.

    Raises:
        ConfigError: if the variable holds no such URL; what it holds is never shown.
        DataError: if the database cannot be reached, or refuses the query.
    """
    with downloads.arriving("rows") as rows, downloads.arriving("snapshot") as made:
        with _connected(place, dataset) as (connection, server):
            kinds = _spool(connection, sql, dataset, rows)
        _write(rows, kinds, made)
        digest = digests.of_file(made)
        return downloads.keep(made, digest), digest, server


def _spool(connection: Any, sql: str, dataset: str, rows: Path) -> dict[str, set[str]]:
    """Write every value as its bytes, and tell which kinds of values each column has: known only at the last row."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if connection.dialect.name == "sqlite":  # nothing runs: what fails here is the statement, and what fails later may be a row
        connection.exec_driver_sql(f"{COMPILE}{sql}", execution_options={"no_parameters": True}).close()
    # Without parameters a % is a %. `yield_per` is for memory, and for safety: psycopg then declares a cursor for the
    # statement, through a protocol that takes one statement only. A quote that the card's check reads otherwise than the
    # server ('\\' ends a text there) can smuggle in a second one; without the cursor, it could end the transaction that
    # is read only, and write.
    result = connection.exec_driver_sql(sql, execution_options={"no_parameters": True, "yield_per": BATCH})
    names = list(result.keys())
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(
            f"dataset {dataset!r}: each column once", f"the column {twice[0]!r} more than once", "rename it in the query with AS"
        )
    kinds: dict[str, set[str]] = {name: set() for name in names}
    schema = pa.schema([(name, pa.binary()) for name in names])
    with pq.ParquetWriter(rows, schema) as writer:
        for batch in progress.rows(result.partitions(BATCH), f"ask for {dataset}", unit=" batches"):
            columns = [
                [_value(value, seen) for value in column] for column, seen in zip(zip(*batch, strict=True), kinds.values(), strict=True)
            ]
            writer.write_table(pa.table(columns, schema=schema))
            if (size := rows.stat().st_size) > downloads.CAP:
                raise DataError(f"dataset {dataset!r}: at most {downloads.CAP:,} bytes", f"more than {size:,}", "ask for fewer rows")
    for name, seen in kinds.items():
        if "bytes" in seen and len(seen) > 1:
            remedy = f"give the column {name!r} one type in the query with CAST"
            raise DataError(
                f"dataset {dataset!r}: a column of bytes, or of something else", f"{name!r} has {' and '.join(sorted(seen))}", remedy
            )
    return kinds


def _value(value: Any, seen: set[str]) -> bytes | None:
    """A value as bytes; its kind is noted."""
    match value:
        case None:
            return None
        case bytes() | memoryview():
            seen.add("bytes")
            return bytes(value)
        case bool():
            seen.add("truth values")
            return str(value).lower().encode()
        case int():
            seen.add("whole numbers")
        case float():
            seen.add("reals")
        case _:
            seen.add("text")
    return _text(value).encode()


def _text(value: Any) -> str:
    match value:
        case Decimal():
            return format(value, "f")
        case date() | time():  # a datetime is a date
            return value.isoformat()
        case list() | dict():
            return json.dumps(value, ensure_ascii=False, default=_text)
        case _:
            return str(value)


def _write(rows: Path, kinds: dict[str, set[str]], made: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {name: KINDS.get(" and ".join(seen), "string") for name, seen in kinds.items()}
    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in types.items()])
    with pq.ParquetFile(rows) as spooled, pq.ParquetWriter(made, schema, compression="zstd") as writer:
        for group in range(spooled.num_row_groups):
            table = spooled.read_row_group(group)
            columns = [table[name] if kind == "binary" else table[name].cast("string").cast(kind) for name, kind in types.items()]
            writer.write_table(pa.table(columns, schema=schema))


@contextmanager
def _connected(place: str | Path, dataset: str) -> Iterator[tuple[Any, str | None]]:
    """A connection that can only read, and the server's name; driver errors are told without what the URL holds."""
    from sqlalchemy import create_engine
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError
    from sqlalchemy.pool import NullPool

    url: Any = None if isinstance(place, Path) else _url(place, dataset)
    try:
        if isinstance(place, Path):
            uri = f"{place.absolute().as_uri()}?mode=ro"
            with create_engine("sqlite://", creator=lambda: sqlite3.connect(uri, uri=True), poolclass=NullPool).connect() as connection:
                yield connection, None
        else:
            with create_engine(url, poolclass=NullPool).connect().execution_options(postgresql_readonly=True) as connection:
                _prepare(connection)
                yield connection, _server(url)
    except (SQLAlchemyError, sqlite3.Warning) as error:  # a warning: two statements at once
        said = _said(error.orig, error.statement) if isinstance(error, DBAPIError) else _first_line(error)
        where = str(place) if url is None else f"{_server(url)} ({place})"
        # not from error: its text, and what it came from, may show what must not be shown
        raise DataError(
            f"dataset {dataset!r}: the rows of its query from {where}",
            _redacted(said, url),
            "correct the query in domain.yaml, or check the server and the rights of the user; only reading is allowed",
        ) from None


def _said(cause: Any, statement: str | None) -> str:
    """The driver's own words where they are on the connection or the statement; else its error's class: they may show a value."""
    if _plain(cause, statement):
        return _first_line(cause)
    column = re.match(r"Could not decode to UTF-8 column '(.*?)' with text '", str(cause), re.DOTALL)
    name = column.group(1) if column else None if isinstance(cause, sqlite3.Error) else cause.diag.column_name
    where = "" if name is None else f" in the column {name!r}"
    return f"{type(cause).__name__}{where}; what the driver says of it is not shown, for it may hold a value of a row"


def _plain(cause: Any, statement: str | None) -> bool:
    """Whether an error's text cannot hold a value of a row."""
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
        return code in OF_THE_FILE or (statement or "").startswith(COMPILE)
    import psycopg

    if cause.sqlstate is None:  # not from the server
        return not isinstance(cause, psycopg.DataError)
    # an error in the text of the statement has a place there; the same error in a value (to_tsquery, regclass) has none
    syntax = cause.sqlstate.startswith("42") and cause.diag.statement_position is not None
    return syntax or cause.sqlstate == NO_RIGHT or cause.sqlstate[:2] in OF_THE_SERVER


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _prepare(connection: Any) -> None:
    from psycopg.types.json import set_json_loads

    set_json_loads(
        lambda data: data if isinstance(data, str) else data.decode(), connection.connection.driver_connection
    )  # as it is, not through doubles
    for setting in SETTINGS:
        connection.exec_driver_sql(setting)


def _url(variable: str, dataset: str) -> Any:
    """The URL that an environment variable holds, with the driver that we have."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    asked = f"dataset {dataset!r}: a PostgreSQL server's URL in the environment variable {variable}"
    remedy = f"export {variable}='postgresql://USER:PASSWORD@HOST:5432/DATABASE' (special characters in it as %40 and the like)"
    try:
        url = make_url(os.environ.get(variable, ""))
    except (ArgumentError, ValueError):  # their text may hold a piece of the password
        found = "no URL that can be read" if os.environ.get(variable) else "nothing"
        raise ConfigError(asked, found, remedy) from None
    if url.get_backend_name() not in ("postgresql", "postgres"):
        found = f"a URL of {url.get_backend_name()}, for which slmforge cannot promise to read only"
        raise ConfigError(asked, found, f"{remedy}; for an SQLite file in the domain folder, write `sqlite:` in domain.yaml")
    return url.set(drivername="postgresql+psycopg").update_query_dict({"connect_timeout": url.query.get("connect_timeout", TIMEOUT)})


def _server(url: Any) -> str:
    """Server and database; neither user nor password nor any setting."""
    host = url.host or url.query.get("host", "")
    return f"postgresql://{host}{f':{url.port}' if url.port else ''}/{url.database or ''}"


def _redacted(said: str, url: Any) -> str:
    """A driver's message without the password and without what the URL's settings hold."""
    secrets = [] if url is None else [url.password, *(value for key, value in url.query.items() if key not in ("host", "connect_timeout"))]
    for secret in sorted((str(secret) for secret in secrets if secret), key=len, reverse=True):
        for written in (secret, quote(secret), quote_plus(secret)):
            said = said.replace(written, "***")
    return said
