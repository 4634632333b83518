"""What kind of model a folder holds, told from its configuration alone: no library is loaded."""

import json
from pathlib import Path
from typing import Literal

from tasks.lib.errors import ConfigError

Architecture = Literal["decoder", "encoder", "classifier"]

# written by libraries that save a model without a head, whose configuration then names no task
ENCODERS = frozenset({
    "albert", "bert", "camembert", "distilbert", "electra", "eurobert", "ernie", "megatron-bert", "mobilebert", "modernbert",
    "mpnet", "nomic_bert", "rembert", "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl",
})  # fmt: skip
CAN = {
    "decoder": "continues a text",
    "encoder": "fills in masked tokens and continues no text",
    "classifier": "names one of its labels and continues no text",
}


def of(folder: Path) -> Architecture:
    """The kind of the model in `folder`; a decoder where the configuration does not say otherwise."""
    file = folder / "config.json"
    if not file.is_file():
        return "decoder"  # a tokenizer by itself
    config = json.loads(file.read_text(encoding="utf-8"))
    named = config.get("architectures") or []
    if any(name.endswith("ForSequenceClassification") for name in named):
        return "classifier"
    if any(name.endswith("ForMaskedLM") for name in named):
        return "encoder"
    known = config.get("model_type") in ENCODERS and not config.get("is_decoder", False)
    return "encoder" if known else "decoder"


def require(found: Architecture, wanted: tuple[Architecture, ...], stage: str) -> None:
    """Refuse a model that a stage can do nothing with.

    Raises:
        ConfigError: naming the stage, what the model can do, and the way that is open to it.
    """
    if found not in wanted:
        remedy = "adapt an encoder with `slmforge classify NAME`, or use a decoder as the base"
        raise ConfigError(f"{stage}: a model that is one of: {', '.join(wanted)}", f"{_article(found)}, which {CAN[found]}", remedy)


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
