"""How documents are laid out for one model so that none sees another: tried out on the model itself, never assumed.

A mask of blocks is no common language. Attention without a fused kernel ("eager": GPT-Neo, GPT-J) adds the mask to its
scores, and a mask of truth values then forbids nothing. A model with local attention takes one mask for each kind of its
layers. MobileBERT mixes neighbouring tokens before any attention. RoBERTa counts positions from its padding token's number.
So each form is tried with two documents; a model that no form keeps apart gets one document per row.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import PreTrainedModel

from tasks.lib.errors import ConfigError
from tasks.lib.models import moved
from tasks.lib.packing import IGNORED, BlockCollator

Form = Literal["truth", "scores", "windows", "rows"]
WORDS: dict[Form, str] = {
    "truth": "several documents a block, each masked from the others",
    "scores": "several documents a block, each masked from the others",
    "windows": "several documents a block, each masked from the others",
    "rows": "one document per row, because this architecture does not keep documents of one block apart",
}
SAME = 1e-4  # of the largest logit: fp32 rounding is a hundredth of it, the faintest leak that was found ten times as much


@dataclass(frozen=True)
class Layout:
    """What the model is given.

    `truth` is a boolean block mask, `scores` the same as numbers to add, `windows` one for each kind of layer, `rows`
    a plain mask of padding. `first` is the number of a document's first position.
    """

    form: Form = "truth"
    causal: bool = True
    first: int = 0
    window: int = 0

    @property
    def packed(self) -> bool:
        """Whether a block may hold several documents."""
        return self.form != "rows"

    @property
    def words(self) -> str:
        """For people."""
        return WORDS[self.form]


class LaidOut:
    """A collator of blocks for one model.

    Returns `input_ids` and `labels` [batch, length] with what the layout asks for: `position_ids` [batch, length] and
    `attention_mask` [batch, 1, length, length] (or a mapping of two), or a mask [batch, longest] of one document a row.
    """

    def __init__(self, pad: int, length: int, layout: Layout) -> None:
        self._collate, self._layout = BlockCollator(pad, length), layout

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Collate blocks, of which input_ids, labels and seq_lengths are read."""
        batch, layout = self._collate(rows), self._layout
        if layout.form == "rows":
            return _as_rows(batch, [len(row["input_ids"]) for row in rows])
        positions, mask = batch.pop("position_ids"), batch.pop("attention_mask")
        if not layout.causal:
            mask = mask | mask.transpose(-1, -2)  # what may look back may be looked back at
        made: dict[str, Any] = {**batch, "position_ids": positions + layout.first, "attention_mask": mask}
        if layout.form == "scores":
            made["attention_mask"] = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
        elif layout.form == "windows":
            made["attention_mask"] = {"full_attention": mask, "sliding_attention": mask & self._near(mask.shape[-1])}
        return made

    def _near(self, length: int) -> torch.Tensor:
        """Where two places of a block are near enough for a layer with local attention."""
        place = torch.arange(length)
        distance = (place[:, None] - place[None, :]).abs()
        return distance < self._layout.window if self._layout.causal else distance <= self._layout.window


def _as_rows(batch: dict[str, torch.Tensor], sizes: list[int]) -> dict[str, torch.Tensor]:
    longest = max(sizes)
    mask = (torch.arange(longest)[None] < torch.tensor(sizes)[:, None]).long()
    return {"input_ids": batch["input_ids"][:, :longest], "labels": batch["labels"][:, :longest], "attention_mask": mask}


def layout_for(model: PreTrainedModel, pad: int, length: int, *, causal: bool) -> Layout:
    """The first layout under which the model keeps two documents apart; costs a few passes over one block.

    Args:
        model: a decoder (causal) or an encoder, in fp32.
        pad: the number of the padding token.
        length: tokens in a block.
        causal: whether a token sees only what precedes it.

    Raises:
        ConfigError: if the model has fewer positions than a block has tokens.
    """
    config, first = model.config, first_position(model)
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and _learned_positions(model) and length > positions - first:
        raise ConfigError(f"blocks of {length} tokens (`length`)", f"a model with {positions - first} positions", "lower `length`")
    training = model.training
    model.eval()
    try:
        return next(layout for layout in _candidates(config, causal, first) if _keeps_apart(model, pad, length, layout))
    finally:
        model.train(training)


def _candidates(config: Any, causal: bool, first: int) -> Iterator[Layout]:
    window = getattr(config, "sliding_window", None) or 0
    if "sliding_attention" in (getattr(config, "layer_types", None) or ()):
        yield Layout("windows", causal, first, window)
    yield Layout("truth", causal, first)
    yield Layout("scores", causal, first)
    yield Layout("rows", causal)


def _learned_positions(model: PreTrainedModel) -> bool:
    """Whether positions are rows of a table, which ends."""
    names = ("wpe", "position_embeddings", "embed_positions")
    return any(isinstance(part, torch.nn.Embedding) and name.rsplit(".", 1)[-1] in names for name, part in model.named_modules())


def first_position(model: PreTrainedModel) -> int:
    """RoBERTa and its kin number positions from the one behind the padding token's number."""
    embeddings = getattr(model.base_model, "embeddings", None)
    return int(model.config.pad_token_id) + 1 if hasattr(embeddings, "create_position_ids_from_input_ids") else 0


@torch.inference_mode()
def _keeps_apart(model: PreTrainedModel, pad: int, length: int, layout: Layout) -> bool:
    """Whether a document has the same logits alone and behind another, whatever the other says."""
    if layout.form == "rows":
        return True
    draw = torch.Generator().manual_seed(0)
    front = max(1, length // 4)
    size = model.config.vocab_size
    own, one, two = (torch.randint(0, size, (n,), generator=draw) for n in (length - front, front, front))
    own, one, two = (torch.where(ids == pad, (pad + 1) % size, ids) for ids in (own, one, two))
    collate = LaidOut(pad, length, layout)
    try:
        behind = [_logits(model, collate([_block(other, own)]))[front:] for other in (one, two)]
    except (TypeError, ValueError, RuntimeError, KeyError, AttributeError):
        return False  # this architecture takes no such mask
    alone = _logits(model, {"input_ids": own[None], "attention_mask": torch.ones_like(own)[None]})
    scale = float(alone.abs().max())
    return all(float((found - alone).abs().max()) <= SAME * scale for found in behind)


def _block(*documents: torch.Tensor) -> dict[str, Any]:
    ids = torch.cat(documents).tolist()
    return {"input_ids": ids, "labels": [IGNORED] * len(ids), "seq_lengths": [len(document) for document in documents]}


def _logits(model: PreTrainedModel, batch: dict[str, Any]) -> torch.Tensor:
    given = moved({key: value for key, value in batch.items() if key != "labels"}, model.device)
    found: torch.Tensor = model(**given).logits[0].float()
    return found
