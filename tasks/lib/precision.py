"""The forward pass that accelerate leaves on a model: it computes in the precision of the training, whoever asks."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

# accelerate's own `extract_model_from_parallel(keep_fp32_wrapper=False)` also takes off the library's decorators below its
# wrapper, and with them what gives hidden states (accelerate 1.15, transformers 5.17)
ORIGINAL = "_original_forward"  # where accelerate keeps the one that it has wrapped


def drop(model: torch.nn.Module) -> None:
    """Take the wrapper off a trained model, in place: what is measured of it is then in fp32, as it was before the training."""
    original = vars(model).pop(ORIGINAL, None)
    if original is None:
        return
    del model.forward
    if getattr(original, "__func__", None) is not type(model).forward:
        model.forward = original


@contextmanager
def dropped(model: torch.nn.Module) -> Iterator[None]:
    """The same for as long as a model that goes on training is looked at."""
    original, rounding = vars(model).get(ORIGINAL), model.forward
    if original is None:
        yield
        return
    model.forward = original
    try:
        yield
    finally:
        model.forward = rounding
