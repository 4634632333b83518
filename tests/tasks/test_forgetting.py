"""A training that forgot more general text than its budget allows is done again with more replay."""

import weakref
from pathlib import Path
from typing import Any, Literal

import pytest

from tasks.base import BaseConfig, Scratch, base
from tasks.lib import digests, models, store
from tasks.lib.base_source import resolve
from tasks.lib.errors import DataError
from tasks.lib.forgetting import Forgetting, best
from tasks.lib.model import Model
from tasks.lib.training_config import TrainingConfig
from tasks.pretrain import PretrainConfig, pretrain
from tasks.split import Split
from tasks.tune import Lora, TuneConfig, tune

SMALL = Scratch(vocabulary=512, hidden=64, layers=4, heads=4, training=TrainingConfig(tokens=30_000, length=128, learning_rate=2e-3))
SHORT = {"length": 128, "learning_rate": 2e-3}


@pytest.fixture(scope="module")
def start(place: Path) -> Model:
    """A scratch base."""
    return base(BaseConfig(source=SMALL), resolve(SMALL))


@pytest.fixture
def alive(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many models were in memory each time that one more was loaded."""
    loaded: list[Any] = []
    counts: list[int] = []
    honest = models.load

    def spied(*given: Any, **more: Any) -> Any:
        counts.append(sum(one() is not None for one in loaded))
        network = honest(*given, **more)
        loaded.append(weakref.ref(network))
        return network

    monkeypatch.setattr(models, "load", spied)
    return counts


@pytest.mark.long
def test_a_model_that_learns_with_replay_forgets_measurably_less_and_a_budget_finds_the_share(
    start: Model, data: Split, alive: list[int]
) -> None:
    settings = {"epochs": 2, "replay": 0.02, **SHORT}
    free = store.find(pretrain(PretrainConfig(**settings, forgetting=Forgetting(budget=10.0)), start, data).id)
    held = store.find(pretrain(PretrainConfig(**settings, forgetting=Forgetting(budget=0.0, tries=2, most=0.8)), start, data).id)
    assert free is not None
    assert held is not None
    assert max(alive) == 1, "the best one so far, while the next is trained"
    assert free.measured["replay"] == 0.02
    assert len(free.measured["forgetting"]) == 1
    tried = held.measured["forgetting"]
    assert [one["replay"] for one in tried] == [0.02, 0.05, 0.1]
    assert tried[0] == free.measured["forgetting"][0]
    assert tried[0]["forgot"] > 0  # it forgets, and more replay lets it forget less
    assert [one["forgot"] for one in tried] == sorted((one["forgot"] for one in tried), reverse=True)
    assert [one["reached"] for one in tried] == pytest.approx([0.02, 0.05, 0.1], abs=1e-3)
    assert held.measured["replay"] == 0.1
    assert held.facts["data"]["general_characters"] > 2 * free.facts["data"]["general_characters"]


def test_a_budget_ends_where_there_is_no_more_general_text(start: Model, data: Split) -> None:
    """More replay would be the same training."""
    few = {"trainer": {"max_steps": 1}, "learning_rate": 0.1, "length": 128, "warmup": 0.0}
    budget = Forgetting(budget=0.0, tries=3, most=0.999)
    record = store.find(pretrain(PretrainConfig(**few, replay=0.98, forgetting=budget), start, data).id)
    assert record is not None
    (tried,) = record.measured["forgetting"]
    assert tried["exhausted"]
    assert tried["forgot"] > 0
    assert 0.5 < tried["reached"] == record.measured["replay_reached"] < tried["replay"] == 0.98


@pytest.mark.long
def test_a_tuning_over_its_budget_is_done_again_with_more_replay(start: Model, data: Split, alive: list[int]) -> None:
    settings = {"replay": 0.0, "epochs": 2, **SHORT}
    held = store.find(tune(TuneConfig(**settings, forgetting=Forgetting(budget=0.0, tries=2, most=0.9)), start, data).id)
    assert max(alive) == 1
    plain = store.find(tune(TuneConfig(**settings), start, data).id)
    assert held is not None
    assert plain is not None
    assert "forgetting" not in plain.measured
    tried = held.measured["forgetting"]
    assert [one["replay"] for one in tried] == [0.0, 0.05, 0.1]
    assert [one["reached"] for one in tried] == pytest.approx([0.0, 0.05, 0.1], abs=0.02)
    assert tried[0]["forgot"] > 0
    assert [one["forgot"] for one in tried] == sorted((one["forgot"] for one in tried), reverse=True)
    assert held.measured["replay"] == 0.1
    assert held.facts["data"]["replayed_tokens"] > plain.facts["data"]["replayed_tokens"] == 0


@pytest.mark.parametrize("frozen", ["whole", "nf4"])
def test_adapters_that_had_a_budget_are_those_that_learned(frozen: Literal["whole", "nf4"], start: Model, data: Split) -> None:
    """To measure what was forgotten changes nothing, neither in them nor in the weights below."""
    method = Lora(kind="lora", rank=4, frozen=frozen)
    asked = TuneConfig(method=method, trainer={"max_steps": 3}, precision="fp32", **SHORT)
    budget = Forgetting(budget=9.0)
    with_budget, without = (tune(asked.model_copy(update={"forgetting": one}), start, data) for one in (budget, None))
    assert with_budget.id != without.id
    made = [store.find(one.id) for one in (with_budget, without)]
    assert len({one.measured["adapter_kl"] for one in made if one is not None}) == 1
    assert digests.of_file(with_budget.path / "model.safetensors") == digests.of_file(without.path / "model.safetensors")


@pytest.mark.long
def test_adapters_that_are_tried_again_leave_one_model_in_memory(start: Model, data: Split, alive: list[int]) -> None:
    few = {"trainer": {"max_steps": 1}, "learning_rate": 0.1, "warmup": 0.0, "length": 128}
    cfg = TuneConfig(method=Lora(kind="lora", rank=4), forgetting=Forgetting(budget=0.0, tries=2, most=0.9), **few)
    record = store.find(tune(cfg, start, data).id)
    assert record is not None
    assert [one["replay"] for one in record.measured["forgetting"]] == [0.3, 0.6, 0.9]
    assert alive == [0, 1, 1]


def test_a_budget_without_general_text_is_refused_before_training() -> None:
    with pytest.raises(DataError, match="no general text that is held out"):
        best(lambda replay: pytest.fail("it was trained"), 0.1, Forgetting(), general=0)
