"""What training does, on models of a few thousand weights: learn, isolate documents, count every token."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer

from flows.prepare import prepare
from tasks.align import AlignConfig, align
from tasks.base import BaseConfig, Folder, Scratch, base
from tasks.distill import DistillConfig, distill
from tasks.evaluate import EvaluateConfig, evaluate
from tasks.lib import balance, latency, models, store, tracking
from tasks.lib.base_source import resolve
from tasks.lib.errors import StageError
from tasks.lib.flow import Order
from tasks.lib.mixing import EVEN, Draws
from tasks.lib.model import Model
from tasks.lib.packing import IGNORED, BlockCollator, Encoder
from tasks.lib.page import Entry
from tasks.lib.training import fit
from tasks.lib.training_config import TrainingConfig
from tasks.pretrain import PretrainConfig, mixture, pretrain
from tasks.quantize import QuantizeConfig, quantize
from tasks.split import Split
from tasks.tune import Lora, TuneConfig, pieces, tune
from tests.measure import answers_loss

SMALL = Scratch(vocabulary=512, hidden=64, layers=4, heads=4, training=TrainingConfig(tokens=30_000, length=128, learning_rate=2e-3))
SHORT = {"length": 128, "learning_rate": 2e-3}
# one step that moves each weight by its gradient
PLAIN = {
    "length": 64, "precision": "fp32", "learning_rate": 1.0, "warmup": 0.0, "weight_decay": 0.0,
    "trainer": {"max_steps": 1, "optim": "sgd", "max_grad_norm": 0.0},
}  # fmt: skip


@pytest.fixture(scope="module")
def start(place: Path) -> Model:
    """A scratch base."""
    return base(BaseConfig(source=SMALL), resolve(SMALL))


@pytest.fixture(scope="module")
def bits(place: Path, data: Split) -> Callable[[Model], float]:
    """Domain bits per byte of a model."""
    suite = prepare.job(Order("toy")).domain.suite

    def measure(model: Model) -> float:
        found = evaluate(
            EvaluateConfig(texts=10, limit=5, length=128, answers=1, speed_tokens=4, general_tasks=[], untrained=0), suite, data, model
        )
        assert found.domain_bits_per_byte is not None
        return found.domain_bits_per_byte

    return measure


def test_continued_pretraining_learns_the_domain_in_bits_per_byte(start: Model, data: Split, bits: Callable[[Model], float]) -> None:
    before, after = bits(start), bits(pretrain(PretrainConfig(epochs=4, **SHORT), start, data))
    assert after < 0.9 * before


@pytest.mark.long
def test_with_a_learning_rate_of_zero_it_learns_nothing(start: Model, data: Split, bits: Callable[[Model], float]) -> None:
    """The same comparison as above fails when nothing can be learned, so it measures learning."""
    idle = pretrain(PretrainConfig(epochs=4, length=128, learning_rate=0.0), start, data)
    assert bits(idle) == pytest.approx(bits(start), rel=1e-6)


def test_tuning_learns_held_out_responses(start: Model, data: Split) -> None:
    made = tune(TuneConfig(epochs=12, replay=0.0, **SHORT), start, data)
    idle = tune(TuneConfig(epochs=12, replay=0.0, length=128, learning_rate=0.0, trainer={"max_steps": 2}), start, data)
    before = answers_loss(start, data, 128)
    assert answers_loss(made, data, 128) < 0.5 * before
    assert answers_loss(idle, data, 128) == pytest.approx(before, rel=1e-6)
    record = store.find(made.id)
    assert record is not None
    assert record.measured["epochs"] == 12
    assert made.data["rows"] == made.data["rows_seen"] == data.counts["tune-train"]


def test_lora_changes_weights_and_keeps_its_adapter(start: Model, data: Split) -> None:
    made = tune(TuneConfig(epochs=1, method=Lora(kind="lora", rank=4), **SHORT), start, data)
    assert (made.path / "adapter" / "adapter_model.safetensors").is_file()
    old, new = (models.load(m.path).state_dict() for m in (start, made))
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert any("q_proj" in name for name in changed)
    assert not any("norm" in name or "embed" in name for name in changed)


def test_preference_tuning_learns_to_prefer_the_chosen(start: Model, data: Split) -> None:
    made = align(AlignConfig(epochs=3, length=128, learning_rate=5e-4), start, data)
    record = store.find(made.id)
    assert record is not None
    losses = [point["loss"] for point in record.measured["curve"]]
    assert losses[-1] < losses[0] == pytest.approx(0.693, abs=0.02)
    assert made.data["pairs"] == made.data["pairs_seen"] == data.counts["preference-train"]
    assert made.data["pairs_trained"] == 3 * made.data["pairs"]


def test_the_student_is_shallower_and_is_compared_with_itself_alone(start: Model, data: Split) -> None:
    made = distill(DistillConfig(layers=2, tokens=20_000, **SHORT), start, data)
    assert made.layers == 2 == models.load(made.path).config.num_hidden_layers
    record = store.find(made.id)
    assert record is not None
    assert {"student_corpus_loss", "control_corpus_loss", "teacher_corpus_loss"} <= record.measured.keys()
    assert record.measured["student_corpus_loss"] != record.measured["control_corpus_loss"]


def test_quantised_weights_are_int8_and_answer_alike(start: Model, data: Split) -> None:
    taught = pretrain(PretrainConfig(epochs=4, **SHORT), start, data)
    small = quantize(QuantizeConfig(), taught)
    tokenizer = models.load_tokenizer(taught.path)
    ids = tokenizer("alpha beta gamma delta apple stone", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        whole = models.load(taught.path, dtype=torch.bfloat16)(ids).logits.float()
        eight = models.load(small.path, dtype=torch.bfloat16)(ids).logits.float()
    divergence = torch.nn.functional.kl_div(eight.log_softmax(-1), whole.log_softmax(-1), reduction="none", log_target=True).sum(-1).mean()
    assert 0 <= divergence < 0.05
    kinds = {type(m.weight).__name__ for m in models.load(small.path, dtype=torch.bfloat16).modules() if isinstance(m, torch.nn.Linear)}
    assert any("Int8" in kind or "Affine" in kind for kind in kinds)
    assert small.bytes < taught.bytes
    answering = latency.on_cpu(models.load(small.path, dtype=torch.bfloat16).eval(), small.path)
    assert latency.latency(answering, tokenizer, "alpha", 2)["latency_type"] == "bfloat16"
    shutil.rmtree(small.path)
    assert quantize(QuantizeConfig(), taught).digest == small.digest, "made again, it is the same to the byte"


@pytest.mark.long
def test_two_trainings_from_the_same_start_give_the_same_bytes(
    start: Model, data: Split, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = PretrainConfig(epochs=1, precision="fp32", **SHORT)
    first = pretrain(cfg, start, data)
    store_before = store.find(first.id)
    (first.path / store.RECORD).unlink()
    again = pretrain(cfg, start, data)
    assert store_before is not None
    assert again.digest == store_before.digest


@pytest.mark.long
def test_several_devices_are_how_and_not_what(start: Model, data: Split) -> None:
    """A stage that was trained in two processes is cached for one, and its model is whole."""
    given = {"seed": 11, "trainer": {"max_steps": 2}, **SHORT}
    made = pretrain(PretrainConfig(devices=2, parallel="zero3", **given), start, data)
    record = store.find(made.id)
    assert record is not None
    assert record.measured["engine"] == "DeepSpeedEngine"
    assert pretrain(PretrainConfig(**given), start, data).digest == made.digest
    assert models.parameters(models.load(made.path)) == start.parameters
    assert made.bytes == start.bytes


def test_verbatim_trainer_settings_reach_the_library(start: Model, data: Split) -> None:
    made = [pretrain(PretrainConfig(trainer={"max_steps": 2, **more}, **SHORT), start, data) for more in ({}, {"adam_beta2": 0.5})]
    record = store.find(made[0].id)
    assert record is not None
    assert record.measured["curve"][-1]["step"] == 2
    assert made[0].digest != made[1].digest


@pytest.mark.parametrize(
    "key",
    [
        "packing_strategy", "eval_packing", "pad_to_multiple_of", "dataset_text_field", "dataset_num_proc", "truncation_mode",
        "pad_token", "eos_token", "chat_template_path", "shuffle_dataset",
    ],
)  # fmt: skip
def test_settings_of_the_library_that_change_no_batch_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match=f"'{key}' cannot be set"):
        TuneConfig(trainer={key: 8})


def test_accumulated_batches_are_one_batch(start: Model) -> None:
    """8 blocks at once and 4 times 2 are the same step, that of the loss as it is written down."""
    teacher, tokenizer = models.load(start.path).eval(), models.load_tokenizer(start.path)
    encoder = Encoder(tokenizer, 64)
    rows = [{"prompt": "what is it?", "response": "river " * (1 + 3 * n)} for n in range(8)]  # as many labels in no two blocks
    blocks = encoder.pack((piece for row in rows for piece in encoder.exchange(row)), 0)
    batch = BlockCollator(tokenizer.pad_token_id, 64)(list(blocks))
    for weight in (0.0, 0.5, 1.0):
        plain = models.fewer_layers(teacher, 2).train()
        expected = _written_down(plain, teacher, batch, weight, 2.0)
        expected.backward()
        for size, accumulation in ((8, 1), (2, 4)):
            student = models.fewer_layers(teacher, 2)
            cfg = TrainingConfig.model_validate({**PLAIN, "batch": size, "accumulation": accumulation})
            before = {name: value.clone() for name, value in student.named_parameters()}
            with tracking.active(None) as current:
                fit(student, tokenizer, blocks, cfg, "distill", teacher=teacher, weight=weight, temperature=2.0)
            assert current.measured["curve"][0]["loss"] == pytest.approx(float(expected), rel=1e-3)
            for (name, value), reference in zip(student.named_parameters(), plain.parameters(), strict=True):
                torch.testing.assert_close(before[name] - value, reference.grad, atol=1e-5, rtol=1e-3)


def _written_down(student: Any, teacher: Any, batch: dict[str, torch.Tensor], weight: float, t: float) -> torch.Tensor:
    """(1 - weight) * cross entropy + weight * T^2 * KL, per label, without the library."""
    asked = {key: value for key, value in batch.items() if key != "labels"}
    labels = batch["labels"][:, 1:]
    here = labels != IGNORED
    mine = student(**asked).logits[:, :-1][here]
    with torch.no_grad():
        target = (teacher(**asked).logits[:, :-1][here] / t).softmax(-1)
    entropy = -mine.log_softmax(-1).gather(1, labels[here][:, None]).mean()
    divergence = (target * (target.log() - (mine / t).log_softmax(-1))).sum(-1).mean()
    return (1 - weight) * entropy + weight * t * t * divergence


def test_what_training_saw_is_what_reached_the_model(start: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten blocks in batches of 4, two a step: an epoch is two steps, of 8 blocks and of 2."""
    tokenizer = models.load_tokenizer(start.path)
    encoder = Encoder(tokenizer, 32)
    texts = [f"{word} " * (12 + n) for n, word in enumerate(("alpha", "beta", "gamma", "delta", "stone", "river", "cloud", "bread"))]
    blocks = encoder.pack((piece for text in [*texts, "water " * 60] for piece in encoder.document(text)), 0)
    blocks = blocks.select(range(10))
    fed: list[list[int]] = []
    honest = Trainer.compute_loss

    def spied(self: Trainer, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        fed.extend([token for token in row if token != tokenizer.pad_token_id] for row in inputs["input_ids"].tolist())
        return honest(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(Trainer, "compute_loss", spied)
    rows = {tuple(block["input_ids"]): set(block["rows"]) for block in blocks}
    for steps, expected in ((1, 8), (2, 10), (3, 18)):
        fed.clear()
        cfg = TrainingConfig(length=32, batch=4, accumulation=2, trainer={"max_steps": steps})
        with tracking.active(None) as current:
            facts = fit(models.load(start.path), tokenizer, blocks, cfg, "pretrain").facts
        assert len(fed) == expected
        once = {tuple(ids) for ids in fed}
        tokens = sum(map(len, rows))
        reached = set().union(*(rows[ids] for ids in once))
        assert facts == {
            "steps": steps,
            "blocks_not_reached": 10 - len(once),
            "rows_seen": len(reached),
            "rows_not_reached": len(set().union(*rows.values()) - reached),
            "tokens_seen": sum(map(len, once)),
            "tokens_not_reached": tokens - sum(map(len, once)),
            "tokens_trained": sum(map(len, fed)),
        }
        assert current.measured["epochs"] == expected / 10


def test_rows_that_the_budget_does_not_reach_are_counted_and_shown(start: Model, data: Split) -> None:
    two = {"trainer": {"max_steps": 2}, "batch": 2, "length": 128}
    learned = pretrain(PretrainConfig(**two), start, data), tune(TuneConfig(**two), start, data)
    for made in (*learned, distill(DistillConfig(layers=2, control=False, **two), start, data)):
        assert made.data["rows_not_reached"] > 0
        assert made.data["rows"] == made.data["rows_seen"] + made.data["rows_not_reached"] + made.data["rows_too_long"]
        assert made.data["tokens"] == made.data["tokens_seen"] + made.data["tokens_not_reached"]
        cut = [made.data[key] for key in balance.CUT]
        assert made.data["tokens_given"] == made.data["tokens"] + sum(cut)
        assert sum(drawn.replay_cut for drawn in made.drawn.values()) == made.data["replay_cut"]
        assert made.data["blocks"] == 4 + made.data["blocks_not_reached"]
        shown = Entry(made, None, store.find(made.id), None, shipped=False).packing
        assert shown["epochs"] == pytest.approx(4 / made.data["blocks"], abs=1e-3)
    encoder = Encoder(models.load_tokenizer(start.path), 32)
    exchanges, replayed, _ = pieces(encoder, data, TuneConfig(length=32), Draws(EVEN), 0.3)
    kept, tally = sum(len(piece["input_ids"]) for piece in (*exchanges, *replayed.pieces)), encoder.tally.facts()
    assert tally["tokens_given"] == kept + sum(tally[key] for key in balance.CUT)
    assert tally["replay_cut"] > 0, "the rest of the last document"
    mixed, before = mixture(data, 0.1, 42, Draws(EVEN)), encoder.tally.replay_cut
    assert mixed.counted["general_characters_cut"] == len(mixed.rest[0]) > 0
    assert sum(len(piece["input_ids"]) for piece in mixed.pieces(encoder)) > 0
    assert encoder.tally.replay_cut > before
    honest = tune(TuneConfig(**two), start, data).data
    with pytest.raises(StageError, match="tokens given to tune"):  # one token has appeared
        balance.of_blocks("tune", honest["rows"], {**honest, "tokens_given": honest["tokens_given"] - 1}, honest)
    with pytest.raises(StageError, match="rows given to tune"):  # one row has vanished
        balance.of_blocks("tune", honest["rows"] + 1, honest, honest)
    aligned = align(AlignConfig(**two), start, data)
    assert (aligned.data["pairs_seen"], aligned.data["pairs_not_reached"]) == (4, aligned.data["pairs"] - 4)


@pytest.mark.long
def test_the_size_of_a_model_is_that_of_its_saved_weights(start: Model, data: Split, tmp_path: Path) -> None:
    """A base in bf16 is trained and saved in fp32: twice the bytes."""
    network = models.load(start.path, dtype=torch.bfloat16)
    models.save(network, models.load_tokenizer(start.path), tmp_path)
    source = Folder(kind="folder", path=tmp_path)
    half = base(BaseConfig(source=source), resolve(source))
    once = {"trainer": {"max_steps": 1}, "length": 128}
    trained = pretrain(PretrainConfig(**once), half, data), tune(TuneConfig(**once), half, data), align(AlignConfig(**once), half, data)
    for made in trained:
        assert made.bytes == (made.path / "model.safetensors").stat().st_size == pytest.approx(2 * half.bytes, rel=0.02)


def test_lora_in_another_runs_folder_gives_the_same_digest(
    start: Model, data: Split, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = TuneConfig(method=Lora(kind="lora", rank=4), precision="fp32", seed=7, trainer={"max_steps": 2}, length=128)
    shutil.copytree(place / "runs" / "artifacts", tmp_path / "runs" / "artifacts")
    here = tune(cfg, start, data)
    monkeypatch.setenv("SLMFORGE_RUNS", str(tmp_path / "runs"))
    assert store.find(here.id) is None
    there = tune(cfg, start, data)
    assert there.path.is_relative_to(tmp_path)
    assert there.digest == here.digest


def test_a_training_that_diverges_is_an_error_and_leaves_no_model(start: Model, data: Split) -> None:
    with pytest.raises(StageError, match="lower the learning rate"):
        tune(TuneConfig(length=128, learning_rate=1e15, trainer={"max_steps": 6}), start, data)
    with pytest.raises(StageError, match="lower the learning rate"):  # by its only step, after which nothing is logged
        tune(TuneConfig(length=128, learning_rate=1e38, warmup=0, trainer={"max_steps": 1}), start, data)
