"""A classifier of a domain: an encoder (or a decoder) reads the domain's documents, then learns to name a label."""

from flows.adapt import AdaptConfig
from tasks.base import base
from tasks.check import check
from tasks.classify import classify as train
from tasks.clean import clean
from tasks.dedup import dedup
from tasks.distill import distill
from tasks.evaluate import evaluate
from tasks.ingest import ingest
from tasks.lib.flow import Job, flow
from tasks.lib.lineage import declare
from tasks.lib.preflight import require_trainable
from tasks.lib.stage import distinct
from tasks.pretrain import pretrain
from tasks.register import register
from tasks.report import Page, report
from tasks.split import split


@flow(AdaptConfig)
def classify(job: Job[AdaptConfig]) -> Page:
    """Turn a base model into a classifier of the domain's texts: data, pretraining, student, head, evaluation, registration, report."""
    cfg = job.cfg
    read = ingest(cfg.ingest, job.sources)
    checked = check(cfg.check, job.expectations, read)  # a failed expectation ends the flow here
    data = split(cfg.split, dedup(cfg.dedup, clean(cfg.clean, read)))

    start = base(cfg.base, job.base)
    require_trainable(classify.fn, job)  # the data and the base are there: before hours are spent on what cannot end well
    pretrained = pretrain(cfg.pretrain, start, data, job.weights("corpus"))
    body = distill(cfg.distill, pretrained, data, job.weights("corpus", "tune")) if cfg.distill.before_head else pretrained
    classifier = train(cfg.classify, body, data, job.weights("tune"))

    models = distinct(start, pretrained, body, classifier)
    scores = tuple(evaluate(cfg.evaluate, job.domain.suite, data, model) for model in models)
    declared = declare(job.domain.duties, job.sources)
    version = register(cfg.register.named(f"{job.domain.name}-classifier"), declared, checked, classifier, scores, data)
    return report(cfg.report, job.domain.duties, checked, models, scores, version)
