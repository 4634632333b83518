"""Domain folders: those of the repository, and what their contract refuses."""

import shutil
from pathlib import Path
from typing import get_args

import pytest

from tasks.ingest import IngestConfig, ingest
from tasks.lib import domain, sources
from tasks.lib.domain import BuiltinSource, Edition, PathSource
from tasks.lib.errors import ConfigError, DataError
from tasks.lib.sources import Sources
from tasks.lib.stage import Call

ROOT = Path(__file__).resolve().parents[2]
DOMAINS = sorted(path.parent.name for path in (ROOT / "domains").glob("*/domain.yaml"))


def test_there_are_three_domains() -> None:
    assert len(DOMAINS) >= 3


@pytest.mark.parametrize("name", DOMAINS)
@pytest.mark.parametrize("edition", get_args(Edition))
def test_a_domain_has_the_roles_of_a_pipeline_in_both_editions(name: str, edition: Edition) -> None:
    roles = {dataset.role for dataset in domain.load(name).of_edition(edition)}
    assert {"corpus", "tune", "preference", "general"} <= roles


@pytest.mark.parametrize("name", DOMAINS)
def test_the_starter_edition_needs_no_network_and_no_mirror(name: str, workplace: Path) -> None:
    found = domain.load(name)
    assert all(isinstance(dataset.source, (PathSource, BuiltinSource)) for dataset in found.of_edition("starter"))
    assert len(sources.resolve(found, "starter", None).datasets) == len(found.of_edition("starter"))
    assert not (workplace / "runs" / "downloads").exists()


def identifier(given: Sources) -> str:
    return Call(ingest, {"cfg": IngestConfig(), "sources": given}).identifier()  # type: ignore[arg-type]  # Stage[P, A] is invariant in P; Call takes any stage


def test_a_domain_that_moved_is_the_same_and_one_row_more_is_another(toy: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = identifier(sources.resolve(domain.load("toy"), "starter", None))
    shutil.copytree(toy, workplace / "elsewhere" / "domains" / "toy")
    monkeypatch.chdir(workplace / "elsewhere")
    assert domain.load("toy").folder != toy
    assert identifier(sources.resolve(domain.load("toy"), "starter", None)) == first
    with (workplace / "elsewhere/domains/toy/data/documents.jsonl").open("a") as file:
        file.write('{"text": "one more"}\n')
    assert identifier(sources.resolve(domain.load("toy"), "starter", None)) != first


def test_a_mirror_is_a_place_and_files_in_it_are_known_by_content(toy: Path, workplace: Path) -> None:
    file = toy / "data" / "documents.jsonl"
    digest = sources.digests.of_file(file)
    card = toy / "domain.yaml"
    subset = f"{{sha256: {digest}, file: documents.jsonl, from: here, subset: all}}"
    card.write_text(card.read_text().replace("{path: data/documents.jsonl}", subset))
    found = set()
    for place in ("one", "two/deep"):
        (workplace / place).mkdir(parents=True)
        shutil.copyfile(file, workplace / place / f"{place[:3]}.bin")
        (workplace / place / "dangling").symlink_to(workplace / "nowhere")
        found.add(identifier(sources.resolve(domain.load("toy"), "starter", workplace / place.split("/")[0])))
    assert len(found) == 1
    with pytest.raises(DataError, match="--mirror"):
        sources.resolve(domain.load("toy"), "starter", None)
    with pytest.raises(DataError, match="no such folder"):
        sources.resolve(domain.load("toy"), "starter", workplace / "nowhere")


@pytest.mark.parametrize("name", ["../toy", "Toy", "", "toy\n", "/toy", "t" * 64, "unknown"])
def test_a_name_that_is_no_domain_is_refused(name: str, toy: Path) -> None:
    with pytest.raises(ConfigError):
        domain.load(name)


@pytest.mark.parametrize("program", ["$ENV", "env.HOME", '"\\(env)"', "input", "[inputs]", "halt", "halt_error", 'import "x" as x; .'])
def test_jq_that_reaches_outside_the_row_is_refused(program: str, toy: Path) -> None:
    card = toy / "domain.yaml"
    card.write_text(card.read_text().replace("    choices: [red, blue]", f"    choices: [red, blue]\n    records: '{program}'"))
    with pytest.raises(ConfigError, match=r"datasets\.1\.records"):
        domain.load("toy")


def test_sensitive_columns_are_said_in_the_card_alone(toy: Path) -> None:
    with (toy / "expectations.yaml").open("a") as file:
        file.write("sensitive: [prompt]\n")
    with pytest.raises(ConfigError, match=r"belongs to domain\.yaml"):
        domain.load("toy")
