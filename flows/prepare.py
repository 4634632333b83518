"""Data only: from a domain's files to training, validation and evaluation rows."""

from flows.adapt import AdaptConfig
from tasks.check import check
from tasks.clean import clean
from tasks.dedup import dedup
from tasks.ingest import ingest
from tasks.lib.flow import Job, flow
from tasks.split import Split, split


@flow(AdaptConfig)
def prepare(job: Job[AdaptConfig]) -> Split:
    """Read, check, clean, deduplicate and split a domain's data."""
    cfg = job.cfg
    read = ingest(cfg.ingest, job.sources)
    check(cfg.check, job.expectations, read)
    tidy = clean(cfg.clean, read)
    return split(cfg.split, dedup(cfg.dedup, tidy))


@flow(AdaptConfig)
def unjudged(job: Job[AdaptConfig]) -> Split:
    """The same, whatever the expectations say: for people who look for what is wrong."""
    cfg = job.cfg
    tidy = clean(cfg.clean, ingest(cfg.ingest, job.sources))
    return split(cfg.split, dedup(cfg.dedup, tidy))
