"""Students of encoders and decoders: the layers they are given, the loss they learn by, and what it does to held-out text."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from tasks.distill import DistillConfig, distill
from tasks.lib import models, objectives, store, tracking
from tasks.lib.errors import ConfigError
from tasks.lib.model import Model
from tasks.lib.packing import IGNORED
from tasks.lib.records import iterate
from tasks.lib.training_config import TrainingConfig
from tasks.pretrain import PretrainConfig, pretrain
from tasks.split import Split
from tests.tiny import BERT, DECODERS, ENCODERS, TinyConfig, model_of, tiny, tokenizer_of

DEPTHS: dict[str, dict[str, Any]] = {
    "gpt2": {"n_layer": 4}, "gpt-j": {"n_layer": 4}, "distilbert": {"n_layers": 4},
    "gpt-neo": {"num_layers": 4, "attention_types": [[["global", "local"], 2]]},
}  # fmt: skip
QUICK = {"length": 64, "learning_rate": 3e-3, "layers": 1, "control": False}
TRIPLE = {"weight": 0.9, "hidden": 3.0, "temperature": 2.0}


@pytest.fixture(scope="module")
def teachers(data: Split) -> dict[str, Model]:
    """An encoder and a decoder of two layers that have read the documents; without dropout, which so small a model is lost in."""
    sizes = {**BERT, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    cfg = PretrainConfig(trainer={"max_steps": 60}, length=64, learning_rate=5e-3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ENCODERS, "bert", ("BertConfig", sizes))
        return {kind: pretrain(cfg, tiny(TinyConfig(name=name)), data) for kind, name in (("encoder", "bert"), ("decoder", "llama"))}


def _deep(name: str, layers: int, monkeypatch: pytest.MonkeyPatch) -> Any:
    kind, sizes = (ENCODERS | DECODERS)[name]
    depth = DEPTHS.get(name, {"num_hidden_layers": layers})
    monkeypatch.setitem(ENCODERS if name in ENCODERS else DECODERS, name, (kind, {**sizes, **depth}))
    return model_of(name, tokenizer_of(name)).eval()


def _stack(model: Any) -> Any:
    depth = model.config.num_hidden_layers
    return next(part for part in model.modules() if isinstance(part, torch.nn.ModuleList) and len(part) == depth)


@pytest.mark.parametrize("name", sorted(ENCODERS | DECODERS))
def test_a_student_has_the_layers_that_were_picked_and_all_else_of_its_teacher(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = _deep(name, 4, monkeypatch)
    ways: dict[models.Taken, list[int]] = {"even": [0, 3], "stride": [0, 2]}
    for taken, picked in ways.items():
        student = models.fewer_layers(teacher, 2, taken).eval()
        assert student.config.num_hidden_layers == 2 == len(_stack(student))
        for number, layer in enumerate(_stack(student)):
            for (key, mine), its in zip(layer.state_dict().items(), _stack(teacher)[picked[number]].state_dict().values(), strict=True):
                assert torch.equal(mine, its), key
        own, its = student.state_dict(), teacher.state_dict()
        inside = {id(weight) for weight in _stack(student).parameters()}
        outside = [key for key, weight in student.named_parameters() if id(weight) not in inside]
        assert outside
        assert all(torch.equal(own[key], its[key]) for key in outside)
        assert torch.isfinite(student(torch.tensor([[5, 6, 7]])).logits).all()


def test_half_of_twelve_layers_are_those_of_the_paper_or_of_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = _deep("bert", 12, monkeypatch)
    for number, layer in enumerate(_stack(teacher)):
        layer.output.dense.bias.data.fill_(number)
    ways: dict[models.Taken, list[int]] = {"even": [0, 2, 4, 7, 9, 11], "stride": [0, 2, 4, 6, 8, 10]}
    for taken, picked in ways.items():
        student = models.fewer_layers(teacher, 6, taken)
        assert [int(layer.output.dense.bias[0]) for layer in _stack(student)] == picked


def _measured(made: Model) -> dict[str, Any]:
    record = store.find(made.id)
    assert record is not None
    return record.measured


@pytest.mark.parametrize(("rate", "learns"), [(3e-3, True), (0.0, False)])
@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_a_student_learns_held_out_text_from_labels_teacher_and_hidden_states(
    kind: str, rate: float, learns: bool, data: Split, teachers: dict[str, Model]
) -> None:
    """Beside its own start, which is the teacher without its second layer."""
    cfg = DistillConfig.model_validate({**QUICK, **TRIPLE, "learning_rate": rate, "trainer": {"max_steps": 40}, "control": True})
    made = distill(cfg, teachers[kind], data)
    told, start = _measured(made), _from_teacher(teachers[kind], data)
    assert (made.architecture, made.layers, made.teacher_layers) == (kind, 1, 2)
    assert made.parameters == models.parameters(models.load(made.path)) < teachers[kind].parameters
    assert told["objective"] == ("masked" if kind == "encoder" else "causal")
    assert told.keys() >= {"teacher_corpus_loss", "student_corpus_loss", "control_corpus_loss"}
    assert ("student_response_loss" in told) is (kind == "decoder"), "an encoder reads documents only"
    before, after = start, _apart(models.load(made.path), teachers[kind], data)
    for part in ("divergence", "cosine"):
        assert after[part] < 0.8 * before[part] if learns else after[part] == pytest.approx(before[part], rel=1e-5)
    assert (told["student_corpus_loss"] != told["control_corpus_loss"]) is learns


def _from_teacher(teacher: Model, data: Split) -> dict[str, float]:
    return _apart(models.fewer_layers(models.load(teacher.path), 1), teacher, data)


@torch.inference_mode()
def _apart(student: Any, teacher: Model, data: Split) -> dict[str, float]:
    """How far a student is from its teacher on validation documents: KL in nats a token, and 1 - cosine of hidden states."""
    master, tokenizer = models.load(teacher.path).eval(), models.load_tokenizer(teacher.path)
    student.eval()
    divergence, cosine = [], []
    for row in list(iterate(data.path, "corpus-valid"))[:8]:
        ids = torch.tensor([tokenizer.encode(row["text"])[:60]])
        mine, its = (model(ids, output_hidden_states=True) for model in (student, master))
        divergence.append(F.kl_div(mine.logits[0].log_softmax(-1), its.logits[0].log_softmax(-1), reduction="batchmean", log_target=True))
        cosine.append((1 - F.cosine_similarity(mine.hidden_states[-1][0], its.hidden_states[-1][0], dim=-1)).mean())
    return {"divergence": float(torch.stack(divergence).mean()), "cosine": float(torch.stack(cosine).mean())}


@pytest.mark.long
@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_each_part_of_the_loss_is_turned_on_by_its_weight(kind: str, data: Split, teachers: dict[str, Model]) -> None:
    budget: dict[str, Any] = {**QUICK, "trainer": {"max_steps": 40}}
    parts = {"labels": (0.0, 0.0), "soft": (0.9, 0.0), "hidden": (0.0, 3.0)}
    made = {
        name: distill(DistillConfig.model_validate({**budget, "weight": weight, "hidden": hidden, "control": name == "labels"}), teachers[kind], data)
        for name, (weight, hidden) in parts.items()
    }  # fmt: skip
    found = {name: _apart(models.load(one.path), teachers[kind], data) for name, one in made.items()}
    alone = _measured(made["labels"])
    assert alone["student_corpus_loss"] == alone["control_corpus_loss"], "without the teacher the student is its control"
    assert found["soft"]["divergence"] < 0.9 * found["labels"]["divergence"]
    assert found["hidden"]["cosine"] < 0.7 * found["labels"]["cosine"]


def test_layers_mask_and_hidden_states_are_part_of_the_identity(data: Split, teachers: dict[str, Model]) -> None:
    two = {**QUICK, "trainer": {"max_steps": 2}}
    settings: list[dict[str, Any]] = [{}, {"mask": 0.5}, {"hidden": 1.0}, {"weight": 0.1}, {"temperature": 4.0}]
    made = [distill(DistillConfig.model_validate({**two, **more}), teachers["encoder"], data) for more in settings]
    assert len({one.digest for one in made}) == len(settings)
    assert [_measured(one)["mask"] for one in made[:2]] == [0.15, 0.5]
    again = distill(DistillConfig.model_validate({**two, "taken": "stride"}), teachers["encoder"], data)
    assert again.id not in {one.id for one in made}
    with pytest.raises(ConfigError, match="2, while the teacher has 2"):
        distill(DistillConfig(layers=2, length=64), teachers["encoder"], data)


@pytest.mark.parametrize("name", ["bert", "llama"])
@pytest.mark.parametrize(("weight", "hidden"), [(0.5, 0.0), (0.0, 0.5), (5 / 7, 1 / 7)])
def test_one_step_is_that_of_the_loss_as_it_is_written_down(name: str, weight: float, hidden: float) -> None:
    """Whether 8 blocks of unlike lengths are one batch or four."""
    tokenizer = tokenizer_of(name)
    teacher = model_of(name, tokenizer).eval()
    objective = objectives.choose(teacher, tokenizer, 64)
    texts = [f"{word} " * (3 + 2 * n) for n, word in enumerate(("alpha", "beta", "gamma", "stone", "river", "cloud", "bread", "water"))]
    pieces = [piece for text in texts for piece in objective.encoder.document(text)]
    blocks = objective.encoder.pack(pieces, 0, together=False)
    batch = objective.collate(3)(blocks.to_list())
    plain = _undropped(models.fewer_layers(teacher, 1)).train()
    expected = _written_down(plain, teacher, batch, weight, hidden, tokenizer.pad_token_id)
    expected.backward()
    for size, accumulation in ((8, 1), (2, 4)):
        student = _undropped(models.fewer_layers(teacher, 1))
        before = {key: value.clone() for key, value in student.named_parameters()}
        cfg = TrainingConfig.model_validate({
            "length": 64, "precision": "fp32", "learning_rate": 1.0, "warmup": 0.0, "weight_decay": 0.0, "batch": size,
            "accumulation": accumulation, "seed": 3, "trainer": {"max_steps": 1, "optim": "sgd", "max_grad_norm": 0.0},
        })  # fmt: skip
        with tracking.active(None) as current:
            objective.fit(student, blocks, cfg, "distill", teacher=teacher, weight=weight, temperature=2.0, hidden=hidden)
        assert current.measured["curve"][0]["loss"] == pytest.approx(float(expected), rel=1e-3)
        for (key, value), reference in zip(student.named_parameters(), plain.parameters(), strict=True):
            wanted = torch.zeros_like(value) if reference.grad is None else reference.grad
            torch.testing.assert_close(before[key] - value, wanted, atol=1e-5, rtol=1e-3)


def _undropped(model: Any) -> Any:
    for part in model.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
        if hasattr(part, "dropout_prob"):
            part.dropout_prob = 0.0
    return model


def _written_down(student: Any, teacher: Any, batch: dict[str, Any], weight: float, hidden: float, pad: int) -> torch.Tensor:
    """(1 - weight) * cross entropy + weight * 4 * KL + hidden * (1 - cosine), each a mean over its places, without the library."""
    asked = {key: value for key, value in batch.items() if key != "labels"}
    mine = student(**asked, output_hidden_states=True)
    with torch.no_grad():
        its = teacher(**asked, output_hidden_states=True)
    labels, filled = batch["labels"], batch["input_ids"] != pad
    ahead = int(type(student).__name__.endswith("ForCausalLM"))  # a decoder's logits are of the next token
    logits, targets = (found.logits[:, : labels.shape[1] - ahead] for found in (mine, its))
    labels = labels[:, ahead:]
    here = labels != IGNORED
    places = here if ahead else filled
    entropy = -logits[here].log_softmax(-1).gather(1, labels[here][:, None]).mean()
    target = (targets[places] / 2).softmax(-1)
    divergence = (target * (target.log() - (logits[places] / 2).log_softmax(-1))).sum(-1).mean()
    cosine = F.cosine_similarity(mine.hidden_states[-1][filled], its.hidden_states[-1][filled], dim=-1).mean()
    whole: torch.Tensor = (1 - weight) * entropy + weight * 4 * divergence + hidden * (1 - cosine)
    return whole
