"""The pages of a search: each pipeline as far as the search asks, then one score; nothing is registered."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from flows.adapt import AdaptConfig
from tasks.align import align
from tasks.base import base
from tasks.check import check
from tasks.classify import classify
from tasks.clean import clean
from tasks.dedup import dedup
from tasks.distill import distill
from tasks.evaluate import Scores, evaluate
from tasks.ingest import ingest
from tasks.lib.errors import ConfigError
from tasks.lib.flow import Flow, Job, flow
from tasks.lib.model import Model
from tasks.lib.rewards import LearnedReward
from tasks.merge import merge
from tasks.pretrain import pretrain
from tasks.quantize import quantize
from tasks.reinforce import reinforce
from tasks.reward import reward
from tasks.split import Split, split
from tasks.tune import tune


class TrialConfig(AdaptConfig):
    """The pipeline's settings, and how far a trial goes."""

    until: str = Field(default="align", description="the stage whose model is scored")


@flow(TrialConfig)
def trial(job: Job[TrialConfig]) -> Scores:
    """Adapt a model as far as the search asks, and score it."""
    data, cfg = _split(job), job.cfg
    model = start = base(cfg.base, job.base)
    steps: dict[str, Callable[[], Model]] = {
        "pretrain": lambda: pretrain(cfg.pretrain, model, data, job.weights("corpus")),
        "merge": lambda: merge(cfg.merge, start, model),
        "tune": lambda: tune(cfg.tune, model, data, job.weights("tune")),
        "align": lambda: align(cfg.align, model, data, job.weights("preference")),
        "distill": lambda: distill(cfg.distill, model, data, job.weights("corpus", "tune")),
        "quantize": lambda: quantize(cfg.quantize, model),
    }
    for name, step in steps.items():
        model = step()
        if name == cfg.until:
            break
    return evaluate(cfg.evaluate, job.domain.suite, data, model)


@flow(TrialConfig)
def rlhf_trial(job: Job[TrialConfig]) -> Scores:
    """Train a model on rewards, and score it."""
    data, cfg = _split(job), job.cfg
    start = base(cfg.base, job.base)
    merged = merge(cfg.merge, start, pretrain(cfg.pretrain, start, data, job.weights("corpus")))
    tuned = tune(cfg.tune, merged, data, job.weights("tune"))
    aligned = align(cfg.align, tuned, data, job.weights("preference"))
    scorer = reward(cfg.reward, tuned, data, job.weights("preference"))
    reinforced = reinforce(cfg.reinforce, aligned, data, job.rewards, scorer, job.weights("tune"))
    scored = quantize(cfg.quantize, reinforced) if cfg.until == "quantize" else reinforced
    return evaluate(cfg.evaluate, job.domain.suite, data, scored)


@flow(TrialConfig)
def classify_trial(job: Job[TrialConfig]) -> Scores:
    """Train a classifier, and score it."""
    data, cfg = _split(job), job.cfg
    body: Model = pretrain(cfg.pretrain, base(cfg.base, job.base), data, job.weights("corpus"))
    if cfg.distill.before_head:
        body = distill(cfg.distill, body, data, job.weights("corpus", "tune"))
    return evaluate(cfg.evaluate, job.domain.suite, data, classify(cfg.classify, body, data, job.weights("tune")))


def _split(job: Job[TrialConfig]) -> Split:
    cfg = job.cfg
    read = ingest(cfg.ingest, job.sources)
    check(cfg.check, job.expectations, read)
    return split(cfg.split, dedup(cfg.dedup, clean(cfg.clean, read)))


@dataclass(frozen=True)
class Search:
    """One pipeline's trials.

    `ends` are the stages whose model may be scored, in their order; `usual` is the one where none of them is searched. `before` are
    stages that every trial has.
    """

    page: Flow[Any]
    ends: tuple[str, ...]
    usual: str
    before: tuple[str, ...]

    def end(self, stages: set[str], until: str | None) -> str:
        """The stage whose model is scored: the last one that is searched, or a later one.

        Raises:
            ConfigError: if a stage that is searched is in no trial, or comes later than `until`.
        """
        if strange := sorted(stages - {*self.ends, *self.before}):
            other = next((name for name, search in SEARCHES.items() if strange[0] in {*search.ends, *search.before}), None)
            remedy = f"add --flow {other}" if other else f"search a field of: {', '.join((*self.before, *self.ends))}"
            raise ConfigError(f"trials over {strange[0]}", "it changes no score of these trials", remedy)
        if until is not None and until not in self.ends:
            raise ConfigError(f"trials that end with {until}", "these do not", f"one of: {', '.join(self.ends)}")
        about = [self.ends.index(stage) for stage in stages & {*self.ends}]
        last = max(about, default=0)
        if until is not None and self.ends.index(until) < last:
            told = f"they are about {self.ends[last]}, which comes later"
            raise ConfigError(f"trials that end with {until}", told, f"leave --until out, or --until {self.ends[last]}")
        return until or (self.ends[last] if about else self.usual)


DATA = ("ingest", "clean", "dedup", "split", "base", "evaluate")
SEARCHES = {
    "adapt": Search(trial, ("pretrain", "merge", "tune", "align", "distill", "quantize"), "align", DATA),
    "rlhf": Search(rlhf_trial, ("reinforce", "quantize"), "reinforce", (*DATA, "pretrain", "merge", "tune", "align", "reward")),
    "classify": Search(classify_trial, ("classify",), "classify", (*DATA, "pretrain", "distill")),
}


def idle(flow_name: str, stage: str, job: Job[Any]) -> str | None:
    """Why fields of a stage change nothing in a trial with these settings; None where they may."""
    if flow_name == "classify" and stage == "distill" and not job.cfg.distill.before_head:
        return "distill.before_head is off"
    if flow_name == "rlhf" and stage == "reward":
        chosen = job.rewards.chosen(job.cfg.reinforce.rewards)
        if not any(isinstance(one, LearnedReward) and one.weight for one in chosen):
            return "no reward that is trained on is of the kind `model`"
    return None
