"""Reinforcement learning from feedback, top to bottom: tuned, aligned, then rewarded by rules and by a reward model."""

from flows.adapt import AdaptConfig
from tasks.align import align
from tasks.base import base
from tasks.check import check
from tasks.clean import clean
from tasks.dedup import dedup
from tasks.evaluate import evaluate
from tasks.ingest import ingest
from tasks.lib.flow import Job, flow
from tasks.lib.lineage import declare
from tasks.lib.preflight import require_trainable
from tasks.lib.stage import distinct
from tasks.merge import merge
from tasks.pretrain import pretrain
from tasks.quantize import quantize
from tasks.register import register
from tasks.reinforce import reinforce
from tasks.report import Page, report
from tasks.reward import reward
from tasks.split import split
from tasks.tune import tune


@flow(AdaptConfig)
def rlhf(job: Job[AdaptConfig]) -> Page:
    """Turn a base model into a domain model that rewards have trained: data, training, rewards, evaluation, report."""
    cfg = job.cfg
    read = ingest(cfg.ingest, job.sources)
    checked = check(cfg.check, job.expectations, read)  # a failed expectation ends the flow here
    tidy = clean(cfg.clean, read)
    unique = dedup(cfg.dedup, tidy)
    data = split(cfg.split, unique)

    start = base(cfg.base, job.base)
    require_trainable(rlhf.fn, job)  # the data and the base are there: before hours are spent on what cannot end well
    pretrained = pretrain(cfg.pretrain, start, data, job.weights("corpus"))
    merged = merge(cfg.merge, start, pretrained)
    tuned = tune(cfg.tune, merged, data, job.weights("tune"))
    aligned = align(cfg.align, tuned, data, job.weights("preference"))
    scorer = reward(cfg.reward, tuned, data, job.weights("preference"))
    reinforced = reinforce(cfg.reinforce, aligned, data, job.rewards, scorer, job.weights("tune"))
    small = quantize(cfg.quantize, reinforced)

    models = distinct(start, pretrained, merged, tuned, aligned, reinforced, small)
    scores = tuple(evaluate(cfg.evaluate, job.domain.suite, data, model) for model in models)
    declared = declare(job.domain.duties, job.sources)
    version = register(cfg.register, declared, checked, small, scores, data)
    return report(cfg.report, job.domain.duties, checked, models, scores, version)
