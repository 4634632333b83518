"""Which of the processes of one training this is, and what its model must be wrapped in (one process: in nothing)."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch.nn.parallel import DistributedDataParallel

from tasks.lib import machine, places
from tasks.lib.errors import ConfigError, StageError

K = TypeVar("K", int, str)
V = TypeVar("V")


@dataclass(frozen=True)
class Rank:
    """One process of `count`, and the DeepSpeed configuration (None: DistributedDataParallel)."""

    number: int = 0
    count: int = 1
    zero: dict[str, Any] | None = None

    def arguments(self, *, cpu: bool, bf16: bool) -> dict[str, Any]:
        """What the library's arguments must say besides.

        Where the configuration has `torch_autocast`, that computes in bf16, and the weights stay as they are; DeepSpeed's
        own bf16 would round them, and several devices would give another result than one.
        """
        if self.count == 1:
            return {}
        chosen: dict[str, Any] = {"ddp_backend": "gloo"} if cpu else {}
        if self.zero is not None:
            chosen["deepspeed"] = self.zero
        if self.zero is not None and "torch_autocast" in self.zero:
            chosen["deepspeed"] = {**self.zero, "torch_autocast": {**self.zero["torch_autocast"], "enabled": bf16}}
            chosen["bf16"] = False
        return chosen

    def prepare(self) -> None:
        """Tell DeepSpeed of the processes that torch knows: else it takes itself for one alone, until an engine is made.

        A reference that is loaded under ZeRO-3 is shared among the processes before.
        """
        if self.zero is None:
            return
        import deepspeed

        deepspeed.init_distributed(dist_backend=torch.distributed.get_backend(), auto_mpi_discovery=False)

    def require(self, model: Any) -> str:
        """The name of the engine that trains.

        Raises:
            StageError: if it is another one than was asked for.
        """
        found = type(model).__name__
        if self.count > 1 and not isinstance(model, _deepspeed_engine() if self.zero else DistributedDataParallel):
            wanted = "DeepSpeedEngine" if self.zero else "DistributedDataParallel"
            raise StageError(
                f"the model of {self.count} processes in a {wanted}",
                f"a {found}: the libraries have ignored what was asked",
                "take another `parallel:`, and report this fault",
            )
        return found


_MINE = [Rank()]


def mine() -> Rank:
    """The rank of this process; the only one, unless `join` was called."""
    return _MINE[0]


def join(number: int, count: int, parallel: str, *, cpu: bool) -> None:
    """Make this process one of `count`, before anything of the training is made."""
    zero = None if parallel == "ddp" else configuration(places.deepspeed_file(parallel))
    _MINE[0] = Rank(number, count, zero)
    if zero is None or not cpu:
        return
    import deepspeed

    # a reduction in shared memory, for inference only, which would be compiled first: minutes, and a compiler
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def total(counter: Counter[K]) -> Counter[K]:
    """The sum over all processes of what each has counted."""
    return sum(everywhere(counter), Counter[K]())


def everywhere(value: V) -> list[V]:
    """What each process gives, in the order of the ranks; all of them must call it."""
    if mine().count == 1:
        return [value]
    every: list[Any] = [None] * mine().count
    torch.distributed.all_gather_object(every, value)
    return every


def peak_memory() -> int:
    """Bytes that all processes together have taken at most."""
    return total(Counter(bytes=machine.peak()))["bytes"]


def configuration(file: Path) -> dict[str, Any]:
    """A DeepSpeed configuration.

    Raises:
        ConfigError: if it is none.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"a DeepSpeed configuration in {file}", str(error), "correct the JSON") from error
    if not isinstance(found, dict) or "zero_optimization" not in found:
        raise ConfigError(f"a DeepSpeed configuration in {file}", "no `zero_optimization` in it", "begin with a copy of zero2.json")
    return found


def _deepspeed_engine() -> type:
    from deepspeed import DeepSpeedEngine

    return DeepSpeedEngine  # type: ignore[no-any-return]  # DeepSpeed ships no types


def trained(model: Any) -> dict[str, torch.Tensor]:
    """The weights that learned, whole and in full precision, of a model whose engine may keep a part of each in each process.

    All processes must call it; only the first gets the weights, the others nothing.
    """
    kept = {}
    for name, weight in model.named_parameters():
        if not weight.requires_grad:
            continue
        whole = _whole(weight)
        if mine().number == 0:
            kept[name] = whole.detach().cpu().clone().contiguous()
    return kept


def _whole(weight: torch.nn.Parameter) -> torch.Tensor:
    if mine().zero is None:
        return weight
    from deepspeed.utils import safe_get_full_fp32_param

    found = safe_get_full_fp32_param(weight)
    return weight if found is None else found
