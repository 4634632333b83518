"""From a declared source to local files whose digests are known: folder, mirror, then the web, a store, the hub or a database."""

import os
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics

from pydantic import Field

from tasks.lib import digests, downloads, hub, queries, remote
from tasks.lib.config import RUNTIME, Declared
from tasks.lib.domain import Dataset, Domain, Edition
from tasks.lib.errors import DataError, SlmforgeError, all_of
from tasks.lib.origins import BuiltinSource, HubSource, ObjectSource, PathSource, PublishedSource, QuerySource, SubsetSource
from tasks.lib.records import SURROGATE


class SourceFile(Declared):
    """One file: what ledgers call it, and its digest; where it lies is not part of what it is."""

    name: str
    sha256: str
    bytes: int
    path: Path | None = Field(default=None, json_schema_extra=RUNTIME)


class ResolvedDataset(Declared):
    """A dataset, its files and one digest over them (a single file's own); of a query, the server that was asked.

    One without files stands in a plan for a dataset that cannot be read.
    """

    dataset: Dataset
    sha256: str
    bytes: int
    files: list[SourceFile]
    server: str | None = Field(default=None, json_schema_extra=RUNTIME)

    @classmethod
    def of(cls, dataset: Dataset, files: list[SourceFile], server: str | None = None) -> "ResolvedDataset":
        """The dataset with these files, in the order in which they are read."""
        one = files[0].sha256 if len(files) == 1 else digests.of_value([[file.name, file.sha256] for file in files])
        return cls(dataset=dataset, sha256=one, bytes=sum(file.bytes for file in files), files=files, server=server)


class Sources(Declared):
    """Everything that goes in: one edition's datasets, resolved."""

    edition: Edition
    datasets: list[ResolvedDataset]

    @property
    def lacking(self) -> list[str]:
        """The names of datasets that cannot be read."""
        return [resolved.dataset.name for resolved in self.datasets if not resolved.files]


def builtin_documents() -> list[tuple[str, str]]:
    """Python's documentation topics as (name, text), in name order."""
    return sorted((name, text) for name, text in topics.items())


def builtin_digest() -> str:
    """sha256 over the builtin documents."""
    return digests.of_value([list(pair) for pair in builtin_documents()])


class Mirror:
    """A folder of files found by their sha256, whatever they are called."""

    def __init__(self, folder: Path | None, remembered: digests.Remembered) -> None:
        self._folder, self._remembered = folder, remembered
        self._index: dict[str, Path] | None = None

    def find(self, sha256: str) -> Path | None:
        """The mirror's file with that digest, if it has one."""
        if self._folder is None:
            return None
        if self._index is None:
            self._index = {self._remembered.of(path): path for path in self._files(self._folder)}
        return self._index.get(sha256)

    @staticmethod
    def _files(folder: Path) -> Iterator[Path]:
        if not folder.is_dir():
            raise DataError(f"mirror {folder}", "no such folder", "give the folder that holds the files")
        for place, _, names in sorted(os.walk(folder)):
            files = (Path(place) / name for name in sorted(names))
            yield from (file for file in files if file.is_file())  # a dangling link or a pipe holds no bytes


def resolve(domain: Domain, edition: Edition, mirror: Path | None) -> Sources:
    """Find every dataset's bytes.

    Raises:
        DataError: naming every dataset whose licence is not allowed, or of which a file is missing, leaves the domain folder,
            has another digest, or cannot be fetched.
        ConfigError: if a store's driver is not installed, or a database's variable is not set.
    """
    found, faults = look(domain, edition, mirror)
    if faults:
        raise refusal(domain, found, faults)
    return found


def refusal(domain: Domain, found: Sources, faults: list[SlmforgeError]) -> SlmforgeError:
    """What is wrong with datasets, as one error."""
    return all_of(faults, f"datasets of {domain.name!r} ({found.edition} edition) that can be read: {', '.join(found.lacking)}")


def look(domain: Domain, edition: Edition, mirror: Path | None) -> tuple[Sources, list[SlmforgeError]]:
    """Every dataset, as far as its bytes can be found, and why others cannot, in the order of the card."""
    remembered = digests.Remembered()
    shelf = Mirror(mirror, remembered)
    found: list[ResolvedDataset] = []
    faults: dict[str, SlmforgeError] = {}
    for dataset in domain.of_edition(edition):
        try:
            domain.require_licence(dataset)  # before anything is fetched
            found.append(_resolve(dataset, domain, shelf, remembered))
        except SlmforgeError as error:
            faults.setdefault(str(error), error)  # a mirror that is not there is told once
            found.append(ResolvedDataset(dataset=dataset, sha256="", bytes=0, files=[]))
    remembered.save()
    return Sources(edition=edition, datasets=found), list(faults.values())


def _resolve(dataset: Dataset, domain: Domain, mirror: Mirror, remembered: digests.Remembered) -> ResolvedDataset:
    card = domain.folder / "domain.yaml"
    match dataset.source:
        case BuiltinSource():
            size = sum(len(text.encode()) for _, text in builtin_documents())
            return ResolvedDataset.of(dataset, [SourceFile(name=dataset.file_name, sha256=builtin_digest(), bytes=size)])
        case PathSource() as source:
            inside = matched(domain.folder, source.path, dataset.name)
            found = [_file(file.relative_to(domain.folder.resolve()).as_posix(), file, remembered.of(file)) for file in inside]
            return _as_pinned(ResolvedDataset.of(dataset, found), source.sha256, domain.folder / source.path)
        case HubSource() as source:
            fetched = hub.dataset(source.hub, source.revision, source.files, dataset.name)
            return ResolvedDataset.of(dataset, [_file(name, path, remembered.of(path)) for name, path in fetched])
        case ObjectSource(many=True) as source:
            found = [_file(*object_) for object_ in remote.fetch(source.url, dataset.name)]
            return _as_pinned(ResolvedDataset.of(dataset, found), source.sha256, source.url)
        case source:
            if source.sha256 is not None and (file := mirror.find(source.sha256) or downloads.kept(source.sha256)) is not None:
                return ResolvedDataset.of(dataset, [_file(dataset.file_name, file, source.sha256)])
    match source:
        case ObjectSource():
            found = [_file(*object_) for object_ in remote.fetch(source.url, dataset.name)]
            return _as_pinned(ResolvedDataset.of(dataset, found), source.sha256, source.url)
        case QuerySource():
            return _as_pinned(_asked(dataset, source, domain.folder), source.sha256, card)
        case PublishedSource():
            return ResolvedDataset.of(dataset, [_file(dataset.file_name, _download(source, dataset.name), source.sha256)])
        case SubsetSource():
            raise DataError(
                f"dataset {dataset.name!r}: the file {dataset.file_name} with sha256 {source.sha256}",
                "it is a subset that only a mirror holds, and no mirror given has it",
                "give the folder that holds it: --mirror DIR or SLMFORGE_MIRROR",
                file=card,
            )


def _file(name: str, path: Path, sha256: str) -> SourceFile:
    return SourceFile(name=name, sha256=sha256, bytes=path.stat().st_size, path=path)


def _as_pinned(resolved: ResolvedDataset, sha256: str | None, place: Path | str) -> ResolvedDataset:
    """The dataset, if it is the one that the card pins."""
    if sha256 in (None, resolved.sha256):
        return resolved
    raise DataError(
        f"dataset {resolved.dataset.name!r}: sha256 {sha256}",
        f"sha256 {resolved.sha256}",
        "restore what was pinned, or pin the new digest in domain.yaml",
        file=place,
    )


def _asked(dataset: Dataset, source: QuerySource, folder: Path) -> ResolvedDataset:
    """The rows that a query gives now."""
    place = str(source.database) if source.sqlite is None else matched(folder, source.sqlite, dataset.name)[0]
    path, sha256, server = queries.snapshot(source.sql, place, dataset.name)
    return ResolvedDataset.of(dataset, [_file(dataset.file_name, path, sha256)], server)


def matched(folder: Path, pattern: str, name: str) -> list[Path]:
    """The files that a path means: one, those of a folder, or those that a pattern with `*` matches; in name order."""
    card, home, pattern = folder / "domain.yaml", folder.resolve(), pattern.replace("\0", "?")
    if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise _leaves(card, name, pattern)
    place = folder / pattern
    if place.is_dir():
        found = [file for file in place.rglob("*") if file.is_file()]
    else:
        found = sorted(folder.glob(pattern)) if "*" in pattern else [place]
    files = sorted({file.resolve() for file in found if not any(part.startswith(".") for part in file.relative_to(folder).parts)})
    if not all(file.is_relative_to(home) for file in files):
        raise _leaves(card, name, pattern)
    if odd := next((str(file) for file in files if SURROGATE.search(str(file))), None):
        raise DataError(f"dataset {name!r}: files with names in UTF-8", repr(odd), "rename the file, or its folder", file=card)
    if not files or not all(file.is_file() for file in files):
        raise DataError(f"dataset {name!r}: {pattern}", "no such file", "add the file, or correct its path in domain.yaml", file=card)
    return files


def _leaves(card: Path, name: str, path: str) -> DataError:
    return DataError(
        f"dataset {name!r}: a file inside the domain folder",
        f"{path!r} leaves it",
        "copy the file into the domain's data/ and name it from there",
        file=card,
    )


def _download(source: PublishedSource, name: str) -> Path:
    """Fetch a pinned file; it takes its place only when its digest is the declared one."""
    from tasks.lib import fetching  # urllib3 is for those who download

    with downloads.arriving() as temporary:
        fetching.fetch(source.url, temporary, name, downloads.CAP)
        digest = digests.of_file(temporary)
        if digest != source.sha256:
            raise DataError(
                f"dataset {name!r}: sha256 {source.sha256}",
                f"{source.url} has sha256 {digest}",
                "the published file has changed: look at it, then pin the new digest in domain.yaml",
            )
        return downloads.keep(temporary, digest)
