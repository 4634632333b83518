"""Where an answer stands in the passage that it was drawn from, and how much of it stands there."""

import re
from difflib import SequenceMatcher
from typing import NamedTuple

from tasks.lib.cleaning import folded

MIN_SHARE = 0.5  # of the answer's characters that must stand in one piece in the passage: less is chance
# a number with its sign is one token: "5 mg" does not stand in "1.5 mg", "15 mg" or "-5 mg"
TOKEN = re.compile(r"(?:(?<![\w)\]])[-+−])?\d+(?:[.,]\d+)*|\w+|[^\w\s]")
EDGES = " \t\n.!?;:,\"'“”„‘’«»"  # what an answer may begin or end with although the passage goes on


class Support(NamedTuple):
    """A piece of a passage, by its characters from 0 (end exclusive), and the share of the answer that it holds."""

    start: int | None
    end: int | None
    share: float


def located(answer: str, passage: str) -> Support:
    """Find an answer in a passage, spacing and case aside (case is kept in words such as c1ccccc1).

    All of the answer is looked for as one run of words; failing that, the longest run that answer and passage have in
    common (difflib), which counts when it holds at least half of the answer's characters and all of its numbers: "5 mg"
    is no support for "50 mg". Without a place, `share` is that of the longest run.
    """
    wanted = [folded(found.group()) for found in TOKEN.finditer(answer.strip(EDGES))]
    places = list(TOKEN.finditer(passage))
    if not wanted or not places:
        return Support(None, None, 0.0)
    words = [folded(found.group()) for found in places]
    # find_longest_match gives the whole answer where it stands, and of equal runs the first
    match = SequenceMatcher(None, words, wanted, autojunk=False).find_longest_match()
    held = sum(map(len, wanted[match.b : match.b + match.size]))
    share = round(held / sum(map(len, wanted)), 4)
    missed = wanted[: match.b] + wanted[match.b + match.size :]
    if share < MIN_SHARE or any(character.isdigit() for word in missed for character in word):
        return Support(None, None, share)
    return Support(places[match.a].start(), places[match.a + match.size - 1].end(), share)
