"""Questions that only heavy libraries can answer, asked in a process that may be ended, and remembered.

`python -m tasks.lib.examine SUBJECT` is that process: the question is JSON on stdin, the answer the last line of stdout.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tasks.lib import digests, places, replacing, trial
from tasks.lib.errors import StageError

SECONDS = 180.0  # for loading the libraries and answering; both together take a few
# whose answers they are: others of another version
LIBRARIES = ("great-expectations", "peft", "tokenizers", "torch", "transformers", "trl")
ASKED = "an answer on {} from the libraries that know it"
VERSION = 3  # of the answers: raise it where their code changes


def answer(
    subject: str, question: dict[str, Any], *, seen_as: Any = None, before: Callable[[], None] = lambda: None, trusted: bool = False
) -> Any:
    """The answer to a question, from memory where it was asked before.

    Args:
        subject: who answers, see `SUBJECTS`.
        question: JSON values.
        seen_as: what tells the question from others, where that is not the question itself (a folder is known by its contents).
        before: called when the question was not asked before; what it raises is not remembered.
        trusted: what is looked at was tried before, and a training reads it anyway: this process answers, if it has the libraries.

    Raises:
        StageError: if the process fails or takes too long.
    """
    versions = {name: version(name) for name in LIBRARIES}
    key = digests.of_value([VERSION, versions, subject, question if seen_as is None else seen_as])
    place = places.runs() / "examined" / f"{subject}-{key[:16]}.json"
    if (known := _read(place)) is not None:
        return known["answer"]
    before()
    found = (_answer_here if trusted and "torch" in sys.modules else _ask)(subject, question)
    place.parent.mkdir(parents=True, exist_ok=True)
    replacing.replace({place: json.dumps({"answer": found})})
    return found


def _read(place: Path) -> Any:
    try:
        return json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # not asked before, or torn: it is asked again


def _answer(subject: str, question: dict[str, Any]) -> Any:
    return json.loads(json.dumps(SUBJECTS[subject](question)))


def _answer_here(subject: str, question: dict[str, Any]) -> Any:
    try:
        return _answer(subject, question)
    except Exception as error:
        raise StageError(ASKED.format(subject), f"{type(error).__name__}: {error}"[:300], "report this fault") from error


def _ask(subject: str, question: dict[str, Any]) -> Any:
    asked = ASKED.format(subject)
    command = [sys.executable, "-m", "tasks.lib.examine", subject]
    try:
        done = subprocess.run(command, input=json.dumps(question), capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise StageError(asked, f"none after {SECONDS:.0f} s", "run the command again when the machine is less busy") from error
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise StageError(asked, said[-1][:300] if said else f"the process ended with {done.returncode}", "report this fault")
    return json.loads(done.stdout.splitlines()[-1])


def _trainer(question: dict[str, Any]) -> Any:
    from tasks.lib import trainer_keys

    return trainer_keys.faults(question)


def _expectations(question: dict[str, Any]) -> Any:
    from tasks.lib import expectations

    return expectations.faults(question)


def _base(question: dict[str, Any]) -> Any:
    from tasks.lib import base_facts

    return base_facts.facts(question)


def _rows(question: dict[str, Any]) -> Any:
    from tasks.lib import row_facts

    return row_facts.facts(question)


SUBJECTS: dict[str, Callable[[dict[str, Any]], Any]] = {"base": _base, "expectations": _expectations, "rows": _rows, "trainer": _trainer}


def main(subject: str) -> None:
    """Read the question, and print the answer."""
    trial.limit()
    print(json.dumps(_answer(subject, json.load(sys.stdin))))


if __name__ == "__main__":
    main(sys.argv[1])
