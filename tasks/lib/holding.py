"""Documents that hold what an evaluation row asks: a model that has read them has seen the question.

A question of many words is found by any 13 of them in a row that no other question has (after GPT-3's filter: Brown et al.,
2020, appendix C; what several questions have in common, a template or a text that all are about, tells none of them). One of
fewer words is found as a whole, and only with its answer behind it: as words alone it may stand anywhere.
"""

from tasks.lib import asked
from tasks.lib.cleaning import folded
from tasks.lib.records import Row

WORDS = 13  # in a row that are no chance
FEWEST = 3  # words of a question that is looked for at all
EDGES = ".,;:!?\"'()[]{}<>*_`~…„“”‚‘’«»–—-"  # what is beside a word, and no part of it
SHARED = ""

Words = tuple[str, ...]


class Questions:
    """What evaluation rows ask, looked up in documents.

    A document is split into its words once. Every phrase that is looked for has a rare word, its longest; only where a document has
    one of these, beside the same word as in a phrase, more is compared.
    """

    def __init__(self) -> None:
        self._phrases: dict[str, str] = {}  # a phrase, and the row that it is of, or that several rows have it
        self._answers: dict[str, dict[Words, str]] = {}  # a short question: how each answer begins, and the row that gives it
        self._asked: set[str] = set()
        self._rare: set[str] = set()
        self._pairs: dict[tuple[str, str], set[tuple[int, int]]] = {}  # a rare word and one beside it: where in phrases, of which length

    def add(self, row: Row) -> None:
        """Look for what a row asks; with molecules also in their canonical spelling."""
        for spelt in asked.spellings(row):
            question = words(spelt["prompt"])
            phrase = " ".join(question)
            if FEWEST <= len(question) < WORDS and (answer := words(spelt.get("response", ""))[:WORDS]):
                self._phrases.setdefault(phrase, row["id"])
                self._answers.setdefault(phrase, {}).setdefault(answer, row["id"])
            elif len(question) >= WORDS and phrase not in self._asked:  # what two rows ask alike, is asked by the first
                self._asked.add(phrase)
                for part in {" ".join(question[place : place + WORDS]) for place in range(len(question) - WORDS + 1)}:
                    self._phrases[part] = row["id"] if self._phrases.get(part, row["id"]) == row["id"] else SHARED

    def held_by(self, text: str) -> str | None:
        """Why a document is out, if it holds what a row asks."""
        if not self._pairs:
            self._index()
        plain = [bare for word in text.casefold().split() if (bare := word.strip(EDGES))]
        if self._rare.isdisjoint(plain):
            return None
        found: Words = ()
        for place in (place for place, word in enumerate(plain) if word in self._rare):
            for first in range(max(place - 1, 0), min(place + 1, len(plain) - 1)):
                for before, length in sorted(self._pairs.get((plain[first], plain[first + 1]), ())):
                    found = found or words(text)
                    if first >= before and (why := self._told(found, first - before, length)) is not None:
                        return why
        return None

    def _told(self, found: Words, start: int, length: int) -> str | None:
        phrase, end = " ".join(found[start : start + length]), start + length
        row = self._phrases.get(phrase, SHARED)
        if length == WORDS and row != SHARED:
            return f"holds {WORDS} words in a row of what {row} asks"
        for answer, by in self._answers.get(phrase, {}).items():
            if _holds(found[end : end + WORDS + len(answer)], answer):
                return f"holds what {by} asks, with its answer"
        return None

    def _index(self) -> None:
        for phrase, row in self._phrases.items():
            if row != SHARED:
                parts = phrase.casefold().split(" ")
                longest = max(range(len(parts)), key=lambda place: (len(parts[place]), -place))
                first = min(longest, len(parts) - 2)
                self._rare.add(parts[longest])
                self._pairs.setdefault((parts[first], parts[first + 1]), set()).add((first, len(parts)))


def words(text: str) -> Words:
    """A text's words as they are compared: folded, and without the marks beside them."""
    return tuple(bare for word in folded(text).split() if (bare := word.strip(EDGES)))


def _holds(text: Words, part: Words) -> bool:
    return any(text[place : place + len(part)] == part for place in range(len(text) - len(part) + 1))
