"""Repositories of the hub at a pinned commit: the local cache first, then the hub if it may be asked (importer of huggingface_hub)."""

import glob
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from tasks.lib.errors import DataError

MODEL_FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
SHOWN = 20  # names in a message


def model(repository: str, revision: str) -> Path:
    """The folder with a model's files.

    Raises:
        DataError: if they are not in the cache and cannot be fetched.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    from tasks.lib.progress import Shown

    wanted: dict[str, Any] = {"revision": revision, "allow_patterns": list(MODEL_FILES)}
    with suppress(LocalEntryNotFoundError):  # the cache is enough, whether or not the hub may be asked
        return Path(snapshot_download(repository, local_files_only=True, **wanted))
    try:
        return Path(snapshot_download(repository, tqdm_class=Shown, **wanted))
    except _faults() as error:
        raise _absent(f"base model {repository} at revision {revision}", error) from error


def cached_model(repository: str, revision: str) -> Path | None:
    """The folder with a model's files if the local cache holds it; the hub is not asked."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=list(MODEL_FILES), local_files_only=True))
    except LocalEntryNotFoundError:
        return None


def dataset(repository: str, revision: str, pattern: str, name: str) -> list[tuple[str, Path]]:
    """The files of a dataset repository that a path or a pattern means, by name, in name order; none of them is run.

    A pattern needs the commit's list of files, which the cache holds if the hub was asked once: a cache that holds some
    of the files cannot say that there are no others.

    Raises:
        DataError: if nothing is meant, or it is not in the cache and cannot be fetched.
    """
    from huggingface_hub import get_cached_repo_tree, hf_hub_download, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    from tasks.lib.progress import Shown

    wanted: dict[str, Any] = {"repo_type": "dataset", "revision": revision}
    if "*" not in pattern:
        with suppress(LocalEntryNotFoundError):
            return [(pattern, Path(hf_hub_download(repository, pattern, local_files_only=True, **wanted)))]
    try:
        snapshot_download(repository, allow_patterns=[], **wanted)  # the list alone: nothing matches no pattern
        names = sorted(file.path for file in get_cached_repo_tree(repository, **wanted))
        chosen = _chosen(names, pattern, f"dataset {name!r}: {pattern} in {repository} at revision {revision}")
        folder = Path(snapshot_download(repository, allow_patterns=list(map(glob.escape, chosen)), tqdm_class=Shown, **wanted))
    except _faults() as error:
        raise _absent(f"dataset {name!r}: {pattern} in {repository} at revision {revision}", error) from error
    return [(file, folder / file) for file in chosen]


def _chosen(names: list[str], pattern: str, asked: str) -> list[str]:
    from fsspec.utils import glob_translate

    rule = re.compile(glob_translate(pattern))
    chosen = [name for name in names if name == pattern or ("*" in pattern and rule.match(name))]
    if not chosen:
        told = ", ".join(map(repr, names[:SHOWN])) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
        raise DataError(asked, f"no such file; the revision has {told or 'none'}", "correct `files:` in domain.yaml")
    if odd := [name for name in chosen if ".." in name.split("/") or any(ord(character) < 32 for character in name)]:
        raise DataError(asked, f"a file called {odd[0]!r}", "choose other files with `files:`")
    return chosen


def _faults() -> tuple[type[Exception], ...]:
    from httpx import HTTPError
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    return OSError, HTTPError, CachedRepoTreeNotFoundError  # the hub's own are of the first two


def _absent(asked: str, error: Exception) -> DataError:
    found = f"it is not in the local hub cache and cannot be fetched ({(str(error) or type(error).__name__).splitlines()[0]})"
    return DataError(asked, found, "put the snapshot into the cache (HF_HOME), or allow the hub with HF_HUB_OFFLINE=0")
