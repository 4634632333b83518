"""What this machine lets a process have, and what one has taken: memory, by host, control group and kernel counters."""

import resource
from pathlib import Path

import psutil

# device files that drivers of accelerators make: torch, which would know better, takes seconds to load
ACCELERATORS = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
RESET_PEAK = "5"  # proc(5): the peak of resident memory starts anew


def memory(groups: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")) -> tuple[int, str]:
    """Bytes of memory that may be used, and who says so: the machine, or the control group that this process is in.

    Args:
        groups: the file in which the kernel says which groups those are.
        mount: where they are mounted, of version 2 or 1.
    """
    host = int(psutil.virtual_memory().total)
    limits = [_number(folder / name) for folder, name in _places(groups, mount)]
    least = min((limit for limit in limits if limit is not None), default=host)
    return (least, "its control group (cgroup) allows") if least < host else (host, "the machine has")


def _places(groups: Path, mount: Path) -> list[tuple[Path, str]]:
    """Where limits may stand: of the group and of all above it; in a container, its own group is the root."""
    found = []
    try:
        lines = groups.read_text().splitlines()
    except OSError:
        return []  # no Linux
    for line in lines:
        number, names, path = line.split(":", 2)
        if number == "0":
            roots, name = [mount, mount / "unified"], "memory.max"
        elif "memory" in names.split(","):
            roots, name = [mount / "memory"], "memory.limit_in_bytes"
        else:
            continue
        for root in roots:
            place = root / path.lstrip("/")
            found += [(folder, name) for folder in (place, *place.parents) if folder.is_relative_to(root)]
    return found


def _number(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None  # `max`


def accelerated(device: str) -> bool:
    """Whether a training on `device` keeps its weights and activations in the memory of an accelerator."""
    return any(Path(file).exists() for file in ACCELERATORS) if device == "auto" else not device.startswith("cpu")


def begin_peak() -> bool:
    """Let the peak of this process's memory start anew; False where the kernel does not allow it."""
    try:
        Path("/proc/self/clear_refs").write_text(RESET_PEAK)
    except OSError:
        return False
    return _status("VmHWM") is not None


def peak(*, anew: bool = False) -> int:
    """Bytes that this process had at most, since it began or, if that was allowed, `anew`."""
    since = _status("VmHWM") if anew else None
    return since if since is not None else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _status(name: str) -> int | None:
    """A size that the kernel tells of this process, in bytes."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), None)
