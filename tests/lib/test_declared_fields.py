"""What a domain's card may say of datasets and rewards: every field changes what is read, what is planned, or what is rewarded."""

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.ingest import IngestConfig, ingest
from tasks.lib.config import RUNTIME, build
from tasks.lib.domain import Dataset, Domain, DomainCard, Expectations, Suite
from tasks.lib.errors import SlmforgeError
from tasks.lib.flow import Job
from tasks.lib.mixing import Draws
from tasks.lib.records import ROLES, iterate
from tasks.lib.rewards import LearnedReward, Rewards
from tasks.lib.sources import Sources, resolve
from tests.fields import documented

TABLE = 'q,a,g\n"How many?",1,x\nWhich?,2,y\n'
FILES: dict[str, bytes] = {
    "rows.csv": TABLE.encode(),
    "other.csv": b"q,a,g\nOther?,3,z\n",
    "unnamed": TABLE.encode(),
    "latin.csv": "q,a\nW\xe4r?,1\nOk?,2\n".encode("latin-1"),
    "broken.jsonl": b'{"q": "How many?", "a": "1"}\n{"q": \n',
    "semicolons.csv": TABLE.replace(",", ";").encode(),
    "titled.csv": b"Ward list\n" + TABLE.encode(),
    "nested.json": json.dumps({"in": [{"q": "Which?", "a": "2"}], "q": "Whole?", "a": "3"}).encode(),
}
TUNE = {"prompt": "{q}", "response": "{a}"}
USUAL: dict[str, Any] = {
    "name": "one", "role": "tune", "source": {"path": "rows.csv"}, "licence": "CC0-1.0", "kind": "synthetic", "map": TUNE,
}  # fmt: skip
# of each field the settings beside it, and another value
DATASETS: dict[str, tuple[dict[str, Any], Any]] = {
    "name": ({}, "two"),
    "role": ({}, "eval"),
    "edition": ({}, "full"),
    "title": ({}, "A table"),
    "publisher": ({}, "somebody"),
    "source": ({}, {"path": "other.csv"}),
    "licence": ({}, "MIT"),
    "kind": ({}, "user"),
    "format": ({"source": {"path": "unnamed"}}, "csv"),
    "encoding": ({"source": {"path": "latin.csv"}}, "latin-1"),
    "undecodable": ({"source": {"path": "latin.csv"}, "encoding": "utf-8"}, "set-aside"),
    "broken": ({"source": {"path": "broken.jsonl"}}, "set-aside"),
    "delimiter": ({"source": {"path": "semicolons.csv"}, "map": {"prompt": "{q}", "response": "{a}"}}, ";"),
    "header": ({"source": {"path": "titled.csv"}}, 2),
    "sheet": ({"source": {"path": "book.xlsx"}}, "second"),
    "records": ({"source": {"path": "nested.json"}}, ".in[]"),
    "columns": ({}, {"q": "number"}),
    "values": ({}, {"a": {"1": "one"}}),
    "choices": ({}, ["1"]),
    "map": ({}, {"prompt": "{q}", "response": "{g}"}),
    "holdout": ({}, 1),
    "weight": ({}, 2.0),
}
PLANNED = ("title",)  # stands in the lineage of a model; no row is another one


def write_book(file: Path) -> None:
    from openpyxl import Workbook

    book = Workbook()
    for name, answer in (("first", "1"), ("second", "2")):
        sheet = book.create_sheet(name)
        sheet.append(["q", "a"])
        sheet.append(["Which?", answer])
    book.remove(book.worksheets[0])
    book.save(file)


def read(folder: Path, said: dict[str, Any]) -> tuple[str, Any]:
    """The identity of what goes in, and the rows as they are read and drawn; or why not."""
    card = {"purpose": "p", "owner": "o", "risk": "low", "licences": ["CC0-1.0", "MIT"], "datasets": [said]}
    try:
        made = build(DomainCard, card, "test")
        domain = Domain(name="d", folder=folder, card=made, expectations=Expectations(), suite=Suite(tasks={}))
        sources = resolve(domain, "starter", None)
    except SlmforgeError as refusal:
        return str(refusal), str(refusal)
    return str(sources.identity()), _rows(domain, sources)


def _rows(domain: Domain, sources: Sources) -> Any:
    try:
        records = ingest(IngestConfig(max_set_aside=1.0), sources)
    except SlmforgeError as refusal:
        return str(refusal)
    rows = [row for part in ROLES for row in iterate(records.path, part)]
    drawn = list(Draws(Job(domain, sources, None, None).weights("tune")).of(rows))  # type: ignore[arg-type]  # a job without a model
    return rows, len(drawn), [line.model_dump() for line in records.ledger]


def test_every_field_of_a_dataset_has_another_value_here() -> None:
    assert set(DATASETS) == set(Dataset.model_fields)


@pytest.mark.parametrize("name", DATASETS)
def test_a_field_of_a_dataset_changes_what_is_read_or_planned(name: str, workplace: Path) -> None:
    for file, content in FILES.items():
        (workplace / file).write_bytes(content)
    write_book(workplace / "book.xlsx")
    beside, value = DATASETS[name]
    before, after = (read(workplace, {**USUAL, **beside, **more}) for more in ({}, {name: value}))
    assert isinstance(after[1], tuple) or name == "edition", f"the other value is read: {after[1]}"
    assert (before[0] != after[0]) is (Dataset.model_fields[name].json_schema_extra != RUNTIME)
    assert (before[1] != after[1]) is (name not in PLANNED)


ROW = {"dataset": "facts", "prompt": "Formula of CCO?", "response": "C2H6O", "group": "CCO", "choices": []}
# by kind: what else it needs, the row that is asked, an answer, and another value of each field of its own
REWARDS: dict[str, tuple[dict[str, Any], dict[str, Any], str, dict[str, Any]]] = {
    "format": ({"pattern": "C.*"}, {}, "C2H6O", {"pattern": "D.*"}),
    "length": ({"words": 1}, {}, "one two", {"words": 3}),
    "label": ({}, {}, "C2H6O", {}),
    "number": ({}, {"response": "10"}, "11", {"tolerance": 0.5}),
    "smiles-valid": ({}, {}, "CCO", {}),
    "smiles-same": ({}, {"response": "CCC"}, "CCO", {"of": "group"}),
    "formula": ({}, {"response": "C3H8"}, "C2H6O", {"of": "group"}),
    "molecular-weight": ({}, {"response": "44"}, "46.07", {"tolerance": 0.5, "of": "group"}),
    "functional-groups": ({}, {"response": "amine"}, "alcohol", {"of": "group"}),
    "model": ({}, {}, "", {}),
}
COMMON: dict[str, Any] = {"name": "second", "weight": 0.0, "datasets": ["others"], "when": "molecule"}


def rewarded(said: dict[str, Any], row: dict[str, Any], answer: str) -> tuple[Any, ...]:
    """What a training makes of a reward: which ones there are, whether the row is judged, and how."""
    rewards = build(Rewards, {"of": [said, {"name": "always", "kind": "length", "words": 9}]}, "test")
    one, asked = rewards.of[0], {**ROW, **row}
    applies = one.applies(asked)
    score = None if isinstance(one, LearnedReward) or not applies else one.score(answer, asked)
    return [reward.name for reward in rewards.chosen([])], applies, score


FIELDS = [field.path.split(".")[1:] for field in documented(Rewards) if field.path != "of.kind"]


def test_every_kind_of_reward_has_another_value_of_every_field_here() -> None:
    assert {(kind, name) for kind, name in FIELDS} == {(kind, name) for kind, (*_, own) in REWARDS.items() for name in [*COMMON, *own]}


@pytest.mark.parametrize(("kind", "name"), FIELDS)
def test_a_field_of_a_reward_changes_what_is_rewarded(kind: str, name: str) -> None:
    needed, row, answer, own = REWARDS[kind]
    value = own.get(name, COMMON.get(name))
    said = {"name": "first", "kind": kind, **needed}
    assert rewarded(said, row, answer) != rewarded({**said, name: value}, row, answer)
    one, two = (build(Rewards, {"of": [given]}, "test") for given in (said, {**said, name: value}))
    assert one.identity() != two.identity()
