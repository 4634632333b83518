"""What a base model is, from its tokenizer and its configuration, without its weights; asked through `examine`.

Its template is a program and its files are from elsewhere: `examine` asks it in a process with bounds.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerBase

from tasks.lib import adapters, architecture, heads, models, trial
from tasks.lib.isolation import first_position
from tasks.lib.packing import chat_ids

SYSTEM = {"role": "system", "content": "five six"}


def facts(question: dict[str, Any]) -> dict[str, Any]:
    """What is to know of a base model before it is trained; `fault` alone where it cannot be loaded at all.

    Args:
        question: the `folder`, and `adapters`: the targets of low-rank adapters by stage, where not every weight learns.
    """
    folder = Path(question["folder"])
    kind = architecture.of(folder)
    try:
        tokenizer = models.load_tokenizer(folder)
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        with torch.device("meta"):  # shapes only: no memory, no weights
            network = models.LOADERS[kind].from_config(config, trust_remote_code=False)
    except (ValueError, OSError, KeyError, ImportError, RuntimeError) as error:  # what transformers raises of files that it cannot take
        return {"fault": str(error).splitlines()[0][:300]}
    text = config.get_text_config()
    positions = getattr(text, "max_position_embeddings", None)
    chats = kind == "decoder"
    return {
        "positions": None if positions is None else positions - first_position(network),
        "layers": getattr(text, "num_hidden_layers", None),
        "embedded": network.get_input_embeddings().weight.shape[0],
        "highest": max(tokenizer.get_vocab().values()),
        "end": tokenizer.eos_token,
        "pad": tokenizer.pad_token,
        "masks": tokenizer.mask_token is not None,
        "template": _mask_fault(tokenizer) if chats else None,
        "system": _refusal(tokenizer, [SYSTEM, *trial.MESSAGES]) if chats else None,
        "stops": _stops(tokenizer) if chats else True,
        "adapters": {stage: _adapters_fault(stage, config, kind, targets) for stage, targets in question["adapters"].items()},
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


def _stops(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the template writes the end token behind an answer, so that a tuned model ends there."""
    if _mask_fault(tokenizer) is not None:
        return True  # which is told already
    prompt = chat_ids(tokenizer, trial.MESSAGES[:-1], generation=True)
    return tokenizer.eos_token_id in chat_ids(tokenizer, trial.MESSAGES, generation=False)[len(prompt) :]


def _refusal(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]]) -> str | None:
    """What the template says when it does not take such messages."""
    from jinja2 import TemplateError

    try:
        tokenizer.apply_chat_template(messages, tokenize=False)
    except (TemplateError, TypeError, ValueError, IndexError, KeyError) as error:
        return str(error)[:200]
    return None


def _adapters_fault(stage: str, config: Any, kind: architecture.Architecture, targets: str | list[str]) -> str | None:
    """Why low-rank adapters would find nothing to adapt, in PEFT's words."""
    headed = stage == "classify"
    with torch.device("meta"):
        network = (AutoModelForSequenceClassification if headed else models.LOADERS[kind]).from_config(config, trust_remote_code=False)
    try:
        adapters.wrap(network, 1, 1, 0.0, targets, **(heads.adapter_settings(network) if headed else {}))
    except (ValueError, TypeError) as error:  # PEFT raises the second where the head itself is named
        return str(error).split("\n", maxsplit=1)[0][:300]
    return None
