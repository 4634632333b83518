"""What a base model is made from, known by content before the `base` stage runs."""

from pathlib import Path
from typing import Any

from pydantic import Field

from tasks.lib import architecture, digests, hub
from tasks.lib.architecture import Architecture
from tasks.lib.cleaning import clean
from tasks.lib.config import RUNTIME, Declared
from tasks.lib.errors import ConfigError, DataError
from tasks.lib.general import is_heldout
from tasks.lib.sources import builtin_digest, builtin_documents


class BaseSource(Declared):
    """File name -> sha256 of a base model, or the digest of the text that one is made from."""

    content: dict[str, str]
    folder: Path | None = Field(default=None, json_schema_extra=RUNTIME)
    hub: tuple[str, str] | None = Field(default=None, json_schema_extra=RUNTIME)
    quantised: bool = Field(default=False, json_schema_extra=RUNTIME)

    def files(self) -> list[Path]:
        """The files to take in, after quarantine; from a hub they are fetched at the pinned revision.

        Raises:
            DataError: if the model could run code, or is not what was planned.
        """
        from tasks.lib.quarantine import admit

        folder = self.folder
        if self.hub is not None:
            folder = hub.model(*self.hub)
        if folder is None:
            raise DataError("a base model's files", "a base made from scratch has none", "use kind: folder or hub")
        return admit(folder, quantised=self.quantised)


def documents() -> list[str]:
    """General documents that a scratch base may learn from, clean, in name order."""
    return [clean(text) for _, text in builtin_documents() if not is_heldout(text)]


def resolve(source: Any) -> BaseSource:
    """Know a base by content without loading it.

    Raises:
        ConfigError: if a folder is missing.
        DataError: if the folder holds pickled weights or code.
    """
    if source.kind == "scratch":
        return BaseSource(content={"pydoc-topics": builtin_digest()})
    if source.kind == "hub":
        if set(source.revision) == {"0"}:
            remedy = "choose a commit of its repository, and put its 40 hex digits there: what is pinned stays the same"
            raise ConfigError(f"base.source.revision of {source.model}", "forty zeros, which pin nothing", remedy)
        return BaseSource(content={source.model: source.revision}, hub=(source.model, source.revision))
    from tasks.lib.quarantine import admit

    if not source.path.is_dir():
        raise ConfigError(f"base model folder {source.path}", "no such folder", "correct base.source.path")
    remembered = digests.Remembered()
    content = {path.name: remembered.of(path) for path in admit(source.path, quantised=source.quantised)}
    remembered.save()
    return BaseSource(content=content, folder=source.path.absolute(), quantised=source.quantised)


def architecture_of(source: Any) -> Architecture | None:
    """The kind of model that a base will be, where that can be told before it is there."""
    if source.kind == "scratch":
        made: Architecture = source.architecture
        return made
    folder = source.path if source.kind == "folder" else hub.cached_model(source.model, source.revision)
    return None if folder is None else architecture.of(folder)
