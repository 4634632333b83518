"""Models and tokenizers on disk: made from scratch, loaded, adapted, saved (importer of transformers, tokenizers)."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    ModernBertConfig,
    ModernBertForMaskedLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from tasks.lib import architecture, turns
from tasks.lib.errors import StageError
from tasks.lib.turns import CHATML, TURN, TURN_END

LOADERS: dict[architecture.Architecture, Any] = {
    "decoder": AutoModelForCausalLM,
    "encoder": AutoModelForMaskedLM,
    "classifier": AutoModelForSequenceClassification,
}
BEGIN, SEPARATOR, MASK = "<|cls|>", "<|sep|>", "<|mask|>"  # of encoders
END, PAD = "<|endoftext|>", "<|pad|>"
# GPT-4's split of text into words, with digits one by one so that numbers are spelled
SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

Precision = Literal["auto", "bf16", "fp32"]
Taken = Literal["even", "stride"]
PER_LAYER = ("layer_types", "mlp_layer_types", "no_rope_layers", "attention_layers")  # of configurations: an entry for each layer

if not torch.cuda.is_available():
    # accelerate asks deepspeed, which says on the terminal that it found no other accelerator
    os.environ.setdefault("DS_ACCELERATOR", "cpu")


def device(wanted: str) -> torch.device:
    """`auto` takes an accelerator when there is one."""
    if wanted != "auto":
        return torch.device(wanted)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def use_bf16(precision: Precision, place: torch.device) -> bool:
    """Whether to compute in bf16: as asked, or where the hardware multiplies it natively."""
    if precision != "auto":
        return precision == "bf16"
    if place.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported())


def answering(place: torch.device) -> Any:
    """The number type to load a model in that only answers: bf16 where it is multiplied natively, else that of its folder.

    A CPU that cannot multiply bf16 gets fp32, in which it answers many times faster than in the bf16 of most folders.
    """
    if use_bf16("auto", place):
        return torch.bfloat16
    return torch.float32 if place.type == "cpu" else "auto"


def moved(batch: dict[str, Any], place: torch.device) -> dict[str, Any]:
    """A batch on a device, with the masks of layers of several kinds."""
    return {key: moved(value, place) if isinstance(value, dict) else value.to(place) for key, value in batch.items()}


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer (Sennrich et al., 2016) with a ChatML template."""
    core = _byte_pairs(texts, vocabulary, [END, PAD, TURN, TURN_END])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token=END, eos_token=TURN_END, pad_token=PAD, additional_special_tokens=[TURN]
    )
    tokenizer.chat_template = CHATML
    return tokenizer


def train_encoder_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """The same with the tokens of an encoder: a text stands between a begin and a separator, and a token may be masked."""
    core = _byte_pairs(texts, vocabulary, [BEGIN, PAD, SEPARATOR, MASK])
    framing = [(token, core.token_to_id(token)) for token in (BEGIN, SEPARATOR)]
    core.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A {SEPARATOR}", pair=f"{BEGIN} $A {SEPARATOR} $B {SEPARATOR}", special_tokens=framing
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, cls_token=BEGIN, sep_token=SEPARATOR, bos_token=BEGIN, eos_token=SEPARATOR, pad_token=PAD, mask_token=MASK
    )


def _byte_pairs(texts: Iterable[str], vocabulary: int, special: list[str]) -> Tokenizer:
    core = Tokenizer(models.BPE())
    core.normalizer = normalizers.NFC()
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    return core


def new_decoder(tokenizer: PreTrainedTokenizerBase, hidden: int, layers: int, heads: int, positions: int) -> LlamaForCausalLM:
    """A Llama-style decoder with random weights, tied embeddings and a SwiGLU of 8/3 the hidden size."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=-(-hidden * 8 // 3 // 64) * 64,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=positions,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def new_encoder(tokenizer: PreTrainedTokenizerBase, hidden: int, layers: int, heads: int, positions: int) -> ModernBertForMaskedLM:
    """A ModernBERT-style encoder (Warner et al., 2024) with random weights, tied embeddings and no local attention."""
    config = ModernBertConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=-(-hidden * 4 // 3 // 64) * 64,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=positions,
        layer_types=["full_attention"] * layers,  # local attention saves time in long texts, of which a small model reads none
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.cls_token_id,
        cls_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id,
        sep_token_id=tokenizer.sep_token_id,
    )
    return ModernBertForMaskedLM(config)


def load_tokenizer(folder: Path, *, chat: bool = True) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder, with a settled chat template.

    One without a template gets one, unless the model is an encoder or not to `chat`; one without padding pads with its end.
    """
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.chat_template is None and chat and architecture.of(folder) == "decoder":
        tokenizer.chat_template = turns.given(tokenizer.eos_token, tokenizer.get_vocab())
    tokenizer.chat_template = turns.settled(tokenizer.chat_template)
    return tokenizer


def load(folder: Path, dtype: torch.dtype | Literal["auto"] = torch.float32, **more: Any) -> PreTrainedModel:
    """A model from a folder, with the head that it was saved with: safetensors only, no code from outside, no network."""
    model: PreTrainedModel = LOADERS[architecture.of(folder)].from_pretrained(
        folder, dtype=dtype, use_safetensors=True, local_files_only=True, trust_remote_code=False, **more
    )
    return model


def require_finite(model: torch.nn.Module) -> None:
    """Refuse a model that a last step has ruined, after which no loss was taken.

    Raises:
        StageError: naming the first weight that is no number.
    """
    for name, weight in model.named_parameters():
        if weight.is_floating_point() and not bool(torch.isfinite(weight).all()):
            raise StageError("a trained model of finite weights", f"{name} holds infinity, or what is no number", "lower the learning rate")


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write weights as safetensors, with configuration and tokenizer."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for file in sorted(folder.glob("*.safetensors")):
        _sort_metadata(file)


def _sort_metadata(file: Path) -> None:
    """Put the free-text metadata of a safetensors header in order: the library writes it in another one every time.

    Without this, quantised weights (which carry one entry a tensor) would have a new digest whenever they are made.
    """
    with file.open("r+b") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(size))
        header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
        sorted_header = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(sorted_header) > size:
            raise StageError(f"a header of {size} bytes in {file.name}", f"{len(sorted_header)} bytes once sorted", "report this fault")
        stream.seek(8)
        stream.write(sorted_header.ljust(size))


def weight_bytes(folder: Path) -> int:
    """Bytes of a model folder's weights, as they lie there: not those of an adapter below it."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def fewer_layers(teacher: PreTrainedModel, layers: int, taken: Taken = "even") -> PreTrainedModel:
    """A student of the same shape with `layers` layers of its teacher, and all else of it (Sanh et al., 2019).

    `even` spreads them from the first to the last layer: 0, 2, 4, 7, 9, 11 of twelve, as the published code of DistilBERT.
    `stride` takes every second one (third, ...) from the first, as its paper says: 0, 2, 4, 6, 8, 10 of twelve.
    """
    have = teacher.config.num_hidden_layers
    if taken == "stride":
        picked = [i * (have // layers) for i in range(layers)]
    else:
        picked = [round(i * (have - 1) / max(1, layers - 1)) for i in range(layers)]
    student: PreTrainedModel = type(teacher)(_of_layers(teacher.config, picked))
    stack = next(name for name, part in teacher.named_modules() if isinstance(part, torch.nn.ModuleList) and len(part) == have)
    weights, renamed = teacher.state_dict(), {}
    for name in student.state_dict():
        number, _, rest = name.removeprefix(f"{stack}.").partition(".")
        inside = name.startswith(f"{stack}.")
        renamed[name] = weights[f"{stack}.{picked[int(number)]}.{rest}" if inside else name]
    student.load_state_dict(renamed)
    return student


def _of_layers(config: Any, picked: list[int]) -> Any:
    """A model's configuration with some of its layers only; what it says layer by layer is picked with them."""
    said = config.to_dict()
    said |= {key: [said[key][i] for i in picked] for key in PER_LAYER if said.get(key)}
    if said.get("attention_types"):  # GPT-Neo's own way to say it, from which its `attention_layers` follow
        said["attention_types"] = [[said["attention_layers"], 1]]
    return type(config).from_dict({**said, config.attribute_map.get("num_hidden_layers", "num_hidden_layers"): len(picked)})


def parameters(model: Any) -> int:
    """How many weights a model has (tied ones once)."""
    return sum(p.numel() for p in model.parameters())
