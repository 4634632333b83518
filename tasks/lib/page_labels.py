"""Of models that write no text, the report's part: masked losses, answers beside the most frequent label, and what is not measured."""

from collections.abc import Sequence
from typing import Any

from tasks.lib.paired import Paired

KINDS = ("domain", "general")  # of held-out text


def sections(entries: Sequence[Any]) -> dict[str, Any]:
    """What the template shows; nothing where every model writes text.

    Args:
        entries: the models of the report with their scores, as `page.Entry`.
    """
    return {
        "masked": [entry for entry in entries if entry.scores.masked_loss],
        "kinds": KINDS,
        "unmeasured": [entry for entry in entries if entry.scores.not_measured],
        "classes": [
            (entry, label, counts) for entry in entries for label, counts in (entry.measured.get("classes") or {}).items()
        ],
        "validated_word": _validated,
        "validated": [entry for entry in entries if entry.measured.get("valid_rows")],
    }  # fmt: skip


def masked_change(entries: Sequence[Any], kind: str) -> tuple[float, float] | None:
    """Masked loss of the first and of the last encoder, in nats a token."""
    losses = [entry.scores.masked_loss[kind] for entry in entries if kind in entry.scores.masked_loss]
    return (losses[0], losses[-1]) if len(losses) > 1 else None


def clauses(domain: str, entries: Sequence[Any]) -> list[str]:
    """The verdict on a model that writes no text, from the numbers alone."""
    found = []
    for kind, text in zip(KINDS, (f"held-out {domain} text", "general text"), strict=True):
        if change := masked_change(entries, kind):
            fell = "fell" if change[1] < change[0] else "rose"
            found.append(f"the masked loss on {text} {fell} from {change[0]:.3f} to {change[1]:.3f} nats a token")
    for score in entries[-1].scores.tasks:
        if score.value is None or score.majority is None:
            continue
        paired = score.baseline.paired
        interval = "" if score.low is None else f", 95 % interval {score.low:.3f} to {score.high:.3f}"
        found.append(
            f"{score.task.replace('_', ' ')}: {score.value:.3f} of {score.n} rows are right{interval}, "
            f"where naming the most frequent label of training alone scores {score.majority:.3f}: {_meaning(paired)}"
        )
    return found


def _validated(entry: Any) -> str:
    """Of validation rows: what the test against the most frequent label allows to say; nothing where it was not made."""
    found = entry.measured.get("valid_against_majority")
    if found is None:
        return ""
    paired = Paired.model_validate(found)
    word = paired.word if paired.word == "not told apart" else f"{paired.word} than that"
    return f"{word} ({paired.sentence()}, McNemar's exact test)"


def _meaning(paired: Any) -> str:
    """What the test allows to say."""
    said = {"better": "it is better", "worse": "it is worse", "not told apart": "the two are not told apart"}[paired.word]
    return f"{said} ({paired.sentence()}, McNemar's exact test)"
