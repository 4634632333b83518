"""Documents that hold what is measured with are not trained on; those that only touch on it are."""

import random
import time
from pathlib import Path
from typing import Any

from tasks.lib.holding import WORDS, Questions
from tasks.lib.records import iterate
from tasks.split import SplitConfig, split
from tests.conftest import WORDS as TOY
from tests.datasets import ingested, reasons, resolved

LONG = "Which of the two rivers that meet below the old town carries more water in a dry summer?"
SHORT = "What colour is the river?"
TEMPLATE = "Read the text and say in one word what the colour of the thing that it is about is. "
EVAL = [{"q": LONG, "a": "the northern one"}, {"q": SHORT, "a": "It is brown"}, {"q": SHORT, "a": "Blue, mostly"}, {"q": "Who?", "a": "me"}]
DOCUMENTS = {
    "the question": f"Quiz of the week. {LONG} Send us a card.",
    "in other lines and marks": "«which of the two rivers,\nthat meet below  the OLD town, carries more water», he asked",
    "too few words of it": " ".join(LONG.split()[: WORDS - 1]) + " is beautiful",
    "the short question and its answer": f"Q: {SHORT}\nA: blue, mostly. It was always so",
    "the short question alone": f"Somebody asked: {SHORT} Nobody knew, and nobody would tell",
    "the answer, and then the question": f"It is blue, mostly, I said. {SHORT}",
    "no question": "Who? Me, he said, and went to the rivers that meet below the town",
}
ASIDE = ("the question", "in other lines and marks", "the short question and its answer")


def documents(texts: list[str]) -> list[dict[str, Any]]:
    return [{"text": text} for text in texts]


def test_a_document_that_holds_a_question_is_set_aside_whatever_the_setting(workplace: Path) -> None:
    judged = resolved(workplace, "judged", "eval", EVAL)
    corpus = resolved(workplace, "corpus", "corpus", documents(list(DOCUMENTS.values())))
    general = resolved(workplace, "general", "general", documents([DOCUMENTS["the question"], DOCUMENTS["no question"]]))
    made = split(SplitConfig(), ingested(judged, corpus, general))
    wanted = {f"corpus:{number}" for number, name in enumerate(DOCUMENTS, start=1) if name in ASIDE}
    assert reasons(made) == dict.fromkeys({*wanted, "general:1"}, "eval-overlap")
    told = {row["id"]: row["detail"] for row in iterate(made.path, "set_aside")}
    assert told["corpus:1"] == "holds 13 words in a row of what judged:1 asks"
    assert told["corpus:4"] == "holds what judged:3 asks, with its answer"
    assert all(line.balanced for line in made.ledger)


def test_what_several_questions_have_in_common_tells_none_of_them(workplace: Path) -> None:
    judged = resolved(workplace, "judged", "eval", [{"q": f"{TEMPLATE}{thing} is red", "a": "red"} for thing in ("An apple", "A brick")])
    texts = [TEMPLATE * 2 + "So says the sheet", f"{TEMPLATE}A brick is red"]
    made = split(SplitConfig(), ingested(judged, resolved(workplace, "corpus", "corpus", documents(texts))))
    assert set(reasons(made)) == {"corpus:2"}


def test_what_is_held_out_is_found_in_documents_too(workplace: Path) -> None:
    rows = [{"q": f"{LONG} Say number {i}", "a": "a b"} for i in range(6)]
    texts = [f"On {i}: {row['q']}, if you can" for i, row in enumerate(rows)]
    tune = resolved(workplace, "held", "tune", rows, holdout=2)
    made = split(SplitConfig(), ingested(tune, resolved(workplace, "corpus", "corpus", documents(texts))))
    held = {int(row["id"].split(":")[1]) for row in iterate(made.path, "eval")}
    assert len(held) == 2
    assert set(reasons(made)) == {f"corpus:{number}" for number in held}


def test_molecules_are_told_apart_and_known_in_their_canonical_spelling() -> None:
    asked = "Does the following molecule, given as a SMILES string, pass into the brain of a rat: {}?"
    questions = Questions()
    row = {"id": "judged:1", "prompt": asked.format("C(C)Oc1ccccc1"), "response": "yes"}
    questions.add({**row, "canonical": [{"field": "prompt", "text": asked.format("CCOc1ccccc1")}]})
    questions.add({"id": "judged:2", "prompt": asked.format("CCO"), "response": "yes"})
    for molecule, found in (("C(C)Oc1ccccc1", True), ("CCOc1ccccc1", True), ("CCOC1CCCCC1", False)):
        assert (questions.held_by(f"They asked: {asked.format(molecule)}") is not None) is found, molecule


def test_looking_takes_no_longer_than_reading() -> None:
    """Ten million documents of a thousand characters are some minutes, however many questions there are."""
    draw = random.Random(1)
    words = [a + b + str(n) for a in TOY for b in TOY for n in range(20)]
    questions = Questions()
    for number in range(500):
        questions.add({"id": f"judged:{number}", "prompt": " ".join(draw.choices(words, k=60)), "response": "yes"})
    texts = [" ".join(draw.choices(words, k=100)) for _ in range(300)]
    assert questions.held_by(texts[0]) is None
    started = time.process_time()
    assert not any(map(questions.held_by, texts))
    assert (time.process_time() - started) / len(texts) < 0.002
