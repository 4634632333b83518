"""A model on its way to other processes and back: its parts in a folder, then the weights that learned."""

import copy
import importlib
import json
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from tasks.lib.errors import StageError

KIND, ADAPTER, TRAINED = "kind.json", "adapter", "trained.safetensors"


def put(model: Any, folder: Path) -> None:
    """Write a model so that `take` makes the same one again: weights, adapters, and which of them learn."""
    adapted = isinstance(model, PeftModel)
    plain = copy.deepcopy(model).unload() if adapted else model
    plain.save_pretrained(folder)
    if adapted:
        model.save_pretrained(folder / ADAPTER)
    learning = [name for name, weight in model.named_parameters() if weight.requires_grad]
    kind = {"module": type(plain).__module__, "name": type(plain).__qualname__, "dtype": str(plain.dtype), "learning": learning}
    (folder / KIND).write_text(json.dumps(kind))


def take(folder: Path) -> Any:
    """The model that `put` wrote."""
    kind = json.loads((folder / KIND).read_text())
    made = getattr(importlib.import_module(kind["module"]), kind["name"])
    dtype = getattr(torch, kind["dtype"].removeprefix("torch."))
    model = made.from_pretrained(folder, dtype=dtype, use_safetensors=True, local_files_only=True)
    if (folder / ADAPTER).is_dir():
        model = PeftModel.from_pretrained(model, folder / ADAPTER, is_trainable=True)
    learning = set(kind["learning"])
    for name, weight in model.named_parameters():
        weight.requires_grad = name in learning
    return model


def put_trained(weights: dict[str, torch.Tensor], folder: Path) -> None:
    """Write the weights that learned."""
    save_file(weights, folder / TRAINED)


def take_trained(model: Any, folder: Path) -> None:
    """Lay the weights that learned into the model that was handed over.

    Raises:
        StageError: if one is missing, is of another shape, or is no number.
    """
    found = load_file(folder / TRAINED)
    own = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    wrong = sorted(own.keys() ^ found.keys())
    wrong += [name for name in own.keys() & found.keys() if own[name].shape != found[name].shape or not found[name].isfinite().all()]
    if wrong:
        raise StageError(
            f"the {len(own)} weights that were trained, whole",
            f"{len(wrong)} that are missing, cut, or no numbers, such as {wrong[0]}",
            "take another `parallel:`, and report this fault",
        )
    with torch.no_grad():
        for name, weight in own.items():
            weight.copy_(found[name])
