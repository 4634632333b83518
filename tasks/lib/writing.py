"""How a file is written, in words: format, encoding, delimiter, and what it is packed with."""

from pathlib import Path

from tasks.lib import files
from tasks.lib.domain import Dataset
from tasks.lib.errors import DataError
from tasks.lib.files import Readable
from tasks.lib.readers import TEXTS, format_of


def of(dataset: Dataset, path: Path | None, name: str) -> str:
    """For instance "csv in cp1252, cells between ';', packed with gzip".

    Args:
        dataset: which may say what the file's name does not.
        path: where it lies; None for what comes with the installation.
        name: as ledgers call the file, or the member of an archive.
    """
    if path is None:
        return "built in"
    packed = None if name.lower().endswith(files.OFFICE) else files.packing(path)
    try:
        form = dataset.format or format_of(Readable(name, name, packed, lambda: path.open("rb"), path), dataset.name)
    except DataError:  # a name without a suffix that is known; its reader has refused it, or there is none
        form = "unknown"
    said = form
    if form in TEXTS:
        said += f" in {dataset.encoding or 'utf-8'}"
    if form in ("csv", "tsv"):
        delimiter = dataset.delimiter or {"csv": ",", "tsv": "\t"}[form]
        said += f", cells between {'tabs' if delimiter == chr(9) else repr(delimiter)}"
    if packed is not None:
        said += f", in a {packed} archive" if packed in ("zip", "tar") else f", packed with {packed}"
    return said
