"""Which code and which cards a run was made from: the git commit, and what differed from it."""

import os
import subprocess
from pathlib import Path
from typing import Any

from tasks.lib import digests, places

SECONDS = 30.0  # for one git command
CARDS = ("domains", "configs")
CODE = ("flows", "tasks", "pyproject.toml", "constraints.txt", *CARDS)
DATA = "**/domains/*/data/**"
DIFF = ("diff", "HEAD", "--relative", "--no-ext-diff", "--no-textconv", "--no-color", "--full-index")
UNKNOWN = "unknown"


class _UnansweredError(Exception):
    """git did not say; the message is why."""


def provenance() -> dict[str, Any]:
    """Commits of the code and of the working directory, the digest of what differs, or why they are not known."""
    checkout, here = places.CHECKOUT, Path.cwd()
    found = _state("commit", checkout, CODE, own=True)
    if here.resolve() != checkout.resolve():
        found |= _state("workplace_commit", here, CARDS, own=False)
    return found


def _state(key: str, folder: Path, rooms: tuple[str, ...], *, own: bool) -> dict[str, Any]:
    """What is known of the rooms in a folder; with `own`, only where the folder is the top of its checkout."""
    found: dict[str, Any] = {}
    try:
        top = Path(os.fsdecode(_git(folder, "rev-parse", "--show-toplevel")).removesuffix("\n"))
        if own and top.resolve() != folder.resolve():
            # installed into a virtual environment, it may lie inside the checkout of something else
            raise _UnansweredError(f"{folder} is not the top of a git checkout")
        found[key] = _git(folder, "rev-parse", "HEAD").decode().strip()
        found[f"{key}_dirty_sha256"] = UNKNOWN  # until git has said
        found[f"{key}_dirty_sha256"] = _differences(folder, rooms)
    except _UnansweredError as reason:
        found[f"{key}_unknown"] = str(reason)
    return found


def _differences(folder: Path, rooms: tuple[str, ...]) -> str | None:
    """The digest of what differs from the commit; the text lies under it, where the lineage record finds it.

    Only what decides a result: other files are no part of a run, may be large, and may be nobody's business.
    """
    text = _git(folder, *DIFF, "--", *rooms, f":(exclude,glob){DATA}").decode("utf-8", "backslashreplace")
    # rows of data may be private: their files are named with their digest, like the files that git does not know
    data = _git(folder, *DIFF, "--name-only", "-z", "--", f":(glob){DATA}")
    new = _git(folder, "ls-files", "--others", "--exclude-standard", "-z", "--", *rooms)
    remembered = digests.Remembered()
    for kind, names in (("data", data), ("untracked", new)):
        text += "".join(_line(kind, folder, name, remembered) for name in names.split(b"\0") if name)
    remembered.save()
    if not text:
        return None
    digest = digests.of_text(text)
    place = places.runs() / "diffs" / f"{digest}.diff"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(text.encode())
    return digest


def _line(kind: str, folder: Path, name: bytes, remembered: digests.Remembered) -> str:
    file = folder / os.fsdecode(name)
    readable = file.is_file() and os.access(file, os.R_OK)
    return f"{kind} {name.decode('utf-8', 'backslashreplace')} {remembered.of(file) if readable else 'no file that can be read'}\n"


def _git(folder: Path, *words: str) -> bytes:
    # a hook's variables would point git to another repository
    environment = {key: value for key, value in os.environ.items() if key not in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")}
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], env=environment, capture_output=True, check=False, timeout=SECONDS)
    except FileNotFoundError as error:
        raise _UnansweredError("there is no git on this machine") from error
    except subprocess.TimeoutExpired as error:
        raise _UnansweredError(f"git {words[0]} took more than {SECONDS:.0f} s") from error
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "backslashreplace").strip().splitlines()
        raise _UnansweredError(f"git {words[0]}: {said[-1] if said else f'exit code {done.returncode}'}"[:300])
    return done.stdout
