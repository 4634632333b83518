"""The published files beside the checkout, and each domain's full edition made of them, once for all test processes."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

from flows.prepare import prepare
from tasks.check import Checked
from tasks.lib import store
from tasks.lib.execute import Direct, Session
from tasks.lib.flow import Order
from tasks.lib.records import iterate
from tasks.split import Split

ROOT = Path(__file__).resolve().parents[1]
MIRROR = ROOT.parent / "shared" / "data"
DOMAINS = ("healthcare", "finance", "chemistry")

beside = [pytest.mark.published, pytest.mark.skipif(not MIRROR.is_dir(), reason="needs ../shared/data beside the checkout")]


class Prepared:
    """One domain's full edition, through the data stages."""

    def __init__(self, domain: str) -> None:
        session = Session(domain=domain, flow="prepare")
        self.split: Split = prepare.under(Direct(session), prepare.job(Order(domain, edition="full", mirror=str(MIRROR))))
        self.stages = [event.record for event in session.events if event.record is not None and "ledger" in event.record.facts]
        self.verdicts = [v for event in session.events if isinstance(event.artifact, Checked) for v in event.artifact.verdicts]
        self.lines = {line.dataset: line for line in self.split.ledger}

    def aside(self, dataset: str) -> dict[str, str]:
        """Row id -> reason, over all stages."""
        found = [row for record in self.stages for row in iterate(store.root() / record.id, "set_aside") if row["dataset"] == dataset]
        assert len({row["id"] for row in found}) == len(found), "a row is set aside twice"
        return {row["id"]: row["reason"] for row in found}


def text(path: str) -> str:
    return (MIRROR / path).read_bytes().decode("utf-8")


def jsonl(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text(path).split("\n") if line]


def table(path: str, delimiter: str = ",") -> list[dict[str, str]]:
    with (MIRROR / path).open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def holding(pattern: str, texts: list[str]) -> int:
    """How many texts hold what a pattern finds."""
    return sum(re.search(pattern, found) is not None for found in texts)


def again(values: list[Any]) -> int:
    """How many values stood earlier."""
    return len(values) - len(set(values))
