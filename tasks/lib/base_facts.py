"""What a base model is, from its tokenizer and its configuration, without its weights; asked through `examine`.

Its template is a program and its files are from elsewhere: `trial.limit` bounds the memory of the process that looks.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerBase

from tasks.lib import adapters, models, trial
from tasks.lib.packing import chat_ids

SYSTEM = {"role": "system", "content": "five six"}


def facts(question: dict[str, Any]) -> dict[str, Any]:
    """What is to know of a base model before it is trained; `fault` alone where it cannot be loaded at all.

    Args:
        question: the `folder`, and `targets` of low-rank adapters (None where every weight learns).
    """
    trial.limit()
    folder = Path(question["folder"])
    try:
        tokenizer = models.load_tokenizer(folder)
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        with torch.device("meta"):  # shapes only: no memory, no weights
            network = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except (ValueError, OSError, KeyError, ImportError, RuntimeError) as error:  # what transformers raises of files that it cannot take
        return {"fault": str(error).splitlines()[0][:300]}
    text = config.get_text_config()
    return {
        "positions": getattr(text, "max_position_embeddings", None),
        "layers": getattr(text, "num_hidden_layers", None),
        "embedded": network.get_input_embeddings().weight.shape[0],
        "highest": max(tokenizer.get_vocab().values()),
        "end": tokenizer.eos_token,
        "pad": tokenizer.pad_token,
        "mask": _mask_fault(tokenizer),
        "system": _refusal(tokenizer, [SYSTEM, *trial.MESSAGES]),
        "adapters": None if question["targets"] is None else _adapters_fault(network, question["targets"]),
    }


def _mask_fault(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Why the loss could not see the answer and nothing else: training takes as answer what follows the rendered question."""
    if (refusal := _refusal(tokenizer, trial.MESSAGES)) is not None:
        return f"it does not render a question and its answer ({refusal})"
    prompt = chat_ids(tokenizer, trial.MESSAGES[:-1], generation=True)
    whole = chat_ids(tokenizer, trial.MESSAGES, generation=False)
    if whole[: len(prompt)] != prompt:
        return "it renders a question otherwise when an answer follows, so that it cannot be told where the answer begins"
    times = tokenizer.decode(whole[len(prompt) :]).count(trial.MESSAGES[-1]["content"])
    if not times:
        return "it renders no answer behind the question"
    return None if times == 1 else f"it renders the answer {times} times behind the question"


def _refusal(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]]) -> str | None:
    """What the template says when it does not take such messages."""
    from jinja2 import TemplateError

    try:
        tokenizer.apply_chat_template(messages, tokenize=False)
    except (TemplateError, TypeError, ValueError, IndexError, KeyError) as error:
        return str(error)[:200]
    return None


def _adapters_fault(network: Any, targets: str | list[str]) -> str | None:
    """Why low-rank adapters would find nothing to adapt, in PEFT's words."""
    try:
        adapters.wrap(network, 1, 1, 0.0, targets)
    except ValueError as error:
        return str(error).split("\n", maxsplit=1)[0][:300]
    return None
