"""A base model that cannot be trained as the settings say is told before anything is trained."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.adapt import adapt
from tasks.lib import base_checks, models
from tasks.lib.flow import Order
from tests.conftest import WORDS, Run

pytestmark = pytest.mark.usefixtures("asked_here")
SHORT = ("pretrain.length=64", "tune.length=64", "align.length=64", "distill.length=64", "distill.layers=1")
THINKS = models.CHAT_TEMPLATE.replace("<|im_start|>assistant\n", "<|im_start|>assistant\n<think>")
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + models.CHAT_TEMPLATE


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of another project: two layers, 64 positions."""
    folder = tmp_path_factory.mktemp("made")
    tokenizer = models.train_tokenizer([" ".join(WORDS)], 400)
    models.save(models.new_decoder(tokenizer, 64, 2, 4, 64), tokenizer, folder)
    return folder


@pytest.fixture
def model(made: Path, toy: Path, workplace: Path) -> Path:
    """A copy of it beside the toy."""
    return Path(shutil.copytree(made, workplace / "model"))


def found(model: Path | None, *words: str) -> list[str]:
    """Every fault of the trainings, all of which will run."""
    base = () if model is None else (f"base.source={{kind: folder, path: {model}}}",)
    job = adapt.job(Order("toy", None, (*base, *words)))
    return [fault.sentence() for fault in base_checks.faults(job, {"base", *base_checks.LENGTHS})]


def test_a_base_that_fits_has_no_fault_and_settings_that_it_has_no_room_for_have(model: Path, workplace: Path) -> None:
    assert found(model, *SHORT) == []
    asked = sorted((workplace / "runs/examined").iterdir())
    long = found(model, *SHORT, "tune.length=65", "distill.layers=2")
    assert [sentence.split(":")[0] for sentence in long] == ["tune", "distill"]
    assert "tune.length is 65 tokens, and the model has 64 positions; to do: set tune.length to 64 or less" in long[0]
    assert "distill.layers is 2, while the teacher has 2" in long[1]
    assert sorted((workplace / "runs/examined").iterdir()) == asked, "the same base is looked at once"
    assert found(model, *SHORT, "tune.method={kind: lora, targets: [q_proj]}") == []
    (none,) = found(model, *SHORT, "tune.method={kind: lora, targets: [query]}")
    assert none.startswith("tune: no weight would learn: ")
    assert "query" in none


def edited(name: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """Change a JSON file of the model."""

    def spoil(model: Path) -> None:
        written = json.loads((model / name).read_text())
        change(written)
        (model / name).write_text(json.dumps(written))

    return spoil


def template(text: str) -> Callable[[Path], object]:
    return lambda model: (model / "chat_template.jinja").write_text(text)


SPOILT = {
    "a question that changes when it is answered": (template(THINKS), "tune: the chat template is of no use"),
    "a template that writes no answer": (template("{{ messages[0].content }}"), "no answer behind the question"),
    "tokens that the model does not embed": (edited("config.json", lambda c: c.update(vocab_size=300)), "of which the model embeds 300"),
    "no end token": (
        edited("tokenizer_config.json", lambda c: (c.pop("eos_token"), c.pop("pad_token"))),
        "no end token, which would also pad",
    ),
    "an architecture that nobody knows": (edited("config.json", lambda c: c.update(model_type="nobody")), "the model cannot be loaded"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_base_of_which_no_training_can_be_made_is_told(name: str, model: Path) -> None:
    spoil, said = SPOILT[name]
    spoil(model)
    assert said in "\n".join(found(model, *SHORT))


def test_a_template_without_a_system_message_is_a_fault_where_the_data_have_one(model: Path, toy: Path) -> None:
    template(NO_SYSTEM)(model)
    assert found(model, *SHORT) == []
    card = toy / "domain.yaml"
    card.write_text(
        card.read_text().replace('map: {prompt: "{q}", response: "{a}"}', 'map: {prompt: "{q}", response: "{a}", system: "be brief"}')
    )
    (said,) = found(model, *SHORT)
    assert "no system role" in said
    assert "colours has one" in said


def test_a_base_made_from_scratch_is_told_without_any_library(toy: Path, workplace: Path) -> None:
    lora = "tune.method={kind: lora, targets: %s}"
    assert found(None, lora % "[q_proj, v_proj]") == found(None, lora % "'.*mlp.*'") == found(None, lora % "all-linear") == []
    said = found(None, lora % "[query]", "base.source.positions=100", "base.source.training.length=128", "distill.layers=4")
    assert [sentence.split(":")[0] for sentence in said] == ["base", "pretrain", "tune", "align", "distill", "distill", "tune"]
    assert not (workplace / "runs/examined").exists()


def test_a_plan_has_it_as_a_blocker_and_adapt_refuses_before_any_stage(model: Path, cli: Run, workplace: Path) -> None:
    word = f"base.source={{kind: folder, path: {model}}}"
    done = cli("plan", "toy", "--json", word)
    assert done.returncode == 5, done.stderr
    assert any("pretrain.length is 128 tokens" in blocker for blocker in json.loads(done.stdout)["blockers"])
    done = cli("adapt", "toy", word)
    assert done.returncode == 2
    assert "pretrain.length is 128 tokens" in done.stderr
    assert not (workplace / "runs/artifacts").exists()
