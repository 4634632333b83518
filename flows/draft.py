"""`slmforge draft`: a local model drafts questions and answers from a corpus, as a sheet for an expert."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows import commands
from tasks.lib import digests, domain, drafts, sheets
from tasks.lib.drafts import About, Batch, Draft, Unread
from tasks.lib.environment import muted
from tasks.lib.errors import ConfigError, DataError, StageError
from tasks.lib.flow import Job, Order
from tasks.lib.passages import Passage, Passages
from tasks.lib.sources import ResolvedDataset

UNSUPPORTED = "reject? the answer does not stand in the passage"
IN_PART = "in part: the quote holds {share:.0%} of the answer"
CUT = "the answer was cut off where the reply had to end"


def draft(asked: Order, dataset: str, model: str, limit: int, per_document: int | None, out: str | None) -> None:
    """Draft, keep the drafts in the domain's folder, and write the sheet.

    Args:
        asked: the domain and its settings.
        dataset: one of its datasets with the role corpus.
        model: the model's folder, or an artifact `STAGE/ID`.
        limit: passages asked at most, the first ones.
        per_document: passages of one document at most.
        out: where the sheet goes, .xlsx or .csv; it is never written over.

    Raises:
        ConfigError: for a dataset that is no corpus, a sheet that is there, or a model that is not; before any work.
        StageError: if no output of the model could be read; nothing is written.
    """
    _require_corpus(asked.domain, dataset)
    file = Path(out or f"{asked.domain}-{dataset}-drafts.xlsx")
    sheets.require_new(file)
    _require_model(model)
    from flows.prepare import prepare

    job = prepare.job(commands.upon(asked, model))
    source = next((found for found in job.sources.datasets if found.dataset.name == dataset), None)
    if source is None:
        raise ConfigError(f"dataset {dataset!r}", f"it is not in the {job.sources.edition} edition", "give --edition or --mirror")
    chosen, left_out = _chosen(source, limit, per_document)
    batch = _drafted(chosen, job, _about(asked.domain, source, job, model))
    batch, kept = drafts.keep(job.domain.folder, batch)
    sheets.write(file, batch)
    _tell(batch, left_out)
    print(f"sheet: {file}\nkept, to compare it with when it comes back: {kept}")
    print(f'when an expert has filled it in: slmforge review {asked.domain} {file} --reviewer "NAME"')


def _require_corpus(name: str, dataset: str) -> None:
    known = {entry.name: entry.role for entry in domain.load(name).card.datasets}
    if known.get(dataset) != "corpus":
        found = f"it has the role {known[dataset]}" if dataset in known else "no such dataset"
        documents = ", ".join(entry for entry, role in known.items() if role == "corpus") or "none"
        raise ConfigError(f"dataset {dataset!r} of {name} with documents", found, f"give one with the role corpus: {documents}")


def _require_model(model: str) -> None:
    if not commands.in_store(model) and not Path(model).is_dir():
        raise ConfigError(
            f"a model {model} to draft with", "no such folder, and no such artifact", "give --model the folder of a model, or STAGE/ID"
        )


def _chosen(source: ResolvedDataset, limit: int, per_document: int | None) -> tuple[list[Passage], Counter[str]]:
    """The first passages, and how many are not asked about, by reason."""
    from tasks.lib import progress

    passages = Passages(source, per_document)
    chosen: list[Passage] = []
    beyond = 0
    for passage in progress.rows(passages, f"read {source.dataset.name}"):
        if len(chosen) < limit:
            chosen.append(passage)
        else:
            beyond += 1
    left_out = passages.left_out + Counter({f"beyond --limit {limit:,}": beyond})
    if not chosen:
        found = ", ".join(f"{count:,} {why}" for why, count in left_out.items()) or "no text"
        raise DataError(f"passages to ask about in dataset {source.dataset.name!r}", found, "add documents with whole paragraphs")
    return chosen, left_out


def _about(name: str, source: ResolvedDataset, job: Job[Any], model: str) -> About:
    with muted():  # what libraries say when they are loaded
        from tasks.lib.drafting import INSTRUCTION

    return About(
        domain=name,
        dataset=source.dataset.name,
        licence=source.dataset.licence,
        edition=source.dataset.edition,
        source_sha256=source.sha256,
        model=model if commands.in_store(model) else Path(model).resolve().name,
        model_sha256=digests.of_value(job.base.content),
        instruction=INSTRUCTION,
        date=datetime.now(UTC).date().isoformat(),
    )


def _drafted(passages: list[Passage], job: Job[Any], about: About) -> Batch:
    """Ask the model about every passage."""
    from tasks.lib.drafting import Author, parsed
    from tasks.lib.progress import Bar

    author = Author(job.base.files())
    made, unread = list[Draft](), list[Unread]()
    too_long = 0
    bar = Bar("draft", len(passages), " passages")
    for passage in passages:
        reply = author.reply(passage.text)
        if reply is None:
            too_long += 1
        elif (found := parsed(reply)) is None:
            unread.append(Unread(row=passage.row, start=passage.start, output=reply.text))
        else:
            made.append(about_passage(passage, *found))
        bar.advance(1, f"{len(made)} drafted")
    bar.close()
    if not made:
        found_text = f"{len(unread):,} replies without the two lines, {too_long:,} passages that do not fit into the model's window"
        example = f"; the first reply: {' '.join(unread[0].output.split())[:160]!r}" if unread else ""
        remedy = "use a model that follows instructions, with a window of some hundred tokens or more"
        raise StageError(f"a question and an answer from {about.model}", found_text + example, remedy)
    return Batch(about=about, asked=len(passages), too_long=too_long, drafts=made, unread=unread)


def about_passage(passage: Passage, question: str, answer: str, cut: bool) -> Draft:
    """A draft with the place of its answer in the document, and what the expert should know."""
    from tasks.lib.support import located

    found = located(answer, passage.text)
    notes = [UNSUPPORTED] if found.start is None else [IN_PART.format(share=found.share)] if found.share < 1 else []
    place = (None, None) if found.start is None or found.end is None else (passage.start + found.start, passage.start + found.end)
    return Draft(
        row=passage.row,
        document=passage.document,
        file=passage.file,
        page=passage.page,
        heading=passage.heading,
        passage=passage.text,
        passage_start=passage.start,
        question=question,
        answer=answer,
        quote="" if found.start is None else passage.text[found.start : found.end],
        start=place[0],
        end=place[1],
        supported=found.share,
        note="; ".join([*notes, *([CUT] if cut else [])]),
    )


def _tell(batch: Batch, left_out: Counter[str]) -> None:
    without = sum(one.start is None for one in batch.drafts)
    print(f"{batch.asked:,} passages asked: {len(batch.drafts):,} drafted, of which {without:,} without a span in the passage; "
          f"{len(batch.unread):,} with unreadable output; {batch.too_long:,} too long for the model's window")  # fmt: skip
    for why, count in sorted(left_out.items()):
        print(f"not asked: {count:,} {why}")
