"""Whether the data leave each training something to learn, before anything is trained; asked as soon as they are split."""

from pathlib import Path
from typing import Any

from tasks.lib import architecture, base_checks, base_source, examine, store
from tasks.lib.base_checks import Fault
from tasks.lib.errors import DataError
from tasks.lib.trial import require_usable_tokenizer

ROLES = {"tune": "tune", "align": "preference", "reward": "preference", "distill": "tune"}  # of the rows that a training answers on


def faults(job: Any, planner: Any, running: set[str]) -> list[Fault]:
    """Datasets of which nothing would be learned; none while data or base are not there.

    Words that `pretrain.new_tokens` adds make answers shorter: then nothing is said before they are added.

    Args:
        job: of a flow.
        planner: with the flow's plan.
        running: the trainings that are not cached.
    """
    made = {row.name: row.id for row in planner.rows if row.id}
    kind = architecture.of(store.root() / made["base"]) if "base" in made else base_source.architecture_of(job.cfg.base.source)
    if kind == "encoder":
        return []  # its student learns from documents, and its head from labels
    lengths = {stage: getattr(job.cfg, stage).length for stage in ROLES if stage in running}
    found = _tokenizer(job, made) if lengths and "split" in made else None
    if found is None:
        return []
    folder, known_by = found
    weights = job.weights("tune", "preference").of
    sizes = next(row.facts["sizes"] for row in planner.rows if row.name == "split")
    names = {part: sorted(of) for part, of in sizes.items()}
    question = {
        "tokenizer": str(folder),
        "split": str(store.root() / made["split"]),
        "lengths": lengths,
        "weights": weights,
        "names": names,
    }
    ours = folder.is_relative_to(store.root())  # `base` has tried it
    try:
        barren = examine.answer(
            "rows",
            question,
            seen_as=[made["split"], known_by, lengths, weights],
            before=lambda: None if ours else require_usable_tokenizer(folder),
            trusted=ours,
        )
    except DataError:
        return []  # of the tokenizer, which `base_checks` tells
    return [_fault(stage, name, rows, lengths[stage]) for stage, name, rows in barren]


def _tokenizer(job: Any, made: dict[str, str]) -> tuple[Path, Any] | None:
    """The folder of the tokenizer that answers are read with, and what it is known by."""
    stage = "base" if not job.cfg.pretrain.new_tokens else "merge" if "merge" in made else "pretrain"
    if stage in made:
        return store.root() / made[stage], made[stage]
    outside = None if job.cfg.pretrain.new_tokens else base_checks.folder_of(job)
    return None if outside is None else (outside, job.base.content)


def _fault(stage: str, name: str, rows: int, length: int) -> Fault:
    what = "pair" if ROLES[stage] == "preference" else "answer"
    told = f"no {what} of dataset {name!r} is left to learn from: none of its {rows:,} rows fits {stage}.length, {length} tokens"
    return Fault(stage, told, f"raise {stage}.length, shorten the rows, or take the dataset out")
