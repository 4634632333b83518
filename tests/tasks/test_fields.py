"""Every documented field: it is part of an identity unless it changes how and never what, and what it changes is seen."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.adapt import AdaptConfig
from flows.prepare import prepare
from tasks.align import align
from tasks.base import BaseConfig, base
from tasks.classify import classify
from tasks.clean import CleanConfig, clean
from tasks.dedup import DedupConfig, dedup
from tasks.distill import distill
from tasks.evaluate import evaluate
from tasks.ingest import IngestConfig, ingest
from tasks.lib import config, digests, store
from tasks.lib.base_source import resolve
from tasks.lib.errors import ConfigError, SlmforgeError
from tasks.lib.flow import Order
from tasks.lib.model import Model
from tasks.lib.rewards import Rewards
from tasks.lib.store import Artifact
from tasks.merge import merge
from tasks.pretrain import PretrainConfig, pretrain
from tasks.quantize import quantize
from tasks.reinforce import reinforce
from tasks.reward import reward
from tasks.split import Split, split
from tasks.tune import tune
from tests.conftest import ROOT
from tests.fields import OTHERS, documented

FIELDS = {field.path: field for field in documented(AdaptConfig)}
TINY: dict[str, Any] = {
    "kind": "scratch", "vocabulary": 400, "hidden": 64, "layers": 4, "heads": 4,
    "training": {"tokens": 3000, "length": 64, "learning_rate": 2e-3, "precision": "fp32"},
}  # fmt: skip
BRIEF: dict[str, Any] = {"epochs": 0.5, "length": 64, "learning_rate": 1e-2, "precision": "fp32"}
USUAL: dict[str, dict[str, Any]] = {
    "base": {"source": TINY},
    "reinforce": {**BRIEF, "epochs": 0.2, "answer": 4, "held_out": 8, "checks": 2},
    "evaluate": {"texts": 10, "limit": 10, "length": 128, "answers": 1, "speed_tokens": 4},
    "distill": {**BRIEF, "layers": 2},
    **dict.fromkeys(("pretrain", "tune", "align", "classify", "reward"), BRIEF),
}
REWARDS = [{"name": "right", "kind": "label"}, {"name": "short", "kind": "length", "words": 1}]
# documents that nearly repeat others, a file of which most rows have no number, and an evaluation row that is also trained on
ODD = """\
  - {name: near, role: corpus, source: {path: data/near.jsonl}, licence: CC0-1.0, kind: synthetic, map: {text: "{text}"}}
  - name: odd
    role: tune
    source: {path: data/odd.csv}
    licence: CC0-1.0
    kind: synthetic
    columns: {a: number}
    map: {prompt: "{q}", response: "{a}"}
  - {name: asked, role: eval, source: {path: data/asked.csv}, licence: CC0-1.0, kind: synthetic, map: {prompt: "{q}", response: "{a}"}}
"""
# what no result shows that is made here: another test shows it, or the plan
ELSEWHERE = {
    "base.source.kind": "tests/flows/test_evaluate.py",
    "base.source.scratch.positions": "tests/flows/test_base_checks.py",
    "base.source.folder.path": "tests/tasks/test_base_source.py",
    "base.source.hub.model": "tests/flows/test_evaluate.py",
    "base.source.hub.revision": "tests/flows/test_evaluate.py",
    "pretrain.mask": "tests/tasks/test_encoders.py",
    "tune.erase_system": "tests/recipes/test_orca2_recipe.py",
    "classify.dataset": "tests/tasks/test_encoders.py",
    "distill.mask": "tests/tasks/test_distilling.py",
    "distill.before_head": "tests/flows/test_classify.py",
    "register.name": "tests/lib/test_lineage.py",
    "report.answers": "tests/tasks/test_page.py",
    "evaluate.speed_tokens": "tests/tasks/test_general_tasks.py",
}


def test_every_documented_field_has_another_value_here() -> None:
    assert set(OTHERS) == set(FIELDS)


@pytest.mark.parametrize("path", OTHERS)
def test_a_field_is_part_of_the_identity_unless_it_changes_how_and_never_what(path: str) -> None:
    stage, other = path.split(".", maxsplit=1)[0], OTHERS[path]
    usual = getattr(config.build(AdaptConfig, {stage: other.beside}, "test"), stage)
    if other.refused:
        with pytest.raises(ConfigError, match=path.rsplit(".", 1)[-1]):
            config.build(AdaptConfig, {stage: other.value}, "test")
        return
    changed = getattr(config.build(AdaptConfig, {stage: other.value}, "test"), stage)
    assert changed != usual
    assert (changed.identity() == usual.identity()) == FIELDS[path].runtime


@pytest.fixture(scope="module")
def start(data: Split) -> Model:
    """A scratch base."""
    made = config.build(BaseConfig, {"source": TINY}, "test")
    return base(made, resolve(made.source))


@pytest.fixture(scope="module")
def stages(start: Model, data: Split, place: Path) -> dict[str, Callable[[Any], Artifact]]:
    """Each stage as a function of its configuration."""
    card = place / "domains" / "toy" / "domain.yaml"
    card.write_text(card.read_text().replace("config:", ODD + "config:"))
    documents = (place / "domains" / "toy" / "data" / "documents.jsonl").read_text().splitlines()
    (card.parent / "data" / "near.jsonl").write_text("".join(line.replace("apple", "pears", 1) + "\n" for line in documents[:20]))
    (card.parent / "data" / "odd.csv").write_text("q,a\n" + "".join(f"Odd {n}?,{n if n < 4 else 'many'}\n" for n in range(10)))
    (card.parent / "data" / "asked.csv").write_text("q,a\nOdd 1?,red\nEven 1?,blue\n")
    job = prepare.job(Order("toy"))
    rewards = config.build(Rewards, {"of": REWARDS}, "test")
    read = ingest(IngestConfig(max_set_aside=0.9), job.sources)
    tidy = clean(CleanConfig(), read)
    further = pretrain(config.build(PretrainConfig, BRIEF, "test"), start, data)
    return {
        "base": lambda cfg: base(cfg, resolve(cfg.source)),
        "ingest": lambda cfg: ingest(cfg, job.sources),
        "clean": lambda cfg: clean(cfg, read),
        "dedup": lambda cfg: dedup(cfg, tidy),
        "split": lambda cfg: split(cfg, dedup(DedupConfig(), tidy)),
        "pretrain": lambda cfg: pretrain(cfg, start, data),
        "merge": lambda cfg: merge(cfg, start, further),
        "tune": lambda cfg: tune(cfg, start, data),
        "align": lambda cfg: align(cfg, start, data),
        "classify": lambda cfg: classify(cfg, start, data),
        "reward": lambda cfg: reward(cfg, start, data),
        "reinforce": lambda cfg: reinforce(cfg, start, data, rewards),
        "distill": lambda cfg: distill(cfg, start, data),
        "quantize": lambda cfg: quantize(cfg, start),
        "evaluate": lambda cfg: evaluate(cfg, job.domain.suite, data, start),
    }


def seen(made: Artifact) -> Any:
    """What a person would see of a result: of a model its weights, of anything its facts, and what was measured on the way."""
    record = store.find(made.id)
    assert record is not None
    weights = sorted(made.path.glob("*.safetensors"))
    facts = made.model_dump(exclude={"id", "digest"}) if not isinstance(made, Model) else getattr(made, "watched", None)
    told = [sorted(record.measured), len(record.measured.get("watch", [])), str(record.measured.get("forgetting"))]
    return [*(digests.of_file(file) for file in weights), str(facts), *told]


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", [path for path in OTHERS if not FIELDS[path].runtime and path not in ELSEWHERE and not OTHERS[path].refused]
)
def test_a_field_changes_the_result(path: str, stages: dict[str, Callable[[Any], Artifact]]) -> None:
    stage, other = path.split(".", maxsplit=1)[0], OTHERS[path]
    results = []
    for settings in (other.beside, other.value):
        values = config.merge(USUAL.get(stage, {}), settings)
        cfg = getattr(config.build(AdaptConfig, {stage: values}, "test"), stage)
        try:
            results.append(seen(stages[stage](cfg)))
        except SlmforgeError as refusal:
            results.append(str(refusal))
    assert results[0] != results[1]


@pytest.mark.parametrize("path", ELSEWHERE)
def test_what_is_shown_elsewhere_is_a_field_and_a_test(path: str) -> None:
    assert path in FIELDS
    leaf = path.rsplit(".", 1)[-1]
    assert re.search(rf"\b{leaf}\b *[=:]|\b{leaf}[ =\"]", (ROOT / ELSEWHERE[path]).read_text()), "the test says the field's name"
