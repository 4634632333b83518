"""Office files of other formats, and those with a password: told for what they are, not read."""

from contextlib import suppress
from pathlib import Path

from tasks.lib.errors import DataError
from tasks.lib.files import Readable, packing

MAGIC = bytes.fromhex("D0CF11E0A1B11AE1")  # [MS-CFB] 2.2
LOOKED_AT = 200_000_000  # bytes
LOCKED = "EncryptedPackage"  # the stream that holds an encrypted document, [MS-OFFCRYPTO] 1.3.1
# by the name of the stream that holds the document, and by the suffix where that stream is lost
KINDS = (
    ("WordDocument", ".doc", "a Word file of the old format", "save it as .docx"),
    ("Workbook", ".xls", "an Excel file of the old format", "save it as .xlsx"),
    ("PowerPoint Document", ".ppt", "a PowerPoint file", "save its text as .docx, or print it to PDF"),
)
# zip files that are one document, by their suffix
OTHERS = {
    ".ods": ("an OpenDocument spreadsheet", "save it as .xlsx"),
    ".odt": ("an OpenDocument text", "save it as .docx"),
    ".odp": ("an OpenDocument presentation", "save its text as .docx, or print it to PDF"),
    ".pptx": ("a PowerPoint file", "save its text as .docx, or print it to PDF"),
    ".xlsb": ("an Excel file of the binary format", "save it as .xlsx"),
}


def refuse_other(path: Path, name: str, dataset: str) -> None:
    """Refuse a document that is a zip file inside, before it is taken for an archive.

    Raises:
        DataError: saying which it is, and how to save it.
    """
    kind = next((told for suffix, told in OTHERS.items() if name.lower().endswith(suffix)), None)
    if kind is not None and packing(path) == "zip":
        raise DataError(f"dataset {dataset!r}: a file that can be read", kind[0], f"{kind[1]}, and add it again", file=path)


def refuse(file: Readable, dataset: str) -> None:
    """Refuse a compound file, which older office programs write, and newer ones around an encrypted document.

    Raises:
        DataError: saying which it is, and how to save it.
    """
    head = content = b""
    with suppress(DataError), file.open() as stream:  # a packed file that breaks is told by its reader, with the row
        head = stream.read(len(MAGIC))
        content = stream.read(LOOKED_AT) if head == MAGIC else b""
    if head != MAGIC:
        return
    if LOCKED.encode("utf-16-le") in content:
        kind = ("an office file that is protected by a password", "open it, save it without the password, and add it again")
    else:
        named = [(kind, to_do) for stream_name, _, kind, to_do in KINDS if stream_name.encode("utf-16-le") in content]
        named += [(kind, to_do) for _, suffix, kind, to_do in KINDS if file.name.lower().endswith(suffix)]
        kind = (named or [("a file of an old office program", "save it as .docx, .xlsx or PDF")])[0]
    raise DataError(f"dataset {dataset!r}: a file that can be read", kind[0], kind[1], file=file.place)
