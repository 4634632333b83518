"""Low-rank adapters: put on a frozen model, folded into its weights, and held against what was trained (importer of peft)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import BitsAndBytesConfig, PreTrainedModel

from tasks.lib import models
from tasks.lib.errors import StageError

FOLDER = "adapter"  # beside the merged weights
PROBES, WINDOW = 4, 128  # sequences, and tokens of each, on which the merged model must answer as the trained one
MOST_KL = 1e-3  # nats a token; both answer in fp32, whose rounding gives less than a thousandth of it


def wrap(model: PreTrainedModel, rank: int, alpha: int, dropout: float, targets: str | list[str], **more: Any) -> PeftModel:
    """Adapters (Hu et al., 2021) on a frozen model, drawn from torch's seed.

    The model forgets its folder: PEFT writes it into the adapter's files, whose digest must not depend on a path.

    Args:
        model: what stays as it is.
        rank: of the adapters.
        alpha: their scale is alpha / rank.
        dropout: share of the adapters' inputs that is dropped while they learn.
        targets: names of modules, or `all-linear`.
        more: further settings of PEFT's: `use_dora` (Liu et al., 2024); `task_type` "SEQ_CLS", with which a head learns too.
    """
    model.name_or_path = model.config.name_or_path = ""
    settings = {"task_type": "CAUSAL_LM", **more}
    return get_peft_model(model, LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=targets, **settings))


def frozen_nf4(folder: Path, place: torch.device, precision: models.Precision = "auto") -> PreTrainedModel:
    """A decoder with its linear layers in 4-bit NormalFloat, doubly quantised (QLoRA, Dettmers et al., 2023): to adapt, not to keep."""
    from bitsandbytes.nn.modules import Linear4bit

    dtype = torch.bfloat16 if models.use_bf16(precision, place) else torch.float32
    quantised = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )
    model = models.load(folder, quantization_config=quantised, device_map={"": place})
    for weight in model.parameters():
        weight.requires_grad = False
    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False  # that kernel packs the weights anew, and rounds their scales
    return model


@torch.inference_mode()
def folded(model: PeftModel, start: Path, out: Path, probes: Sequence[Sequence[int]]) -> tuple[PreTrainedModel, dict[str, float]]:
    """Keep the adapters below `out`, fold them into the weights, and compare both models' answers.

    Weights that were trained upon in 4 bits are folded as those 4 bits say, because upon these the adapters learned.

    Args:
        model: as it was trained.
        start: the folder of the weights below the adapters.
        out: the artifact's folder.
        probes: token ids of sequences that both are asked.

    Returns:
        the plain model, and `adapter_kl` (mean nats a token) with `adapter_agreement` (share of equal most likely tokens).

    Raises:
        StageError: if the two do not answer alike.
    """
    model.save_pretrained(out / FOLDER)
    asked = [torch.tensor([list(probe[:WINDOW])], device=model.device) for probe in probes[:PROBES]]
    model.eval()
    four_bits = getattr(model.get_base_model(), "is_loaded_in_4bit", False)
    if four_bits:
        _in_full(model)
    before = [model(input_ids=ids).logits.float().log_softmax(-1) for ids in asked]
    if four_bits:
        # loaded anew: a model that has answered on a CPU holds its 4 bits in another order, and would be unpacked wrongly
        plain: Any = frozen_nf4(start, model.device)
        model = PeftModel.from_pretrained(plain.dequantize().float(), out / FOLDER)
    merged: PreTrainedModel = model.merge_and_unload()
    merged.eval()
    after = [merged(input_ids=ids).logits.float().log_softmax(-1) for ids in asked]
    kl = _mean([F.kl_div(new, old, reduction="none", log_target=True).sum(-1).mean() for old, new in zip(before, after, strict=True)])
    agreement = _mean([(old.argmax(-1) == new.argmax(-1)).float().mean() for old, new in zip(before, after, strict=True)])
    if not kl < MOST_KL:
        raise StageError(
            f"merged adapters that answer as the trained ones, to {MOST_KL} nats a token",
            f"{kl:.4g} nats apart, {agreement:.1%} of the most likely tokens alike",
            "this is a fault in slmforge: report it",
        )
    return merged, {"adapter_kl": round(kl, 9), "adapter_agreement": round(agreement, 6)}


def _in_full(model: PeftModel) -> None:
    """Let frozen 4 bits be multiplied in fp32: both answers are, so that what differs is the merge and not the precision."""
    from bitsandbytes.nn.modules import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.compute_dtype = torch.float32


def _mean(values: list[torch.Tensor]) -> float:
    return float(torch.stack(values).mean())
