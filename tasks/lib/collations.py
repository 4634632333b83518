"""How rows become a batch and its loss, described so that the description can travel to the process that trains."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from transformers import DataCollatorForLanguageModeling, PreTrainedTokenizerBase, TrainerCallback, TrainerControl, TrainerState
from transformers import TrainingArguments as Arguments

from tasks.lib import digests
from tasks.lib.heads import Padded
from tasks.lib.isolation import LaidOut, Layout
from tasks.lib.packing import IGNORED
from tasks.lib.shares import NUMBER


class Masked(TrainerCallback):
    """A collator that masks tokens of blocks that are laid out, 80 / 10 / 10 as in BERT (Devlin et al., 2019).

    Masks are drawn anew for every epoch, as in RoBERTa (Liu et al., 2019). A block's follow from the seed, its number and the
    epoch alone, so that they are the same in whatever batch it comes, and on whichever device. The trainer tells of epochs.
    """

    def __init__(self, laid_out: LaidOut, tokenizer: PreTrainedTokenizerBase, share: float, seed: int) -> None:
        self._laid_out, self._seed, self._epochs = laid_out, seed, 0
        self._draw = DataCollatorForLanguageModeling(tokenizer, mlm=True, mlm_probability=share, seed=seed)
        self._draw.generator = torch.Generator()

    def on_epoch_begin(self, args: Arguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Draw other masks from the second epoch on; who is not told of any gets those of the first."""
        self._epochs += 1

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Collate and mask; labels are the tokens that were there, where the loss may see them. A row without a number has its place's."""
        batch = self._laid_out(rows)
        ids, labels = batch["input_ids"].clone(), torch.full_like(batch["labels"], IGNORED)
        for place, row in enumerate(rows):
            stream = f"mask\x1f{self._seed}\x1f{row.get(NUMBER, place)}\x1f{max(1, self._epochs)}"
            self._draw.generator.manual_seed(int(digests.of_text(stream)[:15], 16))
            one, own = slice(place, place + 1), slice(0, len(row["input_ids"]))
            hidden = batch["labels"][one, own] == IGNORED
            ids[one, own], labels[one, own] = self._draw.torch_mask_tokens(ids[one, own].clone(), hidden)
        return {**batch, "input_ids": ids, "labels": labels}


def masked_loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None, smoothing: float = 0.0) -> torch.Tensor:
    """Cross entropy in nats a masked token; `smoothing` is the share of the label that all tokens get alike (Szegedy et al., 2016).

    `num_items_in_batch` counts the labels of all batches whose gradients are added up. Not every model of the library
    divides its own loss by it, although the Trainer then counts on that.
    """
    here = labels != IGNORED
    loss = F.cross_entropy(outputs.logits[here].float(), labels[here], reduction="sum", label_smoothing=smoothing)
    return loss / torch.as_tensor(here.sum() if num_items_in_batch is None else num_items_in_batch, device=loss.device).clamp(min=1)


def class_loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None, smoothing: float = 0.0) -> torch.Tensor:
    """Cross entropy in nats a row; `num_items_in_batch` counts the rows of all batches whose gradients are added up."""
    loss = F.cross_entropy(outputs.logits.float(), labels, reduction="sum", ignore_index=IGNORED, label_smoothing=smoothing)
    rows = (labels != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
    return loss / torch.as_tensor(rows, device=loss.device).clamp(min=1)


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
        """Rows to a batch."""
        if self.layout is None:
            return Padded(tokenizer.pad_token_id)
        laid_out = LaidOut(tokenizer.pad_token_id, length, self.layout)
        return laid_out if self.mask is None else Masked(laid_out, tokenizer, self.mask, self.seed)

    @property
    def loss(self) -> Callable[..., torch.Tensor] | None:
        """The loss, where it is not the model's own."""
        return class_loss if self.layout is None else masked_loss if self.mask is not None else None
