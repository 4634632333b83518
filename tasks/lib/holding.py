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
        self._phrases: dict[str, tuple[str, Words]] = {}  # a phrase: the row (or that several rows have it), and the answer to look for
        self._asked: set[str] = set()
        self._rare: set[str] = set()
        self._pairs: dict[tuple[str, str], set[tuple[int, int]]] = {}  # a rare word and one beside it: where in phrases, of which length

    def add(self, row: Row) -> None:
        """Look for what a row asks; with molecules also in their canonical spelling."""
        for spelt in asked.spellings(row):
            question = words(spelt["prompt"])
            phrase = " ".join(question)
            if len(question) < FEWEST or phrase in self._asked:
                continue  # what two rows ask alike, is asked by the first
            self._asked.add(phrase)
            if len(question) < WORDS:
                self._phrases.setdefault(phrase, (row["id"], words(spelt.get("response", ""))[:WORDS]))
                continue
            for part in {" ".join(question[place : place + WORDS]) for place in range(len(question) - WORDS + 1)}:
                self._phrases[part] = (row["id"] if self._phrases.get(part, (row["id"],))[0] == row["id"] else SHARED, ())

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
        row, answer = self._phrases.get(" ".join(found[start : start + length]), (SHARED, ()))
        if row == SHARED:
            return None
        if length == WORDS:
            return f"holds {WORDS} words in a row of what {row} asks"
        end = start + length
        return f"holds what {row} asks, with its answer" if answer and _holds(found[end : end + WORDS + len(answer)], answer) else None

    def _index(self) -> None:
        for phrase, (row, _) in self._phrases.items():
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
