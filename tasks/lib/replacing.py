"""Files that a domain keeps: changed by one command at a time, and each replaced at once."""

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from tasks.lib import places


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the one right to change a domain's files; the kernel gives it back when the process dies.

    Not to be taken twice in one process, nor while a person is asked. The lock lies in the runs folder: commands that
    share a domain, but not their runs, do not wait for each other.
    """
    place = places.runs() / "locks" / f"{folder.name}.lock"
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def replace(contents: dict[Path, str]) -> None:
    """Write text files, each at once or not at all, in this order; none takes its place before all are written.

    A file that is there keeps its mode.
    """
    with ExitStack() as written:
        new = {}
        for file, content in contents.items():
            file.parent.mkdir(exist_ok=True)
            # a folder of its own: no other process has the name, and the file gets the mode that any new file gets
            workspace = written.enter_context(tempfile.TemporaryDirectory(prefix=f".{file.name}.", dir=file.parent))
            new[file] = Path(workspace) / file.name
            new[file].write_text(content, encoding="utf-8")
            if file.exists():
                shutil.copymode(file, new[file])
        for file, place in new.items():
            place.replace(file)


@contextmanager
def writing(file: Path) -> Iterator[TextIO]:
    """A text file that takes its place when all of it is written; line ends are written as they are given."""
    with tempfile.TemporaryDirectory(prefix=f".{file.name}.", dir=file.parent) as workspace:
        new = Path(workspace) / file.name
        with new.open("w", encoding="utf-8", newline="") as stream:
            yield stream
        new.replace(file)
