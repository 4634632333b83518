"""Provenance from real git checkouts, and a tracked run only where a stage was made."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from flows.prepare import prepare
from tasks.lib import journal, places, provenance, session, tracking
from tasks.lib.execute import Direct
from tasks.lib.flow import Order
from tests.conftest import git


@pytest.fixture
def checkout(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with code, a domain and one commit; slmforge takes it for its own."""
    folder = workplace / "checkout"
    for name in ("tasks", "domains/toy/data", "notes"):
        (folder / name).mkdir(parents=True)
    (folder / "tasks" / "stage.py").write_text("x = 1\n")
    (folder / "domains/toy/domain.yaml").write_text("purpose: a toy\n")
    (folder / "domains/toy/data/rows.csv").write_text("q,a\nwho?,nobody\n")
    (folder / ".gitignore").write_text("runs/\n__pycache__/\n")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "one")
    monkeypatch.setattr(places, "CHECKOUT", folder)
    monkeypatch.chdir(folder)
    return folder


def differs() -> tuple[str | None, str]:
    """The digest of what differs, and the text that is kept under it."""
    digest = provenance.provenance()["commit_dirty_sha256"]
    if digest is None:
        return None, ""
    content = (places.runs() / "diffs" / f"{digest}.diff").read_bytes()
    assert hashlib.sha256(content).hexdigest() == digest
    return digest, content.decode()


def test_a_clean_checkout_is_its_commit(checkout: Path) -> None:
    (checkout / "runs").mkdir()
    (checkout / "runs" / "ignored").write_text("x")
    (checkout / "notes" / "private.txt").write_text("no part of a run")
    assert provenance.provenance() == {"commit": git(checkout, "rev-parse", "HEAD"), "commit_dirty_sha256": None}


def test_bytes_that_are_not_utf8_are_a_difference_like_any_other(checkout: Path) -> None:
    (checkout / "tasks" / "stage.py").write_bytes("# café\n".encode("latin-1"))
    _, text = differs()
    assert "+# caf\\xe9" in text


def test_a_file_that_git_does_not_know_is_a_difference_by_its_content(checkout: Path) -> None:
    (checkout / "tasks" / "new.py").write_text("y = 1\n")
    first, text = differs()
    assert f"untracked tasks/new.py {hashlib.sha256(b'y = 1' + bytes([10])).hexdigest()}\n" == text
    (checkout / "tasks" / "new.py").write_text("y = 22\n")
    assert differs()[0] not in (first, None)


def test_rows_of_data_are_named_by_digest_and_never_by_content(checkout: Path) -> None:
    rows = checkout / "domains/toy/data/rows.csv"
    rows.write_text("q,a\nwho?,Mrs Miller of 12 Elm Street\n")
    (checkout / "domains/toy/domain.yaml").write_text("purpose: another toy\n")
    first, text = differs()
    assert "Miller" not in text
    assert "nobody" not in text
    assert f"data domains/toy/data/rows.csv {hashlib.sha256(rows.read_bytes()).hexdigest()}\n" in text
    assert "+purpose: another toy" in text
    rows.unlink()
    assert differs()[0] != first


def test_code_that_lies_inside_another_checkout_has_no_commit(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As site-packages of an environment below somebody's project."""
    installed = checkout / ".venv/lib/site-packages"
    installed.mkdir(parents=True)
    monkeypatch.setattr(places, "CHECKOUT", installed)
    found = provenance.provenance()
    assert "commit" not in found
    assert found["commit_unknown"] == f"{installed} is not the top of a git checkout"
    assert found["workplace_commit"] == git(checkout, "rev-parse", "HEAD")


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A git of our own on the PATH."""
    folder.mkdir()
    (folder / "git").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_a_git_that_takes_too_long_leaves_the_commit_unknown(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = subprocess.run(["sh", "-c", "command -v git"], check=True, capture_output=True, text=True).stdout.strip()
    stand_in(checkout.parent / "bin", monkeypatch, f'case "$*" in *" diff "*) exec sleep 20;; esac; exec {real} "$@"')
    monkeypatch.setattr(provenance, "SECONDS", 1.0)
    found = provenance.provenance()
    assert found["commit"] == git(checkout, "rev-parse", "HEAD")
    assert found["commit_dirty_sha256"] == "unknown"
    assert found["commit_unknown"] == "git diff took more than 1 s"


def test_without_git_the_commit_is_unknown(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(checkout))
    assert provenance.provenance() == {"commit_unknown": "there is no git on this machine"}


def test_what_git_says_is_the_reason(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "CHECKOUT", workplace)
    assert "not a git repository" in provenance.provenance()["commit_unknown"]


def test_only_a_flow_that_makes_a_stage_has_a_tracked_run(toy: Path) -> None:
    for expected in (6, 6):  # the flow and five stages; then all is cached
        with session.open_session(prepare, Order("toy"), {}, deliver=False) as (job, current):
            prepare.under(Direct(current), job)
        assert len(list(tracking.spool().glob("*.jsonl"))) == expected
    first, second = journal.read("toy")[0]
    assert (len(first["made"]), len(first["cached"]), len(second["made"]), len(second["cached"])) == (5, 0, 0, 5)
    assert (first["mlflow_key"] in min(tracking.spool().glob("*.jsonl")).name, second["mlflow_key"]) == (True, None)
    text = min(tracking.spool().glob("*.jsonl")).read_text()
    assert '"name": "prepare-' in text
    assert '"slmforge.edition": "starter"' in text
