"""Finance starter data: accounting texts, ledger lines, tone of results, reading of statements."""

import random
from collections.abc import Iterator, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from infra.starter import common
from infra.starter.common import Files, Row, Slot

FACTS = common.facts("finance")
CATEGORIES = list(FACTS["ledger"])
TONES = list(FACTS["tone"])
EVASIONS = [
    "That depends on the market.",
    "No figure can be given.",
    "Ask another department.",
    "It is hard to say.",
]
WAYS = ["card", "transfer", "online", "debit", "mobile"]
PERIODS = ["quarter", "half-year", "year", "season", "month"]
CHANGES = ["-50", "-40", "-25", "-20", "-10", "-5", "5", "10", "12.5", "20", "25", "30", "40", "50"]
SHARES = [10, 20, 25, 30, 40, 50, 60, 75, 80]
ASKED = {
    "revenue": "What was revenue in {new}?",
    "cost": "What was cost in {new}?",
    "profit": "What is the gross profit in {new}?",
    "growth": "What is the growth of revenue in percent?",
    "margin": "What is the gross margin in {new}?",
    "higher": "Which year had higher revenue?",
}
REPORT: list[Slot] = [
    (
        "{name} reports revenue of {new} million for {year}.",
        "in {year} {name} earned revenue of {new} million.",
        "the accounts of {name} for {year} show sales worth {new} million.",
    ),
    (
        "it {verb} from {old} million in {before}, a change of {growth}.",
        "compared with {old} million in {before} this is {growth}.",
        "the year {before} had closed at {old} million, so growth was {growth}.",
    ),
    (
        "cost of goods sold came to {cost} million, which leaves {gross} million gross profit.",
        "with costs of {cost} million the gross margin is {margin}.",
        "gross profit of {gross} million equals {margin} of sales.",
    ),
    (
        "net income was {net} million, a net margin of {net_margin}.",
        "of each hundred earned, {net_margin} remained as net income.",
        "the owners are left with {net} million after all expenses.",
    ),
    (
        "current assets of {assets} million face current liabilities of {owed} million.",
        "the current ratio stands at {current}.",
        "{assets} over {owed} million gives a current ratio of {current}.",
    ),
    (
        "debt of {debt} million against equity of {equity} million is {gearing}.",
        "debt to equity ended the year at {gearing}.",
        "lenders are owed {debt} million and the owners hold {equity} million.",
    ),
    (
        "the {place} region grew faster than the {other} region.",
        "most orders came from the {place} branches.",
        "a new depot opened in the {place} area while the {other} one closed.",
    ),
    (
        "the return on equity works out at {earned}.",
        "net income over equity of {equity} million yields {earned}.",
        "a share of {earned} was earned on equity.",
    ),
]


def percent(part: Decimal | int, whole: Decimal | int) -> str:
    """A share in percent with one decimal, rounded half away from zero."""
    share = Decimal(part) * 100 / Decimal(whole)
    return f"{share.quantize(Decimal('0.1'), ROUND_HALF_UP)} %"


def ratio(part: int, whole: int) -> str:
    """A quotient with two decimals, rounded half away from zero."""
    return str((Decimal(part) / Decimal(whole)).quantize(Decimal("0.01"), ROUND_HALF_UP))


def term_slots(t: dict[str, Any]) -> list[Slot]:
    """What a text may say about a term."""
    name = t["name"]
    return [
        (
            f"{name} means {t['what']}.",
            f"accountants define {name} as {t['what']}.",
            f"the term {name} stands for {t['what']}.",
            f"{t['what']}: this is called {name}.",
        ),
        (
            f"the rule to compute it reads: {t['formula']}.",
            f"as a formula: {t['formula']}.",
            f"in practice one takes {t['formula']}.",
            f"students learn it as {t['formula']}.",
        ),
        (
            f"it serves for {t['use']}.",
            f"analysts turn to it for {t['use']}.",
            f"{name} is helpful for {t['use']}.",
            f"a common purpose is {t['use']}.",
        ),
        (
            f"a word of caution: {t['caveat']}.",
            f"remember that {t['caveat']}.",
            f"its weakness is plain, since {t['caveat']}.",
            f"auditors warn that {t['caveat']}.",
        ),
        (
            f"readers find it in {t['place']}.",
            f"look for it in {t['place']}.",
            f"its usual place is {t['place']}.",
            f"{name} appears in {t['place']}.",
        ),
        (
            "figures of one year gain meaning beside those of the year before.",
            "a comparison makes sense only between similar firms.",
            "the accounting policy should be read before the number is used.",
            "rounded figures may not add up exactly.",
        ),
        (
            "a negative value deserves an explanation in the notes.",
            "the notes explain which items are included.",
            "banks often ask for this figure when a loan is reviewed.",
            "owners and lenders read it with different questions in mind.",
        ),
    ]


def company(chance: random.Random) -> str:
    """An invented company."""
    return f"{chance.choice(FACTS['first_names'])} {chance.choice(FACTS['last_names'])}"


def report_slots(chance: random.Random) -> list[Slot]:
    """The year of an invented company; every ratio in it is computed from the figures beside it."""
    name, year = company(chance), chance.randint(2005, 2024)
    old, new = chance.randint(120, 900), chance.randint(120, 900)
    cost = new * chance.randint(35, 80) // 100
    gross, net = new - cost, (new - cost) * chance.randint(10, 60) // 100
    assets, owed = chance.randint(90, 400), chance.randint(60, 300)
    debt, equity = chance.randint(50, 400), chance.randint(80, 500)
    place, other = chance.sample(FACTS["places"], 2)
    verb = "rose" if new > old else "fell" if new < old else "stayed"
    figures = {"year": year, "before": year - 1, "old": old, "new": new, "cost": cost, "gross": gross}
    figures |= {"net": net, "assets": assets, "owed": owed, "debt": debt, "equity": equity}
    fields = {name: str(figure) for name, figure in figures.items()} | {
        "growth": percent(new - old, old),
        "margin": percent(gross, new),
        "net_margin": percent(net, new),
        "earned": percent(net, equity),
        "current": ratio(assets, owed),
        "gearing": ratio(debt, equity),
    }
    return common.worded(REPORT, fields | {"name": name, "verb": verb, "place": place, "other": other})


def ledger(chance: random.Random, *, held_out: bool) -> Iterator[Row]:
    """Lines of an account; which wording goes with which way to pay decides the split."""
    while True:
        category = chance.choice(CATEGORIES)
        lines = FACTS["ledger"][category]
        line, way = chance.randrange(len(lines)), chance.randrange(len(WAYS))
        if ((line + way) % 5 == 0) != held_out:
            continue
        amount = f"{chance.randint(300, 250000) / 100:.2f}"
        text = f"{lines[line]} by {WAYS[way]} {amount} EUR"
        prompt = f"Ledger line: {text}. Which category is it?"
        yield {"prompt": prompt, "response": category, "kind": "ledger"}


def tone(chance: random.Random, *, held_out: bool) -> Iterator[Row]:
    """Sentences on results; the pair of fact and tail decides the split."""
    while True:
        label = chance.choice(TONES)
        cues = FACTS["tone"][label]
        fact, tail = chance.randrange(len(cues["facts"])), chance.randrange(len(cues["tails"]))
        if ((fact + 2 * tail) % 5 == 0) != held_out:
            continue
        text = f"{cues['facts'][fact]} {cues['tails'][tail]}"
        opening = f"At {company(chance)}, in the last {chance.choice(PERIODS)},"
        prompt = f"Result: {opening} {text}. Tone: positive, negative or neutral?"
        yield {"prompt": prompt, "response": label, "kind": "tone"}


def statements(chance: random.Random, *, held_out: bool) -> Iterator[Row]:
    """A question on a three-number statement; round growth and margins keep the sums short."""
    last = FACTS["held_out_last_names" if held_out else "last_names"]
    while True:
        name = f"{chance.choice(FACTS['first_names'])} {chance.choice(last)}"
        new_year, old = chance.randint(2001, 2024), chance.randint(2, 40) * 40
        new = int(old * (100 + Decimal(chance.choice(CHANGES))) / 100)
        cost = new * chance.choice(SHARES) // 100
        text = f"{name}: revenue {new_year - 1} {old}, revenue {new_year} {new}, cost {new_year} {cost}"
        asked = chance.choice(list(ASKED))
        answers = {
            "revenue": str(new),
            "cost": str(cost),
            "profit": str(new - cost),
            "growth": percent(new - old, old),
            "margin": percent(new - cost, new),
            "higher": str(new_year if new > old else new_year - 1),
        }
        question = ASKED[asked].format(new=new_year)
        prompt = f"Statement of {text}. Question: {question}"
        yield {"prompt": prompt, "response": answers[asked], "kind": asked, "company": name}


def judged(chance: random.Random, rows: Sequence[Row]) -> list[Row]:
    """Pairs: the right answer against one that is wrong or evades; every third rejected one evades."""
    answers: dict[str, set[str]] = {}
    for row in rows:
        answers.setdefault(row["kind"], set()).add(row["response"])
    pairs: list[Row] = []
    for number, row in enumerate(rows):
        wrong = sorted(answers[row["kind"]] - {row["response"]})
        rejected = chance.choice(EVASIONS if number % 3 == 0 else wrong)
        pairs.append({"prompt": row["prompt"], "chosen": row["response"], "rejected": rejected})
    return pairs


def files() -> Files:
    """All finance starter files; the order of the draws is part of the data."""
    chance = common.seeded("finance")
    topics = [term_slots(t) for t in FACTS["terms"]] * 3
    topics += [report_slots(chance) for _ in range(260)]
    chance.shuffle(topics)
    taken: set[str] = set()
    held = {
        "ledger-eval": common.distinct(ledger(chance, held_out=True), 160, taken=taken),
        "tone-eval": common.distinct(tone(chance, held_out=True), 150, taken=taken),
        "statement-eval": common.distinct(statements(chance, held_out=True), 180, taken=taken),
    }
    lines = common.distinct(ledger(chance, held_out=False), 570, taken=taken)
    tones = common.distinct(tone(chance, held_out=False), 520, taken=taken)
    read = common.distinct(statements(chance, held_out=False), 960, taken=taken)
    pairs = judged(chance, [*lines[420:], *tones[380:], *read[740:]])
    return {
        "accounts": common.corpus(chance, common.documents(chance, topics, 900), "account"),
        "ledger-lines": common.numbered(lines[:420], "ledger"),
        "result-tone": common.numbered(tones[:380], "tone"),
        "statement-reading": common.numbered(common.dirtied(chance, read[:740]), "statement"),
        "judged-answers": common.numbered(pairs, "pair"),
    } | {name: common.numbered(rows, name) for name, rows in held.items()}
