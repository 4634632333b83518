"""The molecules of the chemistry starter data, enumerated, named, and described by RDKit alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rdkit import Chem
from rdkit.Chem import rdMolDescriptors

from infra.starter import common

FACTS: dict[str, Any] = common.facts("chemistry")
STEMS = ["meth", "eth", "prop", "but", "pent", "hex", "hept", "oct", "non", "dec", "undec", "dodec"]
STEMS += ["tridec", "tetradec"]
HELD_OUT_EVERY = 5

# name with {stem}, SMILES with {chain} carbon atoms in it, atoms outside the chain, shortest, class
SERIES = [
    ("{stem}ane", "{chain}", 0, 1, "alkane"),
    ("{stem}anol", "{chain}O", 0, 1, "alcohol"),
    ("{stem}an-2-ol", "CC(O){chain}", 2, 3, "alcohol"),
    ("{stem}anal", "{chain}C=O", 1, 2, "aldehyde"),
    ("{stem}an-2-one", "CC(=O){chain}", 2, 3, "ketone"),
    ("{stem}an-3-one", "CCC(=O){chain}", 3, 5, "ketone"),
    ("{stem}anoic acid", "{chain}C(=O)O", 1, 2, "acid"),
    ("methyl {stem}anoate", "{chain}C(=O)OC", 1, 2, "ester"),
    ("ethyl {stem}anoate", "{chain}C(=O)OCC", 1, 2, "ester"),
    ("{stem}ylamine", "{chain}N", 0, 1, "amine"),
    ("{stem}anamide", "{chain}C(N)=O", 1, 2, "amide"),
    ("{stem}anenitrile", "{chain}C#N", 1, 2, "nitrile"),
    ("{stem}ane-1-thiol", "{chain}S", 0, 3, "thiol"),
    ("{stem}-1-ene", "C=C{chain}", 2, 4, "alkene"),
    ("{stem}-1-yne", "C#C{chain}", 2, 4, "alkyne"),
    ("1-fluoro{stem}ane", "{chain}F", 0, 3, "halide"),
    ("1-chloro{stem}ane", "{chain}Cl", 0, 3, "halide"),
    ("1-bromo{stem}ane", "{chain}Br", 0, 3, "halide"),
    ("1-iodo{stem}ane", "{chain}I", 0, 3, "halide"),
    ("methoxy{stem}ane", "{chain}OC", 0, 1, "ether"),
    ("ethoxy{stem}ane", "{chain}OCC", 0, 2, "ether"),
]
PARENTS = {
    "phenol": "O",
    "aniline": "N",
    "toluene": "C",
    "benzoic acid": "C(=O)O",
    "benzonitrile": "C#N",
    "benzaldehyde": "C=O",
}
SUBSTITUENTS = {
    "fluoro": "F",
    "chloro": "Cl",
    "bromo": "Br",
    "iodo": "I",
    "nitro": "[N+](=O)[O-]",
    "methoxy": "OC",
}
RINGS = {2: "c1ccccc1{a}", 3: "c1cccc({a})c1", 4: "c1ccc({a})cc1"}


@dataclass(frozen=True)
class Molecule:
    """A named molecule; `family` is its class where the name alone shows it, otherwise empty."""

    name: str
    smiles: str
    family: str = ""

    @property
    def formula(self) -> str:
        """The formula in the order of Hill."""
        return str(rdMolDescriptors.CalcMolFormula(self._mol))

    @property
    def weight(self) -> str:
        """The average molecular weight with one decimal."""
        (average,) = rdMolDescriptors.Properties(["amw"]).ComputeProperties(self._mol)
        return f"{average:.1f}"

    @property
    def atoms(self) -> int:
        """Atoms other than hydrogen."""
        return int(self._mol.GetNumHeavyAtoms())

    @property
    def rings(self) -> int:
        """Rings of the smallest set."""
        return int(rdMolDescriptors.CalcNumRings(self._mol))

    @property
    def donors(self) -> int:
        """Hydrogen bond donors."""
        return int(rdMolDescriptors.CalcNumHBD(self._mol))

    @property
    def rotatable(self) -> int:
        """Bonds that turn freely."""
        return int(rdMolDescriptors.CalcNumRotatableBonds(self._mol))

    def has(self, group: str) -> bool:
        """Whether the group occurs in the molecule."""
        pattern = Chem.MolFromSmarts(FACTS["groups"][group]["smarts"])
        return bool(self._mol.HasSubstructMatch(pattern))

    @property
    def groups(self) -> list[str]:
        """Every named group that occurs."""
        return [group for group in FACTS["groups"] if self.has(group)]

    @property
    def _mol(self) -> Any:
        return Chem.MolFromSmiles(self.smiles)


def canonical(smiles: str) -> str:
    """RDKit's own spelling; an unreadable one among ours is an error."""
    mol = Chem.MolFromSmiles(smiles)
    if mol is None:
        raise ValueError(f"asked for a molecule, found {smiles!r}: mend the table")
    return str(Chem.MolToSmiles(mol))


def _chains() -> Iterator[Molecule]:
    for name, smiles, outside, shortest, family in SERIES:
        for length, stem in enumerate(STEMS, 1):
            if length >= max(shortest, outside + 1):
                text = smiles.format(chain="C" * (length - outside))
                yield Molecule(name.format(stem=stem), canonical(text), family)
    for length, stem in enumerate(STEMS[:8], 1):
        if length >= 3:
            yield Molecule(f"cyclo{stem}ane", canonical(f"C1{'C' * (length - 1)}1"), "alkane")


def _benzenes() -> Iterator[Molecule]:
    for parent, group in PARENTS.items():
        for prefix, substituent in SUBSTITUENTS.items():
            for place, ring in RINGS.items():
                # the parent's group takes position 1, so the ring is written from its neighbour
                text = _with_parent(group, ring.format(a=substituent))
                yield Molecule(f"{place}-{prefix}{parent}", canonical(text))


def _with_parent(group: str, ring: str) -> str:
    return f"{ring[:2]}({group}){ring[2:]}"


def all_molecules() -> list[Molecule]:
    """Every molecule once, in a fixed order."""
    found: dict[str, Molecule] = {}
    drugs = (Molecule(name, canonical(smiles)) for name, smiles in FACTS["drugs"].items())
    for molecule in [*_chains(), *_benzenes(), *drugs]:
        found.setdefault(molecule.smiles, molecule)
    return list(found.values())


def split(molecules: list[Molecule]) -> tuple[list[Molecule], list[Molecule]]:
    """Every fifth molecule is held out: its facts stand in no other starter file."""
    held = molecules[2::HELD_OUT_EVERY]
    return [m for m in molecules if m not in held], held
