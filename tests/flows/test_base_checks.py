"""A base model that cannot be trained as the settings say is told before anything is trained."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.adapt import adapt
from flows.classify import classify
from flows.prepare import prepare
from tasks.lib import base_checks, examine, models, preflight, turns
from tasks.lib.execute import Direct
from tasks.lib.flow import Order
from tests.conftest import WORDS, Run
from tests.tiny import ENCODERS, model_of, tokenizer_of

pytestmark = pytest.mark.usefixtures("asked_here")
ASK = examine._ask
SHORT = ("pretrain.length=64", "tune.length=64", "align.length=64", "distill.length=64", "distill.layers=1")
THINKS = turns.CHATML.replace("<|im_start|>assistant\n", "<|im_start|>assistant\n<think>")
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + turns.CHATML


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


@pytest.fixture
def asked_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries answer in this process, without its limits: to start one takes longer than to answer."""
    monkeypatch.setattr(examine, "_ask", examine._answer)
    monkeypatch.setattr(base_checks, "require_usable_tokenizer", models.load_tokenizer)


def found(model: Path | None, *words: str) -> list[str]:
    """Every fault of the trainings, all of which will run."""
    base = () if model is None else (f"base.source={{kind: folder, path: {model}}}",)
    job = adapt.job(Order("toy", None, (*base, *words)))
    return [fault.sentence() for fault in base_checks.faults(job, {"base", "pretrain", "tune", "align", "distill"})]


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
@pytest.mark.usefixtures("asked_here")
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


def encoder(name: str, place: Path, **lacks: str) -> Path:
    """The folder of a tiny encoder, whose tokenizer has no end, as BERT's."""
    tokenizer = tokenizer_of(name)
    models.save(model_of(name, tokenizer), tokenizer, place)
    edited("tokenizer_config.json", lambda c: [c.pop(key, None) for key in ("bos_token", "eos_token", *lacks.values())])(place)
    return place


def of_classify(folder: Path, *words: str) -> list[str]:
    """Every fault of `slmforge classify` on a base."""
    short = ("pretrain.length=64", "classify.length=64")
    job = classify.job(Order("toy", None, (f"base.source={{kind: folder, path: {folder}}}", *short, *words)))
    return [fault.sentence() for fault in preflight.faults(job, classify.plan(job))]


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.usefixtures("toy", "asked_here")
def test_an_encoder_is_judged_as_one(name: str, workplace: Path) -> None:
    """Neither a chat template nor an end token is wanted of it, and adapters are looked for under its head."""
    folder = encoder(name, workplace / "encoder")
    assert of_classify(folder) == []
    assert of_classify(folder, "classify.method={kind: lora}", "distill={before_head: true, layers: 1, length: 64}") == []
    (none,) = of_classify(folder, "classify.method={kind: lora, targets: [q_proj]}")
    assert none.startswith("classify: no weight would learn: ")
    (long,) = of_classify(folder, "classify.length=131")
    assert "classify.length is 131 tokens" in long
    if name == "roberta":  # which numbers positions from the one behind its padding token's number
        assert of_classify(folder, "classify.length=128") == []
        assert "has 128 positions" in "".join(of_classify(folder, "classify.length=129"))
    (chats,) = found(folder, *SHORT)
    assert chats.startswith("tune: an encoder, which fills in masked tokens and continues no text")


@pytest.mark.usefixtures("toy", "asked_here")
def test_an_encoder_without_its_mask_or_padding_and_a_classifier_are_refused(workplace: Path) -> None:
    folder = encoder("bert", workplace / "encoder", mask="mask_token", pad="pad_token")
    assert [sentence.split(";")[0] for sentence in of_classify(folder)] == [
        "base: the tokenizer has no mask token",
        "base: the tokenizer has no padding token",
    ]
    edited("config.json", lambda c: c.update(architectures=["BertForSequenceClassification"]))(folder)
    (said,) = of_classify(folder)
    assert said.startswith("pretrain: a classifier, which names one of its labels")


@pytest.mark.usefixtures("asked_here")
def test_a_decoder_is_judged_by_what_the_flow_does_with_it(model: Path, workplace: Path) -> None:
    template(THINKS)(model)
    assert of_classify(model) == [], "no row is read under a chat template"
    (lacking,) = of_classify(model, "classify.method={kind: lora, targets: [query]}", "classify.length=65")[1:]
    assert lacking.startswith("classify: no weight would learn")
    job = adapt.job(Order("toy", None, (f"base.source={{kind: folder, path: {model}}}", "reward.length=65", "reinforce.length=66")))
    told = [fault.sentence() for fault in base_checks.faults(job, {"reward", "reinforce"})]
    assert [sentence.split(":")[0] for sentence in told] == ["reward", "reward", "reinforce"]
    assert "reinforce.length is 66 tokens, and the model has 64 positions" in told[-1]
    assert base_checks.notes(job, {"reward"}) == []
    template(turns.CHATML)(model)
    edited("tokenizer_config.json", lambda c: (c.pop("pad_token"), c.update(eos_token="<|endoftext|>")))(model)
    job = adapt.job(Order("toy", None, (f"base.source={{kind: folder, path: {model}}}",)))
    pads, stops = base_checks.notes(job, {"reward"})
    assert "has no padding token: its end token <|endoftext|> also pads" in pads
    assert "does not end an answer with its end token <|endoftext|>" in stops
    assert base_checks.notes(job, {"pretrain"}) == [pads]


def test_adapters_of_a_scratch_encoder_are_looked_for_where_it_has_layers(toy: Path) -> None:
    source = "base.source={kind: scratch, architecture: encoder, positions: 128}"

    def said(targets: str) -> list[str]:
        job = classify.job(Order("toy", None, (source, f"classify={{length: 64, method: {{kind: lora, targets: {targets}}}}}")))
        return [fault.found for fault in base_checks.faults(job, {"classify"})]

    assert said("all-linear") == said("[Wqkv, Wi]") == said("[dense]") == []
    assert "'q_proj'" in said("[q_proj]")[0]


def test_a_merge_with_new_tokens_blocks_a_plan(toy: Path, cli: Run) -> None:
    words = ("merge.method={kind: slerp}", "base.source.positions=128")
    done = cli("plan", "toy", "--json", *words, "pretrain.new_tokens=5")
    (blocker,) = json.loads(done.stdout)["blockers"]
    assert blocker.startswith("merge: pretrain.new_tokens gives the pretrained model tokens that the base does not have")
    assert json.loads(cli("plan", "toy", "--json", *words).stdout)["blockers"] == []


@pytest.mark.long
def test_processes_of_their_own_answer_as_this_one_does(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them loads the libraries, within bounds of time and memory."""
    asked: list[tuple[Any, Any]] = []

    def note(*question: Any) -> Any:
        asked.append((question, examine._answer(*question)))
        return asked[-1][1]

    monkeypatch.setattr(examine, "_ask", note)
    job = adapt.job(Order("toy", None, (f"base.source={{kind: folder, path: {model}}}", "tune.trainer={optim: none}")))
    preflight.faults(job, adapt.plan(job))
    prepare.under(Direct(), prepare.job(Order("toy")))  # now there are rows to ask about
    preflight.faults(job, adapt.plan(job))
    assert {subject for (subject, _), _ in asked} == set(examine.SUBJECTS)
    for question, answer in asked:
        assert ASK(*question) == answer
