"""What can be checked about a molecule (the importer of rdkit, on first use)."""

import re
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Any

# the text around a SMILES that a text presents as one; a word such as "string" is none
PRESENTED = r"\bSMILES(?: string| notation| code)?(?: it is written| is| of)?:? (?=\S{0,400}[A-Z\[\d])(\S+)"
AROUND = ".,;:!?\"'`"  # marks of the sentence: no SMILES begins or ends with one

# at "formula" a token with two capitals or a digit that holds only letters, digits, brackets and charges
FORMULA = r"(?<!mpirical )\b[Ff]ormula(?: is| reads| of it is)?:? (?=[A-Z]\S{0,200}[A-Z\d])([A-Z][A-Za-z0-9()\[\]·.+-]{1,200})"
PART = re.compile(r"([A-Z][a-z]?)(\d{0,4})")
BONDS = {"C": 4, "H": 1, "D": 1, "F": 1, "Cl": 1, "Br": 1, "I": 1, "N": 3, "O": 2, "S": 2}
# functional groups by SMARTS, as the starter data of chemistry ask about them
GROUPS = {
    "alcohol": "[CX4][OX2H]", "phenol": "c[OX2H]", "carboxylic acid": "C(=O)[OX2H]", "ester": "C(=O)O[#6]", "aldehyde": "[CX3H1]=O",
    "ketone": "[#6]C(=O)[#6]", "amine": "[NX3;!$(N[C,S]=[O,N]);!$(N~[N,O])]", "amide": "C(=O)[NX3]", "nitrile": "C#N",
    "nitro group": "[N+](=O)[O-]", "ether": "[#6;!$(C=O)][OX2;!r5,!a][#6;!$(C=O)]", "thiol": "[SX2H]", "alkene": "C=C", "alkyne": "C#C",
    "halogen": "[F,Cl,Br,I]", "aromatic ring": "c1ccccc1",
}  # fmt: skip
SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
CAS = re.compile(r"\bCAS(?: RN| [Rr]egistry)?(?: [Nn]umber| [Nn]o\.?)?[^A-Za-z0-9\n]{0,4}(?:is )?(\d{2,7}-\d{2}-\d)(?!\d)")


@lru_cache(maxsize=1)
def _chem() -> Any:
    from rdkit import Chem, RDLogger

    logger: Any = RDLogger
    logger.DisableLog("rdApp.*")  # faults come back as reasons, not on the terminal
    return Chem


@lru_cache(maxsize=1)
def _symbols() -> frozenset[str]:
    table = _chem().GetPeriodicTable()
    return frozenset({table.GetElementSymbol(number) for number in range(1, 119)} | {"D"})


def smiles_fault(smiles: str) -> str | None:
    """Why RDKit cannot read a SMILES string, or None if it can."""
    chem = _chem()
    molecule = chem.MolFromSmiles(smiles, sanitize=False)
    if molecule is None:
        return "not a SMILES string"
    problems = chem.DetectChemistryProblems(molecule)
    if problems:
        return str(problems[0].Message()).splitlines()[0]
    return None if chem.MolFromSmiles(smiles) is not None else "RDKit cannot read it"


def canonical_fault(smiles: str) -> str | None:
    """The canonical SMILES (RDKit's own; Weininger et al., J Chem Inf Comput Sci 1989) if it is another, or None.

    What cannot be read is `smiles_fault`'s to say.
    """
    chem = _chem()
    molecule = chem.MolFromSmiles(smiles)
    if molecule is None or (canonical := chem.MolToSmiles(molecule)) == smiles:
        return None
    return f"the canonical SMILES is {canonical}"


def fragments_fault(smiles: str) -> str | None:
    """How many unconnected molecules a SMILES holds if more than one: a salt, a solvate or a mixture; else None."""
    if "." not in smiles:
        return None
    chem = _chem()
    molecule = chem.MolFromSmiles(smiles)
    if molecule is None or (count := len(chem.GetMolFrags(molecule))) == 1:
        return None
    return f"{count} fragments"


def formula_fault(formula: str) -> str | None:
    """Why a molecular formula cannot be one, or None.

    Symbols must be elements. For neutral formulas with carbon and of C, H, N, O, S and halogens alone, the rings and
    double bonds must be a whole number and not negative (nitrogen rule and degree of unsaturation: Pellegrin, J Chem
    Educ 1983; Senior's rule in Kind and Fiehn, BMC Bioinformatics 2007): no radicals. Brackets and charges are only read
    for their symbols.
    """
    counts: dict[str, int] = {}
    for symbol, number in PART.findall(formula):
        if symbol not in _symbols():
            return f"{symbol} is no element"
        counts[symbol] = counts.get(symbol, 0) + int(number or 1)
    if PART.sub("", formula).strip("0123456789()[]·.+-"):
        return "no molecular formula"
    whole = PART.fullmatch(formula) is not None or "".join(a + b for a, b in PART.findall(formula)) == formula
    if not whole or "C" not in counts or not set(counts) <= set(BONDS):
        return None
    doubled = 2 + sum((BONDS[symbol] - 2) * count for symbol, count in counts.items())
    if doubled < 0:
        return "more hydrogen or halogen than the other atoms can bind"
    return "an odd number of bonds: no closed-shell molecule" if doubled % 2 else None


def cas_fault(text: str) -> str | None:
    """Whether a number that the text calls a CAS number has a wrong check digit (by python-stdnum), or None."""
    for found in CAS.finditer(text):
        from stdnum import casrn

        if not casrn.is_valid(found[1]):
            return f"CAS number {found[1]} has a wrong check digit"
    return None


def judged_in(text: str, fault: Callable[[str], str | None], pattern: str | None = None) -> str | None:
    """The first fault among what a text holds: each of its lines, or group 1 of each match of the pattern."""
    held = text.strip().splitlines() if pattern is None else [_bare(found[1]) for found in re.finditer(pattern, text)]
    return next((f"{said}: {one}" for one in held if (said := fault(one.strip()))), None)


def _bare(token: str) -> str:
    """A token without the marks of the sentence around it, such as the bracket that closes a remark."""
    bare = token.strip(AROUND)
    while bare.endswith(")") and bare.count(")") > bare.count("("):
        bare = bare[:-1].strip(AROUND)
    return bare


def formula_atoms(text: str) -> dict[str, int] | None:
    """Atoms by element of a molecular formula such as C2H6O, or None if it is none."""
    plain, counts = text.translate(SUBSCRIPTS), Counter[str]()
    for symbol, number in PART.findall(plain):
        counts[symbol] += int(number or 1)
    whole = plain and "".join(symbol + number for symbol, number in PART.findall(plain)) == plain
    return dict(counts) if whole and set(counts) <= _symbols() else None


def smiles_atoms(smiles: str) -> dict[str, int] | None:
    """Atoms by element of the molecule that a SMILES stands for, hydrogen included, or None if it is none."""
    chem = _chem()
    molecule = chem.MolFromSmiles(smiles) if smiles else None
    return None if molecule is None else dict(Counter(atom.GetSymbol() for atom in chem.AddHs(molecule).GetAtoms()))


def weight(smiles: str) -> float | None:
    """The average molecular weight in g/mol (RDKit's masses), or None if that is no molecule."""
    chem = _chem()
    molecule = chem.MolFromSmiles(smiles) if smiles else None
    return None if molecule is None else float(sum(atom.GetMass() for atom in chem.AddHs(molecule).GetAtoms()))


def canonical(smiles: str) -> str | None:
    """RDKit's own spelling, the same for every spelling of one molecule, or None if that is no molecule."""
    molecule = _chem().MolFromSmiles(smiles) if smiles else None
    return None if molecule is None else str(_chem().MolToSmiles(molecule))


def groups(smiles: str) -> frozenset[str] | None:
    """Names of the functional groups of a molecule, of those in GROUPS, or None if that is no molecule."""
    chem = _chem()
    molecule = chem.MolFromSmiles(smiles) if smiles else None
    if molecule is None:
        return None
    return frozenset(name for name, pattern in GROUPS.items() if molecule.HasSubstructMatch(chem.MolFromSmarts(pattern)))
