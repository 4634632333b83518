"""Numbers as people write them in answers: with marks for thousands, scale, sign, currency and per cent."""

import re
from typing import NamedTuple

SCALES = {
    "k": 1e3, "thousand": 1e3, "m": 1e6, "mn": 1e6, "mm": 1e6, "million": 1e6, "millions": 1e6, "b": 1e9, "bn": 1e9, "billion": 1e9,
    "billions": 1e9, "tn": 1e12, "trillion": 1e12,
}  # fmt: skip
UNITS = {
    "$": "USD",
    "us$": "USD",
    "€": "EUR",
    "£": "GBP",
    "¥": "JPY",
    "%": "%",
    "percent": "%",
    "per cent": "%",
    "dollars": "USD",
    "euros": "EUR",
}
YEARS = range(1900, 2100)
CODE = r"(?:EUR|USD|GBP|CHF|CAD|AUD|JPY)"
AMOUNT = re.compile(
    rf"(?<![\w.,])(?P<open>\()?(?P<minus>[-−–])?\s?(?P<before>US\$|[$€£¥]|{CODE}\b)?\s?(?P<inner>[-−–(])?"
    r"(?P<number>\d{1,3}(?:,\d{3}){1,6}(?:\.\d{1,9})?|\d{1,15}(?:\.\d{1,9})?)(?![\d.,]*\d)"
    rf"\s?(?:(?P<scale>{'|'.join(sorted(SCALES, key=len, reverse=True))})\b)?"
    rf"\s?(?P<after>%|[$€£¥]|(?:per ?cent|dollars|euros|{CODE})\b)?(?P<close>\))?",
    re.IGNORECASE,
)


class Amount(NamedTuple):
    """A number in full, and its unit: a currency of ISO 4217, `%`, or nothing."""

    value: float
    unit: str


def amounts(text: str) -> list[Amount]:
    """The amounts of a text, in their order; a number in brackets is negative, as in accounts."""
    found = []
    for match in AMOUNT.finditer(text):
        value = float(match["number"].replace(",", "")) * SCALES.get((match["scale"] or "").lower(), 1.0)
        bracketed = "(" in (match["open"], match["inner"]) and bool(match["close"])
        negative = bracketed or bool(match["minus"]) or match["inner"] not in (None, "(")
        found.append(Amount(-value if negative else value, _unit(match["before"] or match["after"] or "")))
    return found


def the_amount(text: str) -> Amount | None:
    """The one amount of a text, however often it stands there; None where there is none, or where there are several."""
    found = set(amounts(text))
    return found.pop() if len(found) == 1 else None


def is_right(said: Amount | None, wanted: Amount, tolerance: float) -> bool:
    """Whether an amount is the wanted one, within a share of it; a wanted unit must be said, per cent never without being wanted.

    A whole number from 1900 to 2099 without a unit may be a year: only itself is right.
    """
    if said is None or (said.unit != wanted.unit and (wanted.unit or said.unit == "%")):
        return False
    if not wanted.unit and wanted.value in YEARS:
        return said.value == wanted.value
    return abs(said.value - wanted.value) <= tolerance * abs(wanted.value) + 1e-9


def _unit(written: str) -> str:
    return UNITS.get(written.lower(), written.upper())
