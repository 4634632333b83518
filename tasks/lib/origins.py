"""Where a dataset comes from, as a card may say it: read and checked, nothing is fetched."""

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import pydantic
from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from tasks.lib.config import RUNTIME, Declared

# stores on other machines; a scheme that can reach files of this one (file, memory, zip, reference, …) is not among them
STORES = frozenset({
    "s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oci", "ocilake", "oss", "tos", "tosfs", "hdfs", "webhdfs", "lakefs",
    "sftp", "ssh", "ftp", "smb", "root",
})  # fmt: skip
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _without_secrets(url: Any) -> None:
    """Refuse an address that carries a password: a card is no place for one."""
    if isinstance(url, str) and urlsplit(url).password is not None:
        raise ValueError("an address with a password in it; credentials come from the environment")


def _store(url: Any) -> None:
    """Refuse what is no plain address of an object or a file in a remote store."""
    text = url if isinstance(url, str) else ""
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise ValueError("an address with a control character in it")
    _without_secrets(text)
    scheme, mark, rest = text.partition("://")
    if not mark or scheme not in STORES:
        raise ValueError(
            f"{scheme[:20] + '://' if mark else 'no scheme'} is no address of a store; known are https:// and "
            f"{', '.join(f'{name}://' for name in sorted(STORES))} (a file of this machine is copied into data/ and is a `path:`)"
        )
    place, _, key = rest.partition("/")
    if not place or "*" in place or not key.strip("/"):
        raise ValueError("an address without a bucket or host, or without a key in it; write for instance s3://bucket/key.csv")
    if "::" in text or any(mark in text for mark in "?#\\") or any(part in ("..", "~") for part in key.split("/")):
        raise ValueError("an address that is chained (::), goes up or home (.., ~), or holds one of ? # \\")


def _repository_file(path: str) -> str:
    """A path or a pattern inside a repository."""
    odd = any(ord(character) < 32 or ord(character) == 127 for character in path)
    if odd or not path or path[0] in "/~" or "\\" in path or "::" in path or "://" in path or ".." in path.split("/"):
        raise ValueError("no path or pattern inside a repository; write for instance data/train-*.parquet")
    return path


def _statement(sql: str) -> str:
    """One SELECT whose rows come in a declared order."""
    import sqlparse
    from sqlparse.exceptions import SQLParseError

    try:
        parsed = [[t for t in s.flatten() if not (t.is_whitespace or t.ttype in sqlparse.tokens.Comment)] for s in sqlparse.parse(sql)]
    except SQLParseError as error:
        raise ValueError("a statement that is nested too deep to be read") from error
    statements = [tokens for tokens in parsed if any(token.value != ";" for token in tokens)]
    if len(statements) != 1 or statements[0][0].normalized not in ("SELECT", "WITH", "("):
        raise ValueError("not one statement that begins with SELECT or WITH; a source only reads")
    depth = 0
    for token in statements[0]:
        depth += {"(": 1, ")": -1}.get(token.value, 0)
        if depth == 0 and token.normalized.split() == ["ORDER", "BY"]:
            return sql
    raise ValueError(
        "a query without ORDER BY at its end: a database gives rows in any order, and their order is part of what a dataset is; "
        "order by columns that are unique together"
    )


# what a reader of a table should know of text that a person did not bring
INTRODUCED = {
    "pydoc-topics": "Python's own documentation, plain English that comes with every installation: part of it is replayed in training, "
    "so that the model does not forget general language, and part is kept back, to measure whether it did",
}


class PathSource(Declared):
    """A file inside the domain folder, pinned by digest if the expert wishes."""

    path: str
    sha256: Sha256 | None = None


class PublishedSource(Declared):
    """A published file, byte for byte, pinned by digest."""

    url: str = Field(pattern=r"^https://", json_schema_extra=RUNTIME)
    sha256: Sha256

    @model_validator(mode="before")  # before the fields: a fault of a field shows what was given
    @classmethod
    def _plain(cls, given: Any) -> Any:
        _without_secrets(given.get("url") if isinstance(given, dict) else None)
        return given


class ObjectSource(Declared):
    """An object in a store that fsspec knows, those that a pattern with `*` matches, or all below a key that ends in `/`.

    Where it lies is in no identity, its content is; several files are, because rows are then called after their files.
    """

    url: str = Field(json_schema_extra=RUNTIME)
    sha256: Sha256 | None = Field(default=None, json_schema_extra=RUNTIME)

    @model_validator(mode="before")
    @classmethod
    def _remote(cls, given: Any) -> Any:
        _store(given.get("url") if isinstance(given, dict) else None)
        return given

    @property
    def many(self) -> bool:
        """Whether it may be more than one file."""
        return "*" in self.url or self.url.endswith("/")

    def identity(self) -> dict[str, Any]:
        """Whether it is one file."""
        return {**super().identity(), "many": self.many}


class HubSource(Declared):
    """Files of a dataset repository on the hub, at a commit; nothing in it is run."""

    hub: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$", json_schema_extra=RUNTIME)
    # a branch moves
    revision: str = Field(pattern=r"^[0-9a-f]{40}$", json_schema_extra=RUNTIME)
    files: Annotated[str, AfterValidator(_repository_file)] = Field(json_schema_extra=RUNTIME)

    @property
    def many(self) -> bool:
        """Whether it may be more than one file."""
        return "*" in self.files

    def identity(self) -> dict[str, Any]:
        """Whether it is one file."""
        return {**super().identity(), "many": self.many}


class QuerySource(Declared):
    """The rows of one query, of a database server or of an SQLite file in the domain folder.

    `database` is the name of an environment variable that holds the server's URL: a card holds no secret.
    """

    sql: Annotated[str, AfterValidator(_statement)] = Field(json_schema_extra=RUNTIME)
    database: str | None = Field(default=None, json_schema_extra=RUNTIME)
    sqlite: str | None = Field(default=None, json_schema_extra=RUNTIME)
    sha256: Sha256 | None = Field(default=None, json_schema_extra=RUNTIME)

    @model_validator(mode="before")
    @classmethod
    def _place(cls, given: Any) -> Any:
        if isinstance(given, dict):
            variable = given.get("database")
            if (variable is None) == (given.get("sqlite") is None):
                raise ValueError("one of `database:` (a server) and `sqlite:` (a file in the domain folder) is needed")
            if variable is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", str(variable)):
                raise ValueError("`database:` is the name of an environment variable that holds the URL, not the URL")
            if "*" in str(given.get("sqlite")):
                raise ValueError("`sqlite:` is one file, no pattern")
        return given


class SubsetSource(Declared):
    """A mechanical subset of something published; only a mirror holds it, found by digest."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    sha256: Sha256
    file: str
    origin: str = Field(alias="from")
    subset: str


class BuiltinSource(Declared):
    """Text that every Python installation carries."""

    builtin: Literal["pydoc-topics"]


def _kind(value: Any) -> str:
    """Which source a mapping means, by the key that only it has; an address is a store's unless it is of the web."""
    given = value if isinstance(value, dict) else value.model_dump() if isinstance(value, Declared) else {}
    if "url" in given:
        return "url" if str(given["url"]).startswith("https://") else "store"
    return next((key for key in ("path", "hub", "sql", "builtin") if key in given), "subset")


Source = Annotated[
    Annotated[PathSource, Tag("path")]
    | Annotated[PublishedSource, Tag("url")]
    | Annotated[ObjectSource, Tag("store")]
    | Annotated[HubSource, Tag("hub")]
    | Annotated[QuerySource, Tag("sql")]
    | Annotated[SubsetSource, Tag("subset")]
    | Annotated[BuiltinSource, Tag("builtin")],
    Discriminator(_kind),
]
