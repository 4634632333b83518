"""Models of a few thousand weights, made on the spot from the library's own configuration classes."""

from pathlib import Path
from typing import Any

import transformers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    set_seed,
)

from tasks.lib import models
from tasks.lib.architecture import of
from tasks.lib.config import StageConfig
from tasks.lib.model import Model
from tasks.lib.stage import STAGES, stage
from tests.conftest import WORDS

BERT = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128, "max_position_embeddings": 130}
LLAMA = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 128}
GPT = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 128}
NEO = {"hidden_size": 64, "num_layers": 2, "attention_types": [[["global", "local"], 1]], "num_heads": 4, "max_position_embeddings": 128}
ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("BertConfig", BERT),
    "roberta": ("RobertaConfig", BERT),
    "distilbert": ("DistilBertConfig", {"dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 128, "max_position_embeddings": 128}),
    "mobilebert": ("MobileBertConfig", {**BERT, "embedding_size": 32, "intra_bottleneck_size": 32, "true_hidden_size": 32}),
    "modernbert": ("ModernBertConfig", {**BERT, "local_attention": 16, "num_hidden_layers": 4}),
}
DECODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2Config", GPT),
    "gpt-neo": ("GPTNeoConfig", {**NEO, "window_size": 16}),
    "gpt-j": ("GPTJConfig", {**GPT, "rotary_dim": 8}),
    "llama": ("LlamaConfig", LLAMA),
    "qwen3": ("Qwen3Config", {**LLAMA, "head_dim": 16, "tie_word_embeddings": True}),
    "smollm3": ("SmolLM3Config", {**LLAMA, "num_hidden_layers": 4}),
    "sliding": ("Qwen3Config", {**LLAMA, "head_dim": 16, "use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1}),
}


TEXTS = [" ".join(WORDS), "what colour is it? red or blue"]
# begin and end of decoders whose vocabulary has no token of ChatML, no padding and no chat template, as they are published
BARE = {**dict.fromkeys(("gpt2", "gpt-neo", "gpt-j"), ("<|endoftext|>", "<|endoftext|>")), "llama": ("<s>", "</s>")}


def tokenizer_of(name: str) -> PreTrainedTokenizerBase:
    """A tokenizer trained on the toy's words, with the special tokens of its kind; one without padding pads with its end."""
    if name in BARE:
        begin, end = BARE[name]
        core = models._byte_pairs(TEXTS, 400, list(dict.fromkeys((begin, end))))
        return PreTrainedTokenizerFast(tokenizer_object=core, bos_token=begin, eos_token=end, pad_token=end)
    return (models.train_encoder_tokenizer if name in ENCODERS else models.train_tokenizer)(TEXTS, 400)


def model_of(name: str, tokenizer: PreTrainedTokenizerBase, **more: Any) -> PreTrainedModel:
    """A model with random weights, and with `more` of its configuration."""
    kind, sizes = (ENCODERS | DECODERS)[name]
    special = {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    if name == "modernbert":
        special |= {"cls_token_id": tokenizer.cls_token_id, "sep_token_id": tokenizer.sep_token_id}
    config = getattr(transformers, kind)(vocab_size=len(tokenizer), **{**sizes, **special, **more})
    set_seed(0)
    made: PreTrainedModel = (AutoModelForMaskedLM if name in ENCODERS else AutoModelForCausalLM).from_config(config)
    return made


class TinyConfig(StageConfig):
    """Which model."""

    name: str
    more: dict[str, Any] = {}


@stage(version="1")
def tiny(out: Path, cfg: TinyConfig) -> Model:
    """A model as an artifact, without the trial that a model from outside goes through."""
    tokenizer = tokenizer_of(cfg.name)
    model = model_of(cfg.name, tokenizer, **cfg.more)
    models.save(model, tokenizer, out)
    size = models.parameters(model)
    return Model(parameters=size, vocabulary=len(tokenizer), bytes=models.weight_bytes(out), architecture=of(out))


del STAGES["tiny"]  # it is no stage of the pipeline
