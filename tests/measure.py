"""What a model does on rows that it was not trained on."""

from typing import Any

from tasks.lib import models, objectives
from tasks.lib.model import Model
from tasks.lib.records import iterate
from tasks.lib.reinforcement import answered
from tasks.lib.training import loss_on
from tasks.split import Split


def answers_loss(made: Model, data: Split, length: int = 64, **instead: Any) -> float:
    """Nats a token of the answers to held-out questions, whose fields may be replaced."""
    network, tokenizer = models.load(made.path), models.load_tokenizer(made.path)
    objective = objectives.choose(network, tokenizer, length)
    rows = [{**row, **instead} for row in iterate(data.path, "tune-valid")]
    pieces = (piece for row in rows for piece in objective.encoder.exchange(row))
    blocks = objective.encoder.pack(pieces, 0, together=objective.layout.packed)
    return loss_on(network, tokenizer, blocks, length, collate=objective.collate(0))


def ended(made: Model, data: Split, tokens: int = 12) -> float:
    """The share of answers to held-out questions that end within so many tokens, where the tokenizer says that a text ends."""
    network, tokenizer = models.load(made.path), models.load_tokenizer(made.path)
    chats = [[{"role": "user", "content": row["prompt"]}] for row in iterate(data.path, "tune-valid")]
    said = answered(network, tokenizer, chats, tokens)
    return sum(ids[-1] == tokenizer.eos_token_id for ids in said) / len(said)
