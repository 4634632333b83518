"""Packs of expectations that a domain switches on by name; data, without the library that judges."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.lib.chemistry import FORMULA, PRESENTED
from tasks.lib.errors import ConfigError
from tasks.lib.judgments import HOLD

Entry = dict[str, dict[str, Any]]
Suites = dict[str, list[Entry]]

# all that a model reads or learns to write; a prompt may end in an empty heading on purpose, and a wrong answer is rejected
TEXTS = {
    "corpus": ["text"],
    "tune": ["history", "prompt", "response"],
    "preference": ["prompt", "chosen", "answer", "a", "b"],
    "eval": ["history", "prompt", "response"],
}
WRITTEN = {role: [column for column in columns if column not in ("history", "prompt")] for role, columns in TEXTS.items()}
MOLECULES = {role: ["smiles"] for role in TEXTS}  # of columns that the card declares as SMILES

# per pack: an expectation's name, its columns by role, its arguments. Critical is what arithmetic or RDKit proves wrong.
# `mostly` leaves room for what published data hold: abstracts write IU and cc, reports have tables that no sum explains,
# textbooks write A, M and X for any element
PACKS: dict[str, list[tuple[str, dict[str, list[str]], dict[str, Any]]]] = {
    "text": [(HOLD + "well_decoded_text", TEXTS, {"severity": "warning"})],
    "healthcare": [
        (HOLD + "plausible_doses", TEXTS, {"severity": "warning"}),
        (HOLD + "no_error_prone_dose_writing", TEXTS, {"severity": "warning", "mostly": 0.99}),
        (HOLD + "possible_vital_signs", TEXTS, {"severity": "warning"}),
        (HOLD + "whole_note_sections", WRITTEN, {"severity": "warning"}),
    ],
    "finance": [
        (HOLD + "consistent_numbers", TEXTS, {"severity": "warning", "mostly": 0.999}),
        (HOLD + "existing_dates", TEXTS, {"severity": "critical", "mostly": 0.999}),
        (HOLD + "known_currency_codes", TEXTS, {"severity": "warning"}),
        (HOLD + "table_totals_that_add_up", TEXTS, {"severity": "warning", "mostly": 0.99}),
        (HOLD + "valid_bank_identifiers", TEXTS, {"severity": "critical", "mostly": 0.999}),
        (HOLD + "no_payment_card_number", TEXTS, {"severity": "warning"}),
    ],
    "chemistry": [
        (HOLD + "readable_smiles", TEXTS, {"pattern": PRESENTED, "severity": "critical", "mostly": 0.99}),
        (HOLD + "single_molecule_smiles", TEXTS, {"pattern": PRESENTED, "severity": "warning", "mostly": 0.9}),
        (HOLD + "canonical_smiles", TEXTS, {"pattern": PRESENTED, "severity": "info"}),
        (HOLD + "readable_smiles", MOLECULES, {"severity": "critical", "mostly": 0.99}),
        (HOLD + "single_molecule_smiles", MOLECULES, {"severity": "info"}),
        (HOLD + "canonical_smiles", MOLECULES, {"severity": "info"}),
        (HOLD + "plausible_formulas", TEXTS, {"pattern": FORMULA, "severity": "warning", "mostly": 0.95}),
        (HOLD + "valid_cas_numbers", TEXTS, {"severity": "critical", "mostly": 0.99}),
    ],
}


def expand(written: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """What an expert wrote, with the expectations of the packs that it names before the expert's own.

    An own entry with the name and the column of a pack's replaces it; with `off: true` nothing takes its place.

    Raises:
        ConfigError: for a pack that there is not, or an `off` that switches nothing off.
    """
    names = written.get("packs", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"packs of expectations in {file}", repr(names), f"write a list, such as [{', '.join(PACKS)}]")
    made = dict(written)
    for role in TEXTS:
        own = written.get(role) or []
        if not isinstance(own, list) or not all(isinstance(entry, dict) for entry in own):
            continue  # the model of the file says what is wrong with it
        given = [entry for name in dict.fromkeys(names) for entry in _of_role(name, role, file)]
        replaced = {key for entry in own for key in _keys(entry)}
        kept = [entry for entry in given if not _keys(entry) <= replaced]
        made[role] = [*kept, *_without_off(own, {key for entry in given for key in _keys(entry)}, role, file)]
    return made


def _of_role(name: str, role: str, file: Path) -> list[Entry]:
    if name not in PACKS:
        near = difflib.get_close_matches(name, PACKS, 1)
        remedy = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(PACKS)}"
        raise ConfigError(f"a pack of expectations in {file}", f"packs: {name!r}, which there is not", remedy)
    return [
        {expectation: {"column": column, **arguments, "meta": {"pack": name}}}
        for expectation, columns, arguments in PACKS[name]
        for column in columns.get(role, [])
    ]


def _keys(entry: Entry) -> set[tuple[str, Any]]:
    return {(name, arguments.get("column")) for name, arguments in entry.items() if isinstance(arguments, dict)}


def _without_off(own: Sequence[Entry], given: set[tuple[str, Any]], role: str, file: Path) -> list[Entry]:
    """The expert's entries, without those that only switch one of a pack off."""
    kept = []
    for entry in own:
        off = {name for name, arguments in entry.items() if isinstance(arguments, dict) and arguments.get("off") is True}
        for name in off:
            column = entry[name].get("column")
            if (name, column) not in given:
                raise ConfigError(
                    f"{name} switched off for column {column!r} of role {role} in {file}",
                    "no pack of this file has it there",
                    "name the column that the pack judges, or remove the entry",
                )
        if rest := {name: arguments for name, arguments in entry.items() if name not in off}:
            kept.append(rest)
    return kept


def fitting(suite: Sequence[Entry], columns: set[str]) -> list[Entry]:
    """A role's expectations, a pack's only where the data have its column; the expert's own always."""

    def judges(arguments: Mapping[str, Any]) -> bool:
        meta = arguments.get("meta")
        return not (isinstance(meta, dict) and "pack" in meta) or arguments.get("column") in columns

    return [entry for entry in suite if all(judges(arguments) for arguments in entry.values())]
