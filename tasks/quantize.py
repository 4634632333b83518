"""Quantise weights to int8 with torchao."""

from pathlib import Path
from typing import Literal

from tasks.lib.config import StageConfig
from tasks.lib.model import Model, Quantized
from tasks.lib.stage import stage


class QuantizeConfig(StageConfig):
    """The scheme: int8 weights, or int8 weights with activations quantised on the fly."""

    scheme: Literal["int8-weight-only", "int8-dynamic"] = "int8-weight-only"


@stage(version="1", needs=("models", "quantization"))
def quantize(out: Path, cfg: QuantizeConfig, model: Model) -> Quantized:
    """Quantise the model's linear layers to int8; the folder loads with transformers as any other."""
    from tasks.lib import models, quantization

    tokenizer = models.load_tokenizer(model.path)
    made = quantization.quantize(model.path, cfg.scheme)
    models.save(made, tokenizer, out)
    quantization.require_quantised(out)
    size = models.weight_bytes(out)
    return Quantized(parameters=model.parameters, vocabulary=model.vocabulary, bytes=size, scheme=cfg.scheme)
