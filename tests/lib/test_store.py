"""What is committed is read, what is not is not, and one identity is made once."""

import multiprocessing
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tasks.clean import CleanConfig, clean
from tasks.ingest import IngestConfig, ingest
from tasks.lib import domain, sources, store
from tasks.lib.config import StageConfig
from tasks.lib.errors import DataError, StageError
from tasks.lib.execute import Direct, Session
from tasks.lib.stage import stage
from tasks.lib.store import Artifact


class NoteConfig(StageConfig):
    """What the note says."""

    text: str = "one"


class Note(Artifact):
    """A file, and who wrote it."""

    length: int


@stage(version="1")
def note(out: Path, cfg: NoteConfig) -> Note:
    """Write a note; every execution leaves a trace outside the store."""
    with (Path(os.environ["SLMFORGE_RUNS"]) / "made.txt").open("a") as file:
        file.write(f"{os.getpid()}\n")
    (out / "note.txt").write_text(cfg.text)
    return Note(length=len(cfg.text))


def want(barrier: Any, answers: Any) -> None:
    session = Session(domain="", flow="")
    barrier.wait()
    from tasks.lib.stage import Call

    made = Direct(session).call(Call(note, {"cfg": NoteConfig()}))  # type: ignore[arg-type]  # Stage[P, A] is invariant in P; Call takes any stage
    answers.put((os.getpid(), made.digest, session.events[-1].state))


def test_of_processes_that_want_one_identity_one_makes_it_and_the_others_get_it(workplace: Path) -> None:
    (workplace / "runs").mkdir()
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(4), context.Queue()
    processes = [context.Process(target=want, args=(barrier, answers)) for _ in range(4)]
    for process in processes:
        process.start()
    found = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(state for _, _, state in found) == ["cached", "cached", "cached", "made"]
    assert len({digest for _, digest, _ in found}) == 1
    assert (workplace / "runs" / "made.txt").read_text().splitlines() == [str(pid) for pid, _, state in found if state == "made"]


def made_times(workplace: Path) -> int:
    return len((workplace / "runs" / "made.txt").read_text().splitlines())


def test_a_folder_without_a_record_is_never_read_and_leftovers_are_removed(workplace: Path) -> None:
    (workplace / "runs").mkdir()
    first = note(NoteConfig())
    (first.path / store.RECORD).unlink()
    (first.path / "note.txt").write_text("planted")
    leftover = first.path.with_name(f".{first.path.name}.99999")
    leftover.mkdir()
    assert store.find(first.id) is None
    second = note(NoteConfig())
    assert second == first
    assert (second.path / "note.txt").read_text() == "one"
    assert not leftover.exists()
    assert made_times(workplace) == 2
    assert note(NoteConfig()) == first
    assert made_times(workplace) == 2


def test_a_file_that_changed_is_found_and_stops_the_next_stage(toy: Path) -> None:
    read = ingest(IngestConfig(), sources.resolve(domain.load("toy"), "starter", None))
    file = read.path / "tune-00000.parquet"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError) as caught:
        clean(CleanConfig(), read)
    assert caught.value.file == str(file)
    assert "delete the folder" in caught.value.remedy
    assert not [path for path in (store.root() / "clean").glob("*") if path.is_dir()]
    file.unlink()
    with pytest.raises(DataError, match="nothing"):
        clean(CleanConfig(), read)


def test_a_record_that_is_none_is_refused_by_name(workplace: Path) -> None:
    (workplace / "runs").mkdir()
    made = note(NoteConfig())
    (made.path / store.RECORD).write_text('{"stage": "note"}')
    with pytest.raises(DataError, match="delete the folder") as caught:
        note(NoteConfig())
    assert caught.value.file == str(made.path / store.RECORD)


def test_a_link_is_no_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    assert [entry.path for entry in store.list_files(tmp_path)] == ["a"]
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(StageError, match="a link: b"):
        store.list_files(tmp_path)


def test_a_view_is_recorded_but_is_not_what_an_artifact_is(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    bare = store.list_files(tmp_path)
    (tmp_path / store.VIEW).mkdir()
    (tmp_path / store.VIEW / "page.html").write_text("today")
    full = store.list_files(tmp_path)
    assert len(full) == 2
    assert store.content_digest(full, {}) == store.content_digest(bare, {})
    assert store.content_digest(bare, {"a": 1}) != store.content_digest(bare, {})


class Passing(Artifact):
    """Stands for something outside the store that can go away."""

    folder: str

    def gone(self) -> str | None:
        return "it is gone" if (Path(os.environ["SLMFORGE_RUNS"]) / "gone").exists() else None


@stage(version="1")
def passing(out: Path, cfg: NoteConfig) -> Passing:
    """Files at two depths."""
    (out / "eval" / "deep").mkdir(parents=True)
    (out / "eval" / "deep" / "one.txt").write_text(cfg.text)
    (out / "two.txt").write_text(str(os.getpid()))
    return Passing(folder="eval")


def test_files_and_the_folders_that_name_them_are_on_disk_before_the_artifact_has_its_name(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{handle}")))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    made = passing(NoteConfig())
    *before, parent = synced
    assert parent == made.path.parent
    work = before[-1]
    assert {path.relative_to(work).as_posix() for path in before} == {
        ".", "artifact.json", "two.txt", "eval", "eval/deep", "eval/deep/one.txt",
    }  # fmt: skip


def test_a_kill_while_a_committed_artifact_is_replaced_leaves_no_record_without_its_files(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = passing(NoteConfig())
    (workplace / "runs" / "gone").touch()

    def killed(folder: Path, **options: Any) -> None:
        (Path(folder) / "two.txt").unlink(missing_ok=True)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            passing(NoteConfig())
    (workplace / "runs" / "gone").unlink()
    record = store.find(first.id)
    assert record is not None
    store.verify(record)
    (workplace / "runs" / "gone").touch()
    passing(NoteConfig())
    assert [path.name for path in first.path.parent.iterdir() if path.is_dir()] == [first.path.name]
