"""Text as people wrote it: marks, controls and white space put right, meaning left alone."""

import json
import re
import unicodedata

from tasks.lib.records import CONTENT, Row

MIN_CHARS = 20  # a corpus document shorter than this says nothing
NAMES = {"response": "answer", "text": "text", "prompt": "prompt"}
BOM = "\ufeff"
INVISIBLE = re.compile("[\ufeff\u200b\u2060\u00ad]")
CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
C1 = re.compile("[\x80-\x9f]")
SPACES = re.compile(r"[^\S\n]+")
LINE_EDGES = re.compile(r" ?\n ?")
BLANK_LINES = re.compile(r"\n{3,}")
CODE = re.compile(r"[A-Za-z]%?\d")  # letters and digits as in a formula or a SMILES string


def clean(text: str) -> str:
    """NFC, no byte-order marks, zero-width or control characters, single spaces, at most one blank line.

    C1 controls are Windows-1252 letters that were decoded as Latin-1 (a curly apostrophe arrives
    as U+0092); they become the letters that they stand for.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = C1.sub(_windows_1252, text)
    text = CONTROLS.sub("", INVISIBLE.sub("", text))
    text = unicodedata.normalize("NFC", text)
    text = LINE_EDGES.sub("\n", SPACES.sub(" ", text))
    return BLANK_LINES.sub("\n\n", text).strip()


def decoding_fault(text: str) -> str | None:
    """What a wrong decoding left in a text, before cleaning: U+FFFD, whose letter is lost, or C1 controls; else None."""
    if (lost := text.count("\ufffd")) > 0:
        return f"{lost} letter(s) lost (U+FFFD)"
    return "C1 control characters (Windows-1252 read as Latin-1)" if C1.search(text) else None


def folded(text: str) -> str:
    """What makes two texts the same: words, spacing and case aside.

    The case of a word such as c1ccccc1 (benzene) is kept: C1CCCCC1 is another molecule.
    """
    return " ".join(word if CODE.search(word) else word.casefold() for word in text.split())


def question(row: Row) -> str:
    """What makes two questions the same: the folded prompt with all that was said before it."""
    return folded(json.dumps([row.get(key) for key in ("system", "history", "prompt")]))


def is_only_marks(text: str) -> bool:
    """Whether a text is nothing but a byte-order mark (and white space)."""
    return BOM in text and not text.replace(BOM, "").strip()


def put_right(row: Row, min_chars: int) -> tuple[Row, str | None]:
    """A row with its texts cleaned, and why it has nothing to say, if so.

    That is: a field is empty or a byte-order mark alone, or a corpus document has fewer than `min_chars` characters.
    """
    new = {key: clean(value) if key in CONTENT else value for key, value in row.items()}
    if row.get("canonical"):
        new["canonical"] = [{**spelt, "text": clean(spelt["text"])} for spelt in row["canonical"]]
    if row.get("history"):
        history: list[dict[str, str]] = [{**turn, "content": clean(turn["content"])} for turn in row["history"]]
        new["history"] = history
        if not all(turn["content"] for turn in history):
            return new, "empty-turn"
    for key in CONTENT:
        if key in row and key != "system" and not new[key]:
            return new, "bom-only" if is_only_marks(row[key]) else f"empty-{NAMES.get(key, key)}"
    return new, "too-short" if row["role"] == "corpus" and len(new["text"]) < min_chars else None


def _windows_1252(match: re.Match[str]) -> str:
    try:
        return match.group(0).encode("latin-1").decode("cp1252")
    except UnicodeDecodeError:
        return ""  # five bytes that Windows-1252 does not define
