"""`slmforge check`: what became of every row, and whether the data are what is expected of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flows.prepare import prepare, unjudged
from tasks.check import Checked
from tasks.lib import places, replacing, store
from tasks.lib.domain import Domain
from tasks.lib.errors import DataError
from tasks.lib.execute import Direct, Session
from tasks.lib.flow import Job, Order
from tasks.lib.records import LedgerLine, by_dataset, files, lost
from tasks.split import Split


def check(asked: Order, as_json: bool) -> None:
    """Prepare the data and show the ledger; nothing is trained.

    Raises:
        DataError: if an expectation is not met, after everything that helps to see why was shown.
    """
    from flows import screen
    from tasks.lib import session

    with session.open_session(prepare, asked, {}, deliver=False) as (job, current):
        if not as_json:
            current.listener = screen.story
        data, refusal = _prepared(job, current)
    checked = next(event.artifact for event in current.events if isinstance(event.artifact, Checked))
    if as_json:
        _print(job.domain, data, checked)
    else:
        _show(job, data, checked, current)
    if refusal is not None:
        raise refusal


def _prepared(job: Job[Any], current: Session) -> tuple[Split, DataError | None]:
    """The data, and why nothing may be trained on them."""
    direct, first = Direct(current), None
    for attempt in (prepare, unjudged):
        try:
            return attempt.under(direct, job), first
        except DataError as error:
            last = current.events[-1]
            if last.state != "refused":
                raise
            first = first or error
            if isinstance(last.artifact, Split):
                return last.artifact, first
            current.listener = _but_ingest(current.listener)
    raise AssertionError("what the expectations say stops only the first")


def _but_ingest(listener: Callable[[Any], None]) -> Callable[[Any], None]:
    """The listener, which has heard of the ingestion already."""
    return lambda event: None if event.name == "ingest" else listener(event)


def _print(domain: Domain, data: Split, checked: Checked) -> None:
    """For machines."""
    datasets = []
    for line in by_dataset(data.ledger):
        inside = [one for one in data.ledger if one.dataset == line.dataset]
        whole = {"name": line.dataset, "role": line.role, "file": line.file, "sha256": line.sha256 if len(inside) == 1 else None,
                 "licence": line.licence, **_counts(line)}  # fmt: skip
        datasets.append({**whole, "files": [{"name": one.file, "sha256": one.sha256, **_counts(one)} for one in inside]})
    expectations = [verdict.identity() for verdict in checked.verdicts]
    told = {
        "domain": domain.name,
        "warnings": [*domain.card.unstated, *lost(data.ledger)],
        "datasets": datasets,
        "expectations": expectations,
    }
    print(json.dumps(told, indent=1))


def _counts(line: LedgerLine) -> dict[str, Any]:
    """What became of the rows, of a dataset or of one of its files."""
    return {"written": line.written, "rows_in": line.rows_in, "rows_used": line.rows_used, "set_aside": line.set_aside}


def _show(job: Job[Any], data: Split, checked: Checked, current: Session) -> None:
    """For people: the ledger, what is not as expected, and where to read on."""
    from flows import screen
    from tasks.lib import card

    domain, accepted = job.domain, job.expectations.accepted
    screen.console.print()
    screen.ledger(data.ledger, f"{domain.name}: what became of every row")
    for sentence in data.remarks:
        screen.console.print(sentence, style="dim", soft_wrap=not screen.console.is_terminal)
    for sentence in domain.card.unstated:
        screen.say("warning", "yellow", sentence)
    for sentence in lost(data.ledger):
        screen.say("fails", "red", sentence)
    folders = {event.name: event.artifact.path for event in current.events if event.artifact}
    _failures(domain, checked, folders)
    screen.console.print(f"report card: {_card(job, data, checked, folders)}", soft_wrap=True)
    screen.console.print(card.drift_told(domain.name, accepted), style="dim", soft_wrap=not screen.console.is_terminal)
    if any(files(folder, "set_aside") for folder in folders.values()):
        print(f"rows set aside, with reasons: slmforge rows {domain.name} --set-aside")
    docs = checked.path / store.VIEW / "index.html"
    if docs.is_file():
        screen.console.print(f"Data Docs: {docs}", soft_wrap=True)


def _failures(domain: Domain, checked: Checked, folders: dict[str, Path]) -> None:
    """What is not as expected, with the first rows; waived ones in a line each."""
    from flows import screen
    from tasks.lib import failing

    for verdict in checked.verdicts:
        if verdict.waived and not verdict.passed:
            screen.say("waived", "yellow", verdict.sentence())
    failures = failing.failures(checked.verdicts, folders.get("ingest"), withheld=bool(domain.card.sensitive))
    for failure in failures:
        screen.failure(failure)
    if named := next((failure.rows[0].id for failure in failures if failure.rows), None):
        print(f"one row in full: slmforge rows {domain.name} --id {named}")


def _card(job: Job[Any], data: Split, checked: Checked, folders: dict[str, Path]) -> Path:
    """Write the report card where it is easy to find."""
    from tasks.lib import card

    domain, accepted = job.domain, job.expectations.accepted

    judged = card.Judged(checked.verdicts, checked.profiles, accepted)
    place = places.runs() / "reports" / f"{domain.name}-data.html"
    place.parent.mkdir(parents=True, exist_ok=True)
    replacing.replace({place: card.render(domain.name, domain.card, data.ledger, judged, folders, data.remarks)})
    return place
