"""How large a model is, from the headers of its safetensors files and its configuration; nothing is loaded."""

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

INDEX = "model.safetensors.index.json"
MAX_HEADER = 100_000_000  # bytes, the format's own limit


@dataclass(frozen=True)
class Size:
    """Parameters, bytes of the files that hold them, and tokens of the vocabulary where that is said."""

    parameters: int
    bytes: int
    vocabulary: int | None


def of(folder: Path) -> Size | None:
    """The size of the model in a folder; None where its files do not say it."""
    try:
        files = _files(folder)
        parameters = sum(math.prod(tensor["shape"]) for file in files for tensor in _tensors(file))
        return Size(parameters, sum(file.stat().st_size for file in files), _vocabulary(folder)) if files else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error):
        return None  # whoever takes the model in says what is wrong with it


def _files(folder: Path) -> list[Path]:
    """The files that are loaded: those of the index where there is one."""
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    if (index := folder / INDEX).is_file():
        return sorted({folder / name for name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()})
    return sorted(folder.glob("*.safetensors"))


def _tensors(file: Path) -> list[dict[str, Any]]:
    """What the header says of each tensor."""
    with file.open("rb") as stream:
        (size,) = struct.unpack("<Q", stream.read(8))
        if size > MAX_HEADER:
            raise ValueError("no header of safetensors")
        header: dict[str, Any] = json.loads(stream.read(size))
    return [tensor for name, tensor in header.items() if name != "__metadata__"]


def _vocabulary(folder: Path) -> int | None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    found = config.get("vocab_size") or (config.get("text_config") or {}).get("vocab_size")
    return int(found) if found else None
