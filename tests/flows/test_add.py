"""`slmforge add` by what people give it: spreadsheets' encodings, classifications, broken files, new versions, licences."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import docx
import pytest
from click.testing import CliRunner, Result
from ruamel.yaml import YAML

from flows import template
from flows.cli import main
from tests.conftest import Run

SAID = ("--licence", "CC0-1.0", "--kind", "user", "--yes")
OLE = bytes.fromhex("D0CF11E0A1B11AE1")


@pytest.fixture
def legal(workplace: Path) -> Path:
    return template.write("legal")


def add(*words: str, answers: str = "") -> Result:
    return CliRunner().invoke(main, ["add", "legal", *words], input=answers)


def entry(folder: Path, name: str) -> dict[str, Any]:
    card = YAML(typ="safe", pure=True).load((folder / "domain.yaml").read_text())
    return next(found for found in card["datasets"] if found["name"] == name)


def table(rows: list[tuple[str, str]], encoding: str = "utf-8") -> bytes:
    stream = io.StringIO()
    csv.writer(stream).writerows([("question", "answer"), *rows])
    return stream.getvalue().encode(encoding)


TEXTS = {
    "German": ("cp1252", "Wer zahlt für das Büro?", "gemäß Vertrag – größtenteils der Mieter"),
    "English": ("cp1252", "What is due?", "£500 a month"),
    "French": ("cp1252", "Qui paie le loyer ?", "Le locataire, dès l’échéance, même en été"),
    "units": ("cp1252", "How warm?", "5 °C, and 3 µg"),
    "Polish": ("cp1250", "Kto płaci czynsz za mieszkanie?", "Najemca płaci co miesiąc, również zimą"),
    "Russian": ("cp1251", "Кто платит за аренду квартиры?", "Платит арендатор каждый месяц"),
}


@pytest.mark.parametrize("language", TEXTS)
def test_an_encoding_is_told_and_shown_with_the_letters_that_it_gives(language: str, legal: Path, workplace: Path) -> None:
    encoding, question, answer = TEXTS[language]
    (workplace / "a.csv").write_bytes(table([(f"{question} {i}", f"{answer} {i}") for i in range(20)], encoding))
    done = add("a.csv", *SAID)
    assert done.exit_code == 0, done.output
    assert entry(legal, "a")["encoding"] == encoding
    assert f"Its bytes look as if the text is written in {encoding}" in done.output
    assert f"{answer} 0" in done.output.split("then a line reads:")[1].split("If that is wrong")[0]


def test_a_letter_far_down_tells_the_encoding_too(legal: Path, workplace: Path) -> None:
    (workplace / "a.csv").write_bytes(
        table([(f"Who pays item {i}?", f"the tenant pays {i}") for i in range(8_000)] + [("Wer?", "Müller")], "cp1252")
    )
    done = add("a.csv", *SAID)
    assert entry(legal, "a")["encoding"] == "cp1252"
    assert "Müller" in done.output


def test_a_file_in_utf8_with_one_bad_byte_is_not_taken_for_another_encoding(legal: Path, workplace: Path) -> None:
    (workplace / "a.csv").write_bytes(table([(f"Für wen {i}?", f"für Müller {i}") for i in range(20)]) + b"bad \xff,byte\r\n")
    done = add("a.csv", *SAID)
    assert done.exit_code == 3
    assert "0xff" in done.output
    assert "cp1252" not in done.output


def test_an_encoding_that_is_said_is_used(legal: Path, workplace: Path) -> None:
    (workplace / "a.csv").write_bytes(table([(f"Kdo platí nájem {i}?", f"nájemce {i} v září") for i in range(20)], "cp1250"))
    done = add("a.csv", "--encoding", "cp1250", *SAID)
    assert entry(legal, "a")["encoding"] == "cp1250"
    assert "You say that the text is written in cp1250" in done.output
    (workplace / "b.csv").write_bytes(table([("why?", "so")]))
    assert "is no text encoding" in add("b.csv", "--encoding", "rot13", *SAID).output
    made = docx.Document()
    made.add_paragraph("A paragraph that is long enough.")
    made.save(str(workplace / "c.docx"))
    assert "--encoding for a text file" in add("c.docx", "--encoding", "cp1252", *SAID).output


def test_what_cleaning_will_set_aside_is_counted(legal: Path, workplace: Path) -> None:
    (workplace / "a.csv").write_bytes(table([(f"Who pays {i}?", f"tenant {i}" if i > 2 else "") for i in range(30)]))
    assert (
        "Of the first 30 rows, about 27 can be used, as far as a single row tells, 3 set aside: empty-answer" in add("a.csv", *SAID).output
    )
    card = legal / "domain.yaml"
    (workplace / "b.jsonl").write_text("".join(json.dumps({"text": f"thirty characters, more or less {i}"}) + "\n" for i in range(5)))
    card.write_text(card.read_text() + "config: {clean: {min_chars: 100}}\n")
    done = add("b.jsonl", "--licence", "CC0-1.0", "--kind", "user", answers="n\n")
    assert "about 0 can be used, as far as a single row tells, 5 set aside: too-short" in done.output


def test_a_classification_gets_its_choices_by_how_often_they_stand_in_the_whole_file(legal: Path, workplace: Path) -> None:
    rows = [(f"Is item {i} due?", "overdue") for i in range(600)] + [
        (f"Is part {i} due?", ["paid", "open", "paid"][i % 3]) for i in range(60)
    ]
    (workplace / "a.csv").write_bytes(table(rows))
    done = add("a.csv", *SAID)
    assert entry(legal, "a")["choices"] == ["overdue", "paid", "open"]
    assert "The answers are 3 values" in done.output


@pytest.mark.parametrize(
    "answers", [[f"the tenant pays {i}" for i in range(60)], ["yes"] * 60, [str(i % 30) for i in range(60)], ["two  spaces", "b"] * 30]
)
def test_free_answers_get_no_choices(answers: list[str], legal: Path, workplace: Path) -> None:
    (workplace / "a.csv").write_bytes(table([(f"What of {i}?", answer) for i, answer in enumerate(answers)]))
    assert add("a.csv", *SAID).exit_code == 0
    assert "choices" not in entry(legal, "a")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--map", "prompt={questoin}", "--map", "response={answer}", "--role", "tune"), "did you mean 'question'?"),
        (("--map", "prompt={question}", "--role", "tune"), "role tune maps prompt, response"),
        (("--map", "text={answer}", "--role", "corpus"), "none of the first 5"),
        (("--name", "../other"), "should match pattern"),
    ],
)
def test_what_would_use_no_row_is_not_written(words: tuple[str, ...], says: str, legal: Path, workplace: Path) -> None:
    before = {path: path.read_bytes() for path in legal.rglob("*") if path.is_file()}
    (workplace / "a.csv").write_bytes(table([(f"Who {i}?", "x") for i in range(5)]))
    done = add("a.csv", *words, *SAID)
    assert done.exit_code == 2, done.output
    assert says in done.output
    assert {path: path.read_bytes() for path in legal.rglob("*") if path.is_file()} == before


def test_a_new_version_of_a_file_is_told_where_it_belongs(legal: Path, workplace: Path) -> None:
    (workplace / "a.csv").write_bytes(table([(f"Who pays {i}?", f"tenant {i}") for i in range(5)]))
    assert add("a.csv", *SAID).exit_code == 0
    assert "slmforge check legal; for a second dataset" in add("a.csv", *SAID).output
    (workplace / "a.csv").write_bytes(table([(f"Who pays {i}?", f"landlord {i}") for i in range(5)]))
    done = add("a.csv", *SAID)
    assert done.exit_code == 2
    assert f"replace {legal / 'data/a.csv'} by it, then: slmforge check legal" in " ".join(done.output.split())
    assert add("a.csv", "--name", "second", *SAID).exit_code == 0
    assert entry(legal, "second")["source"] == {"path": "data/second.csv"}
    assert b"landlord" in (legal / "data/second.csv").read_bytes()
    assert b"tenant" in (legal / "data/a.csv").read_bytes()


BROKEN = {
    "a.json": (b'[{"text": "one"}, {"text": "tw', "JSON"),
    "b.json": (b"3", "a list of JSON objects"),
    "a.jsonl": (b'{"text": "one"}\n{"text": "tw', "JSON"),
    "a.csv": (b'text\n"one', "CSV"),
    "a.parquet": (b"PAR1 and no more", "parquet"),
    "a.arrow": (b"ARROW1\0\0and no more", "arrow"),
    "a.xlsx": (b"PK\x03\x04and no more", "archive"),
    "a.docx": (b"PK\x03\x04and no more", "archive"),
    "a.zip": (b"PK\x03\x04and no more", "archive"),
    "empty.zip": (b"PK\x05\x06" + bytes(18), "files in an archive"),
    "a.pdf": (b"%PDF-1.7\n1 0 obj", "PDF"),
    "a.xml": (b"<set><row>one</row><ro", "xml"),
    "a.csv.gz": (bytes.fromhex("1f8b08000000000000ff") + b"no more", "gzip"),
    "a.html": (b"", "HTML"),
    "a.doc": (OLE + bytes(600), "a Word file of the old format"),
    "b.docx": (OLE + bytes(600) + "WordDocument".encode("utf-16-le"), "save it as .docx"),
    "a.xls": (OLE + bytes(600), "an Excel file of the old format"),
    "c.docx": (OLE + bytes(600) + "EncryptedPackage".encode("utf-16-le"), "protected by a password"),
    "b.xlsx": (OLE + bytes(600) + "EncryptedPackage".encode("utf-16-le"), "protected by a password"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_in_words(name: str, legal: Path, workplace: Path) -> None:
    content, says = BROKEN[name]
    (workplace / name).write_bytes(content)
    done = add(name, *SAID)
    assert done.exit_code == 3, (done.output, done.exception)
    assert says in done.output
    assert "to do:" in done.output
    assert not list((legal / "data").iterdir())


def test_a_licence_is_judged_when_it_is_answered(legal: Path, workplace: Path) -> None:
    (workplace / "a.csv").write_bytes(table([(f"Who pays {i}?", f"tenant {i}") for i in range(5)]))
    done = add("a.csv", answers="proprietary\nCC0-1.0\nuser\ny\n")
    assert done.exit_code == 0, done.output
    assert "This domain allows: CC0-1.0, CC-BY-4.0, MIT, PSF-2.0" in done.output
    refused, after = done.output.split("licence 'proprietary'")
    assert "LicenseRef-NAME will do, if it stands in `licences:`" in refused
    assert f"to `licences:` in {legal / 'domain.yaml'}: licences: [CC0-1.0, CC-BY-4.0, MIT, PSF-2.0, proprietary]" in after
    assert "Where are the rows from?" in after
    assert entry(legal, "a")["licence"] == "CC0-1.0"


def test_the_command_line_takes_an_encoding(legal: Path, cli: Run, workplace: Path) -> None:
    (workplace / "a.csv").write_bytes(table([(f"Wer {i}?", f"Müller {i}") for i in range(5)], "mac_roman"))
    assert cli("add", "legal", "a.csv", "--encoding", "mac_roman", *SAID).returncode == 0
    assert entry(legal, "a")["encoding"] == "mac_roman"
