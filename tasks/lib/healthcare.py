"""What can be checked about doses, vital signs and notes in a text, row by row, without knowing the patient.

Every judgment takes one text and says why it is at fault, or None. Regular expressions are bounded: linear time.
"""

import re
from collections.abc import Mapping
from functools import lru_cache

NUMBER = r"\d[\d,]{0,14}(?:\.\d{1,6})?"
# units of amounts, as milligrams, millilitres or international units; UCUM's spelling, and what medicine labels use for it
TO_BASE = {
    "kg": ("mg", 1e6), "g": ("mg", 1e3), "mg": ("mg", 1.0), "mcg": ("mg", 1e-3), "ug": ("mg", 1e-3), "µg": ("mg", 1e-3), "ng": ("mg", 1e-6),
    "L": ("mL", 1e3), "l": ("mL", 1e3), "dL": ("mL", 1e2), "dl": ("mL", 1e2), "mL": ("mL", 1.0), "ml": ("mL", 1.0),
    "IU": ("IU", 1.0), "unit": ("IU", 1.0), "units": ("IU", 1.0), "Unit": ("IU", 1.0), "Units": ("IU", 1.0),
    "mmol": ("mmol", 1.0), "mol": ("mmol", 1e3), "mEq": ("mEq", 1.0),
}  # fmt: skip
AMOUNT = re.compile(
    rf"(?<![\w.,/-])({NUMBER}) ?((?i:mgm?s?|mcgs?|[uµμ]g|ng|gms?|kgs?|g|mls?|dl|l|iu|units?|mmol|mol|meq))\b(?:/([A-Za-z]{{1,12}})(?![\w/]))?"
)
SINGLE = frozenset({"G", "L"})  # 18 G is a needle, 3 L a lumbar vertebra
DENOMINATORS = frozenset({"kg", "g", "mg", "ug", "ng", "l", "dl", "ml", "m", "m2", "cm", "d", "h", "hr", "s", "wk", "mo", "yr", "iu"})
GIVEN = re.compile(
    r"\b(?:dose|doses|daily|once|twice|every|times|bid|tid|qid|po|iv|im|orally|by mouth|tablets?|capsules?|injections?|weekly|as needed)\b",
    re.IGNORECASE,
)
GREATEST = {"mg": 300_000.0, "mL": 5_000.0, "IU": 1e8}  # above any single dose in use: bowel preparations are the largest

WRITTEN_DOSE = re.compile(r"([\d.,]{1,16}) ?(mg|mcg|[µμ]g|g|m[lL]|units?|[Uu]|IU|cc)\b(?!/(?:d?[lL]|m[lL])\b|\.[A-Za-z]|-[A-Z])")
MISREAD_UNITS = {
    "U": "U for unit",
    "u": "U for unit",
    "IU": "IU",
    "µg": "the microgram sign",
    "μg": "the microgram sign",
    "cc": "cc for mL",
}
MISREAD_WORDS = re.compile(r"[Qq]\.[Dd]\.|[Qq]\.[Oo]\.[Dd]|QO?D\b|qo?d\b|Mg?SO4\b")

# value -> unit -> least and greatest that a living person was reported with; "" where it is often written without a unit
RANGES: dict[str, dict[str, tuple[float, float]]] = {
    "temperature": {"c": (13, 47), "f": (55, 117), "": (13, 117)},
    "heart rate": {"bpm": (10, 600), "": (10, 600)},
    "pulse": {"bpm": (10, 600)},
    "respiratory rate": {"": (1, 120)},
    "saturation": {"%": (0, 100), "": (0, 100)},
    "blood ph": {"": (6.5, 8)},
    "glucose": {"mg/dl": (5, 2700), "mmol/l": (0.3, 150)},
    "potassium": {"mmol/l": (1, 15), "meq/l": (1, 15)},
    "sodium": {"mmol/l": (85, 230), "meq/l": (85, 230)},
    "haemoglobin": {"g/dl": (1, 27), "g/l": (10, 270)},
}
NAMES = {
    "temperature": "temperature", "temp": "temperature", "heart rate": "heart rate", "pulse rate": "heart rate", "pulse": "pulse", "hr": "pulse",
    "respiratory rate": "respiratory rate", "spo2": "saturation", "sao2": "saturation", "oxygen saturation": "saturation", "o2 sat": "saturation",
    "o2 saturation": "saturation", "blood ph": "blood ph", "arterial ph": "blood ph", "venous ph": "blood ph", "serum ph": "blood ph",
    "glucose": "glucose", "blood sugar": "glucose", "potassium": "potassium", "sodium": "sodium", "haemoglobin": "haemoglobin", "hemoglobin": "haemoglobin",
}  # fmt: skip
LINK = r"(?:[ \t]{0,2}(?:is|was|of|at|level|reading|reads|measured|:|=|,)){0,3}[ \t]{0,2}"
VITAL = re.compile(
    rf"\b({'|'.join(sorted(NAMES, key=len, reverse=True))})\b{LINK}(\d{{1,4}}(?:\.\d{{1,2}})?)(?![\d/.,]*\d|[ ]?[-–][ ]?\d|[ ]to[ ]\d)"
    r"[ ]?(°?[ ]?[cf]\b|degrees[ ][cf]\w*|bpm\b|beats\b|%|mg/dl|mmol/l|meq/l|g/dl|g/l|[a-z/%]*)",
    re.IGNORECASE,
)
OF_THINGS = re.compile(r"\b(?:room|storage|stor(?:ed?|ing)|water|air|oven|ambient|freezer|outside|melting|boiling)\b", re.IGNORECASE)
PRESSURE = re.compile(rf"\b(?:blood pressure|BP)\b{LINK}(\d{{1,3}})[ ]?/[ ]?(\d{{1,3}})(?![\d/])", re.IGNORECASE)

SECTIONS = (
    "chief complaint", "history of present illness", "hpi", "past medical history", "pmh", "past surgical history", "medications",
    "current medications", "allergies", "family history", "social history", "review of systems", "ros", "vital signs", "vitals",
    "physical examination", "physical exam", "examination", "exam", "laboratory", "labs", "imaging", "diagnosis", "impression", "assessment",
    "assessment and plan", "plan", "disposition", "procedure", "hospital course", "discharge instructions", "follow-up", "subjective", "objective",
)  # fmt: skip
HOLDERS = frozenset({"subjective", "objective", "physical examination", "physical exam", "examination", "exam", "assessment and plan"})
HEADING = re.compile(
    rf"^[ \t]{{0,8}}(?:#{{1,4}} )?\*{{0,2}}({'|'.join(map(re.escape, sorted(SECTIONS, key=len, reverse=True)))})\*{{0,2}}:",
    re.IGNORECASE | re.MULTILINE,
)


def dose_fault(text: str, limits: Mapping[str, str] | None = None) -> str | None:
    """Why an amount in the text is no plausible dose, or None.

    Units are those of UCUM (Unified Code for Units of Measure, regenstrief.org), which tells mg from Mg, with the
    spellings of medicine labels. An amount counts as a dose where a word of giving (daily, tablet, ...) stands near.

    Args:
        text: free text.
        limits: the greatest single dose of a substance, such as {"metformin": "1000 mg"}.
    """
    for found in AMOUNT.finditer(text):
        number, unit, per = found.groups()
        unit = unit.replace("μ", "µ")
        if unit not in TO_BASE:
            if unit in SINGLE:
                continue
            return f"unit {unit!r} in {found[0]!r} is not how the unit is written"
        if per is not None and len(per) <= 2 and per.lower() not in DENOMINATORS:
            return f"unit {unit}/{per} in {found[0]!r} is none that is known"
        if per is None and (fault := _amount_fault(text, found, number, unit)):
            return fault
    return None if limits is None else _over_limit(text, limits)


def _amount_fault(text: str, found: re.Match[str], number: str, unit: str) -> str | None:
    base, factor = TO_BASE[unit]
    amount = float(number.replace(",", "")) * factor
    if 0 < amount <= GREATEST.get(base, float("inf")):
        return None
    if GIVEN.search(text, found.end(), found.end() + 40) is None:
        return None
    return f"a dose of {found[0]!r}"


def _over_limit(text: str, limits: Mapping[str, str]) -> str | None:
    for name, most in limits.items():
        allowed, base = parse_amount(most)
        for found in _doses_of(name).finditer(text):
            amount, unit = parse_amount(f"{found[1]} {found[2]}")
            if unit == base and amount > allowed:
                return f"{found[0]!r} is over {most}"
    return None


@lru_cache(maxsize=1024)
def _doses_of(name: str) -> re.Pattern[str]:
    units = "|".join(sorted(TO_BASE, key=len, reverse=True))
    return re.compile(rf"\b(?i:{re.escape(name)})\b[^.;\d\n]{{0,30}}(?<![\w.,])({NUMBER}) ?({units})\b(?!/)")


@lru_cache(maxsize=1024)
def parse_amount(amount: str) -> tuple[float, str]:
    """A number with a unit, as (value, base unit): mg, mL, IU, mmol or mEq.

    Raises:
        ValueError: if it is none.
    """
    found = re.fullmatch(rf"({NUMBER}) ?([A-Za-zµ]+)", amount)
    if found is None or found[2] not in TO_BASE:
        raise ValueError(f"{amount!r} is no amount such as '1000 mg'")
    base, factor = TO_BASE[found[2]]
    return float(found[1].replace(",", "")) * factor, base


def writing_fault(text: str) -> str | None:
    """Which error-prone way of writing a dose the text uses, or None.

    The Joint Commission's "Do Not Use" list (U, IU, QD, QOD, trailing zero, naked decimal, MSO4, MgSO4) and, of the
    ISMP's List of Error-Prone Abbreviations, the microgram sign and cc. A trailing zero in a laboratory value, such as
    1.0 mg/dL, is allowed there and here. "MS" is not judged: it is a disease too.
    """
    for found in WRITTEN_DOSE.finditer(text):
        number, unit = found[1].lstrip(","), found[2]
        before = text[found.start() - 1 : found.start()]
        if before.isalnum() or not number[-1:].isdigit():
            continue  # a name with a number in it, or the end of a sentence
        if unit in MISREAD_UNITS:
            return f"{MISREAD_UNITS[unit]} in {found[0]!r}"
        if number.startswith("."):
            return f"no zero before the decimal point in {found[0]!r}"
        if number.rstrip("0").endswith("."):
            return f"a trailing zero in {found[0]!r}"
    for found in MISREAD_WORDS.finditer(text):
        if not text[found.start() - 1 : found.start()].isalnum() or found.start() == 0:
            return f"{found[0]!r}"
    return None


def vital_fault(text: str) -> str | None:
    """Which vital sign or laboratory value no living person has, or None.

    Ranges are the extremes reported of survivors, not normal values: temperature 13.7 °C (Gilbert et al., Lancet 2000)
    to 46.5 °C (Slovis et al., Ann Emerg Med 1982); heart rate to 600 (Chhabra et al., Indian Pacing Electrophysiol J 2012); pressure to 480/350
    (MacDougall et al., J Appl Physiol 1985); others are set wide around textbook panic values. A range (60-100), a
    value in another unit, and the temperature of a room or an oven are not judged.
    """
    lowered = text.lower()
    for found in PRESSURE.finditer(text) if "pressure" in lowered or "bp" in lowered else ():
        systolic, diastolic = int(found[1]), int(found[2])
        if systolic <= diastolic or not (30 <= systolic <= 480 and diastolic <= 350):
            return f"blood pressure {found[0]!r}"
    for found in VITAL.finditer(text) if any(name in lowered for name in NAMES) else ():
        name = NAMES[found[1].lower()]
        limits = RANGES[name].get(_unit(found[3]))
        if limits is None or (name == "temperature" and OF_THINGS.search(text, max(0, found.start() - 30), found.start())):
            continue
        if not limits[0] <= float(found[2]) <= limits[1]:
            return f"{name} in {found[0].strip()!r}"
    return None


def _unit(written: str) -> str:
    """The unit as RANGES calls it; a following word is none."""
    word = written.lower().replace("°", "").removeprefix("degrees").strip()
    if word in ("c", "f", "%", "mg/dl", "mmol/l", "meq/l", "g/dl", "g/l", "bpm"):
        return word
    if word.startswith(("celsius", "fahrenheit", "centigrade")):
        return word[0]
    if word in ("mg", "g", "gram", "grams", "mcg", "ml", "x", "k") or "/" in word:
        return "another unit"
    return "bpm" if word == "beats" else ""


def section_fault(text: str) -> str | None:
    """Which section of a headed note is empty or stands there twice, or None.

    A text is a headed note when at least two lines begin with the usual heading of a section (SOAP: Weed, N Engl J Med
    1968; and those of a history and physical examination) and a colon. A heading that others stand under may be
    followed by one of them at once.
    """
    headings = list(HEADING.finditer(text))
    if len(headings) < 2:
        return None
    seen: set[str] = set()
    for found, following in zip(headings, [*headings[1:], None], strict=True):
        name = found[1].lower()
        content = text[found.end() : len(text) if following is None else following.start()]
        if not content.strip(" \t\r\n*") and (following is None or name not in HOLDERS):
            return f"the section {found[1]!r} is empty"
        if name in seen:
            return f"the section {found[1]!r} stands there twice"
        seen.add(name)
    return None
