"""The starter data are what their cards say: reproducible, right, disjoint, and dirty by the count."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from rdkit import Chem
from rdkit.Chem import rdMolDescriptors

ROOT = Path(__file__).resolve().parents[2]
DOMAINS = ["healthcare", "finance", "chemistry"]
DIRTY = {"healthcare": "note-reading", "finance": "statement-reading", "chemistry": "molecule-facts"}
CORPORA = {"healthcare": "leaflets", "finance": "accounts", "chemistry": "molecule-texts"}
LARGEST = 700_000
GROUPS = {
    "alcohol": "[CX4][OX2H]",
    "phenol": "c[OX2H]",
    "carboxylic acid": "C(=O)[OX2H]",
    "ester": "C(=O)O[#6]",
    "aldehyde": "[CX3H1]=O",
    "ketone": "[#6]C(=O)[#6]",
    "amine": "[NX3;!$(N[C,S]=[O,N]);!$(N~[N,O])]",
    "amide": "C(=O)[NX3]",
    "nitrile": "C#N",
    "nitro group": "[N+](=O)[O-]",
    "ether": "[#6;!$(C=O)][OX2;!r5,!a][#6;!$(C=O)]",
    "thiol": "[SX2H]",
    "alkene": "C=C",
    "alkyne": "C#C",
    "halogen": "[F,Cl,Br,I]",
    "aromatic ring": "c1ccccc1",
}
CLASSES = {
    "alcohol": "alcohol",
    "aldehyde": "aldehyde",
    "ketone": "ketone",
    "acid": "carboxylic acid",
    "ester": "ester",
    "amine": "amine",
    "amide": "amide",
    "nitrile": "nitrile",
    "thiol": "thiol",
    "alkene": "alkene",
    "alkyne": "alkyne",
    "halide": "halogen",
    "ether": "ether",
}


def rows(domain: str, name: str) -> list[dict[str, str]]:
    text = (ROOT / "domains" / domain / "data" / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


def named(domain: str, *, held_out: bool) -> list[str]:
    found = (path.stem for path in (ROOT / "domains" / domain / "data").glob("*.jsonl"))
    return sorted(n for n in found if n.endswith("-eval") == held_out and n != CORPORA[domain])


@pytest.fixture(scope="module")
def made_again(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("starter")
    command = [sys.executable, "-m", "infra.starter", "--into", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120)
    return folder


@pytest.mark.long
@pytest.mark.parametrize("domain", DOMAINS)
def test_made_again_byte_for_byte(domain: str, made_again: Path) -> None:
    committed = sorted((ROOT / "domains" / domain / "data").glob("*.jsonl"))
    assert [p.name for p in committed] == sorted(p.name for p in (made_again / domain / "data").iterdir())
    for path in committed:
        assert path.read_bytes() == (made_again / domain / "data" / path.name).read_bytes(), path.name
        assert path.stat().st_size < LARGEST, path.name


@pytest.mark.parametrize("domain", DOMAINS)
def test_eval_prompts_are_in_no_training_file(domain: str) -> None:
    trained = {row["prompt"] for name in named(domain, held_out=False) for row in rows(domain, name)}
    held = [row["prompt"] for name in named(domain, held_out=True) for row in rows(domain, name)]
    assert not trained & set(held)
    assert len(set(held)) == len(held) >= 300


@pytest.mark.parametrize("domain", DOMAINS)
def test_faults_are_counted_as_in_the_card(domain: str) -> None:
    texts = Counter(row["text"] for row in rows(domain, CORPORA[domain]))
    assert texts.pop("\ufeff") == 2
    assert sum(count - 1 for count in texts.values()) == 5
    tune = rows(domain, DIRTY[domain])
    assert sum(not row["response"] for row in tune) == 4
    assert len(tune) - len({(row["prompt"], row["response"]) for row in tune}) == 6
    card = (ROOT / "domains" / domain / "README.md").read_text(encoding="utf-8")
    for name in [CORPORA[domain], *named(domain, held_out=False)]:
        assert f"| {name} | {len(rows(domain, name))} |" in card


@pytest.mark.parametrize("domain", DOMAINS)
def test_documents_are_not_near_duplicates(domain: str) -> None:
    texts = sorted({row["text"] for row in rows(domain, CORPORA[domain])} - {"\ufeff"})
    words = [text.lower().split() for text in texts]
    runs = [{tuple(w[i : i + 5]) for i in range(len(w) - 4)} for w in words]
    alike = max(len(a & b) / len(a | b) for n, a in enumerate(runs[:150]) for b in runs[n + 1 :])
    assert alike < 0.6
    assert all(60 <= len(w) <= 140 for w in words)


@pytest.mark.parametrize("domain", DOMAINS)
def test_rejected_answers_are_not_the_chosen_ones(domain: str) -> None:
    pairs = rows(domain, "judged-answers")
    assert len(pairs) >= 500
    assert all(pair["chosen"] and pair["chosen"].lower() != pair["rejected"].lower() for pair in pairs)


def test_healthcare_extracted_answers_stand_in_the_note() -> None:
    for row in rows("healthcare", "note-reading") + rows("healthcare", "reading-eval"):
        note, _, question = row["prompt"].partition(" Question: ")
        assert question
        assert row["response"] in note


def computed(prompt: str) -> str:
    """The answer worked out from the statement alone."""
    figures = re.findall(r"(revenue|cost) (\d{4}) (\d+)", prompt)
    (_, first, old), (_, last, new), (_, _, cost) = figures
    question = prompt.partition("Question: ")[2]
    income, spent = int(new), int(cost)
    answers = {
        f"What was revenue in {last}?": new,
        f"What was cost in {last}?": cost,
        f"What is the gross profit in {last}?": str(income - spent),
        "What is the growth of revenue in percent?": tenths((income - int(old)) * 1000, int(old)),
        f"What is the gross margin in {last}?": tenths((income - spent) * 1000, income),
        "Which year had higher revenue?": last if income > int(old) else first,
    }
    return str(answers[question])


def tenths(part: int, whole: int) -> str:
    """A quotient of tenths, half away from zero, in whole numbers only."""
    size = (2 * abs(part) + whole) // (2 * whole)
    return f"{'-' if part < 0 else ''}{size // 10}.{size % 10} %"


def test_finance_answers_follow_from_the_statement() -> None:
    for row in rows("finance", "statement-reading") + rows("finance", "statement-eval"):
        if row["response"]:
            assert computed(row["prompt"]) == row["response"], row["prompt"]
    for pair in rows("finance", "judged-answers"):
        if pair["prompt"].startswith("Statement"):
            assert computed(pair["prompt"]) == pair["chosen"] != pair["rejected"]


def chemistry_answer(row: dict[str, str], mol: Any) -> str:
    prompt = row["prompt"]
    match row["kind"]:
        case "formula":
            return str(rdMolDescriptors.CalcMolFormula(mol))
        case "weight":
            weight = sum(atom.GetMass() for atom in Chem.AddHs(mol).GetAtoms())
            said = row.get("response") or row["chosen"]
            near = abs(weight - float(said)) < 0.05 + 1e-6  # a sum in another order may round a tie otherwise
            return said if near and re.fullmatch(r"\d+\.\d", said) else f"{weight:.1f}"
        case "canonical":
            spelt = prompt.removeprefix("Write the canonical SMILES of ").split()[0]
            return str(Chem.MolToSmiles(Chem.MolFromSmiles(spelt)))
        case "group":
            asked = prompt.partition("this group: ")[2].removesuffix("?")
            return "yes" if mol.HasSubstructMatch(Chem.MolFromSmarts(GROUPS[asked])) else "no"
        case _:
            answer = row.get("response") or row["chosen"]
            plain = {atom.GetSymbol() for atom in mol.GetAtoms()} == {"C"}
            single = all(bond.GetBondTypeAsDouble() == 1 for bond in mol.GetBonds())
            if answer == "alkane":
                return answer if plain and single else "not an alkane"
            pattern = Chem.MolFromSmarts(GROUPS[CLASSES[answer]])
            return answer if mol.HasSubstructMatch(pattern) else f"not an {answer}"


def test_chemistry_answers_hold_by_rdkit() -> None:
    unreadable = 0
    for name in named("chemistry", held_out=False) + named("chemistry", held_out=True):
        for row in rows("chemistry", name):
            mol = Chem.MolFromSmiles(row["smiles"])
            if mol is None:
                unreadable += 1
                continue
            assert row["smiles"] in row["prompt"] or row["kind"] == "canonical"
            answer = row.get("response", row.get("chosen"))
            if answer:
                assert chemistry_answer(row, mol) == answer, row["prompt"]
    assert unreadable == 3


def test_chemistry_molecules_are_held_out_everywhere() -> None:
    trained = {row["smiles"] for name in named("chemistry", held_out=False) for row in rows("chemistry", name)}
    held = {row["smiles"] for name in named("chemistry", held_out=True) for row in rows("chemistry", name)}
    assert not trained & held
