"""The packs' judgments by the names of their expectations: each takes a text and says why it is at fault, or None."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tasks.lib import chemistry, cleaning, finance, healthcare

HOLD = "expect_column_values_to_hold_"
Fault = Callable[..., str | None]


class Judgment(NamedTuple):
    """What is asked of a text: how a fault is found, in plain words, and which arguments an expert may give."""

    fault: Fault
    words: str
    keys: tuple[str, ...] = ()

    def of(self, text: str, kwargs: Mapping[str, Any]) -> str | None:
        """The fault of one text, under an expectation's arguments."""
        return self.fault(text, **{key: kwargs[key] for key in self.keys if kwargs.get(key) is not None})


def _inside(fault: Callable[[str], str | None]) -> Fault:
    """A judgment of the whole cell, of each of its lines where these are molecules, or of what a pattern finds in it."""
    return lambda text, pattern=None: chemistry.judged_in(text, fault, pattern)


PACKED = {
    HOLD + "well_decoded_text": Judgment(cleaning.decoding_fault, "no letter was lost or replaced when the text was decoded"),
    HOLD + "plausible_doses": Judgment(healthcare.dose_fault, "doses have known units and plausible amounts", ("limits",)),
    HOLD + "no_error_prone_dose_writing": Judgment(healthcare.writing_fault, "doses are written in no way that is known to be misread"),
    HOLD + "possible_vital_signs": Judgment(healthcare.vital_fault, "vital signs and laboratory values are possible"),
    HOLD + "whole_note_sections": Judgment(healthcare.section_fault, "sections of headed notes are filled, each once"),
    HOLD + "consistent_numbers": Judgment(finance.number_fault, "one text marks decimals and thousands in one way"),
    HOLD + "existing_dates": Judgment(finance.date_fault, "dates are ones of the calendar"),
    HOLD + "known_currency_codes": Judgment(finance.currency_fault, "currency codes beside amounts are ones of ISO 4217"),
    HOLD + "table_totals_that_add_up": Judgment(finance.table_fault, "totals of tables are sums of rows above them"),
    HOLD + "valid_bank_identifiers": Judgment(finance.identifier_fault, "IBANs, card numbers and routing numbers have right check digits"),
    HOLD + "no_payment_card_number": Judgment(finance.card_number_fault, "no text holds a whole payment card number"),
    HOLD + "readable_smiles": Judgment(_inside(chemistry.smiles_fault), "SMILES are ones that RDKit can read", ("pattern",)),
    HOLD + "canonical_smiles": Judgment(_inside(chemistry.canonical_fault), "SMILES are canonical", ("pattern",)),
    HOLD + "single_molecule_smiles": Judgment(
        _inside(chemistry.fragments_fault), "SMILES are single molecules, not salts or mixtures", ("pattern",)
    ),
    HOLD + "plausible_formulas": Judgment(
        _inside(chemistry.formula_fault), "molecular formulas have known elements and possible bonds", ("pattern",)
    ),
    HOLD + "valid_cas_numbers": Judgment(chemistry.cas_fault, "CAS numbers have right check digits"),
}
