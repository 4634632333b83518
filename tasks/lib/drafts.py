"""Drafted questions and answers as the domain's folder keeps them: what a sheet that comes back is compared with."""

from pathlib import Path
from typing import Literal

import pydantic
from pydantic import Field

from tasks.lib import digests, replacing
from tasks.lib.config import RUNTIME, Declared
from tasks.lib.errors import DataError

FOLDER = "drafts"  # below the domain's folder


class Draft(Declared):
    """A question and an answer on a passage; `start`, `end` and `passage_start` count characters of the document's text, from 0."""

    row: str
    document: str
    file: str
    page: int | None
    heading: str
    passage: str
    passage_start: int
    question: str
    answer: str
    quote: str
    start: int | None
    end: int | None
    supported: float = Field(ge=0, le=1, description="share of the answer that stands in one piece in the passage")
    note: str


class Unread(Declared):
    """What the model said where it did not give a question and an answer."""

    row: str
    start: int
    output: str


class About(Declared):
    """Where drafts are from; nothing in them is evidence until a person has judged it."""

    synthetic: Literal[True] = True
    domain: str
    dataset: str
    licence: str
    edition: Literal["starter", "full"] | None
    source_sha256: str
    model: str
    model_sha256: str
    instruction: str
    date: str = Field(json_schema_extra=RUNTIME, description="the day on which they were first drafted, UTC")


class Batch(Declared):
    """The drafts of one command."""

    about: About
    asked: int
    too_long: int
    drafts: list[Draft]
    unread: list[Unread]

    @property
    def id(self) -> str:
        """The same for the same drafts of the same source by the same model."""
        return f"d{digests.of_value(self.identity())[:12]}"

    def numbered(self) -> dict[str, Draft]:
        """Every draft by its id."""
        batch = self.id
        return {f"{batch}-{number:04d}": draft for number, draft in enumerate(self.drafts, start=1)}


def keep(folder: Path, batch: Batch) -> tuple[Batch, Path]:
    """Write a batch into the domain's folder; the same one that is there already stays, with its date."""
    file = folder / FOLDER / f"{batch.id}.json"
    if (known := find(folder, batch.id)) is not None:
        return known, file
    replacing.replace({file: batch.model_dump_json(indent=1)})
    return batch, file


def find(folder: Path, identifier: str) -> Batch | None:
    """The batch of that id, or None.

    Raises:
        DataError: if the file is not what was written.
    """
    file = folder / FOLDER / f"{identifier}.json"
    if not file.is_file():
        return None
    try:
        batch = Batch.model_validate_json(file.read_bytes())
        found = None if batch.id == identifier else f"content whose id is {batch.id}"
    except pydantic.ValidationError as error:
        found = f"{error.error_count()} field(s) that no record of drafts has"
    if found is not None:
        raise DataError(f"the drafts {identifier} as they were made", found, "restore the file, or draft again", file=file)
    return batch
