"""What the starter generators share: seeded choice, distinct documents, counted dirt, one way to write."""

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

from tasks.lib import config

Row: TypeAlias = dict[str, str]
Slot: TypeAlias = Sequence[str]  # one fact, worded in several ways
Files: TypeAlias = dict[str, list[Row]]

FACTS = Path(__file__).parent / "facts"
SHINGLE = 5
MOST_ALIKE = 0.4  # two corpus documents share at most this part of their word runs
FEWEST_WORDS = 60
ATTEMPTS = 200
EMPTY_ANSWERS, REPEATED_ROWS = 4, 6
BLANK_DOCUMENTS, REPEATED_DOCUMENTS = 2, 5
BOM = "\ufeff"


def facts(domain: str) -> dict[str, Any]:
    """The fact table of a domain, as its YAML file gives it."""
    return cast("dict[str, Any]", config.read_yaml(FACTS / f"{domain}.yaml"))


def seeded(name: str) -> random.Random:
    """A source of choices that depends on the name alone, so one file never shifts another."""
    return random.Random(f"slmforge starter {name}")


def sentence(text: str) -> str:
    """The text with a capital at its start."""
    return text[:1].upper() + text[1:]


def listing(words: Sequence[str]) -> str:
    """Words joined by commas and a last "and"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def worded(wordings: Sequence[Slot], fields: dict[str, str]) -> list[Slot]:
    """The wordings of a topic with its facts filled in."""
    return [[wording.format(**fields) for wording in slot] for slot in wordings]


def compose(chance: random.Random, slots: Sequence[Slot], low: int, high: int) -> str:
    """Some facts of one topic; the first slot introduces it, because later ones say "it"."""
    rest = list(slots[1:])
    chance.shuffle(rest)
    wanted, lines, words = chance.randint(low, (low + high) // 2), list[str](), 0
    for slot in [slots[0], *rest]:
        line = sentence(chance.choice(list(slot)))
        length = len(line.split())
        if words + length <= high:
            lines.append(line)
            words += length
        if words >= wanted:
            break
    return " ".join(lines)


def shingles(text: str) -> frozenset[str]:
    """Every run of words of the text, in lower case."""
    words = text.lower().split()
    return frozenset(" ".join(words[i : i + SHINGLE]) for i in range(len(words) - SHINGLE + 1))


class Shelf:
    """Documents admitted so far, which refuses one that is too like another."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._shingles: list[frozenset[str]] = []

    def admits(self, text: str) -> bool:
        """Keep the text if it is unlike every earlier one."""
        new = shingles(text)
        if not new or any(len(new & old) > MOST_ALIKE * len(new | old) for old in self._shingles):
            return False
        self.texts.append(text)
        self._shingles.append(new)
        return True


def documents(chance: random.Random, topics: Sequence[Sequence[Slot]], count: int) -> list[str]:
    """`count` documents over the topics in turn; most continue with a second topic."""
    shelf = Shelf()
    for number in range(count * ATTEMPTS):
        if len(shelf.texts) == count:
            return shelf.texts
        topic, other = topics[number % len(topics)], chance.choice(topics)
        if topic is not other and chance.random() < 0.6:
            text = f"{compose(chance, topic, 30, 68)}\n\n{compose(chance, other, 30, 68)}"
        else:
            text = compose(chance, topic, 60, 138)
        if len(text.split()) >= FEWEST_WORDS:
            shelf.admits(text)
    raise ValueError(f"asked for {count} distinct documents, made {len(shelf.texts)}: add facts")


def corpus(chance: random.Random, texts: Sequence[str], prefix: str) -> list[Row]:
    """Corpus rows with the dirt that the card counts: empty documents and exact repeats."""
    dirty = list(texts) + [BOM] * BLANK_DOCUMENTS + chance.sample(list(texts), REPEATED_DOCUMENTS)
    chance.shuffle(dirty)
    return [{"id": f"{prefix}-{i:04d}", "text": text} for i, text in enumerate(dirty, 1)]


def dirtied(chance: random.Random, rows: list[Row]) -> list[Row]:
    """Tune rows with the dirt that the card counts: empty answers and exact repeats."""
    emptied = {id(row) for row in chance.sample(rows, EMPTY_ANSWERS)}
    kept = [row for row in rows if id(row) not in emptied]
    blank = [row | {"response": ""} for row in rows if id(row) in emptied]
    dirty = kept + blank + chance.sample(kept, REPEATED_ROWS)
    chance.shuffle(dirty)
    return dirty


def distinct(rows: Iterator[Row], count: int, *, taken: set[str]) -> list[Row]:
    """The first `count` rows whose prompt is new; `taken` remembers prompts over several files."""
    kept: list[Row] = []
    for tries, row in enumerate(rows):
        if row["prompt"] not in taken:
            taken.add(row["prompt"])
            kept.append(row)
        if len(kept) == count:
            return kept
        if tries > count * ATTEMPTS:
            break
    raise ValueError(f"asked for {count} distinct prompts, made {len(kept)}: add facts")


def numbered(rows: Sequence[Row], prefix: str) -> list[Row]:
    """Rows with an id by their place."""
    return [{"id": f"{prefix}-{i:04d}"} | row for i, row in enumerate(rows, 1)]


def write(folder: Path, files: Files) -> None:
    """JSON Lines with sorted keys and one newline per row, the same bytes on every machine."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in files.items():
        lines = (json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_bytes("".join(lines).encode())
