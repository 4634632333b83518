"""Whether all that a training was given was trained on, or is counted under what became of it instead."""

from collections.abc import Mapping

from tasks.lib.errors import StageError

Counts = Mapping[str, int]
CUT = ("tokens_truncated", "tokens_left_out", "replay_cut")


def of_blocks(stage: str, drawn: int, tally: Counts, learned: Counts) -> None:
    """Rows and tokens of a training on blocks.

    Args:
        stage: what trained.
        drawn: rows that were handed to the encoder.
        tally: the encoder's counts.
        learned: what the training saw, in the words of `training.fit`.

    Raises:
        StageError: if a row or a token has vanished or appeared.
    """
    reached = {key: learned[key] for key in ("rows_seen", "rows_not_reached")}
    _require(stage, "rows given", drawn, {**reached, "rows_too_long": tally["rows_too_long"]})
    _require(stage, "tokens given", tally["tokens_given"], {key: tally[key] for key in ("tokens", *CUT)})
    _require(stage, "tokens in blocks", tally["tokens"], {key: learned[key] for key in ("tokens_seen", "tokens_not_reached")})


def of_examples(stage: str, unit: str, drawn: int, tally: Counts, learned: Counts) -> dict[str, int]:
    """Pairs or prompts of a training, and their tokens: such an example is taken whole, or left out. Returns what was left out.

    Args:
        stage: what trained.
        unit: what an example is called in `learned`.
        drawn: rows that were handed to the encoder.
        tally: the encoder's counts.
        learned: what the training saw.

    Raises:
        StageError: if an example or a token has vanished or appeared.
    """
    reached = {key: learned[key] for key in (f"{unit}_seen", f"{unit}_not_reached")}
    _require(stage, f"{unit} given", drawn, {**reached, f"{unit}_too_long": tally["rows_too_long"]})
    _require(stage, "tokens given", tally["tokens_given"], {key: tally[key] for key in ("tokens", *CUT)})
    told = ("tokens_given", "tokens_left_out", "control_tokens_neutralised")
    return {f"{unit}_too_long": tally["rows_too_long"], **{key: tally[key] for key in told}}


def _require(stage: str, what: str, given: int, parts: Counts) -> None:
    if given != sum(parts.values()):
        raise StageError(
            f"{what} to {stage} = {' + '.join(parts)}",
            f"{given:,} {what}, and {' + '.join(f'{count:,}' for count in parts.values())} = {sum(parts.values()):,}",
            "this is a fault in slmforge: report it with this message",
        )
