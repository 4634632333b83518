"""A look into the default registry without MLflow: is a model version still there?"""

import os
import sqlite3
from contextlib import closing

from tasks.lib import places


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
