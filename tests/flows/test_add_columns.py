"""`slmforge add` as a newcomer uses it: ratings, other languages, broken rows, folders, hints that fit the role."""

import csv
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import openpyxl
import pytest

from flows import template
from tasks.lib import domain
from tests.conftest import Run
from tests.flows.test_add import SAID, add, entry

QUESTIONS = [(f"Who pays for item {i}?", f"the tenant pays {i}") for i in range(12)]


@pytest.fixture
def legal(workplace: Path) -> Path:
    return template.write("legal")


def write(path: Path, header: list[str], rows: Sequence[tuple[str, ...]], delimiter: str = ",") -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows([header, *rows])


def rated(name: str) -> list[tuple[str, ...]]:
    rows = [(question, said, mark, "Ann") for question, good in QUESTIONS for said, mark in ((good, "5"), ("no idea", "1"))]
    return [("Question", "Answer", name, "Rated by"), *rows]


@pytest.mark.parametrize(
    "name", ["Rating (1-5)", "SCORE out of 10", "Stars [1–5]", "user rating", "Bewertung", "Puntuación 1-5", "rating %"]
)
def test_a_rating_is_known_by_its_words(name: str, legal: Path, workplace: Path) -> None:
    header, *rows = rated(name)
    write(workplace / "a.csv", list(header), rows)
    done = add("a.csv", *SAID)
    assert done.exit_code == 0, done.output
    assert entry(legal, "a")["role"] == "preference"
    assert entry(legal, "a")["map"] == {"prompt": "{Question}", "answer": "{Answer}", "rating": f"{{{name}}}"}
    assert "about 24 can be used" in done.output
    domain.load("legal")


@pytest.mark.parametrize(("good", "bad"), [("4,5", "4,2"), ("0.9", "0.1"), ("0,25", "0,2"), ("-1,5", "-2")])
def test_ratings_with_decimals_stay_what_they_are(good: str, bad: str, legal: Path, workplace: Path) -> None:
    header, *rows = rated("Bewertung")
    write(workplace / "a.csv", list(header), [(question, said, good if mark == "5" else bad, by) for question, said, mark, by in rows])
    done = add("a.csv", *SAID)
    assert done.exit_code == 0, done.output
    assert "values" not in entry(legal, "a")
    assert f"rating: {good.replace(',', '.')}" in done.output
    assert f"rather: {QUESTIONS[0][1]}" in done.output
    assert "than: no idea" in done.output


def test_grades_of_which_one_is_best_can_be_turned_round(legal: Path, workplace: Path) -> None:
    header, *rows = rated("Bewertung")
    for ending, values in (("", None), (" (as in school)", {"1,3 (as in school)": "1.3", "5 (as in school)": "5"})):
        grades = {"5": f"1,3{ending}", "1": f"5{ending}"}
        write(workplace / "a.csv", list(header), [(question, said, grades[mark], by) for question, said, mark, by in rows])
        done = add("a.csv", "--name", f"first{len(ending)}", *SAID)
        assert f"than: {QUESTIONS[0][1]}" in done.output
        assert entry(legal, f"first{len(ending)}").get("values") == (values and {"Bewertung": values})
        told = re.search(r"If 1 is best, as in school, (?:add )?(.*)\.\n", done.output)
        assert told is not None
        if values is None:
            done = add("a.csv", "--name", "second", *shlex.split(told[1]), *SAID)
            assert done.exit_code == 0, done.output
            assert f"rather: {QUESTIONS[0][1]}" in done.output
        else:
            assert told[1] == "turn the numbers of `values:` round"
        (legal / "data" / "a.csv").unlink()


def test_a_workbook_with_ratings_is_no_list_of_answers_to_imitate(legal: Path, workplace: Path) -> None:
    book = openpyxl.Workbook()
    assert book.active is not None
    for row in rated("Rating (1-5)"):
        book.active.append(row)
    book.save(workplace / "a.xlsx")
    assert add("a.xlsx", *SAID).exit_code == 0
    assert entry(legal, "a")["role"] == "preference"


def test_several_answers_to_a_question_are_told_where_no_name_says_that_they_are_rated(legal: Path, workplace: Path) -> None:
    header, *rows = rated("How she liked it")
    write(workplace / "a.csv", list(header), rows)
    done = add("a.csv", *SAID)
    assert entry(legal, "a")["role"] == "tune"
    assert "12 questions have several answers" in done.output
    assert "'How she liked it'?" in done.output
    write(workplace / "b.csv", ["question", "answer"], [*QUESTIONS, *QUESTIONS])
    assert "several answers" not in add("b.csv", *SAID).output


@pytest.mark.parametrize(
    ("columns", "role", "fields"),
    [
        (("Frage", "Antwort"), "tune", ("prompt", "response")),
        (("question", "Réponse"), "tune", ("prompt", "response")),
        (("Pregunta", "Respuesta"), "tune", ("prompt", "response")),
        (("Texte", "Catégorie"), "tune", ("prompt", "response")),
        (("Texto",), "corpus", ("text",)),
        (("Frage", "Besser", "Schlechter"), "preference", ("prompt", "chosen", "rejected")),
    ],
)
def test_columns_in_other_languages_are_known(
    columns: tuple[str, ...], role: str, fields: tuple[str, ...], legal: Path, workplace: Path
) -> None:
    cells = [(*pair, "somebody else pays")[: len(columns)] for pair in QUESTIONS]
    write(workplace / "a.csv", list(columns), cells)
    done = add("a.csv", *SAID)
    assert done.exit_code == 0, done.output
    assert entry(legal, "a")["role"] == role
    assert entry(legal, "a")["map"] == {field: f"{{{column}}}" for field, column in zip(fields, columns, strict=True)}


@pytest.mark.parametrize(
    ("role", "says"),
    [
        ("preference", ("--role preference", "rating=", "chosen=", "rejected=")),
        ("corpus", ("--role corpus", "text=")),
        ("eval", ("--role eval",)),
    ],
)
def test_the_hint_is_for_the_role_that_was_asked(role: str, says: tuple[str, ...], legal: Path, workplace: Path) -> None:
    write(workplace / "a.csv", ["x", "y"], QUESTIONS)
    done = add("a.csv", "--role", role, *SAID)
    assert done.exit_code == 2
    assert all(word in done.output for word in says), done.output
    assert "--role tune" not in done.output


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_a_wrong_delimiter_is_told(mark: str, legal: Path, cli: Run) -> None:
    write(legal / "data/a.csv", ["Nr", "Frage", "Antwort"], [("1", *pair) for pair in QUESTIONS], mark)
    maps = '{prompt: "{Frage}", response: "{Antwort}"}'
    with (legal / "domain.yaml").open("a") as card:
        card.write(f"  - {{name: a, role: tune, source: {{path: data/a.csv}}, licence: CC0-1.0, kind: user, map: {maps}}}\n")
    done = cli("check", "legal")
    assert done.returncode == 3
    shown = "\\t" if mark == "\t" else mark
    assert f'set `delimiter: "{shown}"`' in done.stderr, done.stderr


def test_a_file_with_a_broken_row_is_added_when_that_is_said(legal: Path, workplace: Path) -> None:
    write(workplace / "a.csv", ["question", "answer"], [("one cell",), *QUESTIONS])
    before = (legal / "domain.yaml").read_bytes()
    done = add("a.csv", *SAID)
    assert done.exit_code == 3
    assert "add --broken set-aside, which sets such rows aside" in done.output
    assert "say `broken" not in done.output
    assert (legal / "domain.yaml").read_bytes() == before
    done = add("a.csv", "--broken", "set-aside", *SAID)
    assert done.exit_code == 0, done.output
    assert entry(legal, "a")["broken"] == "set-aside"
    assert "about 12 can be used, as far as a single row tells, 1 set aside: broken-row" in done.output
    (workplace / "b.csv").write_text("question,answer\none\ntwo\n")
    assert "none of the first 2" in add("b.csv", "--broken", "set-aside", *SAID).output


def test_a_folder_is_added_with_its_files(legal: Path, workplace: Path) -> None:
    folder = workplace / "reports"
    (folder / "old").mkdir(parents=True)
    write(folder / "a.csv", ["question", "answer"], QUESTIONS[:6])
    write(folder / "old/b.csv", ["question", "answer"], QUESTIONS[6:])
    (folder / ".DS_Store").write_bytes(b"none of the data")
    done = add("reports/", *SAID)
    assert done.exit_code == 0, done.output
    assert "Of the first 12 rows, about 12" in done.output
    assert entry(legal, "reports")["source"] == {"path": "data/reports"}
    copied = sorted(path.relative_to(legal / "data").as_posix() for path in (legal / "data").rglob("*") if path.is_file())
    assert copied == ["reports/a.csv", "reports/old/b.csv"]
    assert add("reports", "--name", "same", *SAID).exit_code == 0, "the same content lies there already"
    (folder / "a.csv").write_text("question,answer\nWho?,another\n")
    done = add("reports", "--name", "second", *SAID)
    assert done.exit_code == 0, done.output
    assert entry(legal, "second")["source"] == {"path": "data/second"}
    assert not [path for path in (legal / "data").iterdir() if path.name.startswith(".")]


def test_a_folder_that_cannot_be_one_dataset_is_refused(legal: Path, workplace: Path) -> None:
    before = {path: path.read_bytes() for path in legal.rglob("*") if path.is_file()}
    (workplace / "empty").mkdir()
    assert "add a folder that holds files" in add("empty", *SAID).output
    assert "in which the domain itself lies" in add(".", *SAID).output
    (workplace / "mixed").mkdir()
    write(workplace / "mixed/a.csv", ["question", "answer"], QUESTIONS)
    write(workplace / "mixed/b.csv", ["query", "answer"], QUESTIONS)
    assert "in data/mixed/b.csv the columns 'query', 'answer'" in add("mixed", *SAID).output
    assert "no such file or folder" in add("nowhere", *SAID).output
    assert {path: path.read_bytes() for path in legal.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("names", [("Question!", "Answer!"), ("Question:", "Answer:"), ("Question {old}", "Answer")])
def test_columns_that_no_map_can_name_are_told(names: tuple[str, str], legal: Path, workplace: Path) -> None:
    (workplace / "asked.csv").write_text(f"{','.join(names)}\n" + "".join(f"What is {i}?,It is {i}.\n" for i in range(9)))
    done = add("asked.csv", *SAID)
    assert done.exit_code == 2
    assert f"{names[0]!r}" in done.output
    assert "rename the column" in done.output


@pytest.mark.parametrize("template", ["{question", "{question}}", "{question!r}", "{question:>9}"])
def test_a_map_that_is_none_is_refused(template: str, legal: Path, workplace: Path) -> None:
    (workplace / "asked.csv").write_text("question,answer\n" + "".join(f"What is {i}?,It is {i}.\n" for i in range(9)))
    done = add("asked.csv", *SAID, "--role", "tune", "--map", f"prompt={template}", "--map", "response={answer}")
    assert done.exit_code == 2
    assert "correct --map" in done.output
