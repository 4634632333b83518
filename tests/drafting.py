"""A domain with two documents, and small models that draft from them: one that has learnt to, one that has not."""

import json
from pathlib import Path
from typing import Any

import openpyxl
from ruamel.yaml import YAML

from tasks.lib.drafts import Batch

HANDBOOK = """\
# Dosing

## Adults

The starting dose of velarine for adults is 5 mg once a day, taken with water before the first meal. After two weeks the
dose may be raised to 10 mg.

## Children

Children under twelve must not be given velarine, because its effect on growth has not been studied in any trial so far.
"""
STORAGE = """\
Velarine is kept in a dry place below 25 degrees. A bottle that has been opened is used up within six weeks, or thrown away.
"""
CARD = """\
purpose: questions on a medicine that does not exist
owner: tests
risk: low
licences: [CC0-1.0]   # the only one
datasets:
  - {name: handbook, role: corpus, source: {path: docs}, licence: CC0-1.0, kind: synthetic, map: {text: "{text}"}}
  - {name: asked, role: tune, source: {path: data/asked.csv}, licence: CC0-1.0, kind: user, map: {prompt: "{q}", response: "{a}"}}
"""
# what the model that has learnt says on the passages, in their order: the last answer stands nowhere in its passage
DRAFTED = (
    ("What is the starting dose for adults?", "5 mg once a day"),
    ("Who must not be given velarine?", "Children under twelve"),
    ("=How long is an opened bottle used?", "about one year"),
)
# what an expert says on them, by the sheet's row, and who that is
WHO = ("--reviewer", "Dr. A. Example")
ALL = {2: {"verdict": "accept"}, 3: {"verdict": "Correct ", "corrected_answer": "=Children below 12", "comment": "as in the leaflet"},
       4: {"verdict": "reject", "comment": "made up"}}  # fmt: skip


def write_domain(place: Path) -> Path:
    """The domain below `place`/domains."""
    folder = place / "domains" / "clinic"
    (folder / "data").mkdir(parents=True)
    (folder / "docs").mkdir()
    (folder / "domain.yaml").write_text(CARD)
    (folder / "docs/handbook.md").write_text(HANDBOOK)
    (folder / "docs/storage.txt").write_text(STORAGE)
    (folder / "data/asked.csv").write_text("q,a\n" + "".join(f"Is {i} a dose?,{'yes' if i < 11 else 'no'}\n" for i in range(20)))
    return folder


def train(chat: Path, plain: Path) -> None:
    """Write a model that has learnt by heart what DRAFTED says on the three passages, with and without a chat template."""
    import torch

    from tasks.lib import drafting, models
    from tasks.lib.packing import chat_ids

    torch.manual_seed(0)
    prompts = [f"{drafting.INSTRUCTION}{drafting.PASSAGE}{text}" for text in passages()]
    replies = [f"Question: {question}\nAnswer: {answer}" for question, answer in DRAFTED]
    tokenizer = models.train_tokenizer([*prompts, *replies] * 2, 1200)
    model = models.new_decoder(tokenizer, 64, 2, 4, 768)
    rows = []
    for prompt, reply in zip(prompts, replies, strict=True):
        end = [tokenizer.eos_token_id]
        turn = chat_ids(tokenizer, [{"role": "user", "content": prompt}], generation=True)
        text = tokenizer.encode(f"{prompt}\n\n{drafting.OPENED}")
        rows += [(turn, tokenizer.encode(reply) + end), (text, tokenizer.encode(reply.removeprefix(drafting.OPENED)) + end)]
    _fit(model, rows, tokenizer.pad_token_id)
    models.save(model, tokenizer, chat)
    tokenizer.chat_template = None
    models.save(model, tokenizer, plain)


def _fit(model: Any, rows: list[tuple[list[int], list[int]]], pad: int) -> None:
    import torch

    length = max(len(before) + len(after) for before, after in rows)
    ids = torch.tensor([[*before, *after, *[pad] * (length - len(before) - len(after))] for before, after in rows])
    labels = torch.tensor([[*[-100] * len(before), *after, *[-100] * (length - len(before) - len(after))] for before, after in rows])
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(200):
        loss = model(input_ids=ids, labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if loss.item() < 0.01:
            return
    raise AssertionError(f"the model has not learnt its replies: {loss.item()}")


def passages() -> list[str]:
    """The passages of both documents, in the order in which they are read."""
    from tasks.lib.cleaning import clean

    children = HANDBOOK.partition("## Children\n\n")[2]
    adults = HANDBOOK.partition("## Adults\n\n")[2].partition("\n\n##")[0]
    return [clean(text) for text in (adults, children, STORAGE)]


def untrained(folder: Path, positions: int = 768) -> None:
    """Write a model with random weights."""
    import torch

    from tasks.lib import models

    torch.manual_seed(0)
    tokenizer = models.train_tokenizer(passages(), 300)
    models.save(models.new_decoder(tokenizer, 32, 1, 2, positions), tokenizer, folder)


def batch(folder: Path) -> Batch:
    """The drafts of DRAFTED on the domain's own passages, kept in its folder, as `slmforge draft` keeps them."""
    from flows.draft import about_passage
    from tasks.lib import domain, drafts, sources
    from tasks.lib.passages import Passages

    (source, *_) = sources.resolve(domain.load(folder.name), "starter", None).datasets
    made = [about_passage(passage, *said, cut=False) for passage, said in zip(Passages(source, None), DRAFTED, strict=True)]
    about = drafts.About(
        domain=folder.name, dataset="handbook", licence="CC0-1.0", edition=None, source_sha256=source.sha256, model="tune/0123",
        model_sha256="0" * 64, instruction="ask", date="2026-01-01",
    )  # fmt: skip
    return drafts.keep(folder, drafts.Batch(about=about, asked=3, too_long=0, drafts=made, unread=[]))[0]


def fill(sheet: Path, said: dict[int, dict[str, Any]], to: Path | None = None) -> Path:
    """Write cells of an XLSX sheet as a person would, by the number of the row and the name of the column."""
    book = openpyxl.load_workbook(sheet)
    names = [cell.value for cell in book["drafts"][1]]
    for row, cells in said.items():
        for name, value in cells.items():
            cell = book["drafts"].cell(row, names.index(name) + 1)
            cell.value = value
            cell.data_type = "s" if isinstance(value, str) else cell.data_type  # the cells are formatted as text
    book.save(to or sheet)
    return to or sheet


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def lines(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "data" / f"{name}.jsonl").read_text().splitlines()]


def entries(folder: Path) -> dict[str, dict[str, Any]]:
    """The datasets of a card by their names."""
    card = YAML(typ="safe", pure=True).load((folder / "domain.yaml").read_text())
    return {entry["name"]: entry for entry in card["datasets"]}


def card(folder: Path, old: str, new: str) -> None:
    """Write something else into a card."""
    file = folder / "domain.yaml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
