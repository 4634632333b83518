"""Accepting data as they are: the snapshot against which drift is measured from now on."""

import json
from datetime import UTC, datetime
from pathlib import Path

from flows.adapt import AdaptConfig
from tasks.check import Checked, check
from tasks.ingest import ingest
from tasks.lib import drift, replacing
from tasks.lib.drift import Accepted
from tasks.lib.errors import ConfigError
from tasks.lib.flow import Job, Order, flow


@flow(AdaptConfig)
def judged(job: Job[AdaptConfig]) -> Checked:
    """Read and judge the data; drift is told, but does not stop, because it is what is being accepted."""
    expected = job.expectations
    told = expected.model_copy(update={"drift": expected.drift.model_copy(update={"severity": "warning"})})
    return check(job.cfg.check, told, ingest(job.cfg.ingest, job.sources))


def accept(asked: Order, who: str, why: str) -> None:
    """Read and judge the data, and write what every dataset looks like, with who accepted it, into the domain folder.

    Raises:
        DataError: if a critical expectation fails.
    """
    from tasks.lib import session
    from tasks.lib.execute import Direct

    if not who.strip() or not why.strip():
        raise ConfigError("who accepts the data, and why", "nothing", "give --by NAME and --why REASON")
    with session.open_session(judged, asked, {}, deliver=False) as (job, current):
        checked = judged.under(Direct(current), job)
    with replacing.alone(job.domain.folder):  # what another command accepted meanwhile stays
        _write(job, checked, who, why)


def _write(job: Job[AdaptConfig], checked: Checked, who: str, why: str) -> None:
    """Write what changed; snapshots of the other edition stay as they are."""
    known = drift.accepted(job.domain.folder, job.domain.card.sensitive)
    today = datetime.now(UTC).date()
    about = {"by": who, "on": today, "why": why, "edition": job.sources.edition, "check": checked.id}
    made = {name: Accepted(profile=profile, **about) for name, profile in checked.profiles.items()}
    changed = [name for name, new in made.items() if name not in known or known[name].profile != new.profile]
    gone = [name for name, entry in known.items() if entry.edition == job.sources.edition and name not in made]
    if not changed and not gone:
        print("nothing has changed since the accepted snapshot")
        return
    file: Path = job.domain.folder / drift.FILE
    kept = {**{name: entry for name, entry in known.items() if name not in gone}, **{name: made[name] for name in changed}}
    replacing.replace({file: json.dumps({name: kept[name].model_dump(mode="json") for name in sorted(kept)}, indent=1) + "\n"})
    told = ", ".join([*changed, *(f"{name} is no longer there" for name in gone)])
    print(f"accepted by {who}: {told}\nwritten to {file}; keep it with the domain")
