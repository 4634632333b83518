"""A review beside other sheets, other commands, a kill, and datasets that read whole folders."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.lib import replacing, reviewing
from tasks.lib.places import NAME
from tests.conftest import ROOT, Run
from tests.drafting import ALL, WHO, card, entries, files, fill

Review = Callable[..., subprocess.CompletedProcess[str]]


def test_sheets_have_datasets_of_their_own_however_alike_they_are_called() -> None:
    long = "review of the questions on the handbook of the clinic, "
    alike = [
        "отчет-анна",
        "отчет-борис",
        f"{long}anna",
        f"{long}boris",
        "drafts",
        "Drafts",
        "drafts ",
        "дрaфтс",
        "…",
        "-",
        "drafts-preference",
    ]
    names = [reviewing.dataset_name(sheet) for sheet in alike]
    assert len({f"{name}{ending}" for name in names for ending in ("", "-preference", "-decisions")}) == 3 * len(alike)
    assert all(NAME.fullmatch(f"{name}-preference") for name in names), "names of datasets"
    assert reviewing.dataset_name("drafts") == "review-drafts"
    assert reviewing.sheet_name(Path("ёж.csv")) == reviewing.sheet_name(Path("е\u0308ж.xlsx")), "however a file system writes it"


def test_two_people_with_sheets_in_cyrillic_both_count(clinic: Path, review: Review) -> None:
    for row, sheet in ((2, "отчет-анна.xlsx"), (3, "отчет-борис.xlsx")):
        done = review(fill(Path("drafts.xlsx"), {row: {"verdict": "accept"}}, Path(sheet)))
        assert done.returncode == 0, done.stderr
        fill(Path("drafts.xlsx"), {row: {"verdict": None}})
    assert len(list((clinic / "data").glob("review-*-decisions.jsonl"))) == 2
    assert len([name for name in entries(clinic) if name.startswith("review-")]) == 2


def test_the_files_of_another_sheet_are_refused(clinic: Path, review: Review) -> None:
    review(fill(Path("drafts.xlsx"), ALL))
    decided = clinic / "data/review-drafts-decisions.jsonl"
    decided.write_text(decided.read_text().replace('"sheet": "drafts"', '"sheet": "other"'))
    before = files(clinic)
    done = review("drafts.xlsx")
    assert done.returncode == 2
    assert "those of the sheet 'other'" in done.stderr
    assert files(clinic) == before


# ends the process at once when it is about to replace or remove one more file of the domain than it may
KILLED = """
import os, sys
left = int(sys.argv.pop(1))
def hook(event, words):
    global left
    if event in ("os.rename", "os.remove") and "/domains/clinic/" in os.path.abspath(words[0]):
        if left == 0:
            os._exit(137)
        left -= 1
sys.addaudithook(hook)
from flows.cli import main
main()
"""
NOTHING = {row: {"verdict": None, "corrected_answer": None, "comment": None} for row in (2, 3, 4)}
REJECTED = {row: {"verdict": "reject", "corrected_answer": None} for row in (2, 3, 4)}


@pytest.mark.parametrize("rounds", [[ALL], [ALL, REJECTED], [ALL, NOTHING]], ids=["new", "rejected", "emptied"])
def test_a_review_that_is_killed_at_any_place_is_finished_by_the_same_command(
    rounds: list[dict[int, Any]], clinic: Path, review: Review, workplace: Path
) -> None:
    for said in rounds[:-1]:
        assert review(fill(Path("drafts.xlsx"), said)).returncode == 0
    fill(Path("drafts.xlsx"), rounds[-1])
    shutil.copytree(clinic, workplace / "before")
    assert review("drafts.xlsx").returncode == 0
    wanted, there = files(clinic), {"cwd": workplace, "env": {**os.environ, "PYTHONPATH": str(ROOT)}}
    for done in range(4):
        shutil.rmtree(clinic)
        shutil.copytree(workplace / "before", clinic)
        command = [sys.executable, "-c", KILLED, str(done), "review", "clinic", "drafts.xlsx", *WHO, "--yes"]
        killed: Any = subprocess.run(command, capture_output=True, text=True, check=False, **there)
        assert killed.returncode == 137, killed.stderr
        again = review("drafts.xlsx")
        assert again.returncode == 0, f"after {done} files: {again.stderr}"
        assert {path: content for path, content in files(clinic).items() if "/." not in str(path)} == wanted


def asked(workplace: Path, *words: str) -> "subprocess.Popen[str]":
    """A command with a pipe to it and one from it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "flows.cli", *words]
    return subprocess.Popen(
        command, cwd=workplace, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_what_others_write_while_a_person_thinks_is_not_written_over(clinic: Path, cli: Run, workplace: Path) -> None:
    fill(Path("drafts.xlsx"), ALL)
    (workplace / "more.csv").write_text("question,answer\n" + "".join(f"Who pays item {i}?,the tenant pays {i}\n" for i in range(30)))
    thinking = asked(workplace, "review", "clinic", "drafts.xlsx", *WHO)
    assert thinking.stdout is not None
    said = ""
    while "Write this into" not in said:
        letter = thinking.stdout.read(1)
        assert letter, said
        said += letter
    done = cli("add", "clinic", "more.csv", "--licence", "CC0-1.0", "--kind", "user", "--yes")
    assert done.returncode == 0, "nobody waits for a person: " + done.stderr
    before = files(clinic)
    _, error = thinking.communicate("y\n", timeout=60)
    assert thinking.returncode == 2
    assert "other content of domain.yaml" in error
    assert files(clinic) == before


def test_of_two_reviews_of_the_same_drafts_at_once_one_is_refused(clinic: Path, workplace: Path) -> None:
    for sheet in ("anna.xlsx", "boris.xlsx"):
        fill(Path("drafts.xlsx"), ALL, Path(sheet))
    with replacing.alone(clinic):
        both = [asked(workplace, "review", "clinic", sheet, *WHO, "--yes") for sheet in ("anna.xlsx", "boris.xlsx")]
        for one in both:
            with pytest.raises(subprocess.TimeoutExpired):
                one.wait(timeout=5)
    said = [one.communicate(timeout=60)[1] for one in both]
    assert sorted(one.returncode for one in both) == [0, 3], said
    assert "has a decision on it" in "".join(said)
    assert len(list((clinic / "data").glob("review-*-decisions.jsonl"))) == 1


@pytest.mark.parametrize(
    ("path", "links"),
    [
        ("./data", {}),
        (".", {}),
        ("data/**/*.jsonl", {}),
        ("**/*.jsonl", {}),
        ("data/*-decisions.jsonl", {}),
        ("./data/*preference*", {}),
        ("data/review-drafts-decisions.jsonl", {}),
        ("all", {"all": "data"}),
        ("latest.jsonl", {"latest.jsonl": "data/review-drafts-decisions.jsonl"}),
    ],
)
def test_no_dataset_reads_what_a_review_writes(path: str, links: dict[str, str], clinic: Path, review: Review) -> None:
    for link, to in links.items():
        (clinic / link).symlink_to(to)
    card(clinic, "path: data/asked.csv", f'path: "{path}"')
    before = files(clinic)
    done = review(fill(Path("drafts.xlsx"), ALL))
    assert done.returncode == 2
    assert f"dataset 'asked' reads every file of '{path}'" in done.stderr
    assert files(clinic) == before


@pytest.mark.parametrize("path", ["data/asked.csv", "./data/asked.csv", "data/*.csv", "docs", "data/deep/**/*.jsonl"])
def test_a_dataset_that_reads_other_files_is_no_hindrance(path: str, clinic: Path, review: Review) -> None:
    card(clinic, "path: data/asked.csv", f'path: "{path}"')
    assert review(fill(Path("drafts.xlsx"), ALL)).returncode == 0
