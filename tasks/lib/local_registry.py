"""A look into a registry without MLflow: is a model version still there, and in the store that is set now?"""

import sqlite3
from contextlib import closing
from pathlib import Path

from tasks.lib import places, tracking

TAG = "slmforge.lineage_sha256"  # of a model version: the digest of the lineage that it was registered with
SQLITE = "sqlite:///"


def elsewhere(registered: str | None) -> str | None:
    """Why a version that was registered in that store is of no use now; None where it is the store that is set, or nobody noted it.

    Args:
        registered: as `tracking.server` names it; "" is the default store.
    """
    if registered is None or _own(registered) == _own(tracking.server()):
        return None
    return f"it was registered in {_called(registered)}, and {_called(tracking.server())} is set now"


def _own(server: str) -> str:
    """The default store is the same store where its address is set."""
    return "" if server == f"{SQLITE}{_default()}" else server


def _called(server: str) -> str:
    return server or "the default store below the runs folder"


def missing_version(name: str, version: str) -> str | None:
    """Why a version cannot be used any more; None where it is there, or where only a server would know."""
    file = _file()
    if file is None:
        return None
    if not file.is_file():
        return "the model registry is gone"
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as store:
        query = "select 1 from model_versions where name = ? and version = ? and current_stage <> 'Deleted_Internal'"
        found = store.execute(query, (name, int(version))).fetchone()
    return None if found else f"version {version} is gone from the model registry"


def lineage_tag(name: str, version: str) -> str | None:
    """The lineage digest that a registry in a file keeps of a version (call where the version is there)."""
    file = _file()
    assert file is not None
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as store:
        query = "select value from model_version_tags where name = ? and version = ? and key = ?"
        found = store.execute(query, (name, int(version), TAG)).fetchone()
    return str(found[0]) if found else None


def _file() -> Path | None:
    """The file of the store that is set now: the default one, or another sqlite; None of a server."""
    server = tracking.server()
    if not server:
        return _default()
    return Path(server.removeprefix(SQLITE)) if server.startswith(SQLITE) else None


def _default() -> Path:
    return places.runs() / "tracking" / "mlflow.db"
