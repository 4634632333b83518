"""The published files, read where they lie beside the checkout: their known dirt is found and named.

What is expected is counted from the raw files here, and agrees with the counts in their SOURCES.md.
"""

import json
import re
from collections import Counter

import pytest
from rdkit import Chem, RDLogger

from tasks.lib import digests, readers
from tasks.lib.domain import Dataset
from tasks.lib.records import LedgerLine, iterate
from tasks.lib.sources import ResolvedDataset, SourceFile
from tests.published import DOMAINS, MIRROR, Prepared, beside, jsonl, table

pytestmark = beside

FIRST = 2  # the first row of a table below its header, as a spreadsheet counts


def repeats(texts: list[str], first: int = 1) -> set[int]:
    """Row numbers of texts that stood earlier, spacing aside."""
    seen: set[str] = set()
    found = set()
    for number, text in enumerate(texts, start=first):
        key = " ".join(text.replace("\ufeff", "").split())
        if key in seen:
            found.add(number)
        seen.add(key)
    return found


def unreadable(smiles: list[str]) -> set[int]:
    RDLogger.DisableLog("rdApp.*")  # type: ignore[attr-defined]  # rdkit ships no stub for its logger
    return {number for number, text in enumerate(smiles, start=FIRST) if Chem.MolFromSmiles(text.strip()) is None}


def canonical(smiles: str) -> str:
    molecule = Chem.MolFromSmiles(smiles.strip())
    return smiles if molecule is None else Chem.MolToSmiles(molecule)


def numbers(aside: dict[str, str], reason: str) -> set[int]:
    return {int(identifier.rsplit(":", 1)[1]) for identifier, why in aside.items() if why == reason}


def test_every_published_file_is_read_by_a_domain_or_can_be(full: dict[str, Prepared]) -> None:
    """What no domain uses is understood with a few lines of a card, and no row of it vanishes."""
    used = {line.sha256 for prepared in full.values() for line in prepared.split.ledger}
    files = {digests.of_file(file): file for file in MIRROR.rglob("*") if file.is_file() and file.name not in ("SOURCES.md", "NOTICES.txt")}
    rest = {file.name: file for sha256, file in files.items() if sha256 not in used}
    assert set(rest) <= {"banking77_categories.json", "wikitext2_test.txt", "gutenberg_1342_pride_and_prejudice.txt"}
    for name, file in rest.items():
        card = {"records": ".[] | {text: .}"} if name.endswith(".json") else {}
        about = {"name": "rest", "role": "corpus", "licence": "x", "kind": "public", "source": {"path": name}}
        dataset = Dataset.model_validate({**about, "map": {"text": "{text}"}, **card})
        source = SourceFile(name=name, sha256=digests.of_file(file), bytes=file.stat().st_size, path=file)
        read = [row.columns["text"] for row in readers.read(ResolvedDataset.of(dataset, [source]))]
        text = file.read_text(encoding="utf-8-sig")
        counted = json.loads(text) if card else [part for part in re.split(r"\n[ \t]*(?:\n[ \t]*)+", f"\n{text}\n") if part.strip()]
        assert [" ".join(value.split()) for value in read] == [" ".join(value.split()) for value in counted]


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_row_of_every_file_is_accounted_for_in_every_stage(domain: str, full: dict[str, Prepared]) -> None:
    prepared = full[domain]
    assert [record.stage for record in prepared.stages] == ["ingest", "clean", "dedup", "split"]
    for record in prepared.stages:
        lines = [LedgerLine.model_validate(line) for line in record.facts["ledger"]]
        assert all(line.rows_in == line.rows_used + sum(line.set_aside.values()) for line in lines)
        assert [line.rows_in for line in lines] == [line.rows_in for line in prepared.split.ledger]
    for name, line in prepared.lines.items():
        assert Counter(prepared.aside(name).values()) == Counter(line.set_aside)


ROW_COUNTS = {
    ("healthcare", "genetics-answers"): lambda: len(jsonl("healthcare/corpus/medquad_ghr_answers.jsonl")),
    ("healthcare", "pubmedqa"): lambda: len(json.loads((MIRROR / "healthcare/sft/pubmedqa_pqal_train_dev.json").read_text())),
    ("healthcare", "mts-dialog"): lambda: len(table("healthcare/sft/mts_dialog_train.csv")),
    ("healthcare", "liveqa-judged"): lambda: len(jsonl("healthcare/preference/liveqa_medquad_judged_answers.jsonl")),
    ("finance", "tatqa"): lambda: sum(len(p["questions"]) for p in json.loads((MIRROR / "finance/sft/tatqa_dataset_dev.json").read_text())),
    ("finance", "convfinqa"): lambda: len(json.loads((MIRROR / "finance/sft/convfinqa_dev.json").read_text())),
    ("finance", "banking77"): lambda: len(table("finance/sft/banking77_train.csv")),
    ("chemistry", "openstax"): lambda: len(jsonl("chemistry/corpus/openstax_chemistry_modules.jsonl")),
    ("chemistry", "chebi"): lambda: len((MIRROR / "chemistry/sft/chebi20_validation.txt").read_text().strip().split("\n")) - 1,
    ("chemistry", "molskill"): lambda: len(table("chemistry/preference/molskill_production_public.csv")),
}


@pytest.mark.parametrize(("domain", "name"), ROW_COUNTS)
def test_every_row_of_the_file_is_read(domain: str, name: str, full: dict[str, Prepared]) -> None:
    assert full[domain].lines[name].rows_in == ROW_COUNTS[domain, name]()


def test_medquad_answers_that_the_publisher_removed_are_empty_answers(full: dict[str, Prepared]) -> None:
    rows = jsonl("healthcare/sft/medquad_qa.jsonl")
    empty = {n for n, row in enumerate(rows, start=1) if not row["answer"].strip()}
    assert len(empty) == 792
    aside = full["healthcare"].aside("medquad")
    assert numbers(aside, "empty-answer") == empty
    asked = [f"{row['question']} \x1f {row['answer']}" for row in rows]
    assert numbers(aside, "exact-repeat") == repeats(asked) - empty


def test_genetics_texts_that_repeat_are_set_aside_and_one_of_each_stays(full: dict[str, Prepared]) -> None:
    texts = [row["text"] for row in jsonl("healthcare/corpus/medquad_ghr_answers.jsonl")]
    again = repeats(texts)
    aside = full["healthcare"].aside("genetics-answers")
    assert len(texts) - len(set(texts)) == 450 <= len(again)
    assert numbers(aside, "exact-repeat") <= again
    assert again <= numbers(aside, "exact-repeat") | numbers(aside, "near-repeat")
    assert set(aside.values()) == {"exact-repeat", "near-repeat"}


def test_mts_dialog_rows_that_are_also_evaluated_train_nothing(full: dict[str, Prepared]) -> None:
    train, held = table("healthcare/sft/mts_dialog_train.csv"), table("healthcare/sft/mts_dialog_valid.csv")
    key = [" ".join(f"{row['section_header']} {row['dialogue']}".split()).casefold() for row in train]
    evaluated = {" ".join(f"{row['section_header']} {row['dialogue']}".split()).casefold() for row in held}
    expected = {n for n, text in enumerate(key, start=FIRST) if text in evaluated}
    assert expected
    assert numbers(full["healthcare"].aside("mts-dialog"), "eval-overlap") == expected


def test_answers_judged_twice_differently_are_contradictory_ratings(full: dict[str, Prepared]) -> None:
    rows = jsonl("healthcare/preference/liveqa_medquad_judged_answers.jsonl")
    judged: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        judged.setdefault((row["qid"], row["answer"]), set()).add(row["judgment"])
    twice = {n for n, row in enumerate(rows, start=1) if len(judged[row["qid"], row["answer"]]) > 1}
    assert sum(len(found) > 1 for found in judged.values()) == 45
    assert twice <= numbers(full["healthcare"].aside("liveqa-judged"), "contradictory-rating")


def test_minutes_that_are_a_mark_alone_and_minutes_that_repeat_are_told_apart(full: dict[str, Prepared]) -> None:
    texts = [row["text"] for row in jsonl("finance/corpus/fomc_minutes_2001_2014.jsonl")]
    marks = {n for n, text in enumerate(texts, start=1) if text == "\ufeff"}
    assert len(marks) == 5
    assert len(texts) - len(set(texts)) == 9
    aside = full["finance"].aside("fomc-minutes")
    assert numbers(aside, "bom-only") == marks
    assert numbers(aside, "exact-repeat") == repeats(texts) - marks
    assert len(repeats(texts) - marks) == 9 - (len(marks) - 1)


@pytest.mark.parametrize(("name", "path", "count"), [("mitochondria", "tox21.csv", 8), ("bbbp", "bbbp.csv", 11)])
def test_molecules_that_cannot_be_read_are_named(name: str, path: str, count: int, full: dict[str, Prepared]) -> None:
    wrong = unreadable([row["smiles"] for row in table(f"chemistry/sft/{path}")])
    assert len(wrong) == count
    assert numbers(full["chemistry"].aside(name), "unreadable-smiles") == wrong


def test_tox21_cells_without_a_measurement_repeats_and_contradictions_are_told_apart(full: dict[str, Prepared]) -> None:
    rows = table("chemistry/sft/tox21.csv")
    wrong = unreadable([row["smiles"] for row in rows])
    missing = {n for n, row in enumerate(rows, start=FIRST) if row["SR-MMP"] == ""} - wrong
    labels: dict[str, set[str]] = {}
    for n, row in enumerate(rows, start=FIRST):
        if n not in wrong | missing:
            labels.setdefault(canonical(row["smiles"]), set()).add(row["SR-MMP"])
    both = {n for n, row in enumerate(rows, start=FIRST) if n not in wrong | missing and len(labels[canonical(row["smiles"])]) > 1}
    aside = full["chemistry"].aside("mitochondria")
    assert numbers(aside, "missing-value") == missing
    assert numbers(aside, "contradictory-label") == both
    rest = [canonical(row["smiles"]) if n not in wrong | missing | both else f"row {n}" for n, row in enumerate(rows, start=FIRST)]
    assert numbers(aside, "exact-repeat") == repeats(rest, FIRST)


@pytest.mark.parametrize(
    ("name", "path", "target", "duplicates", "differing"),
    [
        ("bbbp", "bbbp.csv", "p_np", 64, 10),
        ("solubility", "esol_delaney-processed.csv", "measured log solubility in mols per litre", 11, 6),
    ],
)
def test_molecules_that_are_spelt_otherwise_are_the_same(
    name: str, path: str, target: str, duplicates: int, differing: int, full: dict[str, Prepared]
) -> None:
    rows = table(f"chemistry/sft/{path}")
    wrong = unreadable([row["smiles"] for row in rows])
    told: dict[str, dict[int, str]] = {}
    for n, row in enumerate(rows, start=FIRST):
        if n not in wrong:
            told.setdefault(canonical(row["smiles"]), {})[n] = row[target]
    assert sum(len(found) - 1 for found in told.values()) == duplicates
    assert sum(len(set(found.values())) > 1 for found in told.values()) == differing
    both = {n for found in told.values() if len(set(found.values())) > 1 for n in found}
    aside = full["chemistry"].aside(name)
    # an answer is given to two decimals, so that two measurements may become one value
    assert numbers(aside, "contradictory-label" if name == "bbbp" else "contradictory-value") <= both
    assert both <= {n for why in ("contradictory-label", "contradictory-value", "exact-repeat") for n in numbers(aside, why)} | {
        min(found) for found in told.values()
    }
    again = {n for found in told.values() for n in list(found)[1:]} - both
    assert again <= numbers(aside, "exact-repeat")


def test_letters_lost_in_decoding_are_reported(full: dict[str, Prepared]) -> None:
    texts = [row["text"] for row in jsonl("finance/corpus/fomc_minutes_2001_2014.jsonl")]
    lost = {n for n, text in enumerate(texts, start=1) if "\ufffd" in text}
    controls = {n for n, text in enumerate(texts, start=1) if re.search("[\x80-\x9f]", text)}
    assert (len(lost), len(controls)) == (9, 11)
    (verdict,) = [
        found
        for found in full["finance"].verdicts
        if found.expectation == "expect_column_values_to_hold_well_decoded_text" and found.role == "corpus"
    ]
    assert {f"fomc-minutes:{n}" for n in lost | controls} <= set(verdict.failing_ids) or verdict.failing >= len(lost | controls)
    assert verdict.severity == "warning"


def test_chemists_who_chose_both_of_a_pair_are_contradictory(full: dict[str, Prepared]) -> None:
    rows = table("chemistry/preference/molskill_production_public.csv")
    asked = [((row["smiles_i"], row["smiles_j"]), row[f"smiles_{'j' if row['label'] == '1' else 'i'}"]) for row in rows]
    chosen: dict[tuple[str, str], set[str]] = {}
    for pair, winner in asked:
        chosen.setdefault(pair, set()).add(winner)
    both = {n for n, (pair, _) in enumerate(asked, start=FIRST) if len(chosen[pair]) > 1}
    assert both
    assert both <= numbers(full["chemistry"].aside("molskill"), "contradictory-choice")


def test_groups_of_the_published_files_are_in_one_part(full: dict[str, Prepared]) -> None:
    for prepared in full.values():
        parts: dict[tuple[str, str], set[str]] = {}
        for part in ("tune-train", "tune-valid", "eval"):
            for row in iterate(prepared.split.path, part):
                if row["group"] and row["role"] == "tune":
                    parts.setdefault((row["dataset"], row["group"]), set()).add(part)
        assert parts
        assert all(len(found) == 1 for found in parts.values())


SCORED = {"healthcare": {"pubmedqa": 100, "mts-sections": 100}, "finance": {"tatqa": 150, "banking77": 200}, "chemistry": {"bbbp": 200, "chebi": 100, "solubility": 100}}  # fmt: skip


@pytest.mark.parametrize("domain", DOMAINS)
def test_rows_that_are_scored_are_held_out_and_each_choice_is_one(domain: str, full: dict[str, Prepared]) -> None:
    prepared = full[domain]
    held = list(iterate(prepared.split.path, "eval"))
    counts = Counter(row["dataset"] for row in held)
    assert all(0.9 * wanted <= counts[name] <= 1.1 * wanted for name, wanted in SCORED[domain].items()), counts
    assert all(row["response"] in row["choices"] for row in held if row.get("choices"))
    assert not any("choice" in reason for name in prepared.lines for reason in prepared.aside(name).values() if name in SCORED[domain])
