"""Flows and stages as Prefect sees them (the only importer of prefect)."""

import logging
from collections.abc import Callable
from typing import Any

import prefect
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, State, TaskRun
from prefect.context import FlowRunContext, TaskRunContext
from prefect.states import Completed, Crashed
from prefect.task_engine import TaskRunTimeoutError

from tasks.lib import journal, preflight, servers, session, store, tracking
from tasks.lib.errors import ConfigError, DataError, SlmforgeError, StageError, TrackingError
from tasks.lib.execute import Direct, Event, Session
from tasks.lib.flow import Flow, Order
from tasks.lib.stage import Call

LISTENER: list[Callable[[Event], None]] = []  # who shows the story of flows that run in this process
RETRY_DELAYS: list[float] = [5, 30, 120]
LOGGERS = ("prefect.task_runs", "prefect.flow_runs", "prefect.engine")


def tell_once(record: logging.LogRecord) -> bool:
    """Whether a line of Prefect's log says something new: the state of a run says in full what is wrong with data or settings.

    Prefect would log it three times more, each with a traceback that leads nowhere but here.
    """
    fault = record.exc_info[1] if record.exc_info else None
    return not isinstance(fault, (DataError, ConfigError))


for name in LOGGERS:
    logging.getLogger(name).addFilter(tell_once)


class PrefectTasks:
    """Runs every stage call as a Prefect task."""

    def __init__(self, inner: Direct) -> None:
        self._inner = inner

    def call(self, call: Call) -> Any:
        """Run one call; a fault of the data or the configuration is not retried."""

        def body(config: dict[str, Any], inputs: list[str]) -> State[Any]:
            context = TaskRunContext.get()
            if context is not None:
                self._inner.session.tags["prefect.task_run_id"] = str(context.task_run.id)
            artifact = self._inner.call(call)
            event = self._inner.session.events[-1]
            _show(self._inner.session.domain, call, event)
            return Completed(name="Cached" if event.state == "cached" else "Completed", message=artifact.id, data=artifact)

        settings = call.settings
        made = prefect.task(
            name=call.name,
            task_run_name=call.name,
            description=call.stage.doc,
            tags=["slmforge", self._inner.session.domain, call.stage.name],
            version=call.stage.version,
            retries=settings.retries,
            retry_delay_seconds=RETRY_DELAYS[: max(1, settings.retries)],
            retry_condition_fn=_may_pass,
            timeout_seconds=settings.timeout * 3600,
            cache_policy=NO_CACHE,
            persist_result=False,
        )(body)
        try:
            # a task that returns a state hands back the state, not its data
            return made(config=call.config(), inputs=[artifact.id for artifact in call.artifacts()]).result()
        except TaskRunTimeoutError as error:
            found = f"{call.name} took longer than {settings.timeout:,g} hours, and was ended"
            raise StageError(
                f"stage {call.name} in time", found, f"give it less to do, or raise `{call.stage.name}: {{timeout: }}`"
            ) from error


def _may_pass(task: Any, run: TaskRun, state: State[Any]) -> bool:
    """Whether trying again can help: not when what is wrong is the data, the settings or the method."""
    fault = state.result(raise_on_failure=False)
    return not isinstance(fault, SlmforgeError) or isinstance(fault, TrackingError)


def _show(domain: str, call: Call, event: Event) -> None:
    """What a stage did, on its run page."""
    record = event.record
    if record is None:
        return
    rows = [("artifact", record.id), ("digest", record.digest), ("state", event.state), ("cause", record.made.get("cause", ""))]
    rows += [("made", record.made["ended"]), ("made by Prefect task run", record.made.get("prefect.task_run_id", "none"))]
    rows += [(key, value) for key, value in {**record.facts, **record.measured}.items() if isinstance(value, (int, float, str))]
    table = "\n".join(f"| {key} | {str(value).replace('|', '/')[:300]} |" for key, value in rows)
    create_markdown_artifact(f"| what | value |\n|---|---|\n{table}", key=f"{domain}-{call.name}".replace(":", "-"))


def prefect_flow(page: Flow[Any]) -> Any:
    """The Prefect flow of a page; its parameters are names and settings, never objects."""

    def run(
        domain: str,
        config: str | None = None,
        settings: list[str] | None = None,
        edition: str | None = None,
        mirror: str | None = None,
    ) -> State[Any]:
        order = Order(domain, config, tuple(settings or ()), edition, mirror)  # type: ignore[arg-type]  # job() checks it
        return run_order(page, order)

    run.__name__ = page.name
    return prefect.flow(
        name=page.name,
        description=page.doc,
        flow_run_name=f"{page.name}-{{domain}}",
        result_serializer="json",
        persist_result=False,
    )(run)


def run_order(page: Flow[Any], order: Order) -> State[Any]:
    """Inside a Prefect flow run: plan where that can end it, then run every stage as a task."""
    context = FlowRunContext.get()
    flow_run = context.flow_run if context is not None else None
    identifier, trigger = (None, journal.COMMAND) if flow_run is None else (str(flow_run.id), _trigger(flow_run))
    with journal.opened(order, page.name, trigger, identifier) as entry:
        planner = page.plan(page.job(order)) if page.only_if_changed else None
        if planner is not None and planner.all_cached:
            entry.all_cached("NOTHING CHANGED", planner.artifacts)
            create_markdown_artifact("Nothing changed: every stage is cached.", key=f"{order.domain}-{page.name}")
            return Completed(message="nothing changed", data={"outcome": "nothing changed"})
        tags = {"slmforge.trigger": trigger} | ({"prefect.flow_run_id": identifier} if identifier else {})
        with session.open_session(page, order, tags, entry) as (job, current):
            current.listener = LISTENER[-1] if LISTENER else current.listener
            if planner is not None:
                preflight.require(job, planner)  # who runs `adapt` by hand was told before Prefect started
            artifact = page.under(PrefectTasks(Direct(current)), job)
            if artifact.stage == "report":
                store.publish(order.domain, page.name, artifact.id)  # a scheduled run has nobody who would do it afterwards
            _summarise(current, artifact)
    made = sum(event.state == "made" for event in current.events)
    return Completed(message=f"{made} stages made", data={"outcome": "adapted", "artifact": artifact.id, "digest": artifact.digest})


def _trigger(flow_run: FlowRun) -> str:
    """What started a flow run."""
    if flow_run.auto_scheduled:
        return journal.SCHEDULE
    return journal.COMMAND if flow_run.deployment_id is None else journal.DEPLOYMENT


def _summarise(current: Session, artifact: Any) -> None:
    lines = [
        f"| {e.name} | {e.state} | {e.seconds:.1f} | {e.artifact.id if e.artifact else ''} |"
        for e in current.events
        if e.state != "started"
    ]
    table = "| stage | state | seconds | artifact |\n|---|---|---|---|\n" + "\n".join(lines)
    page = getattr(artifact, "file", None)
    if page is not None:  # as text: no browser opens a file from a page of a server
        table = f"The report, on the machine that ran the flow: `{page}`\n\n{table}"
    key = f"{current.domain}-{current.flow}".replace("_", "-")  # as Prefect wants it
    create_markdown_artifact(table, key=key, description=f"{current.flow} {current.domain}")
    link = None if current.writer is None else tracking.run_page(current.writer.key)
    if link is not None:
        create_link_artifact(link, link_text="MLflow run", key=f"{current.domain}-mlflow-run")


def run_here(page: Flow[Any], order: Order, listener: Callable[[Event], None], lease: str) -> dict[str, str]:
    """Run a flow in this process; `lease` is held on the server for as long as it runs."""
    close_dead_runs()
    LISTENER.append(listener)
    try:
        with prefect.tags("slmforge", order.domain, f"lease:{lease}"):
            made: dict[str, str] = page.prefect(**order.parameters())
        return made
    finally:
        LISTENER.pop()


def close_dead_runs() -> int:
    """Mark flow runs as crashed whose process on this machine is gone; returns how many."""
    closed = 0
    with get_client(sync_client=True) as client:
        running = FlowRunFilter.model_validate({"state": {"type": {"any_": ["RUNNING", "PENDING"]}}, "tags": {"all_": ["slmforge"]}})
        for run in client.read_flow_runs(flow_run_filter=running):
            leases = [tag.removeprefix("lease:") for tag in run.tags if tag.startswith("lease:")]
            if leases and all(servers.is_dead(lease) for lease in leases):
                client.set_flow_run_state(run.id, Crashed(message="the process that ran it is gone"), force=True)
                closed += 1
    return closed
