"""Each count of dirt in the published files' SOURCES.md, counted again from the files, and what the data stages tell of it.

docs/published-data.md says of each where it is told, or why it is left as it is.
"""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable
from itertools import product

import pytest
from rdkit import Chem, RDLogger

from tests.published import ROOT, Prepared, again, beside, holding, jsonl, table, text

pytestmark = beside

Counts = tuple[object, ...]


def genetics() -> Counts:
    texts = [row["text"] for row in jsonl("healthcare/corpus/medquad_ghr_answers.jsonl")]
    return again(texts), max(Counter(texts).values()), sum(len(found) < 50 for found in texts), holding(r"\s{3,}", texts)


def medquad() -> Counts:
    rows = jsonl("healthcare/sft/medquad_qa.jsonl")
    answers = [row["answer"] for row in rows]
    of_question: dict[str, set[str]] = {}
    for row in rows:
        of_question.setdefault(row["question"], set()).add(row["answer"])
    repeated = again(answers), again([row["question"] for row in rows]), again([(row["question"], row["answer"]) for row in rows])
    return answers.count(""), *repeated, sum(len(found) > 1 for found in of_question.values())


def medquad_letters() -> Counts:
    answers = [row["answer"] for row in jsonl("healthcare/sft/medquad_qa.jsonl")]
    glued, phone, mail = r"[a-z][.?!][A-Z][a-z]", r"\d{3}\)?[-. ]\d{3}[-. ]\d{4}", r"[\w.+-]+@[\w-]+\.\w+"
    return tuple(holding(pattern, answers) for pattern in (r"\s{3,}", glued, phone, mail, "https?://"))


def pubmedqa() -> Counts:
    rows = list(json.loads(text("healthcare/sft/pubmedqa_pqal_train_dev.json")).values())
    sections = [section for row in rows for section in row["CONTEXTS"]]
    labels = Counter(row["final_decision"] for row in rows)
    found = sum(not row.get("YEAR") for row in rows), holding("\xa0", sections), holding("<[A-Za-z/][^<>]*>", sections)
    return *found, labels["yes"], labels["no"], labels["maybe"]


def mts() -> Counts:
    rows = table("healthcare/sft/mts_dialog_train.csv")
    notes = [row["section_text"] for row in rows]
    lengths = [len(note) for note in notes]
    headers = Counter(row["section_header"] for row in rows)
    return again([row["dialogue"] for row in rows]), again(notes), min(lengths), max(lengths), headers["FAM/SOCHX"]


def liveqa() -> Counts:
    rows = jsonl("healthcare/preference/liveqa_medquad_judged_answers.jsonl")
    judged: dict[tuple[str, str], set[str]] = {}
    marks: dict[str, list[int]] = {}
    for row in rows:
        judged.setdefault((row["qid"], row["answer"]), set()).add(row["judgment"])
        marks.setdefault(row["qid"], []).append(int(row["judgment"][0]))
    pairs = [pair for found in marks.values() for pair in product(found, found)]
    both = sum(max(found) >= 3 > min(found) for found in marks.values())
    twice, blank = sum(len(found) > 1 for found in judged.values()), sum(not row["question_paraphrase"] for row in rows)
    return twice, blank, both, len(marks), sum(a >= 3 > b for a, b in pairs), sum(a > b for a, b in pairs)


def minutes() -> Counts:
    texts = [row["text"] for row in jsonl("finance/corpus/fomc_minutes_2001_2014.jsonl")]
    marks = sum(found.startswith("\ufeff") for found in texts), texts.count("\ufeff")
    return *marks, again(texts), holding("\ufffd", texts), holding("[\x80-\x9f]", texts), holding("\n", texts)


def tatqa() -> Counts:
    pages = json.loads(text("finance/sft/tatqa_dataset_dev.json"))
    paragraphs = [part["text"] for page in pages for part in page["paragraphs"]]
    asked = [part["question"] for page in pages for part in page["questions"]]
    short = sum(len(part) < 50 for part in paragraphs)
    return again(paragraphs), short, again(asked), holding("\xa0", paragraphs), holding(r"&#?\w+;", paragraphs)


def convfinqa() -> Counts:
    rows = json.loads(text("finance/sft/convfinqa_dev.json"))
    texts = [row["text"] for row in rows]
    empty, words = sum(not row["golden_text"] for row in rows), sum(row["answer"] in ("yes", "no") for row in rows)
    return holding(r"\b2019s\b", texts), again(texts), empty, words, len(rows) - words, holding("[A-Z]", texts)


def banking() -> Counts:
    rows = table("finance/sft/banking77_train.csv")
    texts, classes = [row["text"] for row in rows], Counter(row["category"] for row in rows).values()
    return sum(found != found.strip() for found in texts), holding("\n", texts), min(classes), max(classes)


def openstax() -> Counts:
    texts = [row["text"] for row in jsonl("chemistry/corpus/openstax_chemistry_modules.jsonl")]
    whole, tag = "\x1f".join(texts), "</?[a-zA-Z][^>]*>"
    sizes = round(sum(map(len, texts)) / 1e6, 2), round(sum(len(re.sub(tag, "", found)) for found in texts) / 1e6, 2)
    marks = sum(len(re.findall(tag, found)) for found in texts), whole.count("<math"), holding(r"&#?\w+;", texts)
    return *sizes, *marks, whole.count("{:"), len(re.findall(r"\[link\\?\]", whole)), holding(r"\A---", texts)


def canonical(smiles: str) -> str | None:
    RDLogger.DisableLog("rdApp.*")  # type: ignore[attr-defined]  # rdkit ships no stub for its logger
    molecule = Chem.MolFromSmiles(smiles.strip())
    return None if molecule is None else Chem.MolToSmiles(molecule)


def chebi() -> Counts:
    lines = io.StringIO(text("chemistry/sft/chebi20_validation.txt"))
    rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    told = [row["description"] for row in rows]
    smiles = [row["SMILES"] for row in rows]
    return (
        sum(not found.startswith("The molecule") for found in told),
        again(told),
        holding(r"\.", smiles),
        [*map(canonical, smiles)].count(None),
    )


def differing(path: str, columns: list[str]) -> Counts:
    """SMILES that cannot be read, repeats of the others as molecules, and molecules that have more than one row of values."""
    values: dict[str | None, list[tuple[str, ...]]] = {}
    for row in table(path):
        values.setdefault(canonical(row["smiles"]), []).append(tuple(row[column] for column in columns))
    wrong = values.pop(None, [])
    return len(wrong), sum(len(found) - 1 for found in values.values()), sum(len(set(found)) > 1 for found in values.values())


def solubility() -> Counts:
    path = "chemistry/sft/esol_delaney-processed.csv"
    return holding(r"\s\Z", [row["smiles"] for row in table(path)]), *differing(path, ["measured log solubility in mols per litre"])


def tox21() -> Counts:
    rows = table("chemistry/sft/tox21.csv")
    assays = [name for name in rows[0] if name not in ("mol_id", "smiles")]
    empty = sum(row[assay] == "" for row in rows for assay in assays)
    return again([row["smiles"] for row in rows]), empty, *differing("chemistry/sft/tox21.csv", assays)


def bbbp() -> Counts:
    labels = Counter(row["p_np"] for row in table("chemistry/sft/bbbp.csv"))
    return *differing("chemistry/sft/bbbp.csv", ["p_np"]), labels["1"], labels["0"]


def molskill() -> Counts:
    chosen: dict[frozenset[str], list[str]] = {}
    for row in table("chemistry/preference/molskill_production_public.csv"):
        pair = row["smiles_i"], row["smiles_j"]
        chosen.setdefault(frozenset(pair), []).append(pair[int(row["label"])])
    return sum(len(found) - 1 for found in chosen.values()), sum(len(set(found)) > 1 for found in chosen.values())


def pilots() -> Counts:
    found: list[int] = []
    for number in (1, 2):
        rows = table(f"chemistry/preference/molskill_pre_r{number}.csv")
        votes = [{value for name, value in row.items() if name.startswith("rater_") and value} for row in rows]
        found += [again([frozenset((row["smiles_i"], row["smiles_j"])) for row in rows]), sum(len(cast) == 1 for cast in votes), len(rows)]
    return tuple(found)


def general() -> Counts:
    wiki = [text(f"general/wikitext2_{part}.txt") for part in ("valid", "test")]
    blank = [round(sum(not line.strip() for line in found.splitlines()) / found.count("\n"), 1) for found in wiki]
    marked = all(mark in found for found in wiki for mark in ("@-@", "@,@"))
    return *(found.count("<unk>") for found in wiki), *blank, marked


def novel() -> Counts:
    book = text("general/gutenberg_1342_pride_and_prejudice.txt")
    return book.startswith("\ufeff"), book.count("\r\n") == book.count("\n"), len(re.findall(r"\*\*\* (?:START|END) OF", book))


def line_ends() -> Counts:
    files = "healthcare/sft/mts_dialog_train.csv", "chemistry/sft/bbbp.csv"
    return tuple("\r\n" in text(path) and not re.search(r"(?<!\r)\n", text(path)) for path in files)


RAW: list[tuple[Callable[[], Counts], Counts]] = [
    (genetics, (450, 348, 12, 1086)),
    (medquad, (792, 848, 949, 48, 482)),
    (medquad_letters, (2149, 48, 38, 11, 38)),
    (pubmedqa, (36, 32, 5, 276, 169, 55)),
    (mts, (2, 130, 5, 6237, 351)),
    (liveqa, (45, 8, 25, 69, 620, 1089)),
    (minutes, (120, 5, 9, 9, 11, 0)),
    (tatqa, (33, 270, 19, 42, 2)),
    (convfinqa, (248, 203, 228, 3, 418, 0)),
    (banking, (9, 10, 35, 187)),
    (openstax, (6.44, 3.32, 291085, 5498, 123, 3053, 957, 137)),
    (chebi, (0, 1, 160, 0)),
    (solubility, (212, 0, 11, 6)),
    (tox21, (183, 16595, 8, 183, 130)),
    (bbbp, (11, 64, 10, 1567, 483)),
    (molskill, (30, 7)),
    (pilots, (21, 62, 218, 19, 26, 220)),
    (general, (11718, 15218, 0.3, 0.3, True)),
    (novel, (True, True, 2)),
    (line_ends, (True, True)),
]


@pytest.mark.parametrize(("count", "published"), RAW, ids=[count.__name__ for count, _ in RAW])
def test_the_published_counts_are_those_of_the_files(count: Callable[[], Counts], published: Counts) -> None:
    assert count() == published


# what is told, dataset by dataset; docs/published-data.md explains where it differs from the counts above
TOLD: dict[tuple[str, str], dict[str, int]] = {
    ("healthcare", "genetics-answers"): {"exact-repeat": 449, "near-repeat": 37},
    ("healthcare", "medquad"): {"empty-answer": 792, "exact-repeat": 48},
    ("healthcare", "pubmedqa"): {},
    ("healthcare", "mts-dialog"): {"exact-repeat": 1, "eval-overlap": 1},
    ("healthcare", "liveqa-judged"): {"contradictory-rating": 93, "exact-repeat": 2, "no-counterpart": 135},
    ("finance", "fomc-minutes"): {"bom-only": 5, "exact-repeat": 5},
    ("finance", "tatqa"): {"exact-repeat": 1},
    ("finance", "convfinqa"): {},
    ("finance", "banking77"): {"exact-repeat": 4},
    ("chemistry", "openstax"): {},
    ("chemistry", "chebi"): {},
    ("chemistry", "solubility"): {"contradictory-value": 12, "exact-repeat": 5},
    ("chemistry", "mitochondria"): {"missing-value": 2092, "unreadable-smiles": 8, "contradictory-label": 12, "exact-repeat": 104},
    ("chemistry", "bbbp"): {"unreadable-smiles": 11, "contradictory-label": 20, "exact-repeat": 54},
    ("chemistry", "molskill"): {"contradictory-choice": 14, "exact-repeat": 23},
    ("chemistry", "molskill-pilot-1"): {"contradictory-choice": 2, "exact-repeat": 20, "unreadable-smiles": 7},
    ("chemistry", "molskill-pilot-2"): {"contradictory-choice": 2, "exact-repeat": 16, "unknown-value": 15},
}


@pytest.mark.parametrize(("domain", "name"), TOLD)
def test_what_is_set_aside_is_what_the_table_says(domain: str, name: str, full: dict[str, Prepared]) -> None:
    assert full[domain].lines[name].set_aside == TOLD[domain, name]


# failing rows of the expectations that tell of letters and marks, in their order in expectations.yaml
VERDICTS: dict[tuple[str, str], list[int]] = {
    ("healthcare", "corpus"): [1086, 12],
    ("healthcare", "tune"): [2154, 48, 38, 11, 38, 20, 5],
    ("healthcare", "general"): [694, 456],
    ("finance", "tune"): [104, 6, 248],
    ("chemistry", "corpus"): [137, 123, 108],
}


@pytest.mark.parametrize(("domain", "role"), VERDICTS)
def test_letters_and_marks_are_told_and_stop_nothing(domain: str, role: str, full: dict[str, Prepared]) -> None:
    asked = [verdict for verdict in full[domain].verdicts if verdict.role == role and verdict.severity == "info"]
    found = [verdict for verdict in asked if verdict.expectation == "expect_column_values_to_not_match_regex"]
    assert [verdict.failing for verdict in found] == VERDICTS[domain, role]
    assert not any(verdict.stops for verdict in found)


def test_the_table_names_every_count_and_what_is_told() -> None:
    page = (ROOT / "docs" / "published-data.md").read_text(encoding="utf-8").replace(",", "")
    counts = [str(value) for _, published in RAW for value in published if isinstance(value, int) and value > 2]
    told = [f"{reason} {rows}" for reasons in TOLD.values() for reason, rows in reasons.items()]
    told += [str(rows) for failing in VERDICTS.values() for rows in failing]
    assert [value for value in [*counts, *told] if not re.search(rf"(?<![\w.]){re.escape(value)}(?![\d])", page)] == []
