"""How many members a zip file lists, counted before its directory is made into objects."""

import os
import struct
from pathlib import Path
from typing import IO

END, END64, ENTRY = b"PK\5\6", b"PK\6\6", b"PK\1\2"  # [APPNOTE] 4.3.16, 4.3.14, 4.3.12
TAIL = 76 + 22 + (1 << 16)  # bytes in which the directory's end stands: a comment may follow it
BLOCK = 1 << 20


def entries(path: Path, most: int) -> int:
    """The members of a zip file: as many as its end says, or as its directory holds where that is more.

    Args:
        path: where it lies.
        most: enough to know; what is beyond need not be counted.

    Returns:
        A number; 0 for what is no zip file, of which whoever opens it says so.
    """
    with path.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        begin = max(0, size - TAIL)
        stream.seek(begin)
        tail = stream.read()
        place = tail.rfind(END)
        if place < 0 or len(tail) - place < 22:
            return 0
        said, width = struct.unpack("<HL", tail[place + 10 : place + 16])
        record = tail[max(0, place - 76) : place]  # zip64: the record, and 20 bytes that say where it is
        if record.startswith(END64) and len(record) == 76:
            said, width = struct.unpack("<QQ", record[32:48])
            place -= 76
        return max(said, _held(stream, begin + place - width, begin + place, most)) if said <= most else int(said)


def _held(stream: IO[bytes], start: int, stop: int, most: int) -> int:
    """How often an entry begins between two bytes, up to one more than `most`."""
    stream.seek(max(0, start))
    left, found, kept = stop - max(0, start), 0, b""
    while found <= most and (block := stream.read(min(BLOCK, max(0, left)))):
        left -= len(block)
        found += (kept + block).count(ENTRY)
        kept = block[-len(ENTRY) + 1 :]
    return found
