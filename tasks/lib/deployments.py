"""Recurring retraining as Prefect deployments (an importer of prefect)."""

import os
from contextlib import suppress
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists
from prefect.schedules import Cron

from tasks.lib import places
from tasks.lib.flow import Order

POOL = "slmforge"
ENTRYPOINT = "flows.served.retrain"
KEPT = ("SLMFORGE_RUNS", "MLFLOW_TRACKING_URI", "SLMFORGE_MIRROR", "HF_HOME")


def deploy(order: Order, cron: str) -> str:
    """Create or update the deployment of one domain; returns its name.

    A run starts in the folder from which it was deployed, with its runs folder, so that the
    worker finds the same domains and the same artifacts; one run of a domain at a time.
    """
    with get_client(sync_client=True) as client, suppress(ObjectAlreadyExists):  # made by an earlier deploy
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    environment["SLMFORGE_RUNS"] = str(places.runs())
    deployment = RunnerDeployment.from_entrypoint(
        ENTRYPOINT,
        name=order.domain,
        parameters=order.parameters(),
        schedule=Cron(cron),
        tags=["slmforge", order.domain],
        description=f"Retrain {order.domain} when its data, settings or stages have changed.",
        work_pool_name=POOL,
        concurrency_limit=1,
        job_variables={"working_dir": str(Path.cwd()), "env": environment},
    )
    deployment.apply()
    return f"retrain/{order.domain}"
