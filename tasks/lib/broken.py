"""A row that cannot be read: refused, or set aside where the card says so and it is sure where the row ends."""

import re

from tasks.lib.domain import Dataset
from tasks.lib.errors import ConfigError, DataError
from tasks.lib.files import Readable
from tasks.lib.rows import Placed

REASON = "broken-row"
FORMATS = ("jsonl", "csv", "tsv")  # those of which it is known where a row ends that cannot be read
SAY = "say `broken: set-aside`"
EXCERPT = 500  # characters
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def row(error: DataError, dataset: Dataset, number: int, text: str) -> Placed:
    """The row as its reader hands it on to be set aside, with an excerpt of what stands there.

    Raises:
        DataError: the error itself, with the way out, where the card does not say `broken: set-aside`.
    """
    if dataset.broken == "refuse":
        remedy = f"{error.remedy}, or {SAY}, which sets such rows aside"
        raise DataError(error.asked, error.fault, remedy, file=error.file, row=error.row) from error
    shown = CONTROL.sub(lambda found: f"\\x{ord(found.group()):02x}", text[:EXCERPT].rstrip("\r\n"))
    return number, {"line": shown + ("…" if len(text) > EXCERPT else "")}, None, None, REASON, error.fault


def require_known_ends(form: str, file: Readable, dataset: Dataset) -> None:
    """Refuse `broken: set-aside` for a format whose rows have no sure end.

    Raises:
        ConfigError: naming the formats that have.
    """
    if dataset.broken == "set-aside" and form not in FORMATS:
        raise ConfigError(
            f"dataset {dataset.name!r}: `broken: set-aside` for {', '.join(FORMATS)}",
            f"{file.name}, a {form} file: where a broken row ends in it, nobody can say",
            "leave `broken:` out, or give such files a dataset of their own",
        )


def is_closed(line: str, delimiter: str) -> bool:
    """Whether a line surely ends a row: each of its quotes belongs to a cell that is quoted as a whole.

    Of any other quote nobody can say whether it opens a cell, closes one or is a character of it: not even at the line's end,
    as in `1,"he said "hi"`, which the next line may go on.
    """
    edge = re.escape(delimiter)
    return '"' not in re.sub(rf'(?:^|(?<={edge}))"(?:[^"]|"")*"(?={edge}|[\r\n]*$)', "", line)
