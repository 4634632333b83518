"""What a base model from outside may bring in: plain files, plain configuration, safetensors."""

import json
import struct
from pathlib import Path

from tasks.lib import store
from tasks.lib.errors import DataError

ALLOWED = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "merges.txt", "vocab.txt", "tokenizer.model", "chat_template.jinja",
    "model.safetensors.index.json",
)  # fmt: skip
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".joblib", ".h5", ".npy", ".npz", ".msgpack")
CODE_KEYS = ("auto_map", "trust_remote_code", "_attn_implementation", "_attn_implementation_internal")
CONFIGS = ("tokenizer_config.json", "generation_config.json")  # beside config.json, which must be there
INDEX = "model.safetensors.index.json"
MAX_HEADER = 100_000_000  # bytes, the format's own limit


def admit(folder: Path, *, quantised: bool = False) -> list[Path]:
    """The files of a base model that may be used; anything that could run code refuses the model.

    Args:
        folder: the model's folder.
        quantised: also admit torchao's int8 settings in a model that our own store holds, unchanged since it was made.

    Raises:
        DataError: for pickled weights without safetensors, Python files, or a configuration that names code.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file())
    weights = [path for path in files if path.suffix == ".safetensors"]
    asked = f"a base model in {folder} with weights as safetensors"
    for path in files:
        if path.suffix == ".py":
            raise DataError(asked, "Python code", "use a model that needs no code of its own", file=path)
    if not weights:
        pickled = [path for path in files if path.suffix in PICKLES]
        found = "pickled weights, which can run code when they are read" if pickled else "no weights"
        raise DataError(asked, found, "convert the weights to safetensors where they come from", file=(pickled or [folder])[0])
    for name in ("config.json", *(name for name in CONFIGS if (folder / name).is_file())):
        _check_config(folder / name, weights if quantised and name == "config.json" else None)
    _check_index(folder / INDEX, {path.name for path in weights})
    for path in weights:
        _check_header(path)
    return [*weights, *(folder / name for name in ALLOWED if (folder / name).is_file())]


def _ours(folder: Path, weights: list[Path]) -> bool:
    """Whether a folder is an artifact of our own store, with its weights and all else as the record says.

    Raises:
        DataError: if it is one, and a file of it is not what was committed.
    """
    place = folder.resolve()
    identifier = f"{place.parent.name}/{place.name}"
    record = store.find(identifier) if place.parent.parent == store.root().resolve() else None
    if record is None or record.id != identifier:
        return False
    store.verify(record)
    return {"config.json", *(path.name for path in weights)} <= {entry.path for entry in record.files}


def _check_config(path: Path, weights: list[Path] | None) -> None:
    """Refuse a configuration that names code, or quantisation that is not ours; never ours where no weights are given."""
    if not path.is_file():
        raise DataError("a base model's config.json", "no such file", "give the folder that holds the model", file=path)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"a base model's {path.name}", str(error), "copy the model again", file=path) from error
    if not isinstance(config, dict):
        raise DataError(f"a base model's {path.name}", "no JSON object", "copy the model again", file=path)
    found = [key for key in CODE_KEYS if key in config]
    settings = config.get("quantization_config", {})
    torchao = isinstance(settings, dict) and settings.get("quant_method") == "torchao"
    if "quantization_config" in config and not (torchao and weights is not None and _ours(path.parent, weights)):
        found.append("quantization_config")
    if found:
        raise DataError(
            "a base model's configuration that names no code and is not quantised",
            f"the key(s) {', '.join(found)}",
            "use a model without them; a model that we quantised is scored with `slmforge evaluate NAME --model quantize/ID`",
            file=path,
        )


def _check_index(path: Path, weights: set[str]) -> None:
    """An index of weights names files of the folder, and no others."""
    if not path.is_file():
        return
    try:
        named = set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError("an index of weights", f"no `weight_map` in it ({error})", "copy the model again", file=path) from error
    if away := sorted(str(name) for name in named - weights):
        raise DataError("an index that names the safetensors files beside it", f"{away[0]!r}", "copy the whole model again", file=path)


def _check_header(path: Path) -> None:
    """A safetensors file starts with the length of a JSON header."""
    with path.open("rb") as file:
        start = file.read(8)
        size = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        header = file.read(min(size, MAX_HEADER)) if 2 <= size <= MAX_HEADER else b""
    if not header.startswith(b"{") or len(header) != size:
        raise DataError(
            "a safetensors file",
            "another format under that name (a pickle?) or a broken file",
            "convert the weights to safetensors where they come from",
            file=path,
        )
