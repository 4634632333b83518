"""Encoders, heads and schedules, on models of a few thousand weights: each learns on rows that it was not trained on."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from flows.prepare import prepare
from tasks.base import BaseConfig, Folder, Scratch, base
from tasks.classify import ClassifyConfig, classify
from tasks.evaluate import EvaluateConfig, evaluate
from tasks.lib import heads, models, objectives, store, tracking
from tasks.lib.base_source import resolve
from tasks.lib.collations import Masked
from tasks.lib.errors import ConfigError, DataError
from tasks.lib.flow import Order
from tasks.lib.model import Classifier, Model
from tasks.lib.packing import IGNORED
from tasks.lib.shares import NUMBER
from tasks.lib.training import fit
from tasks.lib.training_config import TrainingConfig
from tasks.pretrain import PretrainConfig, pretrain
from tasks.quantize import QuantizeConfig, quantize
from tasks.split import Split
from tasks.tune import Lora, TuneConfig, tune
from tests.tiny import model_of, tokenizer_of

SMALL = {"vocabulary": 512, "hidden": 64, "layers": 2, "heads": 4}
ENCODER = Scratch(**SMALL, architecture="encoder", training=TrainingConfig(tokens=15_000, length=64, learning_rate=2e-3))
DECODER = Scratch(**SMALL, training=TrainingConfig(tokens=15_000, length=64, learning_rate=2e-3))
PLAIN = {
    "length": 64, "precision": "fp32", "learning_rate": 1.0, "warmup": 0.0, "weight_decay": 0.0,
    "trainer": {"max_steps": 1, "optim": "sgd", "max_grad_norm": 0.0},
}  # fmt: skip


@pytest.fixture(scope="module")
def encoder(place: Path) -> Model:
    """A scratch encoder."""
    return base(BaseConfig(source=ENCODER), resolve(ENCODER))


@pytest.fixture(scope="module")
def decoder(place: Path) -> Model:
    """A scratch decoder."""
    return base(BaseConfig(source=DECODER), resolve(DECODER))


def _measured(made: Model) -> dict[str, Any]:
    record = store.find(made.id)
    assert record is not None
    return record.measured


@pytest.mark.parametrize(("rate", "learns"), [(3e-3, True), (0.0, False)])
@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_continued_pretraining_learns_held_out_text(
    kind: str, rate: float, learns: bool, data: Split, request: pytest.FixtureRequest
) -> None:
    """The loss on validation documents, of an encoder under masks that are the same before and after."""
    start: Model = request.getfixturevalue(kind)
    steps = 100 if learns else 3
    told = _measured(pretrain(PretrainConfig(trainer={"max_steps": steps}, length=64, learning_rate=rate), start, data))
    assert told["objective"] == ("masked" if kind == "encoder" else "causal")
    assert "each masked from the others" in told["layout"]
    before, after = told["heldout_loss_before"], told["heldout_loss_after"]
    assert after < 0.9 * before if learns else after == pytest.approx(before, rel=1e-6)


def test_the_share_of_masked_tokens_is_a_setting(encoder: Model, data: Split) -> None:
    made = [pretrain(PretrainConfig(trainer={"max_steps": 3}, length=64, mask=share), encoder, data) for share in (0.15, 0.6)]
    assert made[0].digest != made[1].digest
    assert [_measured(one)["mask"] for one in made] == [0.15, 0.6]


def test_masks_are_80_10_10_of_the_share_and_spare_what_frames_a_text() -> None:
    tokenizer = tokenizer_of("bert")
    objective = objectives.choose(model_of("bert", tokenizer), tokenizer, 64)
    blocks = objective.blocks((piece for n in range(60) for piece in objective.encoder.document("alpha beta gamma " * (n + 9))), 0)
    rows = [blocks[n] for n in range(len(blocks))]
    plain = torch.tensor([[*row["input_ids"], *[tokenizer.pad_token_id] * (64 - len(row["input_ids"]))] for row in rows])
    collate = objective.collate(7)
    assert isinstance(collate, Masked)
    batch = collate(rows)
    chosen = batch["labels"] != IGNORED
    may = ~torch.isin(plain, torch.tensor([tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id]))
    assert not (chosen & ~may).any()
    assert (batch["labels"][chosen] == plain[chosen]).all()
    assert (batch["input_ids"] == plain)[~chosen].all()
    assert float(chosen.sum() / may.sum()) == pytest.approx(0.15, abs=0.02)
    assert float((batch["input_ids"][chosen] == tokenizer.mask_token_id).float().mean()) == pytest.approx(0.8, abs=0.05)
    assert float((batch["input_ids"] == plain)[chosen].float().mean()) == pytest.approx(0.1, abs=0.04)
    for place in (0, len(rows) - 1):  # in whatever batch it comes
        alone = collate([{**rows[place], NUMBER: place}])
        assert torch.equal(alone["labels"][0], batch["labels"][place])
        assert torch.equal(alone["input_ids"][0], batch["input_ids"][place])
    for _ in range(2):
        collate.on_epoch_begin(*[None] * 3)  # type: ignore[arg-type]  # which it does not read
    assert not torch.equal(batch["labels"], collate(rows)["labels"]), "masks are drawn anew for every epoch"


def test_accumulated_masked_batches_are_one_batch() -> None:
    """The library's own BERT does not divide its loss by the labels of all batches, and the Trainer counts on it."""
    tokenizer = tokenizer_of("bert")
    changed = []
    for size, accumulation in ((8, 1), (2, 4)):
        model = model_of("bert", tokenizer)
        model.config.hidden_dropout_prob = model.config.attention_probs_dropout_prob = 0.0
        for part in model.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0
        objective = objectives.choose(model, tokenizer, 64)
        blocks = objective.blocks((p for n in range(8) for p in objective.encoder.document("alpha beta river stone " * (3 + n))), 0)
        before = model.bert.encoder.layer[0].output.dense.weight.clone()
        cfg = TrainingConfig.model_validate({**PLAIN, "batch": size, "accumulation": accumulation})
        fit(model, tokenizer, blocks, cfg, "pretrain", objective.collation(3))
        changed.append(model.bert.encoder.layer[0].output.dense.weight - before)
    torch.testing.assert_close(changed[0], changed[1], atol=1e-6, rtol=1e-3)


@pytest.mark.long
@pytest.mark.parametrize("name", ["distilbert", "modernbert"])  # the others are in the recipes
def test_a_folder_with_an_encoder_is_a_base_and_learns_by_masks(name: str, data: Split, tmp_path: Path) -> None:
    tokenizer = tokenizer_of(name)
    models.save(model_of(name, tokenizer), tokenizer, tmp_path)
    source = Folder(kind="folder", path=tmp_path)
    start = base(BaseConfig(source=source), resolve(source))
    assert start.architecture == "encoder"
    assert models.load_tokenizer(start.path).chat_template is None
    made = pretrain(PretrainConfig(trainer={"max_steps": 20}, length=48, learning_rate=5e-3, warmup=0.2), start, data)
    told = _measured(made)
    assert told["objective"] == "masked"
    assert told["heldout_loss_after"] < 0.95 * told["heldout_loss_before"]
    assert models.parameters(models.load(made.path)) == start.parameters


def test_a_stage_that_needs_text_refuses_an_encoder(encoder: Model, data: Split) -> None:
    with pytest.raises(ConfigError, match=r"(?s)an encoder, which fills in masked tokens.*slmforge classify"):
        tune(TuneConfig(), encoder, data)


def _rates(schedule: str, **more: Any) -> list[float]:
    tokenizer = tokenizer_of("llama")
    model = model_of("llama", tokenizer)
    objective = objectives.choose(model, tokenizer, 32)
    blocks = objective.blocks(objective.encoder.document("alpha beta " * 300), 0)
    cfg = TrainingConfig(length=32, batch=1, learning_rate=1e-3, schedule=schedule, warmup=0.2, trainer={"max_steps": 20}, **more)  # type: ignore[arg-type]  # a parameter
    with tracking.active(None) as current:
        objective.fit(model, blocks, cfg, "pretrain")
    return [point["learning_rate"] * 1e3 for point in current.measured["curve"]]


def test_each_schedule_moves_the_learning_rate_as_it_says() -> None:
    """Twenty steps, of which four warm up; the rate is logged as each step begins."""
    cosine, wsd, linear, constant = (_rates(name) for name in ("cosine", "wsd", "linear", "constant"))
    for rates in (cosine, wsd, linear, constant):
        assert rates[:5] == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0])
    assert cosine[12] == pytest.approx(0.5, abs=1e-6)
    assert cosine[8] == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)), abs=1e-6)
    assert wsd[4:17] == pytest.approx([1.0] * 13)
    assert wsd[17:] == pytest.approx([0.75, 0.5, 0.25])
    assert _rates("wsd", decay=0.5)[10:] == pytest.approx([1 - n / 10 for n in range(10)])
    assert linear[12] == pytest.approx(0.5)
    assert constant[4:] == pytest.approx([1.0] * 16)
    with pytest.raises(ValueError, match="more than all steps"):
        TrainingConfig(schedule="wsd", warmup=0.6, decay=0.5)


@pytest.mark.parametrize(("rate", "learns"), [(3e-3, True), (0.0, False)])
@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_a_classifier_learns_to_beat_the_most_frequent_label(
    kind: str, rate: float, learns: bool, data: Split, request: pytest.FixtureRequest
) -> None:
    """On rows that were held out of training, with an interval."""
    start: Model = request.getfixturevalue(kind)
    made = classify(ClassifyConfig(epochs=8 if learns else 1, length=64, learning_rate=rate), start, data)
    assert made.labels == ["red", "blue"]
    assert sum(made.trained_on.values()) == made.data["rows"] == made.data["rows_seen"] == data.counts["tune-train"]
    (score,) = _scores(made, data).tasks
    assert (score.n, score.task, score.truncated) == (20, "colour", 0)
    assert score.low is not None
    assert score.majority is not None
    assert 0.5 <= score.majority < 0.8
    assert (score.low > score.majority) is learns
    told = _measured(made)
    assert told["valid_rows"] == data.counts["tune-valid"] == sum(counts["rows"] for counts in told["classes"].values())
    assert sum(counts["right"] for counts in told["classes"].values()) == round(told["valid_accuracy"] * told["valid_rows"])


def _scores(made: Model, data: Split) -> Any:
    return evaluate(EvaluateConfig(texts=10, length=64), prepare.job(Order("toy")).domain.suite, data, made)


def test_lora_of_a_classifier_learns_in_its_adapters_and_head_alone_and_merges_to_the_same(encoder: Model, data: Split) -> None:
    method = Lora(kind="lora", rank=8)
    made = classify(ClassifyConfig(epochs=12, length=64, learning_rate=5e-3, method=method, precision="fp32"), encoder, data)
    (score,) = _scores(made, data).tasks
    assert score.low is not None
    assert score.majority is not None
    assert score.low > score.majority
    old, new = models.load(encoder.path).state_dict(), models.load(made.path).state_dict()
    changed = {name for name in old.keys() & new.keys() if not torch.equal(old[name], new[name])}
    assert changed
    assert not any("norm" in name or "embed" in name for name in changed)
    _merged_alike(encoder, made)


def _merged_alike(start: Model, made: Classifier) -> None:
    """The adapter upon the body it was trained on answers as the merged model does."""
    from peft import PeftModel

    tokenizer = models.load_tokenizer(made.path)
    apart = PeftModel.from_pretrained(heads.with_head(start.path, made.labels, tokenizer), str(made.path / "adapter")).eval()
    whole = models.load(made.path).eval()
    batch = tokenizer(["What colour is apple number 3?", "What colour is river number 4?"], return_tensors="pt", padding=True)
    batch = {key: batch[key] for key in ("input_ids", "attention_mask")}
    with torch.inference_mode():
        torch.testing.assert_close(apart(**batch).logits, whole(**batch).logits, atol=1e-4, rtol=1e-3)


def test_what_an_encoder_does_not_have_is_said_and_not_made_up(encoder: Model, data: Split) -> None:
    found = _scores(encoder, data)
    assert found.domain_bits_per_byte is None
    assert found.masked_loss.keys() == {"domain", "general"}
    assert "gives a text no probability" in found.not_measured["bits per byte"]
    assert [task.not_run for task in found.tasks] == ["the model fills in masked tokens and continues no text"]
    assert _scores(encoder, data).digest == found.digest


def test_a_budget_in_tokens_counts_those_of_the_texts(encoder: Model, data: Split) -> None:
    """A row has a fraction of `length` tokens; each step has 16 of them."""
    made = classify(ClassifyConfig(tokens=2000, length=128), encoder, data)
    assert made.data["tokens_trained"] == pytest.approx(2000, rel=0.1)


def test_rows_without_choices_train_no_classifier(encoder: Model, data: Split) -> None:
    with pytest.raises(DataError, match="dataset 'documents'"):
        classify(ClassifyConfig(dataset="documents"), encoder, data)


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_words_of_the_domain_become_tokens_and_learn(kind: str, data: Split, request: pytest.FixtureRequest) -> None:
    start: Model = request.getfixturevalue(kind)
    cfg = {"trainer": {"max_steps": 40}, "length": 64, "learning_rate": 3e-3}
    made = pretrain(PretrainConfig(new_tokens=5, **cfg), start, data)
    told = _measured(made)
    assert made.vocabulary == start.vocabulary + 5 == len(models.load_tokenizer(made.path))
    assert made.parameters == models.parameters(models.load(made.path)) > start.parameters
    assert made.data["new_tokens"] == 5 == len(told["new_words"])
    assert told["fertility_after"] < told["fertility_before"]
    assert told["heldout_loss_after"] < told["heldout_loss_before"]
    assert pretrain(PretrainConfig(new_tokens=told["new_words"], **cfg), start, data).digest == made.digest
    if kind == "decoder":
        _kept(made, told["new_words"], data)


def _kept(made: Model, words: list[str], data: Split) -> None:
    """The words are still tokens, with what was learned of them, when the model is tuned and when that is quantised."""
    tuned = tune(TuneConfig(trainer={"max_steps": 1}, length=64), made, data)
    small = quantize(QuantizeConfig(), tuned)
    logits = []
    for later in (tuned, small):
        tokenizer, network = models.load_tokenizer(later.path), models.load(later.path, dtype=torch.bfloat16)
        ids = tokenizer(f"a {' '.join(words)}", return_tensors="pt")["input_ids"]
        assert later.vocabulary == made.vocabulary == len(tokenizer) == network.get_input_embeddings().num_embeddings
        assert set(range(made.vocabulary - len(words), made.vocabulary)) <= set(ids[0].tolist())
        with torch.inference_mode():
            logits.append(network(ids).logits.float().log_softmax(-1))
    assert float(F.kl_div(logits[1], logits[0], reduction="none", log_target=True).sum(-1).mean()) < 0.05
