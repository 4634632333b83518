"""Screens and schedules: `slmforge ui` and `slmforge deploy`."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tasks.lib import card_values, domain, places, servers
from tasks.lib.errors import ConfigError, StageError
from tasks.lib.flow import Order

UI_SECONDS = 120.0


def ui(once: bool) -> None:
    """Start both screens on loopback, print where they are, and keep them until Ctrl-C."""
    lease = servers.Lease()
    mlflow = None
    try:
        address = os.environ.get("MLFLOW_TRACKING_URI", "")
        if not address.startswith("http"):
            mlflow, address = _start_mlflow()
        prefect = servers.prefect_api().removesuffix("/api")
        print(f"MLflow   {address}\nPrefect  {prefect}", flush=True)
        if not once:
            print("Ctrl-C ends both.", flush=True)
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
            while mlflow is None or mlflow.poll() is None:
                time.sleep(1)
    except KeyboardInterrupt:
        print()
    finally:
        if mlflow is not None:
            mlflow.terminate()
            mlflow.wait(30)
        lease.release()


def _start_mlflow() -> tuple[subprocess.Popen[bytes], str]:
    """MLflow's server on the default store, which is made first, under its lock."""
    from tasks.lib import delivery, tracking_store

    delivery.deliver()
    with tracking_store.store_lock(wait=True):
        tracking_store.client().search_experiments(max_results=1)
    port = servers.free_port()
    log = places.runs() / "tracking" / "server.log"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        tracking_store.tracking_uri(),
        "--default-artifact-root",
        str(tracking_store.store_folder() / "files"),
    ]
    with log.open("ab") as output:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + UI_SECONDS
    while not servers.answers(f"{address}/health"):
        if server.poll() is not None or time.monotonic() > deadline:
            server.kill()
            raise StageError("MLflow's screen", "it did not start", f"read {log}")
        time.sleep(0.2)
    return server, address


def deploy(names: tuple[str, ...], config: str | None, edition: Any, mirror: str | None, cron: str | None, as_json: bool) -> None:
    """Register one Prefect deployment of `retrain` per domain, on a process work pool."""
    if not os.environ.get("PREFECT_API_URL"):
        raise ConfigError(
            "a Prefect server that outlives this command",
            "PREFECT_API_URL is not set",
            "start one (`prefect server start`, or `slmforge ui`) and set PREFECT_API_URL to its /api address",
        )
    from tasks.lib import deployments

    found = []
    for name in names or _scheduled():
        schedule = cron or domain.load(name).card.schedule
        if schedule is None:
            raise ConfigError(f"a schedule for domain {name!r}", "none in its card", "add `schedule:` to domain.yaml, or give --cron")
        try:
            card_values.cron(schedule)
        except ValueError as error:
            raise ConfigError("a cron schedule", str(error), "correct --cron") from error
        order = Order(name, config, (), edition, None if mirror is None else str(Path(mirror).absolute()))
        made, first = deployments.deploy(order, schedule)
        found.append({"deployment": made, "domain": name, "cron": schedule, "first_run": first.isoformat(), "work_pool": deployments.POOL})
        if not as_json:
            print(f"{made}  cron {schedule!r}  first run {first:%Y-%m-%d %H:%M %Z}  work pool {deployments.POOL!r}")
    if as_json:
        print(json.dumps(found, indent=1))
        return
    print(f"start a worker where the domains and their runs lie: prefect worker start --pool {deployments.POOL}")


def _scheduled() -> list[str]:
    """Every domain whose card has a schedule."""
    found = {path.parent.name for room in places.rooms("domains") for path in room.glob("*/domain.yaml")}
    return [name for name in sorted(found) if domain.load(name).card.schedule is not None]
