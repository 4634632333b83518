"""Half a surrogate pair before a jq expression: the row and the character are named, not the expression."""

from pathlib import Path

import pytest

from tests.tasks.test_readers import refused, rows


@pytest.mark.parametrize("half", ["\\ud83d", "\\ude00", "\\udce9"])
def test_the_row_and_the_character_are_named(half: str, tmp_path: Path) -> None:
    content = f'{{"q": "whole \\ud83d\\ude00"}}\n{{"q": {{"t": ["x", "ab{half}c"]}}}}\n'.encode()
    found = refused(tmp_path, "a.jsonl", content, records="{q}")
    assert found.row == 2
    assert found.asked.endswith("for `records:` to work on")
    assert f"{half}, half a surrogate pair, in .q.t[1]" in found.found
    assert "expression is not at fault" in found.remedy
    document = b'{"rows": [' + content.strip().replace(b"\n", b",") + b"]}"
    assert f"{half}, half a surrogate pair, in .rows[1].q.t[1]" in refused(tmp_path, "a.json", document, records=".rows[]").found


def test_a_key_is_named_too_and_bytes_that_are_no_text_as_such(tmp_path: Path) -> None:
    assert "the key" in refused(tmp_path, "a.jsonl", b'{"\\ud83d": 1}\n', records=".").found
    found = refused(tmp_path, "a.csv", b"q\ncaf\xe9\n", records=".", undecodable="set-aside")
    assert (found.row, "\\xe9, a byte that is no text in its encoding, in .q" in found.found) == (2, True)


def test_whole_pairs_and_rows_without_an_expression_are_left_alone(tmp_path: Path) -> None:
    assert rows(tmp_path, "a.jsonl", b'{"q": "\\ud83d\\ude00"}\n', records="{a: .q}") == [{"a": "\U0001f600"}]
    assert rows(tmp_path, "b.jsonl", b'{"q": "\\ud83d"}\n') == [{"q": "\ud83d"}]
