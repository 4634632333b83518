"""Datasets that lose every row: told by reason, first on the card, and nothing is built on them."""

from pathlib import Path

import openpyxl
import pytest

from tasks.clean import CleanConfig, clean
from tasks.dedup import DedupConfig, dedup
from tasks.ingest import IngestConfig, ingest
from tasks.lib import card, digests, writing
from tasks.lib.domain import Dataset, DomainCard
from tasks.lib.errors import DataError
from tasks.lib.expectations_result import Verdict
from tasks.lib.records import LedgerLine, iterate
from tasks.lib.sources import ResolvedDataset, SourceFile, Sources
from tasks.split import SplitConfig, split
from tests.datasets import ingested, reasons, resolved


def line(name: str, used: int, **aside: int) -> LedgerLine:
    counts = {key.replace("_", "-"): n for key, n in aside.items()}
    about = {"dataset": name, "role": "tune", "file": f"{name}.csv", "sha256": "a" * 64, "licence": "x", "kind": "user", "publisher": ""}
    return LedgerLine.model_validate({**about, "rows_in": used + sum(counts.values()), "rows_used": used, "set_aside": counts})


def test_nothing_is_built_on_a_dataset_that_lost_every_row(workplace: Path) -> None:
    good = resolved(workplace, "good", "tune", [{"q": f"{i}?", "a": "so"} for i in range(9)])
    empty = resolved(workplace, "empty", "tune", [{"q": f"why {i}?", "a": ""} for i in range(6)])
    tidy = dedup(DedupConfig(), clean(CleanConfig(), ingested(good, empty)))
    with pytest.raises(DataError, match="nothing of dataset 'empty' is used: of its 6 rows, 6 are set aside as empty-answer"):
        split(SplitConfig(), tidy)


def test_a_formula_that_nothing_has_computed_has_a_reason_of_its_own(workplace: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    for row in [("q", "a"), ("one?", '=CONCATENATE("x","y")'), ("two?", "plain"), ("three?", None), ("four?", "so")]:
        sheet.append(row)
    book.save(workplace / "a.xlsx")
    about = {"name": "d", "role": "tune", "source": {"path": "a.xlsx"}, "licence": "x", "kind": "user"}
    dataset = Dataset.model_validate({**about, "map": {"prompt": "{q}", "response": "{a}"}})
    source = SourceFile(name="a.xlsx", sha256=digests.of_file(workplace / "a.xlsx"), bytes=1, path=workplace / "a.xlsx")
    made = ingest(IngestConfig(), Sources(edition="starter", datasets=[ResolvedDataset.of(dataset, [source])]))
    assert reasons(made) == {"d:2": "formula-without-value"}
    assert "=CONCATENATE" in next(iter(iterate(made.path, "set_aside")))["detail"]
    assert "save it" in card.REMEDIES["formula-without-value"]
    assert made.ledger[0].written == "xlsx"


@pytest.mark.parametrize(
    ("name", "how", "says"),
    [
        ("a.csv", {"encoding": "cp1252", "delimiter": ";"}, "csv in cp1252, cells between ';'"),
        ("a.tsv", {}, "tsv in utf-8, cells between tabs"),
        ("a.jsonl", {}, "jsonl in utf-8"),
    ],
)
def test_how_a_file_is_written_is_said(name: str, how: dict[str, str], says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"text\none\n")
    about = {"name": "d", "role": "corpus", "source": {"path": name}, "licence": "x", "kind": "user", "map": {"text": "{text}"}}
    assert writing.of(Dataset.model_validate({**about, **how}), tmp_path / name, name) == says


def sentence(urgent: list[card.Example], failed: list[Verdict], nothing: list[str]) -> str:
    return card._verdict(2_000, 752, urgent, failed, nothing)


def test_the_verdict_is_true_of_what_was_set_aside() -> None:
    few = [card.Example("too-short", 4, "notes", "", "", "", "join"), card.Example("empty-answer", 3, "asked", "", "", "", "write")]
    said = "Of 2,000 rows, 752 can be used and 1,248 are set aside, each with a reason."
    assert sentence(few, [], []) == f"{said} 7 of those set aside can be repaired, the largest part 4 at notes (too short)."
    assert sentence(few[:1], [], []) == f"{said} 4 of those set aside can be repaired, all of them 4 at notes (too short)."
    assert sentence([], [], []) == f"{said} Nothing needs to be repaired."
    assert sentence(few, [], ["x"]) == f"{said} 1 dataset(s) lost every row: look at these first."


def test_the_card_puts_lost_datasets_first_and_waived_expectations_not() -> None:
    about = {"purpose": "p", "owner": "o", "risk": "low", "licences": ["x"]}
    one = {"name": "d", "role": "corpus", "source": {"path": "a.txt"}, "licence": "x", "kind": "user", "map": {"text": "{text}"}}
    said = DomainCard.model_validate({**about, "datasets": [one]})
    told = {"role": "tune", "expectation": "expect_table_row_count_to_be_between", "kwargs": {}, "severity": "critical", "passed": False}
    verdict = Verdict.model_validate({**told, "judged": 6, "failing": 0, "failing_ids": [], "observed": "6", "waived": "by A: known"})
    page = card.render("toy", said, [line("good", 9), line("empty", 0, empty_answer=6)], card.Judged([verdict]), {})
    first = page.split("Fix this first")[1].split("</section>")[0]
    assert "nothing of dataset &#39;empty&#39; is used" in first
    assert "expect_table_row_count" not in first
    assert "not met" not in page
    assert "1 dataset(s) lost every row" in page
