"""`slmforge --help`."""

import re

from click.testing import CliRunner

from flows.cli import main


def test_each_command_is_told_in_a_whole_sentence_that_fits_a_terminal_of_80_columns() -> None:
    shown = CliRunner().invoke(main, ["--help"], terminal_width=80).output
    listed = shown.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    sentences = dict(re.fullmatch(r"  (\S+) +(.+)", line).groups() for line in listed)  # type: ignore[union-attr]  # it matches
    assert sentences.keys() == main.commands.keys(), "a sentence that goes on in a second line"
    assert [text for text in sentences.values() if not re.fullmatch(r"[A-Z].*[^.]\.", text)] == []
