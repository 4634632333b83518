"""What the packs judge: good and bad examples of every judgment, and hostile texts in linear time."""

import time
from collections.abc import Callable
from functools import partial

import pytest

from tasks.lib import chemistry, finance, healthcare, packs

Fault = Callable[[str], str | None]

GOOD: dict[Fault, list[str]] = {
    healthcare.dose_fault: [
        "Take metformin 500 mg twice daily.", "insulin glargine 10 units every evening", "levothyroxine 75 mcg once daily", "5 mL by mouth",
        "1,000 mg/kg per day", "2.5 mg/mL oral solution", "glucose 5.5 mmol/L", "a needle of 18 G", "born at 3,500 g", "0 mg of lead was found",
        "120 mL/min/1.73 m2", "for 5 days", "the L5 and 3 L discs", "vitamin D 50,000 IU weekly", "5 g polyethylene glycol",
    ],
    healthcare.writing_fault: [
        "5 mg daily", "0.5 mg daily", "10.5 mg", "1.05 mg", "creatinine 1.0 mg/dL", "10 units", "5 mcg", "4 mL", "QDs", "see 5 U.S. sites", "call 1-877-44U-QUIT",
        "about 2.0.", "cc: the family", "100 IU/L", "version 1.0",
    ],
    healthcare.vital_fault: [
        "Temperature 39.3 C", "temperature of 101.5 F", "Temp: 98.6", "BP 120/80", "blood pressure was 135/85 mmHg", "heart rate 60-100",
        "SpO2 98 %", "oxygen saturation of 100%", "arterial pH 7.35", "urine pH 5", "glucose 110 mg/dL", "glucose 5.5 mmol/L", "sodium 140 mmol/L",
        "pulse 72 bpm", "HR 1.5 (95 % CI 1.1 to 2.0)", "pulse of 500 mg", "a diet of sodium 2300 mg", "an oven at a temperature of 180 C",
        "hemoglobin 13.5 g/dL", "respiratory rate 16",
    ],
    healthcare.section_fault: [
        "Assessment: stable.\nPlan: go home.", "Assessment:\nstable\nPlan:\n- rest", "Assessment:", "no headings", "Objective:\nVital signs: 37 C\nPlan: rest",
        "**Assessment:** well\n**Plan:** rest", "plan: rest\nand then the plan: none",
    ],
    finance.number_fault: [
        "$1,234.56 and 7.5 %", "€ 1.234,56 und 7,5 %", "1,234 or 1.234", "12,34,567 rupees: ₹12,34,567.00", "$12,34,567", "$1,234,567", "see 3.4 and 12,13",
        "revenue of $5.25 in 1,2 and 3", "version 1.234.567",
    ],
    finance.date_fault: [
        "2020-02-29", "29 February 2020", "February 29, 2020", "31.12.2020", "12/31/2020", "31/12/2020", "2020-02-3", "45 May be enough", "May 35 people",
        "30 April", "1st of March 2021", "Sept. 30, 2019", "2021-13-45-99", "the year 2000",
    ],
    finance.currency_fault: [
        "EUR 10.00", "10.00 USD", "CHF 1,250.50", "DEM 10.00", "EPS 1.25", "10 XYZ", "XYZ 10", "1.25 YOY", "12.50%", "the CEO earned 5", "ABC-10.00",
    ],
    finance.table_fault: [
        "a | 1\nb | 2\nTotal | 3", "x | 2019 | 2018\na | 1,000 | 5\nb | 2,000 | (6)\nTotal | $ 3,000 | $ (1)",
        "a | 1\nb | 2\nTotal x | 3\nc | 4\nd | 5\nTotal y | 9\nTotal | 12", "a | 1.3\nb | 1.3\nTotal | 2.7",
        "a | 9 %\nb | 8 %\nTotal | 45 %", "a | 10\nless b | 2\nTotal | 8", "period | average price\na | 5.0\nb | 7.0\nTotal | 6.0",
        "Total | 5", "in total 3 | no table", "Total assets | 9\nTotal debt | 4\nEquity | 7", "a | -\nb | 2\nc | 3\nTotal | 5",
    ],
    finance.identifier_fault: [
        "IBAN: GB82 WEST 1234 5698 7654 32", "IBAN DE89370400440532013000 AND MORE", "IBAN is NL91ABNA0417164300.", "the IBAN of the customer",
        "card number 4111 1111 1111 1111", "card number: XXXX XXXX XXXX 1234", "routing number 021000021", "ABA: 011401533", "the routing of mail 123456789",
    ],
    finance.card_number_fault: [
        "4111 1111 1111 1112", "order 1234567890123456", "+49 30 12345678", "0.4111111111111111", "card ending in 1111", "4111-1111-1111",
    ],
    chemistry.smiles_fault: ["CCO", "c1ccccc1", "O=C(O)c1ccccc1I", "[Na+].[Cl-]", "C[C@H](N)C(=O)O", "C1CC1"],
    chemistry.canonical_fault: ["CCO", "c1ccccc1", "CC(=O)O", "Cc1ccccc1", "CCN", "not SMILES"],
    chemistry.fragments_fault: ["CCO", "c1ccccc1", "[Na+]", "O=C=O", "C1.C1", "?.?"],
    chemistry.formula_fault: ["H2O", "C6H12O6", "CH4", "C2H6", "CHCl3", "NaCl", "Ca(OH)2", "NH4+", "C6H5NO2", "CuSO4·5H2O", "C10H15N", "NO2", "CO2", "D2O"],
    chemistry.cas_fault: ["CAS 50-00-0", "CAS number: 7732-18-5", "CAS RN 64-17-5", "50-00-1", "CAS registry", "in CAS 2019"],
}  # fmt: skip
BAD: dict[Fault, list[str]] = {
    healthcare.dose_fault: [
        "500 Mg daily", "5 ML by mouth", "250 mgs twice", "10 mgm daily", "5 mg/zx daily", "500 g twice daily", "take 0 mg daily",
        "a dose of 500000 mg every day", "9000 mL daily", "insulin 500,000,000 IU daily",
    ],
    healthcare.writing_fault: [
        "5.0 mg daily", ".5 mg daily", "10 U of insulin", "10U", "400 IU", "5 µg", "5 μg", "20 cc", "aspirin QD", "aspirin q.d.", "every q.o.d.", "MSO4 5 mg",
        "MgSO4", "1.00 mL", "insulin 4u",
    ],
    healthcare.vital_fault: [
        "Temperature 393 C", "temperature of 9.8 F", "Temp: 371", "BP 80/120", "blood pressure was 120/120", "BP 800/80", "heart rate 800", "SpO2 198 %",
        "oxygen saturation of 985%", "arterial pH 73.5", "glucose 1 mg/dL", "sodium 14 mmol/L", "pulse 720 bpm", "hemoglobin 135 g/dL", "respiratory rate: 160",
    ],
    healthcare.section_fault: [
        "Assessment:\nPlan: rest", "Assessment: well\nPlan:", "Plan: rest\nAssessment: well\nPlan: more", "## Allergies:\n\n## Medications: none",
        "HPI: cough\nAssessment:   \n\nPlan: rest", "Subjective: cough\nObjective:", "**Assessment:**\n**Plan:** rest",
    ],
    finance.number_fault: [
        "$1,234.56 and € 1.234,56", "$0.35 and $ 11,54", "7.5 % against 7,5 %", "USD 5.25 and EUR 5,25", "$1,23,4567", "$12,345,67,890", "$1234,567,890",
    ],
    finance.date_fault: [
        "2020-02-30", "2021-02-29", "2020-13-01", "31 February", "31 April 2020", "February 30, 2020", "June 31st, 2019", "32.12.2020", "13/13/2020",
        "the 31st of November 2019", "Sept. 31, 2019",
    ],
    finance.currency_fault: ["EUE 10.00", "10.00 UDS", "paid 1,250.50 EUO today", "XYZ1,000.00", "GPB 5.25", "5.25 JYP"],
    finance.table_fault: [
        "a | 1\nb | 2\nTotal | 6", "x | 2019\na | 1,000\nb | 2,000\nTotal | 3,100", "a | 1\nb | 2\nTotal x | 5", "a | 1.3\nb | 1.3\nTotal | 2.9",
        "| a | 10 |\n| b | 20 |\n| Total: | 33 |", "a | 1 | 1\nb | 2 | 2\nGrand total | 3 | 5", "a | 5\nb | 2014\nTotal | 5",
    ],
    finance.identifier_fault: [
        "IBAN: GB82 WEST 1234 5698 7654 33", "IBAN DE89370400440532013001", "IBAN is NL91ABNA041716430.", "card number 4111 1111 1111 1112",
        "routing number 021000022", "ABA: 011401534", "IBAN XX82WEST12345698765432",
    ],
    finance.card_number_fault: [
        "4111 1111 1111 1111", "pay with 4111111111111111 now", "5555-5555-5555-4444", "378282246310005", "6011 1111 1111 1117", "2223003122003222",
    ],
    chemistry.smiles_fault: ["C(C", "c1cccc", "CX", "C(C)(C)(C)(C)C", "hello", "N(C)(C)(C)C"],
    chemistry.canonical_fault: ["OCC", "C1=CC=CC=C1", "OC(C)=O", "c1ccccc1C", "C(C)N", "C(O)C"],
    chemistry.fragments_fault: ["[Na+].[Cl-]", "CCO.O", "CC(=O)[O-].[K+]", "C.C.C", "c1ccccc1.Cl", "O.O"],
    chemistry.formula_fault: ["C6H15", "CH5", "C2H8", "Xx2O", "CH3", "C6H13O6", "C2H5Cl3", "AX3", "12%"],
    chemistry.cas_fault: ["CAS 50-00-1", "CAS number: 7732-18-6", "CAS RN 64-17-6", "CAS No. 71-43-3", "CAS: 67-64-2", "CAS is 108-88-4"],
}  # fmt: skip


def cases(table: dict[Fault, list[str]]) -> list[tuple[Fault, str]]:
    return [(fault, text) for fault, texts in table.items() for text in texts]


@pytest.mark.parametrize(("fault", "text"), cases(GOOD))
def test_what_is_right_has_no_fault(fault: Fault, text: str) -> None:
    assert fault(text) is None


@pytest.mark.parametrize(("fault", "text"), cases(BAD))
def test_what_is_wrong_is_said(fault: Fault, text: str) -> None:
    assert fault(text)


def test_every_judgment_has_examples_of_both() -> None:
    assert GOOD.keys() == BAD.keys()
    assert all(len(texts) >= 6 for table in (GOOD, BAD) for texts in table.values())


IN_TEXT = {
    "a SMILES in text": partial(chemistry.judged_in, fault=chemistry.smiles_fault, pattern=packs.PRESENTED),
    "a formula in text": partial(chemistry.judged_in, fault=chemistry.formula_fault, pattern=packs.FORMULA),
}
TEXT_JUDGMENTS = {f"{f.__name__}": f for f in GOOD if f.__name__.partition("_")[0] not in ("smiles", "canonical", "fragments")} | IN_TEXT
PIECES = [
    "9", " ", "1 ", "1,", "1.", "1-", "a", ".", "\t", "\n", "|", "1|", "Total|1\n", "1 mg ", "BP ", "temperature ", "temperature is ", "Plan:\n", "Plan: ",
    "IBAN ", "IBAN GB", "GB82 ", "card number 1", "May ", "1 May ", "$1,", "$1", "EUR", "SMILES ", "SMILES Cx", "formula ", "formula C1", "C", "(", "CAS ", "1-1",
    ",123", "$,", "µ", "# ", "*",
]  # fmt: skip


@pytest.mark.parametrize("name", TEXT_JUDGMENTS)
def test_a_hostile_text_is_judged_in_less_than_a_second(name: str) -> None:
    for piece in PIECES:
        for text in (piece * (100_000 // len(piece)), "1 mg BP " + piece * (100_000 // len(piece)) + "!"):
            start = time.process_time()
            TEXT_JUDGMENTS[name](text)
            assert time.process_time() - start < 1, repr(piece)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("Its SMILES is CCO.", True), ("(SMILES CCO)", True), ("the SMILES string of a molecule", True), ("SMILES: CC(=O)O, an acid", True),
        ("write the SMILES of C(C)O", True), ("no molecule here", True), ("SMILES C1CC", False), ("(SMILES CC(C))", True), ("SMILES CC(C", False), ("SMILES notation: CX3", False),
    ],
)  # fmt: skip
def test_a_smiles_is_found_where_a_text_presents_it(text: str, right: bool) -> None:
    assert (chemistry.judged_in(text, chemistry.smiles_fault, packs.PRESENTED) is None) is right


@pytest.mark.parametrize(
    ("text", "right"), [("The formula reads C10H21NO.", True), ("formula: C6H15", False), ("the empirical formula CH", True)]
)
def test_a_formula_is_found_where_a_text_presents_it(text: str, right: bool) -> None:
    assert (chemistry.judged_in(text, chemistry.formula_fault, packs.FORMULA) is None) is right


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("metformin 1000 mg", True),
        ("Metformin 2 g", False),
        ("metformin, then aspirin 5 mg", True),
        ("metformin 850 mg; aspirin 5 g", True),
    ],
)
def test_a_dose_is_measured_by_the_limits_given(text: str, right: bool) -> None:
    assert (healthcare.dose_fault(text, {"metformin": "1000 mg"}) is None) is right
