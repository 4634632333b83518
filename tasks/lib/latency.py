"""How long a model takes to answer, one sequence at a time on the CPU."""

import statistics
import time
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from tasks.lib import models

ROUNDS = 3
PROMPT = 128  # tokens of the prompt at most
LARGEST = 2_000_000_000  # parameters; on a CPU a larger model takes minutes for what is measured in seconds


def on_cpu(model: Any, folder: Path) -> Any:
    """The model for the CPU: itself, or loaded anew from its folder, because not every quantised weight can be moved.

    One of more than two thousand million parameters stays where it is.
    """
    if model.device.type == "cpu" or models.parameters(model) > LARGEST:
        return model
    return models.load(folder, dtype=models.answering(torch.device("cpu"))).eval()


@torch.inference_mode()
def latency(model: Any, tokenizer: PreTrainedTokenizerBase, prompt: str, tokens: int) -> dict[str, Any]:
    """Milliseconds to the first token and for each further one, of greedy decoding after a warm-up: medians of three rounds.

    What is told says where that was, with how many threads, and in which number type.
    """
    room = int(getattr(model.config, "max_position_embeddings", 2048)) - tokens
    inputs = tokenizer(prompt, return_tensors="pt", truncation=True, max_length=max(1, min(PROMPT, room))).to(model.device)
    settings = {"do_sample": False, "pad_token_id": tokenizer.pad_token_id}

    def milliseconds(count: int) -> float:
        started = time.perf_counter()
        model.generate(**inputs, **settings, min_new_tokens=count, max_new_tokens=count)
        if model.device.type == "cuda":
            torch.cuda.synchronize()
        return 1000 * (time.perf_counter() - started)

    milliseconds(2)
    rounds = [(milliseconds(1), milliseconds(tokens)) for _ in range(ROUNDS)]
    each = statistics.median((whole - first) / (tokens - 1) for first, whole in rounds)
    return {
        "first_token_ms": round(statistics.median(first for first, _ in rounds), 3),
        "token_ms": round(each, 3),
        "decode_tokens_per_second": round(1000 / each, 1),
        "latency_device": str(model.device),
        "latency_threads": torch.get_num_threads(),
        "latency_type": str(model.dtype).removeprefix("torch."),
        "latency_prompt_tokens": inputs["input_ids"].shape[1],
    }
