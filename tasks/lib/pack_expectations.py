"""The packs' expectations as Great Expectations knows them; importing this file registers them."""

import re
from collections.abc import Callable
from typing import Any

from great_expectations.compatibility import pydantic
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnMapExpectation
from great_expectations.expectations.metrics import ColumnMapMetricProvider, column_condition_partial

from tasks.lib import chemistry, cleaning, finance, healthcare


def _metric(name: str, fault: Callable[..., str | None], *keys: str) -> str:
    """Register the metric that a text has no fault; the keys are the judgment's arguments."""

    def without_fault(_: type, column: Any, **kwargs: Any) -> Any:
        given = {key: kwargs[key] for key in keys if kwargs.get(key) is not None}
        return column.map(lambda text: fault(text, **given) is None).astype(bool)

    class NoFault(ColumnMapMetricProvider):
        condition_metric_name = name
        condition_value_keys = keys
        _pandas = column_condition_partial(engine=PandasExecutionEngine)(without_fault)

    return name


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

    map_metric = _metric("column_values.well_decoded_text", cleaning.decoding_fault)
    description: str | None = "no text holds U+FFFD or C1 control characters, which a wrong decoding leaves"


class ExpectColumnValuesToHoldPlausibleDoses(ColumnMapExpectation):
    """Amounts have units that are known, and doses are neither nothing nor beyond any in use."""

    map_metric = _metric("column_values.plausible_doses", healthcare.dose_fault, "limits")
    success_keys = ("limits", "mostly")
    description: str | None = "doses have known units and plausible amounts"
    limits: dict[str, str] | None = None
    _amounts = pydantic.validator("limits", allow_reuse=True)(_amounts)


class ExpectColumnValuesToHoldNoErrorProneDoseWriting(ColumnMapExpectation):
    """No writing of a dose that is known to be misread."""

    map_metric = _metric("column_values.no_error_prone_dose_writing", healthcare.writing_fault)
    description: str | None = "doses are written in no way that is known to be misread"


class ExpectColumnValuesToHoldPossibleVitalSigns(ColumnMapExpectation):
    """Vital signs and laboratory values are ones that a living person may have."""

    map_metric = _metric("column_values.possible_vital_signs", healthcare.vital_fault)
    description: str | None = "vital signs and laboratory values are possible"


class ExpectColumnValuesToHoldWholeNoteSections(ColumnMapExpectation):
    """No section of a headed note is empty or repeated."""

    map_metric = _metric("column_values.whole_note_sections", healthcare.section_fault)
    description: str | None = "sections of headed notes are filled, each once"


class ExpectColumnValuesToHoldConsistentNumbers(ColumnMapExpectation):
    """One text marks decimals and groups of digits in one way."""

    map_metric = _metric("column_values.consistent_numbers", finance.number_fault)
    description: str | None = "one text marks decimals and thousands in one way"


class ExpectColumnValuesToHoldExistingDates(ColumnMapExpectation):
    """Every date is one of the calendar."""

    map_metric = _metric("column_values.existing_dates", finance.date_fault)
    description: str | None = "dates are ones of the calendar"


class ExpectColumnValuesToHoldKnownCurrencyCodes(ColumnMapExpectation):
    """A code beside an amount is one of ISO 4217."""

    map_metric = _metric("column_values.known_currency_codes", finance.currency_fault)
    description: str | None = "currency codes beside amounts are ones of ISO 4217"


class ExpectColumnValuesToHoldTableTotalsThatAddUp(ColumnMapExpectation):
    """A total in a table is the sum of rows above it."""

    map_metric = _metric("column_values.table_totals_that_add_up", finance.table_fault)
    description: str | None = "totals of tables are sums of rows above them"


class ExpectColumnValuesToHoldValidBankIdentifiers(ColumnMapExpectation):
    """What the text calls an IBAN, a card number or a routing number has right check digits."""

    map_metric = _metric("column_values.valid_bank_identifiers", finance.identifier_fault)
    description: str | None = "IBANs, card numbers and routing numbers have right check digits"


class ExpectColumnValuesToHoldNoPaymentCardNumber(ColumnMapExpectation):
    """No whole payment card number."""

    map_metric = _metric("column_values.no_payment_card_number", finance.card_number_fault)
    description: str | None = "no text holds a whole payment card number"


class _Inside(ColumnMapExpectation):
    """Judges the whole cell, or what the only group of a pattern finds in it."""

    success_keys = ("pattern", "mostly")
    pattern: str | None = None
    _one_group = pydantic.validator("pattern", allow_reuse=True)(_one_group)


def _inside(fault: Callable[[str], str | None]) -> Callable[..., str | None]:
    return lambda text, pattern=None: chemistry.judged_in(text, fault, pattern)


class ExpectColumnValuesToHoldReadableSmiles(_Inside):
    """RDKit can read every SMILES."""

    map_metric = _metric("column_values.readable_smiles", _inside(chemistry.smiles_fault), "pattern")
    description: str | None = "SMILES are ones that RDKit can read"


class ExpectColumnValuesToHoldCanonicalSmiles(_Inside):
    """Every SMILES is written as RDKit writes it."""

    map_metric = _metric("column_values.canonical_smiles", _inside(chemistry.canonical_fault), "pattern")
    description: str | None = "SMILES are canonical"


class ExpectColumnValuesToHoldSingleMoleculeSmiles(_Inside):
    """Every SMILES is one molecule, not a salt or a mixture."""

    map_metric = _metric("column_values.single_molecule_smiles", _inside(chemistry.fragments_fault), "pattern")
    description: str | None = "SMILES are single molecules, not salts or mixtures"


class ExpectColumnValuesToHoldPlausibleFormulas(_Inside):
    """Molecular formulas have elements that there are and bonds that can be."""

    map_metric = _metric("column_values.plausible_formulas", _inside(chemistry.formula_fault), "pattern")
    description: str | None = "molecular formulas have known elements and possible bonds"


class ExpectColumnValuesToHoldValidCasNumbers(ColumnMapExpectation):
    """What the text calls a CAS number has a right check digit."""

    map_metric = _metric("column_values.valid_cas_numbers", chemistry.cas_fault)
    description: str | None = "CAS numbers have right check digits"
