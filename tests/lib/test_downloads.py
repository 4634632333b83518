"""Files from elsewhere: each arrives in a place of its own, and is taken only while it is what it was."""

import json
from pathlib import Path

import pytest

from tasks.lib import digests, downloads


def kept(content: str) -> str:
    with downloads.arriving() as place:
        place.write_text(content)
        digest = digests.of_file(place)
        downloads.keep(place, digest)
    return digest


def test_two_that_arrive_at_once_do_not_meet_whatever_their_process_ids_are(workplace: Path) -> None:
    with downloads.arriving() as one, downloads.arriving() as other:
        one.write_text("one")
        other.write_text("other")
        assert one.read_text() == "one"
        downloads.keep(other, "0" * 64)
    assert [path.name for path in downloads.folder().iterdir()] == ["0" * 64], "what was not kept is removed"


def test_what_breaks_off_leaves_nothing(workplace: Path) -> None:
    def breaking_off() -> None:
        with downloads.arriving() as place:
            place.write_text("half")
            raise ConnectionError

    with pytest.raises(ConnectionError):
        breaking_off()
    assert not list(downloads.folder().iterdir())


def test_a_download_that_was_spoilt_is_not_taken_and_its_digest_is_remembered(workplace: Path) -> None:
    digest = kept("right")
    file = downloads.kept(digest)
    assert file == downloads.folder() / digest
    assert digest in json.dumps(json.loads((workplace / "runs/digests.json").read_text())), "not read again while it is the same"
    file.write_text("wrong")
    assert downloads.kept(digest) is None
    assert kept("right") == digest
    assert downloads.kept(digest) == file
    assert downloads.kept("0" * 64) is None
