"""How rows become a batch and its loss, described so that the description can travel to the process that trains."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from transformers import DataCollatorForLanguageModeling, PreTrainedTokenizerBase

from tasks.lib import ranks
from tasks.lib.heads import Padded
from tasks.lib.isolation import LaidOut, Layout
from tasks.lib.packing import IGNORED


class Masked:
    """A collator that masks tokens of blocks that are laid out, 80 / 10 / 10 as in BERT (Devlin et al., 2019).

    Masks are drawn anew for every batch, as in RoBERTa (Liu et al., 2019), from a stream of their own.
    """

    def __init__(self, laid_out: LaidOut, tokenizer: PreTrainedTokenizerBase, share: float, seed: int) -> None:
        self._laid_out = laid_out
        self._draw = DataCollatorForLanguageModeling(tokenizer, mlm=True, mlm_probability=share, seed=seed)
        self._draw.generator = torch.Generator().manual_seed(seed)

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Collate and mask; labels are the tokens that were there, where the loss may see them."""
        batch = self._laid_out(rows)
        ids, labels = self._draw.torch_mask_tokens(batch["input_ids"], batch["labels"] == IGNORED)
        return {**batch, "input_ids": ids, "labels": labels}


def masked_loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
    """Cross entropy in nats a masked token.

    `num_items_in_batch` counts the labels of all batches whose gradients are added up. Not every model of the library
    divides its own loss by it, although the Trainer then counts on that.
    """
    here = labels != IGNORED
    loss = F.cross_entropy(outputs.logits[here].float(), labels[here], reduction="sum")
    return loss / torch.as_tensor(here.sum() if num_items_in_batch is None else num_items_in_batch, device=loss.device).clamp(min=1)


def class_loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
    """Cross entropy in nats a row; `num_items_in_batch` counts the rows of all batches whose gradients are added up."""
    loss = F.cross_entropy(outputs.logits.float(), labels, reduction="sum")
    return loss / (len(labels) if num_items_in_batch is None else num_items_in_batch)


@dataclass(frozen=True)
class Collation:
    """Blocks in a layout, of which `mask` is the share of tokens that are masked; without a layout, texts of a classifier."""

    layout: Layout | None = field(default_factory=Layout)
    mask: float | None = None
    seed: int = 0

    def said(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def of(cls, said: dict[str, Any]) -> "Collation":
        """The one that `said` describes."""
        return cls(**{**said, "layout": None if said["layout"] is None else Layout(**said["layout"])})

    def collator(self, tokenizer: PreTrainedTokenizerBase, length: int) -> Any:
        """Rows to a batch. Of several processes each draws masks of its own, which are not those that one would draw."""
        if self.layout is None:
            return Padded(tokenizer.pad_token_id)
        laid_out = LaidOut(tokenizer.pad_token_id, length, self.layout)
        return laid_out if self.mask is None else Masked(laid_out, tokenizer, self.mask, self.seed + ranks.mine().number)

    @property
    def loss(self) -> Callable[..., torch.Tensor] | None:
        """The loss, where it is not the model's own."""
        return class_loss if self.layout is None else masked_loss if self.mask is not None else None
