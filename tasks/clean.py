"""Put texts right and set aside the rows that have nothing to say."""

from pathlib import Path

from pydantic import Field

from tasks.lib import progress, tracking
from tasks.lib.cleaning import clean as cleaned
from tasks.lib.cleaning import is_only_marks
from tasks.lib.config import StageConfig
from tasks.lib.records import CONTENT, ROLES, Records, RecordWriter, Row, advance, iterate
from tasks.lib.stage import stage

NAMES = {"response": "answer", "text": "text", "prompt": "prompt"}


class CleanConfig(StageConfig):
    """What counts as too little."""

    min_chars: int = Field(default=20, ge=1, description="a corpus document shorter than this is set aside (too-short)")


@stage(version="2")
def clean(out: Path, cfg: CleanConfig, records: Records) -> Records:
    """Normalise every text (NFC, marks, controls, white space); set aside empty and too short ones."""
    changed = 0
    with RecordWriter(out) as writer:
        for role in ROLES:
            for row in progress.rows(iterate(records.path, role), f"clean {role}"):
                fault = _fault(row)
                new = {key: cleaned(value) if key in CONTENT else value for key, value in row.items()}
                changed += new != row
                if fault is None and role == "corpus" and len(new["text"]) < cfg.min_chars:
                    fault = "too-short"
                if fault is None:
                    writer.keep(new)
                else:
                    writer.set_aside(row, fault)
    tracking.measure(rows_changed=changed)
    return Records(ledger=advance(records.ledger, writer))


def _fault(row: Row) -> str | None:
    """Why a row has nothing to say: a field that is empty, or that is a byte-order mark alone."""
    for key in CONTENT:
        if key in row and key != "system" and not cleaned(row[key]):
            return "bom-only" if is_only_marks(row[key]) else f"empty-{NAMES.get(key, key)}"
    return None
