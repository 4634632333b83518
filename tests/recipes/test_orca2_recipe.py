"""The recipe of Orca 2 on a tiny Llama: answers written under a system message are learned without it."""

import csv
from typing import Any

import pytest
from transformers import Trainer

from flows.adapt import AdaptConfig
from flows.prepare import prepare
from tasks.lib import config, models, store
from tasks.lib.execute import Direct
from tasks.lib.flow import Order
from tasks.lib.model import Model
from tasks.lib.records import iterate
from tasks.split import Split
from tasks.tune import TuneConfig, tune
from tests.conftest import ROOT, settled, write_toy
from tests.measure import answers_loss
from tests.tiny import TinyConfig, tiny

FILE = ROOT / "configs" / "recipes" / "orca2.yaml"
MESSAGE = "green cloud bread"  # words that stand in no prompt and no answer
INSTEAD = "large house"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The toy's split, half of whose tuning rows have a system message."""
    folder = tmp_path_factory.mktemp("orca2")
    toy = write_toy(folder)
    card, file = toy / "domain.yaml", toy / "data" / "colours.csv"
    card.write_text(
        card.read_text().replace('map: {prompt: "{q}", response: "{a}"}', 'map: {system: "{s}", prompt: "{q}", response: "{a}"}')
    )
    rows = list(csv.reader(file.open()))[1:]
    with file.open("w") as stream:
        csv.writer(stream).writerows([["s", "q", "a"], *([MESSAGE if n % 2 else "", *row] for n, row in enumerate(rows))])
    with settled(folder):
        yield prepare.under(Direct(), prepare.job(Order("toy")))


@pytest.fixture(scope="module")
def start(data: Split) -> Model:
    """A tiny Llama with random weights."""
    return tiny(TinyConfig(name="llama"))


def _tune(steps: int, rate: float = 5e-3, **more: Any) -> TuneConfig:
    """The recipe's settings at a size for tests."""
    recipe = config.build(AdaptConfig, config.read_yaml(FILE), str(FILE)).tune
    small = {"length": 64, "accumulation": 1, "batch": 8, "learning_rate": rate, "trainer": {"max_steps": steps}, **more}
    return TuneConfig.model_validate({**recipe.model_dump(), **small})


def _trained_on(made: TuneConfig, start: Model, data: Split, patch: pytest.MonkeyPatch) -> tuple[Model, str]:
    """What came out, and every text that the model saw while it was trained."""
    seen: list[int] = []
    honest = Trainer.compute_loss

    def spied(self: Trainer, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        seen.extend(inputs["input_ids"].flatten().tolist())
        return honest(self, model, inputs, *args, **kwargs)

    with patch.context() as spying:
        spying.setattr(Trainer, "compute_loss", spied)
        tuned = tune(made, start, data)
    return tuned, models.load_tokenizer(start.path).decode(seen)


def test_the_orca2_recipe_names_its_paper_and_a_model() -> None:
    text, recipe = FILE.read_text(), config.build(AdaptConfig, config.read_yaml(FILE), str(FILE))
    assert "Mitra et al., 2023, " in text
    assert recipe.base.source.kind == "hub"
    assert recipe.tune.erase_system is True


@pytest.mark.parametrize(("rate", "learns"), [(5e-3, True), (0.0, False)])
def test_the_orca2_recipe_learns_held_out_answers(rate: float, learns: bool, start: Model, data: Split) -> None:
    before, after = (answers_loss(model, data, system="") for model in (start, tune(_tune(25 if learns else 2, rate), start, data)))
    assert after < 0.7 * before if learns else after == pytest.approx(before, rel=1e-6)


def test_the_orca2_recipe_shows_the_model_no_erased_message(start: Model, data: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = list(iterate(data.path, "tune-train"))
    written = sum(row.get("system") == MESSAGE for row in rows)
    assert 0 < written < len(rows)
    enough: dict[str, Any] = {"steps": 25, "rate": 0.0}
    erased, seen = _trained_on(_tune(**enough), start, data, monkeypatch)
    assert erased.data["rows_system_erased"] == written
    assert "What colour" in seen
    assert MESSAGE not in seen
    assert "system" not in seen, "nor an empty turn in its place"
    kept, seen = _trained_on(_tune(**enough, erase_system=False), start, data, monkeypatch)
    assert MESSAGE in seen
    assert "rows_system_erased" not in kept.data
    general, seen = _trained_on(_tune(**enough, erase_system=INSTEAD), start, data, monkeypatch)
    assert general.data["rows_system_erased"] == written
    assert MESSAGE not in seen
    assert INSTEAD in seen
    assert len({one.id for one in (erased, kept, general)}) == 3
    record = store.find(erased.id)
    assert record is not None
    assert record.facts["data"]["rows_system_erased"] == written
