"""A chat template from outside is a program: it is ended when it hangs, grows or reaches for what it should not."""

from pathlib import Path

import pytest

from tasks.lib import models, trial
from tasks.lib.errors import DataError
from tests.conftest import WORDS

ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    """A folder with a small tokenizer."""
    models.train_tokenizer([" ".join(WORDS)], 400).save_pretrained(tmp_path)
    return tmp_path


def test_a_tokenizer_that_is_one_is_usable_with_and_without_a_template(tokenizer: Path) -> None:
    trial.require_usable_tokenizer(tokenizer)
    (tokenizer / "chat_template.jinja").unlink()
    trial.require_usable_tokenizer(tokenizer)


@pytest.mark.long
@pytest.mark.parametrize(
    ("template", "found"),
    [
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ messages[7].content }}", "7"),
        (ENDLESS, "after 10 s"),
        ("{{ 'x' * 60000 }}", "60,000 characters"),
        ("{{ 'x' * 10**11 }}", "MemoryError"),
    ],
)
def test_a_template_that_is_none_is_refused(template: str, found: str, tokenizer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "SECONDS", 10.0 if template == ENDLESS else 60.0)
    (tokenizer / "chat_template.jinja").write_text(template)
    with pytest.raises(DataError) as caught:
        trial.require_usable_tokenizer(tokenizer)
    assert found in caught.value.found
    assert caught.value.file == str(tokenizer)


@pytest.mark.parametrize("name", list(trial.MAX_FILES))
def test_a_file_larger_than_any_is_refused_before_it_is_read(name: str, tokenizer: Path) -> None:
    with (tokenizer / name).open("r+b" if (tokenizer / name).exists() else "wb") as file:
        file.truncate(trial.MAX_FILES[name] + 1)
    with pytest.raises(DataError, match=f"bytes of {name}"):
        trial.require_usable_tokenizer(tokenizer)
