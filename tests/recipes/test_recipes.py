"""Each recipe, as it is written, on a tiny model of its architecture: it is taken in, trained in its way, and learns.

What stands in for the real thing: the base (random weights, from the same configuration class), the length of blocks, the
number of steps, and the learning rate, which is that of a tiny model with random weights. All else is the recipe's. What is
measured is held out; where the rate is 0, it stays as it is.
"""

import re
from typing import Any

import pytest

from flows.adapt import AdaptConfig
from tasks.align import align
from tasks.classify import classify
from tasks.distill import distill
from tasks.lib import config, models, objectives, places, store
from tasks.lib.base_source import resolve
from tasks.lib.errors import ConfigError
from tasks.lib.model import Model
from tasks.lib.records import iterate
from tasks.pretrain import pretrain
from tasks.split import Split
from tasks.tune import Lora, tune
from tests.conftest import ROOT
from tests.measure import answers_loss, ended
from tests.tiny import BARE, DECODERS, ENCODERS, TinyConfig, tiny

RECIPES = sorted(file.stem for file in (ROOT / "configs" / "recipes").glob("*.yaml"))
UNPINNED = ("gpt-j", "mobilebert")  # of which no commit with what is wanted is known here
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


def test_each_recipe_names_its_paper_and_pins_a_model_of_the_hub_or_says_that_it_does_not() -> None:
    assert set(RECIPES) == {*ENCODERS, *DECODERS, *METHODS} - {"modernbert", "sliding"}
    for name in RECIPES:
        text = (ROOT / "configs" / "recipes" / f"{name}.yaml").read_text()
        source = _written(name).base.source
        assert source.kind == "hub"
        assert re.fullmatch(r"[0-9a-f]{40}", source.revision)
        assert (source.revision == "0" * 40) == ("in place of the zeros" in text) == (name in UNPINNED)
        assert ("look it up among the model's own before use" in text) == (name not in UNPINNED)
        assert any(f"{year}, " in text for year in range(2018, 2026))
        assert f"--config recipes/{name}" in text
        assert places.config_file(f"recipes/{name}").samefile(ROOT / "configs" / "recipes" / f"{name}.yaml")
        if name in UNPINNED:
            with pytest.raises(ConfigError, match="forty zeros, which pin nothing"):
                resolve(source)
        else:
            assert resolve(source).content == {source.model: source.revision}


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
def test_a_recipe_of_an_encoder_learns_to_classify_held_out_rows(name: str, data: Split) -> None:
    start = tiny(TinyConfig(name=name))
    steps, rate = (400, 1e-3) if name == "mobilebert" else (120, 3e-3)
    made = classify(_tiny(_written(name).classify, steps, rate), start, data)
    told = _told(made)
    assert told["valid_low"] > told["valid_majority"]


@pytest.fixture(scope="module")
def teacher(data: Split) -> Model:
    """A tiny BERT of four layers that has read the documents as the recipe says."""
    start = tiny(TinyConfig(name="bert", more={"num_hidden_layers": 4}))
    return pretrain(_tiny(_written("distilbert").pretrain, 15, 5e-3), start, data)


@pytest.mark.parametrize(("rate", "learns"), [(5e-3, True), (0.0, False)])
def test_the_student_of_distilbert_learns_held_out_text(rate: float, learns: bool, data: Split, teacher: Model) -> None:
    recipe = _written("distilbert").distill
    assert recipe.before_head
    master, tokenizer = models.load(teacher.path), models.load_tokenizer(teacher.path)
    objective = objectives.choose(master, tokenizer, 64, recipe.mask)
    texts = [row["text"] for row in iterate(data.path, "corpus-valid")]
    before = objective.loss_of(models.fewer_layers(master, 2, recipe.taken), texts)
    made = distill(_tiny(recipe, 40 if learns else 2, rate, layers=2, control=False), teacher, data)
    assert (made.layers, made.teacher_layers) == (2, 4)
    after = _told(made)["student_corpus_loss"]
    assert before is not None
    assert after < 0.95 * before if learns else after == pytest.approx(before, rel=1e-5)


ONCE = [(name, True) for name in RECIPES if name in DECODERS]


@pytest.mark.parametrize(("name", "learns"), [*ONCE, ("gpt2", False), ("llama", False)])  # one whose weights learn, one with adapters
def test_a_recipe_of_a_decoder_learns_held_out_answers_and_preferences(name: str, learns: bool, data: Split) -> None:
    recipe, start = _written(name), tiny(TinyConfig(name=name))
    adapts = isinstance(recipe.tune.method, Lora)  # whose few weights learn more slowly
    rate = (1e-2 if adapts else 5e-3) if learns else 0.0
    tuned = tune(_tiny(recipe.tune, 60 if learns else 2, rate), start, data)
    aligned = align(_tiny(recipe.align, 12 if learns else 2, 1e-3 if learns else 0.0), tuned, data)
    before, after = answers_loss(start, data), answers_loss(tuned, data)
    assert aligned.held_out is not None
    if adapts:
        assert (tuned.path / "adapter" / "adapter_model.safetensors").is_file()
    if not learns:
        assert after == pytest.approx(before, rel=1e-5)
        assert aligned.held_out.margin.after == pytest.approx(0.0, abs=1e-3)
        return
    assert after < (0.95 if adapts else 0.7) * before  # adapters of random weights have little to build on
    assert aligned.held_out.margin.after > 0.02
    if name in BARE and not adapts:
        assert ended(tuned, data) == 1.0, "generation stops where the plain template ends a turn"
