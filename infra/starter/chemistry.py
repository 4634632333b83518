"""Chemistry starter data: texts on molecules and elements, and questions that RDKit can check."""

import random
from collections.abc import Sequence
from typing import Any

from rdkit import Chem

from infra.starter import common
from infra.starter.common import Files, Row, Slot
from infra.starter.molecules import FACTS, Molecule, all_molecules, split

EVASIONS = [
    "That depends on conditions.",
    "It cannot be told.",
    "Look it up in a table.",
    "It is hard to say.",
]
ASKED = {
    "formula": [
        "Molecule {smiles} ({name}). What is the formula?",
        "SMILES {smiles}. Name: {name}. Molecular formula?",
        "Give the molecular formula of {name}, SMILES {smiles}.",
    ],
    "weight": [
        "Molecule {smiles} ({name}). What is the molecular weight?",
        "SMILES {smiles}. Name: {name}. Molecular weight?",
        "Give the weight of {name}, SMILES {smiles}, with one decimal.",
    ],
    "canonical": ["Write the canonical SMILES of {other} ({name})."],
}


def molecule_slots(m: Molecule) -> list[Slot]:
    """What a text may say about a molecule."""
    name, groups = m.name, m.groups
    family = f"a compound with {common.listing(groups)}" if groups else "a compound without named groups"
    rings = {0: "no ring", 1: "one ring", 2: "two rings"}.get(m.rings, f"{m.rings} rings")
    return [
        (
            f"{name} is {family}.",
            f"chemists describe {name} as {family}.",
            f"the sample labelled {name} holds {family}.",
        ),
        (
            f"its molecular formula is {m.formula}.",
            f"the formula reads {m.formula}.",
            f"counting atoms gives {m.formula} for {name}.",
        ),
        (
            f"the molecular weight is {m.weight} g/mol.",
            f"one mole of it weighs {m.weight} grams.",
            f"with {m.weight} g/mol it takes {float(m.weight) / 10:.2f} grams for a tenth of a mole.",
        ),
        (
            f"in SMILES notation it is written {m.smiles}.",
            f"the canonical SMILES is {m.smiles}.",
            f"a database stores it as {m.smiles}.",
        ),
        (
            f"the skeleton counts {m.atoms} heavy atoms and {rings}.",
            f"there are {m.atoms} atoms other than hydrogen in {name}.",
            f"its structure shows {rings}.",
        ),
        (
            f"it can donate hydrogen bonds at {m.donors} places.",
            f"the number of hydrogen bond donors is {m.donors}.",
            f"for hydrogen bonding count {m.donors} donors.",
        ),
        (
            f"rotatable bonds: {m.rotatable}.",
            f"{m.rotatable} of its bonds turn freely by the usual count.",
            f"the flexible part has {m.rotatable} rotatable bonds.",
        ),
        *[_group_remarks(group) for group in groups],
    ]


def _group_remarks(group: str) -> Slot:
    return [f"{remark}." for remark in FACTS["groups"][group]["about"]]


def group_slots(group: str, molecules: Sequence[Molecule], chance: random.Random) -> list[Slot]:
    """A functional group with its remarks, and a few molecules that have it or lack it."""
    having = [m for m in molecules if m.has(group)]
    lacking = [m for m in molecules if not m.has(group)]
    shown, absent = chance.sample(having, 4), chance.sample(lacking, 2)
    names = common.listing([m.name for m in shown[:3]])
    return [
        (
            f"examples of the group {group} are {names}.",
            f"the group {group} occurs in {names}.",
            f"a chapter on the group {group} begins with {names}.",
        ),
        *[(f"{remark}.", f"note that {remark}.") for remark in FACTS["groups"][group]["about"]],
        *[
            (
                f"{m.name} has the formula {m.formula}.",
                f"the weight of {m.name} is {m.weight} g/mol.",
                f"one draws {m.name} from the SMILES {m.smiles}.",
            )
            for m in shown
        ],
        *[
            (
                f"{m.name} lacks this group.",
                f"by contrast {m.name}, {m.formula}, does not contain it.",
                f"do not look for it in {m.name}.",
            )
            for m in absent
        ],
    ]


def element_slots(e: dict[str, Any]) -> list[Slot]:
    """What a text may say about an element."""
    table = Chem.GetPeriodicTable()
    number = table.GetAtomicNumber(e["symbol"])
    name, mass = table.GetElementName(number).lower(), f"{table.GetAtomicWeight(number):.2f}"
    return [
        (
            f"{name} is {e['state']} at room temperature.",
            f"at room temperature {name} appears as {e['state']}.",
            f"we meet {name} as {e['state']} under normal conditions.",
        ),
        (
            f"its symbol is {e['symbol']} and its atomic number {number}.",
            f"the atomic number is {number}, the symbol {e['symbol']}.",
            f"a nucleus of {name} holds {number} protons.",
        ),
        (
            f"the atomic weight is {mass}.",
            f"one mole of its atoms weighs {mass} grams.",
            f"two moles of atoms of {name} weigh {2 * float(mass):.2f} grams.",
        ),
        (
            f"it stands in group {e['group']} of the periodic table.",
            f"the periodic table lists it in group {e['group']}.",
            f"group {e['group']} is its place among the elements.",
        ),
        (f"{e['note']}.", f"remember: {e['note']}.", f"students learn that {e['note']}."),
    ]


def topics(chance: random.Random, molecules: Sequence[Molecule]) -> list[list[Slot]]:
    """Everything that the texts may be about, shuffled."""
    found = [molecule_slots(m) for m in molecules]
    found += [group_slots(g, molecules, chance) for g in FACTS["groups"] for _ in range(6)]
    found += [element_slots(e) for e in FACTS["elements"]] * 3
    chance.shuffle(found)
    return found


def other_spelling(chance: random.Random, molecule: Molecule) -> str:
    """The same molecule written from another atom; empty if there is no other spelling."""
    mol = Chem.MolFromSmiles(molecule.smiles)
    roots = range(mol.GetNumAtoms())
    found = {str(Chem.MolToSmiles(mol, rootedAtAtom=root)) for root in roots} - {molecule.smiles}
    return chance.choice(sorted(found)) if found else ""


def facts_asked(chance: random.Random, molecules: Sequence[Molecule], kind: str) -> list[Row]:
    """Every question of one kind on these molecules, in every wording, shuffled."""
    rows: list[Row] = []
    for m in molecules:
        answer = {"formula": m.formula, "weight": m.weight, "canonical": m.smiles}[kind]
        other = other_spelling(chance, m) if kind == "canonical" else m.smiles
        rows += [
            {
                "prompt": wording.format(smiles=m.smiles, name=m.name, other=other),
                "response": answer,
                "kind": kind,
                "smiles": m.smiles,
            }
            for wording in ASKED[kind]
            if other
        ]
    chance.shuffle(rows)
    return rows


def groups_asked(chance: random.Random, molecules: Sequence[Molecule]) -> list[Row]:
    """For each molecule one group that it has and one that it lacks."""
    rows: list[Row] = []
    for m in molecules:
        having = m.groups
        lacking = [g for g in FACTS["groups"] if g not in having]
        drawn = [(chance.choice(having), "yes")] if having else []
        for group, answer in [*drawn, (chance.choice(lacking), "no")]:
            prompt = f"Molecule {m.smiles} ({m.name}). Does it contain this group: {group}?"
            rows.append({"prompt": prompt, "response": answer, "kind": "group", "smiles": m.smiles})
    chance.shuffle(rows)
    return rows


def classes_asked(chance: random.Random, molecules: Sequence[Molecule]) -> list[Row]:
    """The class of each molecule whose name shows it, in both wordings."""
    rows = [
        {"prompt": prompt, "response": m.family, "kind": "class", "smiles": m.smiles}
        for m in molecules
        if m.family
        for prompt in (
            f"Molecule {m.smiles} ({m.name}). Which class is it?",
            f"Which class of compound is {m.name}, SMILES {m.smiles}?",
        )
    ]
    chance.shuffle(rows)
    return rows


def judged(chance: random.Random, rows: Sequence[Row]) -> list[Row]:
    """Pairs: the right answer against one that is wrong or evades; every third rejected one evades."""
    answers: dict[str, set[str]] = {}
    for row in rows:
        answers.setdefault(row["kind"], set()).add(row["response"])
    pairs: list[Row] = []
    for number, row in enumerate(rows):
        wrong = sorted(answers[row["kind"]] - {row["response"]})
        rejected = chance.choice(EVASIONS if number % 3 == 0 else wrong)
        kept = {"prompt": row["prompt"], "smiles": row["smiles"], "kind": row["kind"]}
        pairs.append(kept | {"chosen": row["response"], "rejected": rejected})
    return pairs


def unreadable() -> list[Row]:
    """Rows that must be set aside: nobody can read their SMILES."""
    return [
        {"prompt": f"SMILES {smiles}. Molecular formula?", "response": "C6", "kind": "formula", "smiles": smiles}
        for smiles in FACTS["unreadable"]
    ]


def files() -> Files:
    """All chemistry starter files; the order of the draws is part of the data."""
    chance = common.seeded("chemistry")
    seen, held = split(all_molecules())
    formulas, weights = (facts_asked(chance, seen, kind) for kind in ("formula", "weight"))
    spelt, groups, classes = (
        facts_asked(chance, seen, "canonical"),
        groups_asked(chance, seen),
        classes_asked(chance, seen),
    )
    asked = [*formulas[:400], *weights[:300], *spelt[:180]]
    pairs = judged(chance, [*formulas[400:560], *weights[300:420], *groups[430:570], *classes[280:360]])
    evals = {
        "formula-eval": [row for row in facts_asked(chance, held, "formula") if not row["prompt"].startswith("Give")],
        "weight-eval": [row for row in facts_asked(chance, held, "weight") if not row["prompt"].startswith("Give")],
        "group-eval": groups_asked(chance, held),
        "class-eval": classes_asked(chance, held),
    }
    facts = common.dirtied(chance, asked) + unreadable()
    chance.shuffle(facts)
    texts = common.documents(chance, topics(chance, seen), 900)
    return {
        "molecule-texts": common.corpus(chance, texts, "text"),
        "molecule-facts": common.numbered(facts, "fact"),
        "group-present": common.numbered(groups[:430], "group"),
        "molecule-class": common.numbered(classes[:280], "class"),
        "judged-answers": common.numbered(pairs, "pair"),
    } | {name: common.numbered(rows, name) for name, rows in evals.items()}
