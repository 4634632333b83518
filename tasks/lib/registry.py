"""The model registry: a version once, with its files and its lineage (an importer of mlflow)."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import mlflow.transformers
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from tasks.lib import architecture, delivery, digests, local_registry, store, tracking, tracking_store
from tasks.lib.errors import StageError, TrackingError

KEY = "slmforge.register"  # the content that a version was made from
TAG = local_registry.TAG
EVIDENCE = "evidence"
# the library's names of what a model is used for
TASKS: dict[architecture.Architecture, str] = {
    "decoder": "text-generation",
    "encoder": "fill-mask",
    "classifier": "text-classification",
}


@dataclass(frozen=True)
class Registered:
    """A model version, the run that holds its files, and the digest of the lineage record that it was registered with."""

    version: str
    run: str
    lineage_sha256: str


def register(name: str, folder: Path, evidence: Path, tags: dict[str, str]) -> Registered:
    """Create a version of `name` from a model folder, or find the one that was made from the same content.

    Raises:
        TrackingError: when the registry is away; the same command picks up here.
        StageError: when the registry refuses.
    """
    with _said(f"model version of {name!r}"):
        delivery.deliver()
        mlflow_client = tracking_store.client()
        found = _find(mlflow_client, name, tags)
        if found is not None:
            return Registered(str(found.version), str(found.run_id), str(found.tags.get(TAG, "")))
        run = _run(mlflow_client, name)
        # beside the evidence: /tmp may be smaller than a model, and what a kill leaves here goes with the stage's folder
        with tempfile.TemporaryDirectory(prefix=".", dir=evidence) as work:
            packed = _packed(folder, Path(work) / "model")
            with delivery.sending(f"the model {name!r}"):
                mlflow_client.log_artifacts(run, str(packed), "model")
        with delivery.sending(f"the evidence of {name!r}"):
            mlflow_client.log_artifacts(run, str(evidence), EVIDENCE)
        try:
            mlflow_client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        made = mlflow_client.create_model_version(name, f"runs:/{run}/model", run_id=run, tags=tags)
        return Registered(str(made.version), run, tags[TAG])


def _packed(folder: Path, place: Path) -> Path:
    """A model folder as MLflow's own format has it."""
    try:
        mlflow.transformers.save_model(str(folder), str(place), task=TASKS[architecture.of(folder)], pip_requirements=_requirements())
    except OSError as error:  # of this machine, and not of MLflow's server
        raise StageError(f"a copy of {folder} in {place.parent}", str(error), "see whether the disk is full") from error
    # MLflow takes the folder for a repository of a hub and sends readers to its licence there; no such page exists,
    # and the licences of what went in are in the lineage. Files of the model itself lie one folder deeper
    (place / "LICENSE.txt").unlink(missing_ok=True)
    return place


def fetch(found: Registered, name: str, place: Path) -> None:
    """Bring a version's evidence file to `place`.

    Raises:
        TrackingError: when MLflow is away.
        StageError: when the file is not there, or is not the one that the version was registered with.
    """
    path = f"{EVIDENCE}/{place.name}"
    asked = f"{path} of version {found.version} of {name!r}"
    with _said(asked), tempfile.TemporaryDirectory() as work:
        mlflow_client = tracking_store.client()
        digest = "nothing"
        if path in {entry.path for entry in mlflow_client.list_artifacts(found.run, EVIDENCE)}:
            file = Path(mlflow_client.download_artifacts(found.run, path, work))
            digest = digests.of_file(file)
        if digest != found.lineage_sha256:
            remedy = (
                "it was changed or lost in MLflow: look into it; when that version is deleted there, the same command registers a new one"
            )
            raise StageError(f"{asked} with sha256 {found.lineage_sha256 or '(no tag)'}", digest, remedy)
        shutil.copyfile(file, place)


@contextmanager
def _said(asked: str) -> Iterator[None]:
    """MLflow's errors as ours: whether to wait for it, or to put something right there."""
    where = f"{asked} in {tracking.server() or tracking_store.tracking_uri()}"
    try:
        yield
    except delivery.HeldUpError as error:
        raise StageError(where, str(error), "then run the same command: everything before this is kept") from error
    except delivery.AWAY as error:
        found = delivery.first_line(error)
        if delivery.is_refusal(error):
            remedy = "correct register.name, or restore in MLflow what was deleted there; then run the same command"
            raise StageError(where, f"MLflow refuses: {found}", remedy) from error
        raise TrackingError(where, found, "start the server again and run the same command: everything before this is kept") from error


def _find(mlflow_client: mlflow.MlflowClient, name: str, tags: dict[str, str]) -> ModelVersion | None:
    """The version made from the same content: its run was killed before noting it, or its runs folder is lost."""
    for version in mlflow_client.search_model_versions(f"name = '{name}'"):
        if version.tags.get(KEY) == tags[KEY]:
            return version
    return None


def _run(mlflow_client: mlflow.MlflowClient, name: str) -> str:
    """The MLflow run of the stage that is running; outside a flow, a run of its own."""
    current = tracking.ACTIVE.get()
    if current is not None and current.writer is not None and (found := tracking.run_id(current.writer.key)):
        return found
    run = mlflow_client.create_run(delivery.experiment_id(mlflow_client, name), run_name="register")
    mlflow_client.set_terminated(run.info.run_id)
    return str(run.info.run_id)


def _requirements() -> list[str]:
    wanted = ("torch", "transformers", "torchao", "accelerate")
    installed = store.libraries()
    return [f"{library}=={installed[library].split('+')[0]}" for library in wanted if library in installed]
