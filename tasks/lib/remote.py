"""Objects of remote stores: fetched through fsspec's drivers, and not again while they are the same (importer of fsspec's drivers)."""

import json
from pathlib import Path
from typing import Any

from tasks.lib import digests, downloads, progress
from tasks.lib.errors import ConfigError, DataError

INDEX = "index.json"  # address -> fsspec's ukey of the object and the sha256 of what was fetched
Found = tuple[str, Path, str]  # what ledgers call an object, where it lies now, its sha256


def fetch(url: str, dataset: str) -> list[Found]:
    """The object at an address, those that a pattern matches, or all below a key that ends in `/`; in name order.

    Several are called by their place below the part of the address that has no pattern. Credentials and the
    endpoint come from the driver's own environment (for S3: AWS_ACCESS_KEY_ID, AWS_PROFILE, AWS_ENDPOINT_URL, …).

    Raises:
        ConfigError: if the store's driver is not installed.
        DataError: if nothing is there, it may not be read, or it breaks off.
    """
    from botocore.exceptions import BotoCoreError

    store, place = _opened(url, dataset)
    try:
        remembered = digests.Remembered()
        objects = _listed(store, place, url, dataset)
        found = [(name, *_fetched(store, path, size, dataset, remembered)) for name, path, size in objects]
    except (OSError, BotoCoreError) as error:
        said = f"it cannot be read ({(str(error) or type(error).__name__).splitlines()[0]})"
        remedy = "check the address, the network, and the credentials in the environment of the store's driver"
        raise DataError(f"dataset {dataset!r} from {url}", said, remedy) from error
    remembered.save()
    return found


def _opened(url: str, dataset: str) -> tuple[Any, str]:
    """The store behind an address, and the path in it."""
    from fsspec.core import url_to_fs

    try:
        # an instance of its own, so that no list of an earlier time is shown
        store, place = url_to_fs(url, skip_instance_cache=True)
    except (ImportError, ValueError) as error:  # fsspec's message names the package
        scheme = url.partition("://")[0]
        raise ConfigError(
            f"dataset {dataset!r}: a driver for {scheme}://", str(error), f"install fsspec's driver for {scheme}:// beside slmforge"
        ) from error
    return store, f"{place.rstrip('/')}/" if url.endswith("/") else place


def _listed(store: Any, place: str, url: str, dataset: str) -> list[tuple[str, str, int | None]]:
    """Name, path and bytes of every object meant; those under a name that begins with a dot are not."""
    if "*" not in place and not place.endswith("/"):
        info = store.info(place)
        if info["type"] == "file":
            return [(place.rsplit("/", 1)[-1], place, info["size"])]
        raise DataError(f"dataset {dataset!r}: an object at {url}", "a folder", "end the address in / for all below it")
    base = f"{place.partition('*')[0].rpartition('/')[0]}/"
    listed = store.glob(place, detail=True) if "*" in place else store.find(place.rstrip("/"), detail=True)
    names = {path.removeprefix(base): (path, info) for path, info in sorted(listed.items()) if info["type"] == "file"}
    if odd := [name for name in names if any(ord(character) < 32 for character in name)]:
        raise DataError(f"dataset {dataset!r}: objects with plain names at {url}", f"one called {odd[0]!r}", "rename it, or leave it out")
    found = [
        (name, path, info["size"])
        for name, (path, info) in names.items()
        if name and not name.endswith("/") and not any(part.startswith(".") for part in name.split("/"))
    ]
    if not found:
        raise DataError(f"dataset {dataset!r}: objects at {url}", "none", "correct `url:` in domain.yaml")
    return found


def _fetched(store: Any, path: str, size: int | None, dataset: str, remembered: digests.Remembered) -> tuple[Path, str]:
    """An object's bytes: those of the last time while the store's mark of it is the same, and they are."""
    from fsspec.callbacks import Callback

    address, mark, index = store.unstrip_protocol(path), store.ukey(path), _index()
    if address in index and index[address][0] == mark and (file := downloads.kept(index[address][1], remembered)) is not None:
        return file, index[address][1]
    if (size or 0) > downloads.CAP:
        raise DataError(f"dataset {dataset!r}: {address}", f"{size:,} bytes", f"use files of at most {downloads.CAP:,} bytes")
    with downloads.arriving() as temporary:
        with progress.Bar(f"fetch {address}", size, "B") as bar:
            moved = Callback(hooks={"bar": lambda size, value, **_: bar.advance(value - bar.done)})
            store.get_file(path, str(temporary), callback=moved)
        if size not in (None, got := temporary.stat().st_size):
            raise DataError(f"dataset {dataset!r}: {address} of {size:,} bytes", f"{got:,} bytes", "run the command again")
        digest = digests.of_file(temporary)
        file = downloads.keep(temporary, digest)
    index[address] = [mark, digest]
    with downloads.arriving() as temporary:
        temporary.write_text(json.dumps(index, indent=1, sort_keys=True))
        downloads.keep(temporary, INDEX)
    return file, digest


def _index() -> dict[str, list[str]]:
    try:
        found = json.loads((downloads.folder() / INDEX).read_text())
    except (FileNotFoundError, ValueError):
        return {}  # without it, objects are only fetched again
    return found if isinstance(found, dict) else {}
