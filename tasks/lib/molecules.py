"""Whether what expects of molecules has seen any: a text without one holds, and says nothing."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.lib.expectations_result import Verdict
from tasks.lib.frames import Frames
from tasks.lib.judgments import HOLD

JUDGED = HOLD + "readable_smiles"
ASKED = ("tune", "preference", "eval")  # documents need not hold any
SAY = "say `columns: {NAME: smiles}` in domain.yaml for the column that holds them, or give a `pattern:` of how prompts present them"


def unseen(folder: Path, suites: Mapping[str, Sequence[Mapping[str, Mapping[str, Any]]]]) -> list[Verdict]:
    """A warning for each role whose SMILES are judged, and of whose rows none holds one.

    Args:
        folder: a records artifact's folder.
        suites: expectations by role, those whose columns are there.
    """
    made = []
    for role in ASKED:
        arguments = [given for entry in suites.get(role, ()) for name, given in entry.items() if name == JUDGED]
        frames = Frames(folder, role)
        if arguments and frames.rows and not any(_holds(frames, given) for given in arguments):
            made.append(_verdict(role, frames.rows))
    return made


def _holds(frames: Frames, arguments: Mapping[str, Any]) -> bool:
    """Whether any cell has a molecule; it is looked for until the first one."""
    column, pattern = str(arguments.get("column")), arguments.get("pattern")
    if column not in frames.columns:
        return False
    if pattern is None:
        return True  # every cell is judged whole
    sought = re.compile(pattern)
    return any(sought.search(text) for table in frames.batches([column]) for text in table[column].dropna())


def _verdict(role: str, rows: int) -> Verdict:
    return Verdict(
        role=role, expectation="molecules to judge", kwargs={}, severity="warning", passed=False,
        judged=rows, failing=0, failing_ids=[], observed=f"0 molecules found in {rows:,} rows; {SAY}",
    )  # fmt: skip
