"""What a training in bf16 leaves behind: a model that answers as the one that is saved, in fp32."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tasks.align import Dpo
from tasks.lib import adapters, models, quantization, tracking
from tasks.lib.packing import Encoder
from tasks.lib.preferences import fit_dpo
from tasks.lib.training import fit
from tasks.lib.training_config import TrainingConfig
from tests.tiny import model_of, tokenizer_of


@pytest.mark.parametrize("what", ["pretrain", "tune", "align", "lora"])
def test_a_trained_model_computes_as_the_saved_one(what: str, tmp_path: Path) -> None:
    tokenizer = tokenizer_of("qwen3")
    network: Any = model_of("qwen3", tokenizer)
    if what == "lora":
        network = adapters.wrap(network, 4, 8, 0.0, "all-linear")
    cfg = TrainingConfig(length=32, batch=4, learning_rate=1e-2, warmup=0, precision="bf16", trainer={"max_steps": 1})
    encoder = Encoder(tokenizer, 32)
    blocks = encoder.pack((piece for n in range(4) for piece in encoder.document("alpha beta river stone " * (3 + n))), 0)
    with tracking.active(None):
        if what == "align":
            said = [{"role": "user", "content": "alpha"}], *([{"role": "assistant", "content": word}] for word in ("river", "stone"))
            fit_dpo(network, tokenizer, [dict(zip(("prompt", "chosen", "rejected"), said, strict=True))] * 4, cfg, Dpo())
        else:
            fit(network, tokenizer, blocks, cfg, "tune" if what == "lora" else what)
    asked = {"input_ids": torch.tensor([blocks[0]["input_ids"]]), "output_hidden_states": True}
    with torch.inference_mode():
        mine = network.eval()(**asked)
        models.save(network.merge_and_unload() if what == "lora" else network, tokenizer, tmp_path)
        its = models.load(tmp_path).eval()(**asked)
    exact = {"atol": 1e-6, "rtol": 1e-5} if what == "lora" else {"atol": 0, "rtol": 0}
    torch.testing.assert_close(mine.logits, its.logits, **exact)
    assert len(mine.hidden_states) == len(its.hidden_states) > 1, "the library's own decorators are still there"


def test_a_model_that_answers_is_loaded_in_what_the_machine_multiplies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one of int8 weights, whose folder says bf16."""
    tokenizer = tokenizer_of("qwen3")
    models.save(model_of("qwen3", tokenizer), tokenizer, tmp_path / "whole")
    models.save(quantization.quantize(tmp_path / "whole", "int8-weight-only"), tokenizer, tmp_path / "int8")
    asked = {"input_ids": torch.arange(24).reshape(1, 24)}
    logits = {}
    for native, wanted in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda native=native: native)
        assert models.answering(torch.device("cpu")) == wanted
        model = models.load(tmp_path / "int8", dtype=models.answering(torch.device("cpu"))).eval()
        with torch.inference_mode():
            logits[native] = model(**asked).logits
        assert logits[native].dtype == wanted
    torch.testing.assert_close(logits[True].float(), logits[False], atol=0.05, rtol=0.05)
