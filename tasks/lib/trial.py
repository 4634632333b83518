"""A tokenizer and its chat template from outside, tried out in a process that may be ended: a template is a program.

`python -m tasks.lib.trial FOLDER` is that process.
"""

import json
import resource
import subprocess
import sys
from pathlib import Path

from tasks.lib.errors import DataError

SECONDS = 60.0  # for loading the tokenizer and rendering four words; both take a moment
MEMORY = 6_000_000_000  # bytes
LONGEST = 50_000  # characters of a template's frame around four words
MAX_FILES = {"tokenizer.json": 200_000_000, "tokenizer_config.json": 20_000_000, "chat_template.jinja": 1_000_000}
MESSAGES = [{"role": "user", "content": "one two"}, {"role": "assistant", "content": "three four"}]


def require_usable_tokenizer(folder: Path) -> None:
    """Load the tokenizer of a folder and render its chat template, within limits of time, memory and length.

    A tokenizer without a chat template is usable.

    Raises:
        DataError: if a file is larger than any that is known, or if the trial fails, hangs or writes without end.
    """
    for name, limit in MAX_FILES.items():
        file = folder / name
        if file.is_file() and file.stat().st_size > limit:
            raise _refused(folder, f"{file.stat().st_size:,} bytes of {name}, where at most {limit:,} are allowed")
    try:
        command = [sys.executable, "-m", "tasks.lib.trial", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise _refused(folder, f"it has not rendered four words after {SECONDS:.0f} s") from error
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise _refused(folder, said[-1][:300] if said else f"the process ended with {done.returncode}")
    characters = json.loads(done.stdout.splitlines()[-1])["characters"]
    if characters > LONGEST:
        raise _refused(folder, f"{characters:,} characters around four words")


def _refused(folder: Path, found: str) -> DataError:
    remedy = "use a base model whose tokenizer and chat template are what they should be"
    return DataError("a tokenizer that loads, with a chat template that renders", found, remedy, file=folder)


def limit() -> None:
    """Bound the memory of this process, unless a lower bound was handed down."""
    most = resource.getrlimit(resource.RLIMIT_DATA)[1]
    bound = MEMORY if most == resource.RLIM_INFINITY else min(MEMORY, most)
    resource.setrlimit(resource.RLIMIT_DATA, (bound, bound))


def main(folder: Path) -> None:
    """Render, and print how much came out."""
    limit()
    from tasks.lib import models

    tokenizer = models.load_tokenizer(folder)
    text = tokenizer.apply_chat_template(MESSAGES, tokenize=False) if tokenizer.chat_template else ""
    print(json.dumps({"characters": len(text)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
