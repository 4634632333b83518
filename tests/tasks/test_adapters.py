"""Adapters: they learn and nothing else does, the merged model answers as the trained one, and one that would not is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bitsandbytes.nn import Linear4bit
from peft import LoraModel, PeftModel

from tasks.base import BaseConfig, Scratch, base
from tasks.lib import adapters, models, objectives, store, training
from tasks.lib.base_source import resolve
from tasks.lib.errors import StageError
from tasks.lib.launch import Job
from tasks.lib.model import Model
from tasks.lib.packing import Encoder
from tasks.lib.records import iterate
from tasks.lib.training import loss_on
from tasks.lib.training_config import TrainingConfig
from tasks.split import Split
from tasks.tune import Lora, TuneConfig, tune

SMALL = Scratch(vocabulary=512, hidden=64, layers=2, heads=4, training=TrainingConfig(tokens=20_000, length=128, learning_rate=2e-3))
WAYS = {"lora": {}, "dora": {"dora": True}, "qlora": {"frozen": "nf4"}, "qdora": {"frozen": "nf4", "dora": True}}


@pytest.fixture(scope="module")
def start(data: Split) -> Model:
    """A scratch base."""
    return base(BaseConfig(source=SMALL), resolve(SMALL))


@pytest.fixture(scope="module")
def loss(data: Split) -> Callable[[Model], float]:
    """Nats a token of the answers to held-out questions."""

    def measure(model: Model) -> float:
        tokenizer = models.load_tokenizer(model.path)
        encoder = Encoder(tokenizer, 128)
        blocks = encoder.pack((piece for row in iterate(data.path, "tune-valid") for piece in encoder.exchange(row)), 0)
        return loss_on(models.load(model.path), tokenizer, blocks, 128)

    return measure


def tuned(start: Model, data: Split, rate: float = 8e-3, **way: Any) -> Model:
    method = Lora.model_validate({"kind": "lora", "rank": 8, **way})
    return tune(TuneConfig(epochs=10, length=128, learning_rate=rate, replay=0, method=method), start, data)


@pytest.mark.parametrize("way", [pytest.param(way, marks=pytest.mark.long) if way.startswith("q") else way for way in WAYS])
def test_lora_learns_held_out_answers_and_is_merged_as_it_was_trained(
    way: str, start: Model, data: Split, loss: Callable[[Model], float]
) -> None:
    made = tuned(start, data, **WAYS[way])
    assert loss(made) < 0.9 * loss(start)
    record = store.find(made.id)
    assert record is not None
    assert record.measured["adapter_kl"] < adapters.MOST_KL
    assert record.measured["adapter_agreement"] > 0.9
    assert {parameter.dtype for parameter in models.load(made.path, dtype="auto").parameters()} == {torch.float32}
    assert not hasattr(models.load(made.path).config, "quantization_config")


@pytest.mark.parametrize("way", ["lora", pytest.param("qlora", marks=pytest.mark.long)])
def test_with_a_learning_rate_of_zero_lora_learns_nothing(way: str, start: Model, data: Split, loss: Callable[[Model], float]) -> None:
    # four bits alone change the weights, and so the loss, a little
    assert loss(tuned(start, data, rate=0.0, **WAYS[way])) == pytest.approx(loss(start), rel=1e-5 if way == "lora" else 0.05)


def test_what_is_kept_beside_the_merged_weights_is_what_was_added_to_them(start: Model, data: Split) -> None:
    made = tuned(start, data)
    again = PeftModel.from_pretrained(models.load(start.path), made.path / adapters.FOLDER).merge_and_unload().state_dict()
    old, new = models.load(start.path).state_dict(), models.load(made.path).state_dict()
    assert all(torch.allclose(again[name], new[name], atol=1e-6) for name in new)
    changed = {name for name in new if not torch.equal(old[name], new[name])}
    assert changed
    assert all("proj" in name for name in changed)  # neither embeddings nor norms


def test_frozen_weights_are_in_four_bits_and_only_adapters_learn(start: Model) -> None:
    plain = adapters.frozen_nf4(start.path, torch.device("cpu"))
    assert isinstance(plain.model.layers[0].mlp.up_proj, Linear4bit)
    learning = [name for name, weight in adapters.wrap(plain, 4, 8, 0.0, "all-linear").named_parameters() if weight.requires_grad]
    assert learning
    assert all("lora_" in name for name in learning)


def test_adapters_on_four_bits_learn_in_full_precision(start: Model, data: Split, tmp_path: Path) -> None:
    network = adapters.wrap(adapters.frozen_nf4(start.path, torch.device("cpu")), 4, 8, 0.0, "all-linear")
    tokenizer = models.load_tokenizer(start.path)
    objective = objectives.choose(network, tokenizer, 64)
    blocks = objective.blocks((piece for row in iterate(data.path, "corpus-train") for piece in objective.encoder.document(row["text"])), 0)
    cfg = TuneConfig(length=64, batch=2, learning_rate=1e-5, trainer={"max_steps": 2})
    lesson = training.blocks_lesson(
        Job(training.blocks_lesson, network, tokenizer, blocks, cfg, {"what": "tune", "collation": training.PACKED.said()}), str(tmp_path)
    )
    before = {name: weight.clone() for name, weight in network.named_parameters() if weight.requires_grad}
    assert {weight.dtype for weight in before.values()} == {torch.float32}
    lesson.trainer.train()
    after = dict(network.named_parameters())
    moved = [float((after[name] != weight).float().mean()) for name, weight in before.items() if "lora_B" in name]
    assert min(moved) > 0.5, "steps of this size are lost in bf16"


def test_a_merge_that_answers_otherwise_is_refused(start: Model, data: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LoraModel, "merge_and_unload", lambda self, *_, **__: models.load(start.path))  # which loses the adapters
    with pytest.raises(StageError, match="nats apart"):
        tuned(start, data, rate=4e-3)


def test_four_bits_on_several_devices_are_refused() -> None:
    with pytest.raises(ValueError, match="one device"):
        TuneConfig(method=Lora(kind="lora", frozen="nf4"), devices=2)
