"""A look into the default registry without MLflow: is a model version still there?"""

import os
import sqlite3
from contextlib import closing

from tasks.lib import places

TAG = "slmforge.lineage_sha256"  # of a model version: the digest of the lineage that it was registered with


def missing_version(name: str, version: str) -> str | None:
    """Why a version cannot be used any more; None where it is there, or where only a server would know."""
    if os.environ.get("MLFLOW_TRACKING_URI"):
        return None
    file = places.runs() / "tracking" / "mlflow.db"
    if not file.is_file():
        return "the model registry is gone"
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as store:
        query = "select 1 from model_versions where name = ? and version = ? and current_stage <> 'Deleted_Internal'"
        found = store.execute(query, (name, int(version))).fetchone()
    return None if found else f"version {version} is gone from the model registry"


def lineage_tag(name: str, version: str) -> str | None:
    """The lineage digest that the default registry keeps of a version (call where the version is there)."""
    file = places.runs() / "tracking" / "mlflow.db"
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as store:
        query = "select value from model_version_tags where name = ? and version = ? and key = ?"
        found = store.execute(query, (name, int(version), TAG)).fetchone()
    return str(found[0]) if found else None
