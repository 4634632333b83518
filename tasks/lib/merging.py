"""Weights of two models merged into one (the importer of mergekit)."""

import tempfile
from pathlib import Path
from typing import Any

from mergekit.config import MergeConfiguration
from mergekit.merge import run_merge
from mergekit.options import MergeOptions
from transformers import PreTrainedModel

from tasks.lib import models
from tasks.lib.environment import muted
from tasks.lib.errors import ConfigError


def merge(start: Path, trained: Path, recipe: dict[str, Any]) -> PreTrainedModel:
    """Merge two model folders of one architecture in fp32.

    Args:
        start: the model that the differences are measured from.
        trained: the same, trained further.
        recipe: `merge_method` and `parameters`, as mergekit names them.
    """
    between = recipe["merge_method"] == "slerp"  # which wants both models named; the others add to the base
    named = [{"model": str(folder)} for folder in ([start, trained] if between else [trained])]
    asked = MergeConfiguration.model_validate({**recipe, "base_model": str(start), "models": named, "dtype": "float32"})
    with tempfile.TemporaryDirectory() as work:
        with muted():
            run_merge(asked, work, MergeOptions(quiet=True, write_model_card=False, copy_tokenizer=False))
        return models.load(Path(work))


def require_same_tokenizer(start: Path, trained: Path) -> None:
    """Refuse to mix weights whose rows stand for different tokens.

    Raises:
        ConfigError: if the vocabularies differ.
    """
    first, second = (models.load_tokenizer(folder).get_vocab() for folder in (start, trained))
    if first == second:
        return
    differing = sorted(token for token in first.keys() | second.keys() if first.get(token) != second.get(token))
    raise ConfigError(
        "merge: two models with the same tokenizer",
        f"{len(differing):,} tokens differ, for instance {differing[0]!r}",
        "leave `merge.method` out, or continue pretraining without new tokens",
    )
