"""Put texts right and set aside the rows that have nothing to say."""

from pathlib import Path

from pydantic import Field

from tasks.lib import cleaning, tracking
from tasks.lib.config import StageConfig
from tasks.lib.records import ROLES, Records, RecordWriter, advance
from tasks.lib.stage import stage


class CleanConfig(StageConfig):
    """What counts as too little."""

    min_chars: int = Field(default=cleaning.MIN_CHARS, ge=1, description="a corpus document shorter than this is set aside (too-short)")


@stage(version="4")
def clean(out: Path, cfg: CleanConfig, records: Records) -> Records:
    """Normalise every text (NFC, marks, controls, white space); set aside empty and too short ones."""
    changed = 0
    with RecordWriter(out) as writer:
        for role in ROLES:
            for row in records.each(role, "clean"):
                new, fault = cleaning.put_right(row, cfg.min_chars)
                changed += new != row
                if fault is None:
                    writer.keep(new)
                else:
                    writer.set_aside(row, fault)
    tracking.measure(rows_changed=changed)
    return Records(ledger=advance(records.ledger, writer))
