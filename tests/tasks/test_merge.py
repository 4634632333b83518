"""Merging: what the weights become, what it does to manners and knowledge, and that off means off."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from flows.adapt import adapt
from tasks.base import BaseConfig, Scratch, base
from tasks.lib import models
from tasks.lib.base_source import resolve
from tasks.lib.errors import ConfigError
from tasks.lib.flow import Order
from tasks.lib.model import Model
from tasks.lib.packing import Encoder
from tasks.lib.records import iterate
from tasks.lib.training import loss_on
from tasks.lib.training_config import TrainingConfig
from tasks.merge import MergeConfig, Slerp, TaskArithmetic, Ties, merge
from tasks.pretrain import PretrainConfig, pretrain
from tasks.split import Split
from tasks.tune import TuneConfig, tune

SMALL = Scratch(vocabulary=512, hidden=64, layers=2, heads=4, training=TrainingConfig(tokens=20_000, length=128, learning_rate=2e-3))
METHODS = [Slerp(kind="slerp"), TaskArithmetic(kind="task-arithmetic"), Ties(kind="ties", density=0.8)]
Loss = Callable[[Model, str], float]
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def instruct(data: Split) -> Model:
    """A model that answers as it was taught."""
    return tune(TuneConfig(epochs=12, length=128, learning_rate=2e-3, replay=0), base(BaseConfig(source=SMALL), resolve(SMALL)), data)


@pytest.fixture(scope="module")
def pretrained(instruct: Model, data: Split) -> Model:
    """The same, pretrained on documents without any replay: it has learned them, and forgotten how to answer."""
    return pretrain(PretrainConfig(epochs=12, length=128, learning_rate=2e-3, replay=0), instruct, data)


@pytest.fixture(scope="module")
def loss(data: Split) -> Loss:
    """Nats a token of a model on one part of the data."""

    def measure(model: Model, part: str) -> float:
        tokenizer = models.load_tokenizer(model.path)
        encoder = Encoder(tokenizer, 128)
        read = encoder.exchange if part.startswith("tune") else lambda row: encoder.document(row["text"])
        blocks = encoder.pack((piece for row in iterate(data.path, part) for piece in read(row)), 0)
        return loss_on(models.load(model.path), tokenizer, blocks, 128)

    return measure


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.kind)
def test_a_merged_model_keeps_its_manners_and_most_of_what_it_learned(method: Any, instruct: Model, pretrained: Model, loss: Loss) -> None:
    merged = merge(MergeConfig(method=method), instruct, pretrained)
    assert loss(merged, "tune-train") < 0.9 * loss(pretrained, "tune-train")
    assert loss(merged, "corpus-valid") < 0.9 * loss(instruct, "corpus-valid")


@pytest.mark.parametrize(("share", "like"), [(0.0, "instruct"), (1.0, "pretrained")])
@pytest.mark.parametrize("method", [Slerp, TaskArithmetic], ids=lambda method: method.__name__)
def test_the_share_says_how_much_is_kept(
    method: Any, share: float, like: str, instruct: Model, pretrained: Model, request: pytest.FixtureRequest
) -> None:
    kind = method.model_fields["kind"].annotation.__args__[0]
    merged = merge(MergeConfig(method=method(kind=kind, share=share)), instruct, pretrained)
    made, same = (models.load(model.path).state_dict() for model in (merged, request.getfixturevalue(like)))
    assert all(torch.allclose(made[name], same[name], atol=1e-6) for name in same)


def test_ties_keeps_the_largest_differences_only(instruct: Model, pretrained: Model) -> None:
    merged = merge(MergeConfig(method=Ties(kind="ties", share=1.0, density=0.1)), instruct, pretrained)
    old, far, new = (models.load(model.path).state_dict()["model.layers.0.mlp.up_proj.weight"] for model in (instruct, pretrained, merged))
    kept = ~torch.isclose(new, old, atol=1e-7)
    assert 0.08 < kept.float().mean() < 0.12
    assert (far - old).abs()[kept].min() > (far - old).abs()[~kept].median()


def test_models_with_different_tokenizers_are_refused(instruct: Model, data: Split) -> None:
    other = SMALL.model_copy(update={"vocabulary": 400})
    with pytest.raises(ConfigError, match="tokens differ"):
        merge(MergeConfig(method=METHODS[0]), base(BaseConfig(source=other), resolve(other)), instruct)


def test_a_stage_that_is_off_is_not_in_the_plan_and_one_that_is_on_is(place: Path) -> None:
    plain = [row.name for row in adapt.plan(adapt.job(Order("toy"))).rows]
    with_it = [row.name for row in adapt.plan(adapt.job(Order("toy", settings=("merge.method={kind: slerp}",)))).rows]
    assert "merge" not in plain
    assert [name for name in with_it if name not in plain] == ["merge", "evaluate:merge"]
    assert with_it.index("merge") == with_it.index("pretrain") + 1
