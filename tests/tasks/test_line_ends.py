"""Lines that end with a carriage return alone, as old programs write them."""

import gzip
from pathlib import Path

import pytest

from tasks.lib import encodings
from tasks.lib.errors import DataError
from tasks.lib.readers import read
from tests.tasks.test_cut_tables import pieces
from tests.tasks.test_readers import given, refused, rows

JSONL = b'{"a": 1}\r\r{"a": "x\\r"}\r{"a": 3}'


@pytest.mark.parametrize("end", [b"", b"\r"])
@pytest.mark.parametrize("block", [1, 5, 1 << 16])
def test_json_lines_are_read_and_numbered(end: bytes, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encodings, "BLOCK", block)
    assert rows(tmp_path, "a.jsonl", JSONL + end) == [{"a": 1}, {"a": "x\r"}, {"a": 3}]
    assert rows(tmp_path, "a.jsonl.gz", gzip.compress(JSONL + end)) == [{"a": 1}, {"a": "x\r"}, {"a": 3}]
    of = given(tmp_path / "a.jsonl")
    assert [row.number for row in read(of)] == [1, 3, 4]
    assert [row.number for piece in pieces(of, 9) for row in piece] == [1, 3, 4]
    assert refused(tmp_path, "a.jsonl", JSONL + b"\r{").row == 5


def test_carriage_returns_between_tokens_are_white_space_of_json(tmp_path: Path) -> None:
    assert rows(tmp_path, "a.jsonl", b'{"a":\r1}\n{"a":\r2}\n') == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("block", [1, 5, 1 << 16])
def test_tables_keep_line_ends_in_quotes(block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encodings, "BLOCK", block)
    content = b'a,b\r"x\ny",1\r\r"x\rz",2\r'
    assert rows(tmp_path, "a.csv", content) == [{"a": "x\ny", "b": "1"}, {"a": "x\rz", "b": "2"}]
    assert [row.columns["b"] for piece in pieces(given(tmp_path / "a.csv"), 5) for row in piece] == ["1", "2"]
    assert refused(tmp_path, "a.csv", content + b"1\r").row == 5


def test_a_file_with_carriage_returns_may_be_longer_than_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.lib.readers.MAX_LINE", 1_000)
    assert len(rows(tmp_path, "a.jsonl", b'{"a": 1}\r' * 1_000)) == 1_000
    assert len(rows(tmp_path, "a.csv", b"a\r" + b"x\r" * 5_000)) == 5_000
    with pytest.raises(DataError, match="at most 1,000 bytes"):
        rows(tmp_path, "a.jsonl", b'{"a": 1}\r{"a": "' + b"x" * 200_000 + b'"}\r')
