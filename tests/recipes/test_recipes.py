"""Each recipe, as it is written, on a tiny model of its architecture: it is taken in, trained in its way, and learns.

What stands in for the real thing: the base (random weights, from the same configuration class), the length of blocks, the
number of steps, and the learning rate, which is that of a tiny model with random weights. All else is the recipe's.
"""

from typing import Any

import pytest

from flows.adapt import AdaptConfig
from tasks.align import align
from tasks.classify import classify
from tasks.lib import config, places, store
from tasks.lib.base_source import resolve
from tasks.lib.errors import ConfigError
from tasks.lib.model import Model
from tasks.pretrain import pretrain
from tasks.split import Split
from tasks.tune import Lora, tune
from tests.conftest import ROOT
from tests.tiny import DECODERS, ENCODERS, TinyConfig, tiny

RECIPES = sorted(file.stem for file in (ROOT / "configs" / "recipes").glob("*.yaml"))
METHODS = ("grpo", "orca2")  # recipes of a way to train, on a base that has a recipe here; each is tested in a file of its own
TINY = {"length": 64, "accumulation": 1, "batch": 8}


def _written(name: str) -> AdaptConfig:
    file = ROOT / "configs" / "recipes" / f"{name}.yaml"
    return config.build(AdaptConfig, config.read_yaml(file), str(file))


def _tiny(settings: Any, steps: int, rate: float, **more: Any) -> Any:
    """The recipe's settings of a stage at a size for tests."""
    values = {**TINY, "learning_rate": rate, "trainer": {**settings.trainer, "max_steps": steps}, **more}
    return type(settings).model_validate({**settings.model_dump(), **values})


def _told(made: Model) -> dict[str, Any]:
    record = store.find(made.id)
    assert record is not None
    return record.measured


def test_each_recipe_names_its_paper_and_a_model_of_the_hub_to_be_pinned() -> None:
    assert set(RECIPES) == {*ENCODERS, *DECODERS, *METHODS} - {"modernbert", "sliding"}
    for name in RECIPES:
        text = (ROOT / "configs" / "recipes" / f"{name}.yaml").read_text()
        source = _written(name).base.source
        assert source.kind == "hub"
        assert source.revision == "0" * 40
        assert "(a revision must be pinned)" in text
        assert any(f"{year}, " in text for year in range(2018, 2026))
        assert f"--config recipes/{name}" in text
        assert places.config_file(f"recipes/{name}").samefile(ROOT / "configs" / "recipes" / f"{name}.yaml")
        with pytest.raises(ConfigError, match="forty zeros, which pin nothing"):
            resolve(source)


@pytest.mark.parametrize(("rate", "learns"), [(5e-3, True), (0.0, False)])
@pytest.mark.parametrize("name", [name for name in RECIPES if name not in METHODS])
def test_a_recipe_learns_held_out_text(name: str, rate: float, learns: bool, data: Split) -> None:
    recipe = _written(name)
    start = tiny(TinyConfig(name=name))
    told = _told(pretrain(_tiny(recipe.pretrain, 25 if learns else 2, rate), start, data))
    assert told["objective"] == ("masked" if name in ENCODERS else "causal")
    assert ("one document per row" in told["layout"]) is (name == "mobilebert")
    before, after = told["heldout_loss_before"], told["heldout_loss_after"]
    assert after < 0.9 * before if learns else after == pytest.approx(before, rel=1e-6)


@pytest.mark.parametrize("name", [name for name in RECIPES if name in ENCODERS])
def test_a_recipe_of_an_encoder_ends_in_a_classifier(name: str, data: Split) -> None:
    start = tiny(TinyConfig(name=name))
    made = classify(_tiny(_written(name).classify, 240 if name == "mobilebert" else 120, 3e-3), start, data)
    told = _told(made)
    assert told["valid_low"] > told["valid_majority"]


@pytest.mark.parametrize("name", [name for name in RECIPES if name in DECODERS])
def test_a_recipe_of_a_decoder_is_tuned_and_aligned(name: str, data: Split) -> None:
    recipe, start = _written(name), tiny(TinyConfig(name=name))
    adapts = isinstance(recipe.tune.method, Lora)  # whose few weights learn more slowly
    tuned = tune(_tiny(recipe.tune, 60, 1e-2 if adapts else 5e-3), start, data)
    losses = [point["loss"] for point in _told(tuned)["curve"]]
    assert min(losses[-3:]) < (0.95 if adapts else 0.7) * losses[0]  # adapters of random weights have little to build on
    if adapts:
        assert (tuned.path / "adapter" / "adapter_model.safetensors").is_file()
    aligned = align(_tiny(recipe.align, 12, 1e-3), tuned, data)
    curve = [point["loss"] for point in _told(aligned)["curve"]]
    assert curve[-1] < 0.95 * curve[0]
