"""One value, one digest; what has no single form is an error."""

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from tasks.lib import digests
from tasks.lib.errors import StageError
from tasks.lib.stage import _identify


def test_the_order_of_keys_and_the_spelling_of_a_number_do_not_matter() -> None:
    assert digests.of_value({"a": 1, "b": [1.0, "x"]}) == digests.of_value({"b": [1, "x"], "a": 1.0})
    assert digests.of_value([1, 2]) != digests.of_value([2, 1])
    assert digests.of_value("1") != digests.of_value(1)


@pytest.mark.parametrize("value", [{1, 2}, object(), float("nan"), float("inf"), b"bytes", Path("x"), {1: "a"}, 2**60])
def test_a_value_without_a_single_form_is_an_error(value: Any) -> None:
    with pytest.raises(StageError, match="hashed"):
        digests.of_value({"deep": [value]})


@pytest.mark.parametrize("value", ["text", {"a": 1}, Path("x"), object()])
def test_an_input_without_an_identity_is_an_error_that_names_it(value: Any) -> None:
    with pytest.raises(StageError, match="'given'"):
        _identify("given", value)


def test_a_file_is_known_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    assert digests.of_file(tmp_path / "a") == hashlib.sha256(b"content").hexdigest() == digests.of_text("content")


def test_a_remembered_digest_is_read_again_when_the_file_changes(workplace: Path) -> None:
    file = workplace / "data"
    file.write_bytes(b"one")
    memory = digests.Remembered()
    assert memory.of(file) == digests.of_text("one")
    memory.save()
    file.write_bytes(b"two")  # the same size
    assert digests.Remembered().of(file) == digests.of_text("two")
    file.unlink()
    file.write_bytes(b"owt")
    assert digests.Remembered().of(file) == digests.of_text("owt")


def test_a_torn_memory_is_only_slower(workplace: Path) -> None:
    file = workplace / "data"
    file.write_bytes(b"one")
    (workplace / "runs").mkdir()
    (workplace / "runs" / "digests.json").write_text('{"half')
    memory = digests.Remembered()
    assert memory.of(file) == digests.of_text("one")
    memory.save()
    assert digests.Remembered().of(file) == digests.of_text("one")
    assert not list((workplace / "runs").glob(f".digests.{os.getpid()}"))
