"""A fault is told by the key that a person can type, whatever pydantic calls the place."""

from typing import Any

import pytest

from flows.adapt import AdaptConfig
from tasks.lib import config
from tasks.lib.config import Declared
from tasks.lib.domain import DomainCard
from tasks.lib.errors import ConfigError
from tasks.lib.suite import Task

HUB = {"kind": "hub", "model": "a/b", "revision": "0" * 40}
TASK = {
    "task": "t", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": "a.jsonl"}}, "test_split": "test",
    "output_type": "generate_until", "doc_to_text": "{{prompt}}", "doc_to_target": "{{response}}", "metric_list": [{"metric": "exact_match"}],
}  # fmt: skip


def refused(model: type[Declared], values: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        config.build(model, values, "here")
    return caught.value


@pytest.mark.parametrize(
    ("values", "found", "remedy"),
    [
        ({"base": {"source": {"kind": "scratch", "tokens": 1}}}, "base.source.tokens: unknown key", "'training.tokens'"),
        ({"base": {"source": {"kind": "scratch", "path": "x"}}}, "base.source.path: unknown key", "`kind: folder`"),
        ({"base": {"source": {"kind": "scratch", "vocabulry": 1}}}, "base.source.vocabulry", "'vocabulary'"),
        ({"base": {"source": {"kind": "scratch", "training": {"epoch": 1}}}}, "base.source.training.epoch: unknown", "'epochs'"),
        ({"base": {"source": {"kind": "scratch", "layers": "two"}}}, "base.source.layers: ", "correct base.source.layers"),
        ({"base": {"source": {**HUB, "revison": 1}}}, "base.source.revison: unknown", "'revision'"),
        ({"base": {"source": {"path": "x"}}}, "base.source: ", "`kind: folder`"),
        ({"base": {"source": {"kind": "pickle"}}}, "base.source: ", "one of: scratch, folder, hub"),
        ({"tune": {"method": {"kind": "lora", "rnak": 4}}}, "tune.method.rnak: unknown key", "'rank'"),
        ({"tune": {"method": {"kind": "lora", "targets": 4}}}, "tune.method.targets: ", "correct tune.method.targets"),
        ({"tune": {"method": {"kind": "full", "rank": 4}}}, "tune.method.rank: unknown key", "`kind: lora`"),
        ({"epochs": 2}, "epochs: unknown key", "'tune.epochs'"),
        ({"tune": {"zzz": 2}}, "tune.zzz: unknown key", "remove tune.zzz"),
    ],
)
def test_a_setting_is_told_and_proposed_as_it_is_typed(values: Any, found: str, remedy: str) -> None:
    error = refused(AdaptConfig, values)
    assert error.found.startswith(found)
    assert remedy in error.remedy


def test_what_is_proposed_is_accepted() -> None:
    error = refused(AdaptConfig, {"base": {"source": {"kind": "scratch", "tokens": 5}}})
    way = error.remedy.split("'")[1]
    settings = config.parse_overrides(["base.source.kind=scratch", f"base.source.{way}=5"])
    assert config.build(AdaptConfig, settings, "here").model_dump()["base"]["source"]["training"]["tokens"] == 5


@pytest.mark.parametrize(
    ("source", "found", "remedy"),
    [
        ({"path": "a.csv", "sha": "x"}, "datasets.0.source.sha: unknown key", "'sha256'"),
        ({"url": "https://a.example/b", "sha256": "x"}, "datasets.0.source.sha256: ", "correct datasets.0.source.sha256"),
        ({"hub": "a/b", "revision": "main", "files": "x"}, "datasets.0.source.revision: ", "correct datasets.0.source.revision"),
        ({"sql": "SELECT 1", "database": "A", "databse": "b"}, "datasets.0.source.databse: unknown", "'database'"),
        ({"sha256": "0" * 64, "file": "a", "from": "b", "subset": "c", "form": "d"}, "datasets.0.source.form: unknown key", "'from'"),
    ],
)
def test_a_source_is_told_as_the_card_says_it(source: dict[str, str], found: str, remedy: str) -> None:
    dataset = {"name": "a", "role": "corpus", "licence": "MIT", "kind": "user", "map": {"text": "{t}"}, "source": source}
    error = refused(DomainCard, {"purpose": "p", "owner": "o", "risk": "low", "licences": ["MIT"], "datasets": [dataset]})
    assert found in error.found
    assert remedy in error.remedy


def test_a_filter_of_a_task_is_told_by_its_number() -> None:
    steps = [{"function": "regex", "regex_patern": "x"}, {"function": "take_first"}]
    error = refused(Task, {**TASK, "filter_list": [{"name": "f", "filter": steps}]})
    assert "filter_list.0.filter.0.regex_patern: unknown key" in error.found
    assert "'regex_pattern'" in error.remedy
