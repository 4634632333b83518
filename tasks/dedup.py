"""Keep one of each: exact repeats, near-duplicate documents and rows that contradict each other."""

from collections import defaultdict
from pathlib import Path

from pydantic import Field

from tasks.lib import digests
from tasks.lib.asked import compared
from tasks.lib.chats import told
from tasks.lib.cleaning import folded
from tasks.lib.config import StageConfig
from tasks.lib.near import NearDuplicates
from tasks.lib.records import CONTENT, ROLES, Records, RecordWriter, Row, advance
from tasks.lib.stage import stage


class DedupConfig(StageConfig):
    """What counts as the same."""

    near: bool = Field(default=True, description="also set aside near-duplicate corpus documents")
    threshold: float = Field(default=0.8, gt=0, le=1, description="estimated Jaccard similarity of shingles")
    shingle: int = Field(default=5, ge=1, description="words per shingle")


@stage(version="6")
def dedup(out: Path, cfg: DedupConfig, records: Records) -> Records:
    """Keep the first of each set of repeats; set aside every row of a contradiction."""
    with RecordWriter(out) as writer:
        for role in ROLES:
            contradicted = _contradictions(records, role)
            seen: dict[str, str] = {}
            near = NearDuplicates(cfg.threshold, cfg.shingle) if cfg.near and role == "corpus" else None
            for row in records.each(role, "dedup"):
                key = _key(row)
                if (reason := contradicted.get(row["id"])) is not None:
                    writer.set_aside(row, reason)
                elif key in seen:
                    writer.set_aside(row, "exact-repeat", f"repeats {seen[key]}")
                elif near is not None and (other := near.first_like(row["id"], row["text"])) is not None:
                    writer.set_aside(row, "near-repeat", f"like {other}")
                else:
                    seen[key] = row["id"]
                    writer.keep(row)
    return Records(ledger=advance(records.ledger, writer))


def _key(row: Row) -> str:
    """What makes two rows of one role the same: their content, spacing, the case of plain words and the spelling of molecules aside.

    Rows of an evaluation set repeat only within their own dataset.
    """
    row = compared(row)
    words = [f"{key}={folded(row[key])}" for key in (*CONTENT, "winner") if key in row]
    words += [f"{turn['role']}={folded(turn['content'])}" for turn in row.get("history", [])]
    scope = row["dataset"] if row["role"] == "eval" else ""
    return digests.of_text("\x1f".join([scope, str(row.get("rating", "")), *words]))


def _value(text: str) -> str:
    """A number whatever its spelling, or a word."""
    try:
        return str(float(text))
    except ValueError:
        return folded(text)


def _contradictions(records: Records, role: str) -> dict[str, str]:
    """Row ids of one role that contradict another row: same question, another label, value, rating or winner.

    Without choices, a molecule's answer of one word is a value: there is one of it. Longer texts may differ.
    """
    answers: dict[tuple[str, ...], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in map(compared, records.each(role, "compare")):
        asked = (row["dataset"], row.get("system", ""), told(row.get("history", [])), row.get("prompt", ""))
        if "rating" in row:
            answers["rating", *asked, row["answer"]][str(row["rating"])].append(row["id"])
        elif "winner" in row:
            first, second = sorted((row["a"], row["b"]))
            better = row[row["winner"]]
            answers["choice", *asked, first, second][better].append(row["id"])
        elif row.get("choices"):
            answers["label", *asked][row["response"]].append(row["id"])
        elif row.get("canonical") and len(row.get("response", "").split()) == 1:
            answers["value", *asked][_value(row["response"])].append(row["id"])  # a number or a word about one molecule
    found = {}
    for (kind, *_), by_answer in answers.items():
        if len(by_answer) > 1:
            found.update({identifier: f"contradictory-{kind}" for ids in by_answer.values() for identifier in ids})
    return found
