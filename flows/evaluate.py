"""Any model on a domain's suite: from a folder, a hub, or the store."""

from flows.adapt import AdaptConfig
from tasks.base import base
from tasks.check import check
from tasks.clean import clean
from tasks.dedup import dedup
from tasks.evaluate import Scores
from tasks.evaluate import evaluate as score
from tasks.ingest import ingest
from tasks.lib.flow import Job, flow
from tasks.split import split


@flow(AdaptConfig)
def evaluate(job: Job[AdaptConfig]) -> Scores:
    """Score the model that `base:` names on the domain's tasks and held-out text."""
    cfg = job.cfg
    read = ingest(cfg.ingest, job.sources)
    check(cfg.check, job.expectations, read)
    data = split(cfg.split, dedup(cfg.dedup, clean(cfg.clean, read)))
    return score(cfg.evaluate, job.domain.suite, data, base(cfg.base, job.base))
