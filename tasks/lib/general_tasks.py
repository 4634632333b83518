"""General tasks for measuring forgetting, made from documentation topics that no training here sees: the same rows every time.

A base that others have trained may have read them: its scores tell what it loses, and not how well it reads what is new to it.

Both ask for a continuation among four, as plain text: `general_word` for a word within a sentence (after LAMBADA, Paperno et al.,
2016, with choices), `general_next` for the sentence that follows (after the Story Cloze Test, Mostafazadeh et al., 2016).
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

from tasks.lib import digests
from tasks.lib.general import is_heldout

CHOICES = 4
ANCHOR = slice(1, 5)  # words by which a sentence is looked for: none at its ends, where marks of the text around it may cling
SHORTEST, LONGEST = 10, 32  # words of a sentence that is asked about
Row = dict[str, Any]
SENTENCE = re.compile(r"(?<=[.!?]) (?=[A-Z])")
PROSE = re.compile(r"[A-Z][\w ,;:'’()-]*[.!?]")  # no code, no markup, no grammar
WORD = re.compile(r"[a-z]{4,}")
METRICS = {"general_word": "acc", "general_next": "acc_norm"}  # sentences differ in length, so their likelihoods are divided by it
TASK = {
    "dataset_path": "json",
    "test_split": "test",
    "output_type": "multiple_choice",
    "doc_to_text": "{{prompt}}",
    "doc_to_choice": "{{choices}}",
    "doc_to_target": "{{label}}",
    "general": True,
}


@dataclass(frozen=True)
class Passage:
    """Two sentences that follow each other in one paragraph."""

    first: str
    second: str


def digest() -> str:
    """sha256 over the text that the tasks are made from: it differs between versions of Python."""
    return digests.of_value(sorted(topics.items()))


def tasks(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The task files of these general tasks, as `tasks.lib.suite` admits them; the rows of each are in NAME.jsonl."""
    return {
        name: {**TASK, "task": name, "dataset_kwargs": {"data_files": {"test": f"{name.replace('_', '-')}.jsonl"}},
               "metric_list": [{"metric": METRICS[name]}]}
        for name in names
    }  # fmt: skip


def rows(name: str, limit: int, trained: Iterable[str] = ()) -> list[Row]:
    """At most `limit` rows of a general task, of whose sentences none stands in a text that is trained on.

    Args:
        name: `general_word` or `general_next`.
        limit: rows wanted.
        trained: texts that are trained on, besides the topics that a scratch base learns from; read once, one after the other.
    """
    return _rows(name, limit, _fresh(trained))


def _fresh(trained: Iterable[str]) -> list[Passage]:
    """The passages of which neither sentence stands in what is trained on: what is wrong must be as new as what is right."""
    passages = list(_passages())
    by_anchor: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for passage in passages:
        for sentence in (passage.first, passage.second):
            by_anchor[tuple(sentence.split()[ANCHOR])].add(sentence)
    seen: set[str] = set()
    for text in chain((text for text in topics.values() if not is_heldout(text)), trained):
        plain = _plain(text)
        words = plain.split()
        for anchor in by_anchor.keys() & set(zip(*(words[place:] for place in range(ANCHOR.stop - ANCHOR.start)), strict=False)):
            seen.update(sentence for sentence in by_anchor[anchor] if sentence in plain)
    return [one for one in passages if one.first not in seen and one.second not in seen]


def _rows(name: str, limit: int, passages: Sequence[Passage]) -> list[Row]:
    fresh = sorted(passages, key=lambda passage: digests.of_text(f"{name}\x1f{passage.first}\x1f{passage.second}"))
    make = _word if name == "general_word" else _next
    found = islice((row for passage in fresh if (row := make(passage, fresh)) is not None), limit)
    return [{**row, "id": f"{name}:{number}"} for number, row in enumerate(found, start=1)]


def write(out: Path, names: Sequence[str], limit: int, trained: Iterable[str]) -> dict[str, Path]:
    """Write the rows of these tasks below `out`; set name -> file, without those of which no row is left."""
    fresh, files = _fresh(trained) if names else [], {}
    for name in names:
        if made := _rows(name, limit, fresh):
            (out / "general").mkdir(exist_ok=True)
            stem = name.replace("_", "-")
            files[stem] = out / "general" / f"{stem}.jsonl"
            files[stem].write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made), encoding="utf-8")
    return files


def _plain(text: str) -> str:
    """A text on one line, without the marks of its markup."""
    return " ".join(re.sub(r"[*`\"]", "", text).split())


def _passages() -> Iterator[Passage]:
    """Each once: several topics hold the same paragraphs."""
    found: dict[Passage, None] = {}
    for _, text in sorted(topics.items()):
        if is_heldout(text):
            for paragraph in re.split(r"\n\s*\n", text):
                sentences = SENTENCE.split(_plain(paragraph))
                fits = [PROSE.fullmatch(one) is not None and SHORTEST <= len(one.split()) <= LONGEST for one in sentences]
                found |= {Passage(*sentences[i : i + 2]): None for i in range(len(sentences) - 1) if fits[i] and fits[i + 1]}
    yield from found


def _word(passage: Passage, passages: Sequence[Passage]) -> Row | None:
    """A word of the second sentence's later half, behind what comes before it; the others are words of other sentences."""
    words = passage.second.split()
    places = [place for place in range(len(words) // 2, len(words)) if WORD.fullmatch(words[place])]
    if not places:
        return None
    place = min(places, key=lambda one: digests.of_text(f"{passage.second}\x1f{one}"))
    others = sorted({word for one in passages for word in one.first.split() if WORD.fullmatch(word)} - {*passage.first.split(), *words})
    return _row(" ".join([passage.first, *words[:place]]), words[place], others)


def _next(passage: Passage, passages: Sequence[Passage]) -> Row | None:
    """The second sentence, among sentences of other passages."""
    others = sorted({one.second for one in passages if passage.first not in (one.first, one.second)} - {passage.second})
    return _row(passage.first, passage.second, others)


def _row(prompt: str, right: str, others: Sequence[str]) -> Row | None:
    """The right continuation among three others, all in an order that their digests give."""
    if len(others) < CHOICES - 1:
        return None
    drawn = sorted(others, key=lambda one: digests.of_text(f"{prompt}\x1f{one}"))[: CHOICES - 1]
    choices = sorted([right, *drawn], key=lambda one: digests.of_text(f"{one}\x1f{prompt}"))
    return {"prompt": prompt, "response": right, "choices": choices, "label": choices.index(right)}
