"""The trainer of a student: labels, a teacher's distribution and the direction of its hidden states, in one loss."""

from typing import Any

import torch
import torch.nn.functional as F
from transformers import PreTrainedModel, Trainer

from tasks.lib.counting import CountingTrainer


class DistillTrainer(CountingTrainer):
    """Learns from labels and from a teacher at once (Hinton et al., 2015; with hidden states, DistilBERT: Sanh et al., 2019).

    loss = (1 - weight) * cross entropy + weight * T^2 * KL(teacher || student) + hidden * (1 - cosine), where the cosine is
    between the last hidden states of both. The cross entropy is in nats a label. The other two are means, KL in nats: KL
    over the labels of a decoder and over every token of an encoder, masked or not, as in the published code of DistilBERT;
    the cosine over every token. Padding is no token, nor is an end token that also pads. With `weight` and `hidden` 0 the teacher is not asked.
    """

    def __init__(
        self,
        *args: Any,
        teacher: PreTrainedModel,
        weight: float,
        temperature: float,
        hidden: float = 0.0,
        masked: bool = False,
        pad: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._teacher, self._weight, self._temperature = teacher.to(self.args.device).eval(), weight, temperature
        self._hidden, self._masked, self._pad = hidden, masked, pad
        self._tokens: Any = None  # of all batches of a step, and of all processes

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
        """The batches of one step, of which the tokens are counted."""
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        if self._hidden or (self._masked and self._weight):
            count = torch.tensor([sum(int(self._filled(batch).sum()) for batch in batches)])
            self._tokens = self._everywhere(count).sum() if self.args.average_tokens_across_devices else count.sum()
        return batches, items

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """The weighted sum of the losses.

        `num_items_in_batch` is the number of labels in all the batches whose gradients are added up. Where it is given,
        the Trainer does not divide by the number of batches: each loss is a sum, divided by the step's labels or tokens.
        """
        if not (self._weight or self._hidden):
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        more = {"output_hidden_states": True} if self._hidden else {}
        asked = {**{key: value for key, value in inputs.items() if key != "labels"}, **more}
        labels, filled = inputs["labels"], self._filled(inputs)
        entropy, outputs = Trainer.compute_loss(self, model, {**inputs, **more}, True, num_items_in_batch)
        with torch.no_grad():
            teacher = self._teacher(**asked)
        loss = (1 - self._weight) * entropy
        whole = num_items_in_batch is not None
        if self._weight and self._masked:
            loss = loss + self._weight * self._mean(self._divergence(outputs, teacher, filled), self._tokens if whole else None)
        elif self._weight:
            here = F.pad(labels[:, 1:] != -100, (0, 1))  # a decoder's logits at a token are of the next one
            loss = loss + self._weight * self._mean(self._divergence(outputs, teacher, here), num_items_in_batch)
        if self._hidden:
            mine, its = (found.hidden_states[-1][filled].float() for found in (outputs, teacher))
            apart = 1 - F.cosine_similarity(mine, its, dim=-1)
            loss = loss + self._hidden * self._mean(apart, self._tokens if whole else None)
        return self.weighed((loss, outputs) if return_outputs else loss, return_outputs, num_items_in_batch)

    def _filled(self, batch: Any) -> torch.Tensor:
        """Where a token stands that is no padding: [batch, length]."""
        ids: torch.Tensor = batch["input_ids"]
        return torch.ones_like(ids, dtype=torch.bool) if self._pad is None else ids != self._pad

    def _divergence(self, student: Any, teacher: Any, here: torch.Tensor) -> torch.Tensor:
        """T^2 * KL(teacher || student) in nats at each of the places `here` [batch, length]."""
        t = self._temperature
        mine, its = (F.log_softmax(found.logits[here].float() / t, dim=-1) for found in (student, teacher))
        return t * t * F.kl_div(mine, its, reduction="none", log_target=True).sum(-1)

    def _mean(self, values: torch.Tensor, count: Any) -> torch.Tensor:
        """The mean of values [places] over the batch, or this process's part of the mean over a step with `count` of them."""
        if count is None:
            return values.sum() / max(1, len(values))
        # gradients are averaged over processes, while the number counts what all of them have
        processes = self.accelerator.num_processes if self.args.average_tokens_across_devices else 1
        return values.sum() / torch.as_tensor(count, device=values.device).clamp(min=1) * processes
