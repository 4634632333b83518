"""The packs' expectations as Great Expectations knows them; importing this file registers them."""

import re
from typing import Any

from great_expectations.compatibility import pydantic
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnMapExpectation
from great_expectations.expectations.metrics import ColumnMapMetricProvider, column_condition_partial

from tasks.lib import healthcare
from tasks.lib.judgments import HOLD, PACKED


def _metric(short: str) -> str:
    """Register the metric that a text has no fault."""
    judgment = PACKED[HOLD + short]

    def without_fault(_: type, column: Any, **kwargs: Any) -> Any:
        return column.map(lambda text: judgment.of(text, kwargs) is None).astype(bool)

    class NoFault(ColumnMapMetricProvider):
        condition_metric_name = f"column_values.{short}"
        condition_value_keys = judgment.keys
        _pandas = column_condition_partial(engine=PandasExecutionEngine)(without_fault)

    return f"column_values.{short}"


def _amounts(cls: type, limits: dict[str, str] | None) -> dict[str, str] | None:
    for most in (limits or {}).values():
        healthcare.parse_amount(most)
    return limits


def _one_group(cls: type, pattern: str | None) -> str | None:
    try:
        groups = 1 if pattern is None else re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
    if groups != 1:
        raise ValueError(f"{pattern!r} has {groups} groups; one group says what is judged")
    return pattern


class ExpectColumnValuesToHoldWellDecodedText(ColumnMapExpectation):
    """No letter was lost or replaced when the text was decoded."""

    map_metric = _metric("well_decoded_text")
    description: str | None = PACKED[HOLD + "well_decoded_text"].words


class ExpectColumnValuesToHoldPlausibleDoses(ColumnMapExpectation):
    """Amounts have units that are known, and doses are neither nothing nor beyond any in use."""

    map_metric = _metric("plausible_doses")
    success_keys = ("limits", "mostly")
    description: str | None = PACKED[HOLD + "plausible_doses"].words
    limits: dict[str, str] | None = None
    _amounts = pydantic.validator("limits", allow_reuse=True)(_amounts)


class ExpectColumnValuesToHoldNoErrorProneDoseWriting(ColumnMapExpectation):
    """No writing of a dose that is known to be misread."""

    map_metric = _metric("no_error_prone_dose_writing")
    description: str | None = PACKED[HOLD + "no_error_prone_dose_writing"].words


class ExpectColumnValuesToHoldPossibleVitalSigns(ColumnMapExpectation):
    """Vital signs and laboratory values are ones that a living person may have."""

    map_metric = _metric("possible_vital_signs")
    description: str | None = PACKED[HOLD + "possible_vital_signs"].words


class ExpectColumnValuesToHoldWholeNoteSections(ColumnMapExpectation):
    """No section of a headed note is empty or repeated."""

    map_metric = _metric("whole_note_sections")
    description: str | None = PACKED[HOLD + "whole_note_sections"].words


class ExpectColumnValuesToHoldConsistentNumbers(ColumnMapExpectation):
    """One text marks decimals and groups of digits in one way."""

    map_metric = _metric("consistent_numbers")
    description: str | None = PACKED[HOLD + "consistent_numbers"].words


class ExpectColumnValuesToHoldExistingDates(ColumnMapExpectation):
    """Every date is one of the calendar."""

    map_metric = _metric("existing_dates")
    description: str | None = PACKED[HOLD + "existing_dates"].words


class ExpectColumnValuesToHoldKnownCurrencyCodes(ColumnMapExpectation):
    """A code beside an amount is one of ISO 4217."""

    map_metric = _metric("known_currency_codes")
    description: str | None = PACKED[HOLD + "known_currency_codes"].words


class ExpectColumnValuesToHoldTableTotalsThatAddUp(ColumnMapExpectation):
    """A total in a table is the sum of rows above it."""

    map_metric = _metric("table_totals_that_add_up")
    description: str | None = PACKED[HOLD + "table_totals_that_add_up"].words


class ExpectColumnValuesToHoldValidBankIdentifiers(ColumnMapExpectation):
    """What the text calls an IBAN, a card number or a routing number has right check digits."""

    map_metric = _metric("valid_bank_identifiers")
    description: str | None = PACKED[HOLD + "valid_bank_identifiers"].words


class ExpectColumnValuesToHoldNoPaymentCardNumber(ColumnMapExpectation):
    """No whole payment card number."""

    map_metric = _metric("no_payment_card_number")
    description: str | None = PACKED[HOLD + "no_payment_card_number"].words


class _Inside(ColumnMapExpectation):
    """Judges the whole cell, or what the only group of a pattern finds in it."""

    success_keys = ("pattern", "mostly")
    pattern: str | None = None
    _one_group = pydantic.validator("pattern", allow_reuse=True)(_one_group)


class ExpectColumnValuesToHoldReadableSmiles(_Inside):
    """RDKit can read every SMILES."""

    map_metric = _metric("readable_smiles")
    description: str | None = PACKED[HOLD + "readable_smiles"].words


class ExpectColumnValuesToHoldCanonicalSmiles(_Inside):
    """Every SMILES is written as RDKit writes it."""

    map_metric = _metric("canonical_smiles")
    description: str | None = PACKED[HOLD + "canonical_smiles"].words


class ExpectColumnValuesToHoldSingleMoleculeSmiles(_Inside):
    """Every SMILES is one molecule, not a salt or a mixture."""

    map_metric = _metric("single_molecule_smiles")
    description: str | None = PACKED[HOLD + "single_molecule_smiles"].words


class ExpectColumnValuesToHoldPlausibleFormulas(_Inside):
    """Molecular formulas have elements that there are and bonds that can be."""

    map_metric = _metric("plausible_formulas")
    description: str | None = PACKED[HOLD + "plausible_formulas"].words


class ExpectColumnValuesToHoldValidCasNumbers(ColumnMapExpectation):
    """What the text calls a CAS number has a right check digit."""

    map_metric = _metric("valid_cas_numbers")
    description: str | None = PACKED[HOLD + "valid_cas_numbers"].words
