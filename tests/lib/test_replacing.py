"""Files that a domain keeps: one command at a time, each file at once or not at all."""

from pathlib import Path

import pytest

from tasks.lib import drafts, replacing
from tests.drafting import batch, write_domain


def test_files_take_their_places_with_their_modes_and_leave_nothing_beside(tmp_path: Path) -> None:
    old, new = tmp_path / "old.yaml", tmp_path / "data" / "new.jsonl"
    old.write_text("before")
    old.chmod(0o640)
    plain = tmp_path / "plain"
    plain.touch()
    replacing.replace({old: "после", new: "{}\n"})
    assert (old.read_text(encoding="utf-8"), new.read_text()) == ("после", "{}\n")
    assert old.stat().st_mode & 0o777 == 0o640
    assert new.stat().st_mode == plain.stat().st_mode, "others may read it as they may read any new file"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["data", "new.jsonl", "old.yaml", "plain"]


def test_where_one_file_cannot_be_written_none_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("before")
    (tmp_path / "no-folder").write_text("a file")
    with pytest.raises(OSError, match="no-folder"):
        replacing.replace({tmp_path / "one": "after", tmp_path / "no-folder" / "two": "x"})
    assert (tmp_path / "one").read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["no-folder", "one"]


def test_the_right_is_one_and_lies_with_the_runs(workplace: Path) -> None:
    folder = write_domain(workplace)
    before = sorted(folder.rglob("*"))
    with replacing.alone(folder):
        assert sorted(folder.rglob("*")) == before
        assert (workplace / "runs/locks/clinic.lock").is_file()
    with replacing.alone(folder):
        pass


def test_drafts_are_kept_beside_what_another_process_is_writing(workplace: Path) -> None:
    folder = write_domain(workplace)
    made = batch(folder)
    file = folder / drafts.FOLDER / f"{made.id}.json"
    file.unlink()
    (file.parent / f".{file.name}.new").mkdir()
    assert drafts.keep(folder, made) == (made, file)
    assert drafts.find(folder, made.id) == made
