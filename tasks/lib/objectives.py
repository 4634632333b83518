"""What a model learns from plain text by its architecture: the next token, or tokens that were masked."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from tasks.lib import architecture, models, progress, training
from tasks.lib.collations import Collation, masked_loss
from tasks.lib.errors import ConfigError
from tasks.lib.isolation import Layout, layout_for
from tasks.lib.packing import IGNORED, Encoder, frame
from tasks.lib.records import iterate
from tasks.lib.shares import NUMBER

FIXED = 20_250_101  # seed of the masks under which held-out text is measured: the same for every model
HELD_OUT = 32  # blocks of held-out text


class MaskedEncoder(Encoder):
    """Turns documents into pieces for an encoder: each begins and ends as the model's own tokenizer frames a text.

    Labels are the tokens themselves, except those that frame; which of them the loss sees, the masks decide.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, length: int) -> None:
        super().__init__(tokenizer, length)
        self._begin, self._end = frame(tokenizer)

    def document(self, text: str, source: str = "") -> list[dict[str, Any]]:
        """A document as framed pieces of at most `length` tokens; each of its own tokens is in one of them."""
        ids = self.tokenizer.encode(self.harmless(text), add_special_tokens=False)
        self.tally.rows += 1
        self.sources.append(source)
        room = self.length - len(self._begin) - len(self._end)
        pieces = [ids[start : start + room] for start in range(0, max(1, len(ids)), room)]
        self.tally.tokens_given += len(ids) + len(pieces) * (len(self._begin) + len(self._end))
        return [self._framed(piece) for piece in pieces]

    def _framed(self, ids: list[int]) -> dict[str, Any]:
        ignored = [IGNORED] * len(self._begin), [IGNORED] * len(self._end)
        return self._piece([*self._begin, *ids, *self._end], [*ignored[0], *ids, *ignored[1]])


@dataclass(frozen=True)
class Objective:
    """How a model learns from documents; `name` and `layout` are told in the record."""

    name: str
    encoder: Encoder
    layout: Layout
    tokenizer: PreTrainedTokenizerBase
    mask: float
    device: str = "auto"

    def blocks(self, pieces: Iterable[dict[str, Any]], seed: int) -> Dataset:
        """Pieces as blocks, in the layout of the model."""
        return self.encoder.pack(pieces, seed, together=self.layout.packed)

    def collation(self, seed: int) -> Collation:
        """How blocks become batches."""
        return Collation(self.layout, self.mask if self.name == "masked" else None, seed)

    def collate(self, seed: int) -> Any:
        """The collator of blocks."""
        return self.collation(seed).collator(self.tokenizer, self.encoder.length)

    def fit(self, network: Any, blocks: Dataset, cfg: Any, what: str, **distill: Any) -> training.Learned:
        """Train on blocks; with what `training.fit` takes of a teacher, from that too."""
        if self.name == "masked":
            # masks are drawn where the model is trained: processes that load data are not told of epochs
            cfg = cfg.model_copy(update={"workers": 0})
        return training.fit(network, self.tokenizer, blocks, cfg, what, self.collation(cfg.seed), **distill)

    def loss_of(self, network: Any, texts: Iterable[str]) -> float | None:
        """Nats a token over the first blocks of texts, under the same masks every time; None without texts."""
        plain = type(self.encoder)(self.tokenizer, self.encoder.length)
        blocks = plain.pack((piece for text in texts for piece in plain.document(text)), 0, together=self.layout.packed)
        if not len(blocks):
            return None
        blocks = blocks.select(range(min(HELD_OUT, len(blocks))))
        place = network.device
        network.to(models.device(self.device))
        loss = _mean_loss(network, blocks, self.collate(FIXED), masked=self.name == "masked")
        network.to(place)
        return loss

    def held_out(self, network: Any, split: Path) -> dict[str, float | None]:
        """Nats a token on validation documents, and on held-out general text."""
        losses = {kind: self.loss_of(network, (row["text"] for row in iterate(split, f"{kind}-valid"))) for kind in ("corpus", "general")}
        return {kind: None if loss is None else round(loss, 5) for kind, loss in losses.items()}

    def facts(self) -> dict[str, Any]:
        """For the record."""
        masks = {"mask": self.mask} if self.name == "masked" else {}
        return {"objective": self.name, "layout": self.layout.words, **masks}


@torch.inference_mode()
def _mean_loss(model: Any, blocks: Dataset, collate: Any, *, masked: bool, batch: int = 8) -> float:
    training_mode = model.training
    model.eval()
    total, count = 0.0, 0
    for start in progress.batches(len(blocks), batch, "held-out loss", " blocks"):
        rows = [{**blocks[i], NUMBER: i} for i in range(start, min(start + batch, len(blocks)))]
        inputs = models.moved(collate(rows), model.device)
        labels = inputs.pop("labels")
        with torch.autocast(model.device.type, torch.bfloat16, enabled=models.use_bf16("auto", model.device)):
            outputs = model(**inputs)
        if not masked:
            outputs.logits, labels = outputs.logits[:, :-1], labels[:, 1:]
        n = int((labels != IGNORED).sum())
        total, count = total + float(masked_loss(outputs, labels)) * n, count + n
    model.train(training_mode)
    return total / max(1, count)


def choose(network: Any, tokenizer: PreTrainedTokenizerBase, length: int, mask: float = 0.15, device: str = "auto") -> Objective:
    """The objective of a model: masked tokens of an encoder, the next token of a decoder; losses are measured on `device`.

    Raises:
        ConfigError: for an encoder whose tokenizer has no mask, or a block longer than the model's positions.
    """
    masked = kind(network) == "encoder"
    if masked and tokenizer.mask_token_id is None:
        raise ConfigError("masked pretraining of an encoder", "a tokenizer without a mask token", "use the tokenizer of the model")
    encoder = (MaskedEncoder if masked else Encoder)(tokenizer, length)
    layout = layout_for(network, tokenizer.pad_token_id, length, causal=not masked)
    return Objective("masked" if masked else "causal", encoder, layout, tokenizer, mask, device)


def kind(network: Any) -> architecture.Architecture:
    """The kind of a model that is loaded, told by the class that holds it."""
    name = type(network).__name__
    return "classifier" if name.endswith("ForSequenceClassification") else "encoder" if name.endswith("ForMaskedLM") else "decoder"
