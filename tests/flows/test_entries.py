"""Two that write into one card: neither loses what the other wrote."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from flows import entries
from tasks.lib import replacing
from tasks.lib.errors import ConfigError
from tests.conftest import ROOT


def entry(name: str) -> dict[str, Any]:
    source = {"path": "data/documents.jsonl"}
    return {"name": name, "role": "corpus", "source": source, "licence": "CC0-1.0", "kind": "user", "map": {"text": "{text}"}}


def names(card: Path) -> list[str]:
    return [known["name"] for known in YAML(typ="safe", pure=True).load(card.read_text())["datasets"]]


def test_what_another_has_written_since_the_card_was_read_stays(toy: Path) -> None:
    card = toy / "domain.yaml"
    mine, other = entries.with_entries(card, [entry("mine")]), entries.with_entries(card, [entry("other")])
    entries.replace(card, other)
    entries.replace(card, mine)
    assert names(card)[-2:] == ["other", "mine"]
    before = card.read_text()
    with pytest.raises(ConfigError, match="given twice: mine"):
        entries.replace(card, mine)
    assert card.read_text() == before


def test_a_command_waits_until_another_has_written_the_card(toy: Path, workplace: Path) -> None:
    card = toy / "domain.yaml"
    (workplace / "more.csv").write_text("question,answer\n" + "".join(f"Who pays item {i}?,the tenant pays {i}\n" for i in range(30)))
    words = ["add", "toy", "more.csv", "--licence", "CC0-1.0", "--kind", "user", "--yes"]
    with replacing.alone(toy):
        adding = subprocess.Popen([sys.executable, "-m", "flows.cli", *words], env={**os.environ, "PYTHONPATH": str(ROOT)})
        for _ in range(300):
            if (toy / "data/more.csv").exists() or adding.poll() is not None:
                break
            time.sleep(0.1)
        with pytest.raises(subprocess.TimeoutExpired):
            adding.wait(timeout=2)
        replacing.replace({card: entries.with_entries(card, [entry("other")]).text})
    assert adding.wait(timeout=60) == 0
    assert names(card)[-2:] == ["other", "more"]


def test_a_file_beside_the_card_is_no_hindrance(toy: Path) -> None:
    (toy / ".domain.yaml.new").mkdir()  # what another process is writing, or has left
    entries.replace(toy / "domain.yaml", entries.with_entries(toy / "domain.yaml", [entry("mine")]))
    assert names(toy / "domain.yaml")[-1] == "mine"
