"""Which MLflow there is, and its default store: sqlite and files beside the artifacts."""

import fcntl
import os
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlflow import MlflowClient

from tasks.lib import places, tracking


def store_folder() -> Path:
    """The folder of the default store."""
    return places.runs() / "tracking"


def tracking_uri(server: str | None = None) -> str:
    """The store that `tracking.server` names so; of None the one that is set now: `MLFLOW_TRACKING_URI`, or sqlite beside the artifacts."""
    if server is None or server == tracking.server():
        server = os.environ.get("MLFLOW_TRACKING_URI")  # which may hold a password
    return server or f"sqlite:///{store_folder() / 'mlflow.db'}"


def artifact_location(experiment: str, uri: str) -> str | None:
    """Where files of an experiment go; None lets a server decide."""
    if urllib.parse.urlparse(uri).scheme in ("http", "https"):
        return None
    return (store_folder() / "files" / experiment).as_uri()


@contextmanager
def store_lock(*, wait: bool) -> Iterator[bool]:
    """One deliverer at a time, which also makes a new sqlite store safe to create."""
    place = places.runs() / "spool.lock"
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


def client(server: str | None = None) -> MlflowClient:
    """A client of a tracking store, the one that is set now if none is named (call with the store lock held the first time)."""
    uri = tracking_uri(server)
    if uri == tracking_uri(""):
        _create_store(store_folder() / "mlflow.db")
    return MlflowClient(uri)


def _create_store(file: Path) -> None:
    """Make the default store whole or not at all: its migrations, cut off half-way, could never be taken up again."""
    if file.is_file():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    for leftover in file.parent.glob(".new-*"):
        leftover.unlink()
    new = file.parent / f".new-{os.getpid()}.db"
    MlflowClient(f"sqlite:///{new}").search_experiments(max_results=1)
    new.replace(file)
