"""Preference rows of any shape become pairs of a chosen and a rejected answer."""

from collections import defaultdict
from dataclasses import dataclass, field

from tasks.lib.records import Row


@dataclass
class Pairs:
    """The pairs, the ids of the rows that are in at least one, and of those whose answer is the same as its counterpart's."""

    pairs: list[Row] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    equal: set[str] = field(default_factory=set)


def pairs_of(rows: list[Row]) -> Pairs:
    """Pairs as they stand, from a choice between two, and from ratings.

    Of ratings, every strictly ordered two that answer the same prompt under the same system text are a pair.
    """
    made = Pairs()
    rated: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if "chosen" in row:
            _add(made, row, row["chosen"], row["rejected"], row)
        elif "winner" in row:
            loser = "b" if row["winner"] == "a" else "a"
            _add(made, row, row[row["winner"]], row[loser], row)
        else:
            rated[row["dataset"], row.get("system", ""), row["prompt"]].append(row)
    for answers in rated.values():
        answers.sort(key=lambda row: (-row["rating"], row["row"]))
        for position, better in enumerate(answers):
            for worse in answers[position + 1 :]:
                if better["rating"] > worse["rating"]:
                    _add(made, better, better["answer"], worse["answer"], worse)
    return made


def _add(made: Pairs, row: Row, chosen: str, rejected: str, other: Row) -> None:
    """Keep a pair, unless both sides say the same: nothing can be learned from it but to say it less."""
    if chosen.split() == rejected.split():  # case may be what is preferred
        made.equal.update((row["id"], other["id"]))
        return
    identifier = row["id"] if row is other else f"{row['id']}>{other['row']}"
    kept: Row = {key: row[key] for key in ("dataset", "role", "file", "row", "group", "system", "prompt") if key in row}
    made.pairs.append({**kept, "id": identifier, "chosen": chosen, "rejected": rejected})
    made.used.update((row["id"], other["id"]))
