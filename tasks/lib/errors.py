"""The errors that slmforge raises on purpose: what was asked, what was found, what to do."""

from pathlib import Path
from typing import Any


class SlmforgeError(Exception):
    """An error that a person can act on.

    `exit_code` is what the command line ends with (see `slmforge --help`).
    """

    exit_code = 1

    def __init__(self, asked: str, found: str, remedy: str) -> None:
        self.asked, self.found, self.remedy = asked, found, remedy
        super().__init__(f"{asked}\n  found: {found}\n  to do: {remedy}")

    @property
    def sentence(self) -> str:
        """All three on one line."""
        return " ".join(f"{self.asked}; found: {self.found}; to do: {self.remedy}".split())

    def __reduce__(self) -> tuple[Any, ...]:
        """For a worker process, which hands its errors on."""
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(kind: type[SlmforgeError], args: tuple[Any, ...], fields: dict[str, Any]) -> SlmforgeError:
    made = kind.__new__(kind)
    made.args = args
    made.__dict__.update(fields)
    return made


class ConfigError(SlmforgeError):
    """A configuration, a domain card or a command line that cannot be meant."""

    exit_code = 2


class DataError(SlmforgeError):
    """Data that must not be trained on; names the file and, where there is one, the row."""

    exit_code = 3

    def __init__(
        self,
        asked: str,
        found: str,
        remedy: str,
        *,
        file: Path | str | None = None,
        row: int | None = None,
    ) -> None:
        self.file, self.row, self._said = (None if file is None else str(file)), row, found
        where = "" if file is None else f"{file}: " if row is None else f"{file}, row {row}: "
        super().__init__(asked, f"{where}{found}", remedy)

    @property
    def fault(self) -> str:
        """What was found, without the place."""
        return self._said

    def at(self, row: int) -> "DataError":
        """The same error, at a row that only the reader of the rows knows."""
        return DataError(self.asked, self._said, self.remedy, file=self.file, row=row)


def all_of(faults: list[SlmforgeError], asked: str) -> SlmforgeError:
    """Several errors as one, of the data if one of them is: all are found in one try. A single one stays as it is."""
    if len(faults) == 1:
        return faults[0]
    kind = DataError if any(isinstance(fault, DataError) for fault in faults) else type(faults[0])
    found = ";\n         ".join(f"{fault.asked}: {fault.found}" for fault in faults)
    return kind(asked, found, "; ".join(dict.fromkeys(fault.remedy for fault in faults)))


class StageError(SlmforgeError):
    """A stage that could not do its job, for a reason other than its data."""

    exit_code = 4


class TrackingError(SlmforgeError):
    """The tracking server or the registry could not be reached or refused."""

    exit_code = 4
