"""The whole pipeline, top to bottom: a base model becomes a domain model, with evidence."""

from tasks.align import AlignConfig, align
from tasks.base import BaseConfig, base
from tasks.check import CheckConfig, check
from tasks.classify import ClassifyConfig
from tasks.clean import CleanConfig, clean
from tasks.dedup import DedupConfig, dedup
from tasks.distill import DistillConfig, distill
from tasks.evaluate import EvaluateConfig, evaluate
from tasks.ingest import IngestConfig, ingest
from tasks.lib.flow import Job, WithBase, flow
from tasks.lib.lineage import declare
from tasks.lib.preflight import require_trainable
from tasks.lib.stage import distinct
from tasks.merge import MergeConfig, merge
from tasks.pretrain import PretrainConfig, pretrain
from tasks.quantize import QuantizeConfig, quantize
from tasks.register import RegisterConfig, register
from tasks.reinforce import ReinforceConfig
from tasks.report import Page, ReportConfig, report
from tasks.reward import RewardConfig
from tasks.split import SplitConfig, split
from tasks.tune import TuneConfig, tune


class AdaptConfig(WithBase):
    """The configuration of every stage, those of the flow `rlhf` included: a domain's `config:` serves both."""

    ingest: IngestConfig = IngestConfig()
    check: CheckConfig = CheckConfig()
    clean: CleanConfig = CleanConfig()
    dedup: DedupConfig = DedupConfig()
    split: SplitConfig = SplitConfig()
    base: BaseConfig = BaseConfig()
    pretrain: PretrainConfig = PretrainConfig()
    merge: MergeConfig = MergeConfig()
    tune: TuneConfig = TuneConfig()
    align: AlignConfig = AlignConfig()
    classify: ClassifyConfig = ClassifyConfig()
    reward: RewardConfig = RewardConfig()  # of the flow rlhf, which has all other stages in common with this one
    reinforce: ReinforceConfig = ReinforceConfig()
    distill: DistillConfig = DistillConfig()
    quantize: QuantizeConfig = QuantizeConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    register: RegisterConfig = RegisterConfig()
    report: ReportConfig = ReportConfig()


@flow(AdaptConfig)
def adapt(job: Job[AdaptConfig]) -> Page:
    """Turn a base model into a domain model: data, training, compression, evaluation, registration, report."""
    cfg = job.cfg
    read = ingest(cfg.ingest, job.sources)
    checked = check(cfg.check, job.expectations, read)  # a failed expectation ends the flow here
    tidy = clean(cfg.clean, read)
    unique = dedup(cfg.dedup, tidy)
    data = split(cfg.split, unique)

    start = base(cfg.base, job.base)
    require_trainable(adapt.fn, job)  # the data and the base are there: before hours are spent on what cannot end well
    pretrained = pretrain(cfg.pretrain, start, data, job.weights("corpus"))
    merged = merge(cfg.merge, start, pretrained)
    tuned = tune(cfg.tune, merged, data, job.weights("tune"))
    aligned = align(cfg.align, tuned, data, job.weights("preference"))
    student = distill(cfg.distill, aligned, data, job.weights("corpus", "tune"))
    small = quantize(cfg.quantize, student)

    models = distinct(start, pretrained, merged, tuned, aligned, student, small)
    scores = tuple(evaluate(cfg.evaluate, job.domain.suite, data, model) for model in models)
    declared = declare(job.domain.duties, job.sources)
    version = register(cfg.register, declared, checked, small, scores, data)
    return report(cfg.report, job.domain.duties, checked, models, scores, version)
