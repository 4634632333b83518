"""What can be checked about a molecule (the importer of rdkit, on first use)."""

from functools import lru_cache
from typing import Any


@lru_cache(maxsize=1)
def _chem() -> Any:
    from rdkit import Chem, RDLogger

    logger: Any = RDLogger
    logger.DisableLog("rdApp.*")  # faults come back as reasons, not on the terminal
    return Chem


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
