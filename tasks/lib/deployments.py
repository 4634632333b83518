"""Recurring retraining as Prefect deployments (an importer of prefect)."""

import os
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId, FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists
from prefect.schedules import Cron

from tasks.lib import places, servers, tracking
from tasks.lib.environment import QUIET
from tasks.lib.errors import StageError
from tasks.lib.flow import Order

POOL = "slmforge"
ENTRYPOINT = "flows.served.retrain"
SCHEDULED_WITHIN = 60.0  # seconds; Prefect's scheduler looks at new deployments every five
TOLD_THERE = "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"  # a worker's log is where a run is told; here we tell it ourselves
KEPT = ("SLMFORGE_RUNS", "MLFLOW_TRACKING_URI", "SLMFORGE_MIRROR", "HF_HOME")


def deploy(order: Order, cron: str) -> tuple[str, datetime]:
    """Create or update the deployment of one domain; returns its name and when the server will first run it.

    Raises:
        StageError: if no server answers, or if it takes the deployment and then schedules no run of it.
    """
    servers.prefect_api()
    with get_client(sync_client=True) as client, suppress(ObjectAlreadyExists):  # made by an earlier deploy
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    name = f"retrain/{order.domain}"
    made: Any = deployment(order, cron).apply()  # a coroutine only where a loop runs; there is none here
    return name, _first_run(name, made)


def deployment(order: Order, cron: str) -> RunnerDeployment:
    """The deployment of one domain.

    A run starts in the folder from which it was deployed, with its runs folder, so that the worker finds the same domains
    and the same artifacts. One run of a domain goes at a time: one that is due meanwhile is cancelled, and the next sees
    what has changed since. No library is imported there before telemetry is off.
    """
    environment = {name: os.environ.get(name, value) for name, value in QUIET.items() if name != TOLD_THERE}
    environment |= {name: os.environ[name] for name in KEPT if name in os.environ}
    environment["SLMFORGE_RUNS"] = str(places.runs())
    if "MLFLOW_TRACKING_URI" in environment:  # a password is not for everybody who may read deployments
        environment["MLFLOW_TRACKING_URI"] = tracking.server()
    return RunnerDeployment.from_entrypoint(
        ENTRYPOINT,
        name=order.domain,
        parameters=order.parameters(),
        schedule=Cron(cron),
        tags=["slmforge", order.domain],
        description=f"Retrain {order.domain} when its data, settings or stages have changed.",
        work_pool_name=POOL,
        # enqueued, as Prefect does it by itself, runs would pile up behind a retraining that takes longer than its interval
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
        job_variables={"working_dir": str(Path.cwd()), "env": environment},
    )


def _first_run(name: str, identifier: UUID) -> datetime:
    """When the server means to run it next: a server whose scheduler is off or broken says so only here."""
    waiting = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])))
    one = DeploymentFilter(id=DeploymentFilterId(any_=[identifier]))
    deadline = time.monotonic() + SCHEDULED_WITHIN
    with get_client(sync_client=True) as client:
        while time.monotonic() < deadline:
            sort = FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC
            for run in client.read_flow_runs(flow_run_filter=waiting, deployment_filter=one, sort=sort, limit=1):
                if run.next_scheduled_start_time is not None:
                    return run.next_scheduled_start_time
            time.sleep(0.5)
    raise StageError(
        f"a scheduled run of {name}",
        f"the Prefect server took the deployment and scheduled no run within {SCHEDULED_WITHIN:.0f} s",
        "look for errors of its scheduler in the server's log; PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED must not be false there",
    )
