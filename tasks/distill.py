"""Distil the model into a shallower student, and measure whether the teacher helped."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from tasks.lib import balance, progress
from tasks.lib.architecture import require
from tasks.lib.config import StageConfig
from tasks.lib.errors import ConfigError
from tasks.lib.mixing import EVEN, Draws, Weights, tokens_by_source
from tasks.lib.model import Model, Student
from tasks.lib.records import iterate
from tasks.lib.stage import stage
from tasks.lib.training_config import TrainingConfig
from tasks.pretrain import mixture
from tasks.split import Split


class DistillConfig(TrainingConfig, StageConfig):
    """The student and how it learns."""

    layers: int = Field(default=3, ge=1, description="layers of the student, taken from the teacher")
    taken: Literal["even", "stride"] = Field(
        default="even", description="which: spread from the first to the last, or every second (third, ...) one from the first"
    )
    weight: float = Field(default=0.5, ge=0, le=1, description="share of the teacher's distribution in the loss, beside the labels")
    hidden: float = Field(
        default=0.0, ge=0, description="weight of what the last hidden states' cosine to the teacher's lacks to 1, added to the loss"
    )
    mask: float = Field(default=0.15, gt=0, lt=1, description="share of the tokens that an encoder learns to fill in")
    before_head: bool = Field(default=False, description="in the flow `classify`: the head is trained on a student of the encoder")
    temperature: float = Field(default=2.0, gt=0)
    learning_rate: float = Field(default=8e-4, ge=0)
    replay: float = Field(default=0.1, ge=0, lt=1, description="share of general text among the documents' characters")
    control: bool = Field(default=True, description="also train the same student without its teacher, to compare")


@stage(version="6", needs=("models", "objectives"))
def distill(out: Path, cfg: DistillConfig, teacher: Model, data: Split, weights: Weights = EVEN) -> Student:
    """Train a student of fewer layers on labels, on its teacher's distribution and, with `hidden`, on its hidden states.

    A decoder learns the next token of documents and of responses, an encoder the masked ones of documents (DistilBERT:
    Sanh et al., 2019). The control is the same student, from the same start, on the same blocks in the same order, under
    the same masks, without the teacher; what both reach on validation text is measured.
    """
    from tasks.lib import models, objectives, tracking

    require(teacher.architecture, ("decoder", "encoder"), "distill")
    master, tokenizer = models.load(teacher.path), models.load_tokenizer(teacher.path)
    depth = master.config.num_hidden_layers
    if cfg.layers >= depth:
        raise ConfigError("distill.layers", f"{cfg.layers}, while the teacher has {depth}", f"set it below {depth}")
    objective = objectives.choose(master, tokenizer, cfg.length, cfg.mask, cfg.device)
    encoder, draws = objective.encoder, Draws(weights)
    blocks = objective.blocks(_pieces(objective, data, cfg, draws), cfg.seed)
    master.to(models.device(cfg.device)).eval()
    student = models.fewer_layers(master, cfg.layers, cfg.taken)
    taught = {"teacher": master, "weight": cfg.weight, "temperature": cfg.temperature, "hidden": cfg.hidden}
    learned = objective.fit(student, blocks, cfg, "distill", **taught)
    balance.of_blocks("distill", draws.total, encoder.tally.facts(), learned.facts)
    measured: dict[str, Any] = {f"teacher_{k}": v for k, v in _validate(master, objective, data).items()}
    measured |= {f"student_{k}": v for k, v in _validate(student, objective, data).items()}
    if cfg.control:
        alone = models.fewer_layers(master, cfg.layers, cfg.taken)
        objective.fit(alone, blocks, cfg, "distill (control)", **{**taught, "weight": 0.0, "hidden": 0.0})
        measured |= {f"control_{k}": v for k, v in _validate(alone, objective, data).items()}
    tracking.measure(**objective.facts(), **measured)
    models.save(student, tokenizer, out)
    return Student(
        parameters=models.parameters(student),
        vocabulary=teacher.vocabulary,
        bytes=models.weight_bytes(out),
        architecture=teacher.architecture,
        data={**encoder.tally.facts(), **learned.facts},
        drawn=draws.facts(*tokens_by_source(blocks, encoder.sources, learned.times), encoder.lost),
        layers=cfg.layers,
        teacher_layers=depth,
    )


def _pieces(objective: Any, data: Split, cfg: DistillConfig, draws: Draws) -> Any:
    """Documents of the training part; then, for a decoder, exchanges."""
    encoder = objective.encoder
    yield from mixture(data, cfg.replay, cfg.seed, draws).pieces(encoder)
    if objective.name == "causal":
        for row in draws.of(progress.rows(iterate(data.path, "tune-train"), "tokenise exchanges", data.counts.get("tune-train"))):
            yield from encoder.exchange(row)


def _validate(model: Any, objective: Any, data: Split) -> dict[str, float]:
    """Nats a token on validation documents and, of a decoder, on the responses of validation exchanges."""
    from tasks.lib.packing import Encoder
    from tasks.lib.training import loss_on

    if objective.name == "masked":
        loss = objective.loss_of(model, (row["text"] for row in iterate(data.path, "corpus-valid")))
        return {} if loss is None else {"corpus_loss": round(loss, 5)}
    encoder, together = Encoder(objective.tokenizer, objective.encoder.length), objective.layout.packed
    documents = (p for r in iterate(data.path, "corpus-valid") for p in encoder.document(r["text"]))
    answers = (p for r in iterate(data.path, "tune-valid") for p in encoder.exchange(r))
    losses = {"corpus_loss": encoder.pack(documents, 0, together=together), "response_loss": encoder.pack(answers, 0, together=together)}
    collate = objective.collate(0)
    return {
        name: round(loss_on(model, objective.tokenizer, blocks, encoder.length, collate=collate), 5)
        for name, blocks in losses.items()
        if len(blocks)
    }
