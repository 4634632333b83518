"""Healthcare starter data: leaflet texts, triage notes, reading of notes, short questions."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

from infra.starter import common
from infra.starter.common import Files, Row, Slot

FACTS = common.facts("healthcare")
LEVELS = list(FACTS["triage"])
HELD_OUT_DRUGS = [drug["name"] for drug in FACTS["drugs"][::4]]  # notes about them are only in the eval
PERSONS = ["man", "woman", "patient", "person"]
ARRIVALS = ["comes with", "calls about", "reports", "asks about", "is here for", "writes about"]
TIMES = FACTS["times"]
EVASIONS = [
    "That depends on many things.",
    "I cannot say.",
    "Please look it up elsewhere.",
    "It could be anything.",
]
NOTES = [
    "{age}-year-old {who}, temperature {temperature}. Start {drug} {dose} {times} for {duration}.",
    "{who} of {age} years. Takes {drug} {dose} {times}. Ill for {duration}, temperature {temperature}.",
    "Seen today: {who}, {age}. {drug} {dose} {times} given for {duration}. Measured {temperature}.",
    "{drug} {dose} {times} was begun. The {who} ({age}) had {temperature} and was ill for {duration}.",
    "Temperature {temperature} in a {who} of {age}. Plan: {drug} {dose} {times}, {duration}.",
    "Plan for {duration}: {drug}, {dose}, {times}. {who}, {age} years, {temperature} on arrival.",
    "Review of a {who} aged {age}: {temperature} at home, {drug} {dose} {times} over {duration}.",
    "A {who} of {age} was given {drug} {dose} {times}. Fever of {temperature}. Course of {duration}.",
]
EVAL_NOTES = NOTES[4:]  # the last two are in no tune row
ASKED = {
    "drug": "Which drug is named?",
    "dose": "What is the dose?",
    "temperature": "What is the temperature?",
    "duration": "What is the duration?",
    "times": "How often is it taken?",
}
CONDITION: list[Slot] = [
    (
        "{name} is {what}.",
        "doctors describe {name} as {what}.",
        "by {name} we mean {what}.",
        "{what}: that is the short definition of {name}.",
    ),
    (
        "the usual cause is {cause}.",
        "it arises from {cause}.",
        "behind it stands {cause}, as a rule.",
    ),
    (
        "typical signs are {signs}.",
        "people notice {some} among other complaints.",
        "look for {sign0} and also for {sign3}.",
        "a patient may report {some}.",
    ),
    (
        "the risk grows with {risk}.",
        "more often affected are people with {risk}.",
        "known risk factors include {risk}.",
    ),
    (
        "the diagnosis rests on {test}.",
        "to confirm it the clinic arranges {test}.",
        "a useful investigation is {test}.",
    ),
    (
        "treatment usually means {care}.",
        "most patients are offered {care}.",
        "the first line of care is {care}.",
    ),
    (
        "call for help at once in case of {danger}.",
        "a warning sign that cannot wait is {danger}.",
        "urgent assessment is needed with {danger}.",
    ),
    (
        "prevention: {prevent}.",
        "what helps to prevent {name} is {prevent}.",
        "asked about prevention, the nurse mentions {prevent}.",
    ),
    (
        "this leaflet belongs to the chapter on the {organ}.",
        "in the index it stands under {organ}.",
        "questions about {name} go to the team for the {organ}.",
    ),
]


def condition_slots(c: dict[str, Any]) -> list[Slot]:
    """What a leaflet may say about a condition."""
    signs: list[str] = c["signs"]
    fields = c | {"signs": common.listing(signs), "some": common.listing(signs[1:3])}
    return common.worded(CONDITION, fields | {"sign0": signs[0], "sign3": signs[3]})


def drug_slots(d: dict[str, Any]) -> list[Slot]:
    """What a leaflet may say about a medicine."""
    name, low = d["name"], f"{d['doses'][0]} {d['unit']}"
    doses = common.listing([f"{dose} {d['unit']}" for dose in d["doses"]])
    return [
        (
            f"{name} belongs to this class: {d['class']}.",
            f"the class of {name} is {d['class']}.",
            f"pharmacists file {name} under {d['class']}.",
        ),
        (
            f"it is used for {d['use']}.",
            f"doctors prescribe {name} for {d['use']}.",
            f"the main indication is {d['use']}.",
        ),
        (
            f"it works by {d['how']}.",
            f"the effect comes from {d['how']}.",
            f"its mechanism: {d['how']}.",
        ),
        (
            f"it is supplied as {common.listing(d['forms'])}.",
            f"the pharmacy stocks it as {d['forms'][0]} and as {d['forms'][1]}.",
            f"one dosing form is the {d['forms'][0]}, another the {d['forms'][1]}.",
        ),
        (
            f"common single strengths are {doses}.",
            f"a small strength on the shelf is {low}.",
            f"the label states the strength, for example {low}.",
        ),
        (
            f"a frequent unwanted effect is {d['side']}.",
            f"patients should know about {d['side']}.",
            f"side effects include {d['side']}.",
        ),
        (
            f"good practice: {d['care']}.",
            f"a reminder for the prescriber: {d['care']}.",
            f"the leaflet on {name} advises: {d['care']}.",
        ),
    ]


def lab_slots(t: dict[str, Any]) -> list[Slot]:
    """What a leaflet may say about a laboratory value."""
    name = t["name"]
    return [
        (
            f"{name} tells about {t['carrier']}.",
            f"the value called {name} reflects {t['carrier']}.",
            f"what {name} measures is {t['carrier']}.",
        ),
        (
            f"the usual range is {t['range']}.",
            f"laboratories quote {t['range']} for it.",
            f"expected: {t['range']}.",
        ),
        (
            f"a high result may mean {t['high']}.",
            f"when {name} is raised, think of {t['high']}.",
            f"values above the range suggest {t['high']}.",
        ),
        (
            f"a low result points to {t['low']}.",
            f"when {name} is low, the reading is {t['low']}.",
            f"values below the range suggest {t['low']}.",
        ),
        (
            f"the sample is {t['sample']}.",
            f"it is measured from {t['sample']}.",
            f"for {name} the nurse needs {t['sample']}.",
        ),
        (
            "ranges differ a little between laboratories.",
            "one value alone seldom settles a diagnosis.",
            "a surprising result is repeated before anyone acts on it.",
        ),
    ]


def triage(chance: random.Random, *, held_out: bool) -> Iterator[Row]:
    """Notes whose sign and circumstance pair is seen either in tune rows or in the eval, never both."""
    while True:
        level = LEVELS[chance.randrange(len(LEVELS))]
        cues = FACTS["triage"][level]
        sign, note = chance.randrange(len(cues["signs"])), chance.randrange(len(cues["notes"]))
        if ((3 * sign + note) % 5 == 0) != held_out:
            continue
        who = f"{chance.choice(PERSONS)} of {chance.randint(18, 89)}"
        cue = f"{cues['signs'][sign]} {cues['notes'][note]}"
        text = f"A {who} {chance.choice(ARRIVALS)} {cue}."
        prompt = f"Note: {text} Triage: emergency, urgent, routine or self-care?"
        yield {"prompt": prompt, "response": level, "kind": "triage"}


def reading(chance: random.Random, *, held_out: bool) -> Iterator[Row]:
    """One question on a medication note; the answer is a span of the note."""
    drugs = [d for d in FACTS["drugs"] if (d["name"] in HELD_OUT_DRUGS) == held_out]
    while True:
        drug = chance.choice(drugs)
        fields = {
            "age": str(chance.randint(18, 89)),
            "who": chance.choice(PERSONS),
            "drug": drug["name"],
            "dose": f"{chance.choice(drug['doses'])} {drug['unit']}",
            "times": chance.choice(TIMES.get(drug["name"], TIMES["usual"])),
            "duration": f"{chance.randint(2, 14)} days",
            "temperature": f"{chance.randint(365, 399) / 10} C",
        }
        text = chance.choice(EVAL_NOTES if held_out else NOTES[:6]).format(**fields)
        asked = chance.choice(list(ASKED))
        yield {
            "prompt": f"Note: {common.sentence(text)} Question: {ASKED[asked]}",
            "response": fields[asked],
            "kind": asked,
        }


def spans_as_written(rows: Iterator[Row]) -> Iterator[Row]:
    """A drug name that opens its sentence is written large: answer as the note writes it."""
    for row in rows:
        large = common.sentence(row["response"])
        yield row if row["response"] in row["prompt"] else row | {"response": large}


def short_facts() -> list[Row]:
    """Every short question of the fact table, in every wording."""
    asked: list[tuple[str, str, list[str]]] = []
    for d in FACTS["drugs"]:
        n = d["name"]
        asked += [
            ("class", d["class"], [f"Which class of drug is {n}?", f"Name the class of {n}."]),
            ("use", d["use"], [f"What is {n} used for?", f"Name a use of {n}."]),
            ("side", d["side"], [f"What is a side effect of {n}?"]),
        ]
    for c in FACTS["conditions"]:
        n = c["name"]
        asked += [
            ("test", c["test"], [f"Which test helps to diagnose {n}?", f"How is {n} confirmed?"]),
            ("care", c["care"], [f"What is the first care for {n}?", f"How is {n} treated?"]),
            ("danger", c["danger"], [f"What is a warning sign in {n}?"]),
        ]
    for t in FACTS["labs"]:
        n = t["name"]
        asked += [
            ("range", t["range"], [f"What is the usual range of {n}?"]),
            ("high", t["high"], [f"What may a high {n} mean?", f"Name a meaning of high {n}."]),
            ("low", t["low"], [f"What does a low {n} mean?"]),
        ]
    return [{"prompt": wording, "response": answer, "kind": kind} for kind, answer, wordings in asked for wording in wordings]


def judged(chance: random.Random, rows: Sequence[Row]) -> list[Row]:
    """Pairs: the right answer against one that is wrong or evades; every third rejected one evades."""
    pairs: list[Row] = []
    answers: dict[str, list[str]] = {}
    for row in rows:
        answers.setdefault(row["kind"], []).append(row["response"])
    for number, row in enumerate(rows):
        others = sorted({a for a in answers[row["kind"]] if a.lower() != row["response"].lower()})
        wrong = chance.choice(EVASIONS if number % 3 == 0 else others)
        pairs.append({"prompt": row["prompt"], "chosen": row["response"], "rejected": wrong})
    return pairs


def files() -> Files:
    """All healthcare starter files; the order of the draws is part of the data."""
    topics = [condition_slots(c) for c in FACTS["conditions"]]
    topics += [drug_slots(d) for d in FACTS["drugs"]] + [lab_slots(t) for t in FACTS["labs"]]
    chance = common.seeded("healthcare")
    chance.shuffle(topics)
    taken: set[str] = set()
    held = common.distinct(triage(chance, held_out=True), 160, taken=taken)
    triaged = common.distinct(triage(chance, held_out=False), 800, taken=taken)
    held_notes = common.distinct(spans_as_written(reading(chance, held_out=True)), 160, taken=taken)
    notes = common.distinct(spans_as_written(reading(chance, held_out=False)), 850, taken=taken)
    asked = short_facts()
    chance.shuffle(asked)
    pairs = judged(chance, [*triaged[600:], *notes[640:], *asked[300:]])
    return {
        "leaflets": common.corpus(chance, common.documents(chance, topics, 900), "leaflet"),
        "triage-notes": common.numbered(triaged[:600], "triage"),
        "note-reading": common.numbered(common.dirtied(chance, notes[:640]), "reading"),
        "short-facts": common.numbered(asked[:300], "fact"),
        "judged-answers": common.numbered(pairs, "pair"),
        "triage-eval": common.numbered(held, "triage-eval"),
        "reading-eval": common.numbered(held_notes, "reading-eval"),
    }
