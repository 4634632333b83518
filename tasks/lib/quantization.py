"""int8 by torchao, through transformers (the importer of torchao)."""

import logging
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, TorchAoConfig

from tasks.lib.errors import StageError

logging.getLogger("torchao").setLevel(logging.ERROR)  # a CPU build says at every import that it has no CUDA kernels

from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8WeightOnlyConfig  # noqa: E402  # after the line above

SCHEMES = {"int8-weight-only": Int8WeightOnlyConfig, "int8-dynamic": Int8DynamicActivationInt8WeightConfig}


def quantize(folder: Path, scheme: str) -> PreTrainedModel:
    """Load a model folder in bf16 with its linear layers in int8."""
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.bfloat16,
        quantization_config=TorchAoConfig(SCHEMES[scheme]()),
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
    )
    return model


def require_quantised(folder: Path) -> None:
    """Refuse a folder in which nothing became int8.

    Raises:
        StageError: naming what was found.
    """
    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, local_files_only=True, trust_remote_code=False)
    kinds = [type(module.weight).__name__ for module in loaded.modules() if isinstance(module, torch.nn.Linear)]
    if not any("Int8" in kind or "Affine" in kind for kind in kinds):
        raise StageError(f"int8 weights in {folder}", f"linear layers of {sorted(set(kinds))}", "report this fault")
