"""Texts are put right, and rows that say nothing are set aside by what is missing."""

import random
import unicodedata
from pathlib import Path

import pytest

from tasks.clean import CleanConfig, clean
from tasks.lib import cleaning
from tasks.lib.records import Records, iterate
from tasks.lib.sources import ResolvedDataset
from tests.datasets import ingested, reasons, resolved


def cleaned(*datasets: ResolvedDataset) -> Records:
    read = ingested(*datasets)
    return clean(CleanConfig(), read)


LONG = "A text that is long enough to say something."


@pytest.mark.parametrize(
    ("raw", "clean_text"),
    [
        ("\ufeffa", "a"),
        ("a\u200bb\u2060c\u00add", "abcd"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("a\t \u00a0b", "a b"),
        (" a \n\n\n\n b ", "a\n\nb"),
        ("e\u0301", "\u00e9"),
        ("it\u0092s", "it\u2019s"),
        ("\x93q\x94", "\u201cq\u201d"),
        ("a\x00b\x07c\x81d", "abcd"),
        ("kept: <or=3cm vs> & {x}", "kept: <or=3cm vs> & {x}"),
    ],
)
def test_text_is_put_right(raw: str, clean_text: str) -> None:
    assert cleaning.clean(raw) == clean_text


def test_clean_text_is_clean_for_any_text() -> None:
    draw = random.Random(11)
    letters = " \n\t\r\u00a0\u2028\x85\x92\x81\x1f\ufeff\u200b\u0301eaA\u212b\u2126\u0344\x00\u3000"
    for _ in range(20_000):
        text = cleaning.clean("".join(draw.choice(letters) for _ in range(draw.randint(0, 12))))
        assert cleaning.clean(text) == text == unicodedata.normalize("NFC", text)
        assert not any(unicodedata.category(c) == "Cc" for c in text if c != "\n")
        assert "  " not in text
        assert "\n\n\n" not in text


@pytest.mark.parametrize(("text", "yes"), [("\ufeff", True), (" \ufeff\n\ufeff", True), ("", False), (" ", False), ("\ufeffa", False)])
def test_only_a_mark_is_told_from_nothing_at_all(text: str, yes: bool) -> None:
    assert cleaning.is_only_marks(text) is yes


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("What IS  this?", "what is\nthis?", True),
        ("c1ccccc1 is", "C1CCCCC1 is", False),
        ("[nH]1cccc1", "[NH]1CCCC1", False),
        ("c%12", "C%12", False),
        ("COVID-19 test", "covid-19 TEST", True),
    ],
)
def test_folding_ignores_case_where_case_says_nothing(one: str, other: str, same: bool) -> None:
    assert (cleaning.folded(one) == cleaning.folded(other)) is same


def test_rows_that_say_nothing_are_set_aside_by_what_is_missing(workplace: Path) -> None:
    texts = [{"text": LONG}, {"text": "\ufeff"}, {"text": " \u200b"}, {"text": ""}, {"text": "short"}]
    asked = [{"q": LONG, "a": "y"}, {"q": "", "a": "y"}, {"q": LONG, "a": " \n"}, {"q": LONG, "a": None}, {"q": "\ufeff", "a": ""}]
    made = cleaned(resolved(workplace, "texts", "corpus", texts), resolved(workplace, "asked", "tune", asked))
    assert reasons(made) == {
        "texts:2": "bom-only",
        "texts:3": "empty-text",
        "texts:4": "empty-text",
        "texts:5": "too-short",
        "asked:2": "empty-prompt",
        "asked:3": "empty-answer",
        "asked:4": "empty-answer",
        "asked:5": "bom-only",
    }
    assert all(line.balanced for line in made.ledger)
    assert [line.set_aside for line in made.ledger] == [
        {"bom-only": 1, "empty-text": 2, "too-short": 1},
        {"bom-only": 1, "empty-answer": 2, "empty-prompt": 1},
    ]


def test_an_empty_side_of_a_pair_is_named(workplace: Path) -> None:
    rows = [{"q": LONG, "c": "good", "r": "bad"}, {"q": LONG, "c": "", "r": "bad"}, {"q": LONG, "c": "good", "r": ""}]
    maps = {"prompt": "{q}", "chosen": "{c}", "rejected": "{r}"}
    made = cleaned(resolved(workplace, "pairs", "preference", rows, map=maps))
    assert reasons(made) == {"pairs:2": "empty-chosen", "pairs:3": "empty-rejected"}


def test_an_empty_system_text_is_no_fault(workplace: Path) -> None:
    maps = {"system": "{s}", "prompt": "{q}", "response": "{a}"}
    made = cleaned(resolved(workplace, "asked", "tune", [{"s": "", "q": LONG, "a": "y"}], map=maps))
    assert made.rows == 1


def test_what_is_kept_is_clean_and_the_number_of_changed_rows_is_measured(workplace: Path) -> None:
    from tasks.lib import store

    texts = [{"text": LONG}, {"text": f"\ufeff{LONG}  {LONG}"}]
    made = cleaned(resolved(workplace, "texts", "corpus", texts))
    assert [row["text"] for row in iterate(made.path, "corpus")] == [LONG, f"{LONG} {LONG}"]
    record = store.find(made.id)
    assert record is not None
    assert record.measured["rows_changed"] == 1
