"""What can be checked about numbers, dates, currencies, tables and identifiers in a text, row by row.

Every judgment takes one text and says why it is at fault, or None. Regular expressions are bounded: linear time.
"""

import calendar
import re
from itertools import groupby, islice

MONTHS = {name: number for number, name in enumerate(calendar.month_name) if name}
MONTHS |= {name: number for number, name in enumerate(calendar.month_abbr) if name} | {"Sept": 9}
MONTH = "|".join(sorted(MONTHS, key=len, reverse=True))
YEAR = r"(?:19|20)\d\d"
ISO_DATE = re.compile(rf"(?<![\w/.-])({YEAR})-(\d\d)-(\d\d)(?![\w/-])")
NUMERIC_DATE = re.compile(rf"(?<![\w/.-])(\d{{1,2}})([./-])(\d{{1,2}})\2({YEAR})(?![\w/-])")
DAY_FIRST = re.compile(rf"(?<![\w.,])(\d{{1,2}})(?:st|nd|rd|th)?(?: of)? ({MONTH})\b\.?(?:,? ({YEAR})\b)?")
MONTH_FIRST = re.compile(rf"\b({MONTH})\.? (\d{{1,2}})(?:st|nd|rd|th)?,? ({YEAR})\b")

ISO_SCREEN, NUMERIC_SCREEN = re.compile(r"\d-\d\d-\d"), re.compile(rf"\d[./-]{YEAR}")
MONTH_SCREEN = re.compile(rf"(?:{'|'.join(calendar.month_abbr[1:])})")

MONEY = r"(?:[€$£¥]|\b(?:EUR|USD|GBP|CHF|CAD|AUD|JPY)\b)"
# a number is evidence only where it can be read one way: beside a currency or a percent sign, or with both marks
BEFORE_NUMBER, AFTER_NUMBER = rf"{MONEY} ?", rf" ?(?:%|{MONEY})"
POINT = re.compile(
    rf"(?<![\w.,])\d{{1,3}}(?:,\d{{3}}){{1,6}}\.\d{{1,4}}(?![\d,.]*\d)|{BEFORE_NUMBER}\d{{1,12}}\.\d{{1,2}}(?![\d,.]*\d)"
    rf"|(?<![\w.,])\d{{1,12}}\.\d{{1,2}}{AFTER_NUMBER}"
)
COMMA = re.compile(
    rf"(?<![\w.,])\d{{1,3}}(?:\.\d{{3}}){{1,6}},\d{{1,2}}(?![\d,.]*\d)|{BEFORE_NUMBER}\d{{1,12}},\d{{1,2}}(?![\d,.]*\d)"
    rf"|(?<![\w.,])\d{{1,12}},\d{{1,2}}{AFTER_NUMBER}"
)
COMMA_SCREEN = re.compile(r"\d,\d\d?(?!\d)")  # screens begin with what is rare in prose, and spare most texts the rest
# groups that are neither of three digits nor, as in India, of two before the last three
MISGROUPED = re.compile(rf"{BEFORE_NUMBER}(\d{{1,12}}(?:,\d{{1,12}}){{2,8}})(?![\d,]*\d)")
GROUPS_SCREEN = re.compile(r"\d,\d{1,12},\d")
GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+|\d{1,2}(?:,\d{2})+,\d{3}")

# ISO 4217: list one (in use), then the withdrawn ones that texts of the last decades hold
CURRENCIES = frozenset(
    re.findall(
        r"\w+",
        """AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CLF CLP
    CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR
    ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN
    NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL
    THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD USN UYI UYU UYW UZS VED VES VND VUV WST XAF XAG XAU XBA XBB XBC XBD XCD XCG XDR XOF XPD
    XPF XPT XSU XTS XUA YER ZAR ZMW ZWG
    ATS BEF BYR CUC CYP DEM EEK ESP FIM FRF GRD HRK IEP ITL LTL LUF LVL MRO MTL NLG PTE ROL SIT SKK SLL STD TRL VEB VEF XEU ZMK ZWL""",
    )
)
# three capitals that stand beside amounts in reports and are no currency
OTHER_WORDS = frozenset(
    re.findall(
        r"\w+",
        "ADR ADS AND APR AUM BPS CDS CEO CET CFO CPI DCF DPS EPS ETF FFO FOR FTE FXD GDP IPO IQR IRR KPI LTV MWH NAV NII NIM NOI NPV PER PPI PPP "
        "RNS ROA ROE ROI RWA SEC TAX THE TSR TTM USA VAT VIX WTI YOY YTD YTM JAN FEB MAR MAY JUN JUL AUG SEP OCT NOV DEC",
    )
)
CODE_SCREENS = (re.compile(r"\.\d\d [A-Z]{3}\b"), re.compile(r"[A-Z]{3} ?\d"))
CODE_AMOUNT = re.compile(r"\b([A-Z]{3}) ?\d{1,3}(?:,?\d{3}){0,5}\.\d\d(?![\d.%]|,\d)|(?<![\w.,])\d{1,3}(?:,?\d{3}){0,5}\.\d\d ([A-Z]{3})\b")

CELL = re.compile(r"\(?-?[$€£]?\s{0,4}\(?-?(\d{1,3}(?:,\d{3}){1,5}|\d{1,15}|(?=\.))(\.\d{1,6})?\s?\)?")
LESS, NO_SUM = re.compile(r"less\b(?! than)", re.IGNORECASE), re.compile(r"\b(?:average|per|price|rate)", re.IGNORECASE)
TOTAL = re.compile(r"(?:grand )?totals?\b(?:\s?\(?\d\)|:)?", re.IGNORECASE)
WIDEST = 100  # columns; and rows that one total may be the sum of

BARE_YEAR = re.compile(YEAR)
EMPTY = frozenset({"", "-", "–", "—", "$", "n/a", "nil"})

IBAN = re.compile(
    r"\bIBAN\b[^A-Za-z0-9\n]{0,5}(?:(?:is|no|number|code)\b[^A-Za-z0-9\n]{0,3}){0,2}([A-Z]{2}\d\d(?: ?[A-Z0-9]){9,30})(?![a-z])"
)
CARD = re.compile(r"\b[Cc]ard (?:[Nn]umber|[Nn]o\.?)[^A-Za-z0-9\n]{0,5}(?:is )?((?:\d[ -]?){12,18}\d)(?!\d|[ -]\d)")
ROUTING = re.compile(
    r"\b(?:ABA|[Rr]outing)(?: [Rr]outing)?(?: [Tt]ransit)?(?: [Nn]umber| [Nn]o\.?| #)?[^A-Za-z0-9\n]{0,4}(?:is )?(\d{9})(?!\d)"
)
# first digits of the large schemes: Visa 4, Mastercard 51-55 and 2221-2720, American Express 34 and 37, Discover 6011 and 65
DIGITS_SCREEN = re.compile(r"\d(?:[ -]?\d){12}")
ANY_CARD = re.compile(r"(?<![\d.,$€£-])(?:4\d|5[1-5]|2[2-7]|3[47]|6[05])(?:[ -]?\d){11,17}(?![\d.,]*\d|-\d)")


def number_fault(text: str) -> str | None:
    """Which numbers of one text use different marks for decimals, or groups of no system, or None.

    Marks as in SI brochure 5.4.4 and CLDR: a decimal point or a decimal comma, thousands in groups of three, or of two
    before the last three (India). Only numbers that can be read in one way are compared: 1,234 alone says nothing.
    """
    if COMMA_SCREEN.search(text) and (comma := COMMA.search(text)) and (point := POINT.search(text)):
        return f"decimals in {point[0].strip()!r} and in {comma[0].strip()!r} are marked differently"
    for found in MISGROUPED.finditer(text) if GROUPS_SCREEN.search(text) else ():
        if GROUPED.fullmatch(found[1]) is None:
            return f"groups of digits in {found[0].strip()!r}"
    return None


def date_fault(text: str) -> str | None:
    """Which date of the Gregorian calendar does not exist, or None.

    ISO 8601 (2020-02-31), day or month first with one separator (31/02/2020: at fault when neither reading exists), and
    month names with a year or after the day.
    """
    for found in ISO_DATE.finditer(text) if ISO_SCREEN.search(text) else ():
        if not _exists(int(found[1]), int(found[2]), int(found[3])):
            return f"no such date: {found[0]}"
    for found in NUMERIC_DATE.finditer(text) if NUMERIC_SCREEN.search(text) else ():
        first, second, year = int(found[1]), int(found[3]), int(found[4])
        if not _exists(year, first, second) and not _exists(year, second, first):
            return f"no such date: {found[0]}"
    if MONTH_SCREEN.search(text) is None:
        return None
    for found in DAY_FIRST.finditer(text):
        day = int(found[1])
        if (found[3] or day <= 31) and not _exists(int(found[3] or 2000), MONTHS[found[2]], day):  # 45 May ... may be anything
            return f"no such date: {found[0]}"
    for found in MONTH_FIRST.finditer(text):
        if not _exists(int(found[3]), MONTHS[found[1]], int(found[2])):
            return f"no such date: {found[0]}"
    return None


def _exists(year: int, month: int, day: int) -> bool:
    return 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]


def currency_fault(text: str) -> str | None:
    """Which three capitals beside an amount with two decimals are no currency of ISO 4217, or None."""
    if not any(screen.search(text) for screen in CODE_SCREENS):
        return None
    for found in CODE_AMOUNT.finditer(text):
        code = found[1] or found[2]
        if code not in CURRENCIES and code not in OTHER_WORDS:
            return f"{code} in {found[0]!r} is no currency code"
    return None


def table_fault(text: str) -> str | None:
    """Which total of a table is not the sum of rows directly above it, or None.

    Tables are lines of cells with `|` between them. Judged are rows called total, and one called total of something if
    it is the last: further up it may head figures of another kind. A total is right if it is the sum of any unbroken run
    of rows that ends above it, within rounding (half a unit of the last digit for each number); the rows summed then
    count as one, so that totals of totals are right too. A column with percentages or remarks is not judged.
    """
    if "|" not in text or "total" not in text.lower():
        return None
    for is_table, lines in groupby(text.split("\n"), key=lambda line: "|" in line):
        if is_table and (fault := _totals_fault([[cell.strip() for cell in line.removeprefix("|").split("|")] for line in lines])):
            return fault
    return None


def _totals_fault(rows: list[list[str]]) -> str | None:
    for column in range(1, min(max(map(len, rows)), WIDEST)):
        cells = [(row[0], row[column]) for row in rows if column < len(row) and row[column].lower() not in EMPTY]
        if fault := _column_fault(cells):
            return fault
    return None


def _column_fault(cells: list[tuple[str, str]]) -> str | None:
    above: list[float] = []
    for place, (label, cell) in enumerate(cells, 1):
        value = _value(cell)
        if "%" in cell or (value is None and (above or NO_SUM.search(cell))):
            return None
        if value is None or (not above and BARE_YEAR.fullmatch(cell)):
            continue  # what stands over the first number
        if (called := TOTAL.match(label)) or not label:
            taken = _run(above, value, _unit_of(cell))
            if not taken and called and len(above) > 1 and (called.end() == len(label) or place == len(cells)):
                return f"{label} {cell} is not the sum of rows above it"
            del above[len(above) - taken :]
        above.append(-abs(value) if LESS.match(label) else value)
    return None


def _value(cell: str) -> float | None:
    found = CELL.fullmatch(cell)
    if found is None:
        return None
    return float("0" + found[1].replace(",", "") + (found[2] or "")) * (-1 if "(" in cell or "-" in cell else 1)


def _unit_of(cell: str) -> float:
    digits = re.search(r"\.(\d+)", cell)
    return 10.0 ** -len(digits[1]) if digits else 1.0


def _run(above: list[float], total: float, unit: float) -> int:
    """How many of the last numbers add up to the total; 0 if none do."""
    added = 0.0
    for count, value in enumerate(islice(reversed(above), WIDEST), 1):
        added += value
        slack = 0.5 * unit * (count + 1) if count > 1 else 0.0
        if abs(added - total) <= slack + 1e-6:
            return count
    return 0


def identifier_fault(text: str) -> str | None:
    """Which number that the text calls an IBAN, a card number or a routing number has wrong check digits, or None.

    IBAN: ISO 13616 (modulus 97, and the country's structure); payment card: Luhn, ISO/IEC 7812-1; routing number: the
    American Bankers Association's weights 3, 7, 1; all by python-stdnum. A masked number, such as one with X, is not judged.
    """
    lowered = text.lower()
    if any(name in lowered for name in ("iban", "card n", "routing", "aba")):
        from stdnum import iban, luhn
        from stdnum.us import rtn

        for found in IBAN.finditer(text):
            compact = found[1].replace(" ", "")
            if not any(iban.is_valid(compact[:size]) for size in range(15, len(compact) + 1)):  # capitals may follow
                return "an IBAN with wrong check digits or length"
        if any(not luhn.is_valid(re.sub("[ -]", "", found[1])) for found in CARD.finditer(text)):
            return "a card number with a wrong check digit"
        if any(not rtn.is_valid(found[1]) for found in ROUTING.finditer(text)):
            return "a routing number with a wrong check digit"
    return None


def card_number_fault(text: str) -> str | None:
    """Whether the text holds a whole payment card number, or None; PCI DSS requirement 3 wants none stored in clear.

    A run of digits counts that begins as the large schemes do, has their length and a right Luhn digit.
    """
    for found in ANY_CARD.finditer(text) if DIGITS_SCREEN.search(text) else ():
        from stdnum import luhn

        digits = re.sub("[ -]", "", found[0])
        if len(digits) in _lengths(digits) and luhn.is_valid(digits):
            return "a whole payment card number"
    return None


def _lengths(digits: str) -> tuple[int, ...]:
    if digits.startswith("3"):
        return (15,)
    return (13, 16, 19) if digits.startswith("4") else (16,)
