"""Where things lie: runs, domains and configs (working directory first, then what is shipped)."""

import os
import re
from pathlib import Path

from tasks.lib.errors import ConfigError

SHIPPED = Path(__file__).resolve().parent.parent / "shipped"  # in a wheel
CHECKOUT = Path(__file__).resolve().parent.parent.parent  # in a checkout
RESERVED = re.compile(r"con|nul|aux|prn|com\d|lpt\d")  # names of devices on Windows, where no folder can have them
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def runs() -> Path:
    """The folder that holds artifacts, tracking, spool and servers (`SLMFORGE_RUNS`, default ./runs)."""
    return Path(os.environ.get("SLMFORGE_RUNS", "runs")).absolute()


def rooms(room: str) -> list[Path]:
    """Folders called `room` ("domains", "configs" or "infra/deepspeed"), nearest first."""
    candidates = [Path.cwd() / room, CHECKOUT / room, SHIPPED / room]
    return list(dict.fromkeys(c for c in candidates if c.is_dir()))


def domain_folder(name: str) -> Path:
    """The folder of a domain.

    Raises:
        ConfigError: if the name is not a plain one, or no such domain exists.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"domain {name!r}",
            "a name that is not lower-case letters, digits and hyphens",
            "use the name of a folder below domains/",
        )
    for room in rooms("domains"):
        if (room / name / "domain.yaml").is_file():
            return room / name
    known = sorted({p.parent.name for room in rooms("domains") for p in room.glob("*/domain.yaml")})
    raise ConfigError(
        f"domain {name!r}",
        f"no domains/{name}/domain.yaml; domains here: {', '.join(known) or 'none'}",
        f"check the spelling, or make it with `slmforge new {name}`",
    )


def config_file(name: str) -> Path:
    """A config by path, or by its name below configs/ ("laptop", "laptop.yaml" or "recipes/bert")."""
    given = Path(name)
    if given.is_file():
        return given
    if not given.is_absolute() and ".." not in given.parts:
        for room in rooms("configs"):
            found = room / (name if name.endswith(".yaml") else f"{name}.yaml")
            if found.is_file():
                return found
    known = sorted({str(p.relative_to(room)) for room in rooms("configs") for p in room.rglob("*.yaml")})
    raise ConfigError(
        f"config {name!r}",
        f"no such file; configs here: {', '.join(known) or 'none'}",
        "give a path, or the name of a file below configs/",
    )


def deepspeed_file(name: str) -> Path:
    """A DeepSpeed configuration by path (it ends in .json), or by its bare name below infra/deepspeed/ ("zero2").

    Raises:
        ConfigError: if there is no such file.
    """
    if name.endswith(".json") and Path(name).is_file():
        return Path(name)
    known = {path.stem: path for room in reversed(rooms("infra/deepspeed")) for path in room.glob("*.json")}
    if name in known:
        return known[name]
    raise ConfigError(
        f"parallel: {name!r}",
        f"no way of training on several devices; there are: {', '.join(['ddp', *sorted(known)])}",
        "take one of these, or give the path of a DeepSpeed configuration that ends in .json",
    )
