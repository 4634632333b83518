"""The trainer of the library that counts what reaches the model, alone or as one of several processes."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments

from tasks.lib import ranks, shares
from tasks.lib.curve import Numbered
from tasks.lib.shares import NUMBER


class CountingTrainer(Trainer):
    """Counts how often each block or pair was trained on, in this process.

    Counted is what reaches the model: the loader reads ahead, and the budget may end in the middle of an epoch.
    """

    train_dataset: Any
    data_collator: Any
    args: TrainingArguments
    deals = True  # false where the method draws its own batches for each process

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.seen: Counter[int] = Counter()
        self.engine = ""  # what the model is wrapped in
        self._weights: Iterator[float] = iter(())
        # after the start, because DPO asks its reference model first, with the collator as it is
        self.train_dataset = self.train_dataset.add_column(NUMBER, list(range(len(self.train_dataset))))
        self.data_collator = Numbered(self.data_collator)
        if self.args.world_size > 1:
            self.accelerator.gather = shares.uneven(self.accelerator.gather)  # for the metrics of shares that differ in size

    def get_train_dataloader(self) -> Any:
        """The library's; of several processes each gets its share of every step."""
        count, args = self.args.world_size, self.args
        if count == 1 or not self.deals:
            return super().get_train_dataloader()
        share = args.per_device_train_batch_size, args.gradient_accumulation_steps
        seed = args.seed if args.data_seed is None else args.data_seed
        seed = None if args.train_sampling_strategy == "sequential" else seed
        dealt = shares.Dealt(len(self.train_dataset), args.process_index, count, share, seed)
        rows, workers = shares.Blanks(self.train_dataset), args.dataloader_num_workers
        pinned = args.dataloader_pin_memory and args.device.type == "cuda"
        return DataLoader(rows, batch_sampler=dealt, collate_fn=self.data_collator, num_workers=workers, pin_memory=pinned)

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
        """The batches of one step; where the loss is a mean, what each of them weighs."""
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        if items is None and self.deals and batches:
            self._weights = iter(shares.weights(batches, self._everywhere))
        return batches, items

    def _everywhere(self, numbers: torch.Tensor) -> torch.Tensor:
        """A row of numbers of each process, beneath each other."""
        found: torch.Tensor = self.accelerator.gather(numbers.to(self.args.device)) if self.args.world_size > 1 else numbers
        return found

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        """Note the numbers, which the model does not know, then take the step."""
        self.engine = self.engine or ranks.mine().require(model)
        self.seen.update(number for number in inputs.pop(NUMBER).tolist() if number != shares.BLANK)
        return super().training_step(model, inputs, num_items_in_batch)

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """The library's, weighed."""
        return self.weighed(super().compute_loss(model, inputs, return_outputs, num_items_in_batch), return_outputs, num_items_in_batch)

    def weighed(self, found: Any, return_outputs: bool, num_items_in_batch: Any) -> Any:
        """A loss; where it is a mean over a batch, weighed by the batch's part of the step."""
        if num_items_in_batch is not None or not self.model.training:
            return found
        weight = next(self._weights, 1.0)
        loss, outputs = found if return_outputs else (found, None)
        loss = loss * weight if weight else torch.nan_to_num(loss) * 0  # the mean over nothing is no number
        return (loss, outputs) if return_outputs else loss
