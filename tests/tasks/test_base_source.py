"""What a scratch base learns from is what the split leaves to training, and nothing else."""

from pathlib import Path

import pytest

from tasks.base import Folder, Scratch
from tasks.dedup import DedupConfig, dedup
from tasks.ingest import IngestConfig, ingest
from tasks.lib import base_source, digests
from tasks.lib.cleaning import clean
from tasks.lib.domain import load
from tasks.lib.errors import ConfigError, DataError
from tasks.lib.general import HELDOUT, is_heldout
from tasks.lib.records import iterate
from tasks.lib.sources import Sources, builtin_digest, builtin_documents, resolve
from tasks.split import SplitConfig, split


def test_the_base_and_the_split_hold_out_the_same_general_documents(toy: Path) -> None:
    given = resolve(load("toy"), "starter", None)
    general = Sources(edition="starter", datasets=[d for d in given.datasets if d.dataset.role == "general"])
    made = split(SplitConfig(), dedup(DedupConfig(), ingest(IngestConfig(), general)))
    train, valid = ({clean(row["text"]) for row in iterate(made.path, f"general-{part}")} for part in ("train", "valid"))
    assert valid
    assert not valid & set(base_source.documents())
    assert train == set(base_source.documents())
    assert train | valid == {clean(text) for _, text in builtin_documents()}


def test_what_is_held_out_depends_on_the_clean_text_and_is_about_the_share() -> None:
    texts = [f"document number {i}" for i in range(5_000)]
    held = [text for text in texts if is_heldout(text)]
    assert held == [text for text in texts if is_heldout(f"\ufeff  {text}\r\n")]
    assert abs(len(held) / len(texts) - HELDOUT) < 0.02  # five standard deviations


def test_a_scratch_base_is_known_by_the_text_that_it_learns_from() -> None:
    assert base_source.resolve(Scratch()).content == {"pydoc-topics": builtin_digest()}
    with pytest.raises(DataError, match="from scratch"):
        base_source.resolve(Scratch()).files()


def test_a_folder_is_known_by_its_files_and_not_by_its_place(workplace: Path) -> None:
    contents = {"config.json": b"{}", "model.safetensors": (2).to_bytes(8, "little") + b"{}"}
    found = []
    for name in ("here", "there"):
        folder = workplace / name
        folder.mkdir()
        for file, content in contents.items():
            (folder / file).write_bytes(content)
        (folder / "notes.md").write_text(name)  # not part of a model
        found.append(base_source.resolve(Folder(kind="folder", path=folder)))
    assert found[0].identity() == found[1].identity()
    assert found[0].content == {file: digests.of_file(workplace / "here" / file) for file in contents}
    (workplace / "there" / "config.json").write_bytes(b'{"a": 1}')
    assert base_source.resolve(Folder(kind="folder", path=workplace / "there")).identity() != found[0].identity()


def test_a_folder_that_is_not_there_is_refused(workplace: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        base_source.resolve(Folder(kind="folder", path=workplace / "nowhere"))
