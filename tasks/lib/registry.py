"""The model registry: a version once, with its files and its lineage (an importer of mlflow)."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import mlflow.transformers
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from tasks.lib import delivery, store, tracking
from tasks.lib.errors import TrackingError


@dataclass(frozen=True)
class Registered:
    """A model version and the run that holds its files."""

    version: str
    run: str


def register(name: str, folder: Path, evidence: Path, tags: dict[str, str]) -> Registered:
    """Create a version of `name` from a model folder, or find the one with the same tags.

    Raises:
        TrackingError: when the registry is away; the same command picks up here.
    """
    try:
        delivery.deliver()
        mlflow_client = delivery.client()
        found = _find(mlflow_client, name, tags)
        if found is not None:
            return Registered(str(found.version), str(found.run_id))
        run = _run(mlflow_client, name)
        with tempfile.TemporaryDirectory() as work:
            packed = Path(work) / "model"
            mlflow.transformers.save_model(str(folder), str(packed), task="text-generation", pip_requirements=_requirements())
            mlflow_client.log_artifacts(run, str(packed), "model")
        mlflow_client.log_artifacts(run, str(evidence), "evidence")
        try:
            mlflow_client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        made = mlflow_client.create_model_version(name, f"runs:/{run}/model", run_id=run, tags=tags)
        return Registered(str(made.version), run)
    except delivery.AWAY as error:
        raise TrackingError(
            f"model version of {name!r} in the registry {delivery.tracking_uri()}",
            str(error).splitlines()[0],
            "start the server again and run the same command: everything before this is kept",
        ) from error


def _find(mlflow_client: mlflow.MlflowClient, name: str, tags: dict[str, str]) -> ModelVersion | None:
    """The version with the same `slmforge.register` tag: a run that was killed between creating it and noting it."""
    for version in mlflow_client.search_model_versions(f"name = '{name}'"):
        if version.tags.get("slmforge.register") == tags["slmforge.register"]:
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
