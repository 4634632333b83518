"""The encoding of a text, told from its bytes, and its line ends (importer of charset-normalizer)."""

import codecs
import re
import unicodedata
from collections.abc import Iterator
from typing import IO

from charset_normalizer import from_bytes

BLOCK = 1 << 16
WESTERN = "cp1252"  # what spreadsheets in western Europe and America write as "CSV"
RUNS = re.compile(rb"[\x80-\xff]+")
# a superscript, a currency or the like inside a word: a letter of another alphabet, read in the wrong one
ODD = re.compile(r"[^\W\d_][¡£¥¯±²³¹¼¾¿][^\W\d_]")


def returned(stream: IO[bytes], longest: int, *, throughout: bool) -> bool:
    """Whether lines end with a carriage return alone, as old programs write them: one stands before the first line feed.

    Args:
        stream: a text in an encoding that writes ASCII as ASCII.
        longest: bytes after which a first line with neither is no line.
        throughout: whether there may be no line feed at all; JSON may have carriage returns between its tokens.
    """
    found, tail, size = False, b"", 0
    while (block := stream.read(BLOCK)) and (found or size <= longest):
        head, feed, _ = (tail + block).partition(b"\n")
        size += len(block)
        bare = head.rstrip(b"\r")  # before a line feed, it is half of a line's end
        found, tail = found or b"\r" in bare, head[len(bare) :]
        if feed or (found and not throughout):
            return found and not (feed and throughout)
    return found or bool(tail)


def split(stream: IO[bytes], longest: int) -> Iterator[bytes]:
    """Lines that end with a carriage return, a line feed or both; one that is longer than `longest` bytes may come in pieces."""
    rest = b""
    while block := stream.read(BLOCK):
        *whole, rest = (rest + block).splitlines(keepends=True)
        yield from whole
        if len(rest) > longest:
            yield rest
            rest = b""
    if rest:
        yield rest


def is_of_one_byte(encoding: str) -> bool:
    """Whether every character of an encoding is one byte, so that text in UTF-8 can be read by it, as other letters."""
    letters = bytes(range(256)).decode(encoding, "replace")
    return len(letters) == 256 and letters.count("\ufffd") < 128  # of UTF-8, each byte beyond ASCII by itself is none


def told(head: bytes) -> str | None:
    """The encoding that bytes look like; None where nothing fits.

    The Latin code pages read most bytes as some letter, so short texts fit many of them. Of those, Windows-1252 is
    taken where every byte is defined in it, unless it would put symbols into words that another reads as letters.
    """
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut
    except UnicodeDecodeError:
        pass
    else:
        if b"\0" not in head:
            return "utf-8"
    lines = head.rpartition(b"\n")[0] or head
    if _is_broken_utf8(lines):
        return None
    guesses = [{"ascii": "utf-8", "utf_8": "utf-8"}.get(match.encoding, match.encoding) for match in from_bytes(lines)]
    if not guesses or guesses[0].startswith("utf") or b"\0" in head or not _may_be_western(lines, guesses[0]):
        return guesses[0] if guesses else None
    return next((guess for guess in (WESTERN, *guesses) if not ODD.search(lines.decode(guess, "replace"))), WESTERN)


def _is_broken_utf8(lines: bytes) -> bool:
    """Whether it is UTF-8 but for a few bytes: any other encoding would spoil what is right in it."""
    beyond = [c for c in lines.decode("utf-8", "surrogateescape") if not c.isascii()]
    bad = sum("\udc80" <= c <= "\udcff" for c in beyond)
    return len(beyond) > 2 * bad


def _may_be_western(lines: bytes, guess: str) -> bool:
    """Whether every byte is defined in Windows-1252, and the guess is not clearly of another script."""
    try:
        lines.decode(WESTERN)
    except UnicodeDecodeError:
        return False
    letters = [c for c in lines.decode(guess, "replace") if c.isalpha() and not c.isascii()]
    latin = all(unicodedata.name(c, "").startswith(("LATIN ", "MICRO", "FEMININE", "MASCULINE")) for c in letters)
    runs = [len(run) for run in RUNS.findall(lines)]
    # in words of another script nearly every letter is beyond ASCII; a stray accent stands alone
    return latin or sum(run for run in runs if run > 1) * 2 <= sum(runs)
