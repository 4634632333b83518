"""Large CSV and TSV files in parts: cut between rows only, and the same rows, places and errors as of the whole file."""

import random
import signal
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from tasks.ingest import IngestConfig, ingest
from tasks.lib import delimited, digests, store
from tasks.lib.domain import Dataset
from tasks.lib.errors import DataError
from tasks.lib.parts import parts
from tasks.lib.readers import read_file
from tasks.lib.records import iterate
from tasks.lib.rows import SourceRow
from tasks.lib.sources import ResolvedDataset, SourceFile
from tests.tasks.test_parts import cut, given, gone_on, rows, started

CELLS = [
    "plain", "", "é", '""', '"a\nb"', '"a\r\nb"', '"say ""no"""', '""""', '"""\n"""', '"x,y\ty;z"', '"\n\n"', '"  "', " ", '"",""', "'it's'",
]  # fmt: skip
SIZES = (9, 50, 333)


def resolved(file: Path, **card: Any) -> ResolvedDataset:
    values = {
        "name": "d",
        "role": "corpus",
        "source": {"path": file.name},
        "licence": "CC0-1.0",
        "kind": "synthetic",
        "map": {"text": "{a}"},
    }
    dataset = Dataset.model_validate({**values, **card})
    source = SourceFile(name=file.name, sha256=digests.of_file(file), bytes=file.stat().st_size, path=file)
    return ResolvedDataset.of(dataset, [source])


def pieces(of: ResolvedDataset, size: int) -> list[list[SourceRow]]:
    """The rows of each stretch."""
    return [list(read_file(of.dataset, of.files[0], piece.span)) for part in parts([of], size) for piece in part]


def same(of: ResolvedDataset, size: int) -> int:
    """How many stretches there are, if they hold the rows that the whole file holds."""
    found = pieces(of, size)
    assert [row for piece in found for row in piece] == list(read_file(of.dataset, of.files[0]))
    return len(found)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [",", ";", "\t", "|", "^"])
@pytest.mark.parametrize("size", SIZES)
def test_quoted_line_ends_and_doubled_quotes_are_cut_between_rows_only(end: str, mark: str, size: int, tmp_path: Path) -> None:
    draw = random.Random(f"{end}{mark}")
    file = tmp_path / ("a.tsv" if mark == "\t" else "a.csv")
    cells = [cell for cell in CELLS if cell != '"",""']
    for trial in range(3):
        head = draw.choice(["a,b", '"a","b"', '"a\n","b"', "\ufeffa,b", '\ufeff"a","b ""c"""', "", "\n"]).replace(",", mark)
        body = [head, *("" if draw.random() < 0.1 else mark.join(draw.choices(cells, k=2)) for _ in range(draw.randint(0, 60)))]
        if head in ("", "\n"):
            body = [line for line in body if not line]  # no header: every row would be refused
        file.write_bytes((end.join(body) + draw.choice([end, ""])).encode())
        made = same(resolved(file, delimiter=mark), size)
        if file.stat().st_size > 10 * size and size > 40:
            assert made > 3, trial


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("odd", ['5" pipe,x', ' "x,y', 'the "best",y', 'x,"y"\r\nv,w', 'é“",y'])
def test_where_a_quote_stands_in_an_unquoted_cell_the_rest_is_read_whole(odd: str, size: int, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    plain = '"a\n,",b\n' * 60
    file.write_bytes(f"a,b\n{plain}{odd}\n{plain}".encode())
    of = resolved(file)
    whole = list(read_file(of.dataset, of.files[0]))
    found = pieces(of, size)
    assert [row for piece in found for row in piece] == whole
    assert size > 50 or len(found) > 1


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ('"open,x\n', "unexpected end of data"),
        ('"a"b,c\n', "expected after"),
        ("one\n", "1 cell"),
        ('"1\n2\n3"\n', "1 cell"),
        ("a\rb,c\n", "new-line"),
        ('"' + "y" * 2_000 + "\n", "unexpected end"),
    ],
)
@pytest.mark.parametrize("size", SIZES)
def test_a_bad_row_is_told_with_the_row_and_line_of_the_whole_file(bad: str, says: str, size: int, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    good = '"a\n,",b\n\n' * 50
    file.write_bytes(f"a,b\n{good}{bad}x,y\n".encode())
    of = resolved(file)
    with pytest.raises(DataError, match=says) as whole:
        list(read_file(of.dataset, of.files[0]))
    assert whole.value.row == 102
    with pytest.raises(DataError, match=says) as caught:
        pieces(of, size)
    assert str(caught.value) == str(whole.value)


def test_a_byte_that_is_no_text_is_told_with_the_line_of_the_whole_file(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(b"a,b\n" + b'"x\ny",z\n' * 100 + b"caf\xe9,x\n")
    of = resolved(file)
    for size in (50, 10_000):
        with pytest.raises(DataError, match="position 3 of line 202") as caught:
            pieces(of, size)
        assert caught.value.row == 202


@pytest.mark.parametrize(
    ("encoding", "text", "card", "cuts"),
    [
        ("cp1252", "“,x\n", {"encoding": "cp1252"}, True),
        ("latin-1", "é,x\n", {"encoding": "latin-1"}, True),
        ("utf-16", "é,x\n", {"encoding": "utf-16"}, False),
        ("shift-jis", "表,x\n", {"encoding": "shift-jis"}, False),
        ("utf-8", "é§x\n", {"delimiter": "§"}, False),
        ("utf-8-sig", "é,x\n", {}, True),
        ("utf-8-sig", "é,x\n", {"encoding": "utf-8-sig"}, False),
    ],
)
def test_only_encodings_that_keep_ascii_are_cut(encoding: str, text: str, card: dict[str, Any], cuts: bool, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    header = f"a{text[1]}b\n"
    file.write_bytes((header + text * 100).encode(encoding))
    assert (same(resolved(file, **card), 60) > 5) is cuts


def table(folder: Path, suffix: str = "csv") -> Path:
    """The columns that the card of test_parts maps, some with a second line, some without a number."""
    file = folder / f"asked.{suffix}"
    mark = "," if suffix == "csv" else "\t"
    lines = [mark.join([f'"Question {i},\n""é""{"x" * (i % 37)}?"', str(i % 3), str(i) if i % 50 else ""]) for i in range(2_000)]
    file.write_bytes("\r\n".join([mark.join("qan"), *lines, ""]).encode())
    return file


def test_the_artifact_is_the_same_whatever_the_number_of_workers(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = given(table(workplace))
    whole = ingest(IngestConfig(), sources)
    assert (whole.ledger[0].rows_in, whole.ledger[0].set_aside) == (2_000, {"missing-value": 40})
    cut(monkeypatch, 10_000)
    digest = set()
    for workers in (1, 2):
        monkeypatch.setenv("SLMFORGE_RUNS", str(workplace / f"runs-{workers}"))
        made = ingest(IngestConfig(workers=workers), sources)
        assert len(list(made.path.glob("tune-*.parquet"))) > 5
        assert (rows(made), made.ledger) == (rows(whole), whole.ledger)
        digest.add(made.digest)
    assert len(digest) == 1
    assert [row["row"] for row in iterate(whole.path, "tune")] == [i + 2 for i in range(2_000) if i % 50]


def test_the_first_bad_row_is_named_and_nothing_is_left(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = table(workplace)
    lines = file.read_bytes().split(b"\r\n")
    for place in (1_500, 1_600, 1_900):
        lines[place] += b",more"
    file.write_bytes(b"\r\n".join(lines))
    cut(monkeypatch, 10_000)
    with pytest.raises(DataError, match=r"4 cells \(lines 3000 to 3001\)") as caught:
        ingest(IngestConfig(workers=1), given(file))
    assert caught.value.row == 1_501
    assert [path for path in (store.root() / "ingest").rglob("*") if path.is_dir()] == []


def test_a_killed_ingestion_goes_on_behind_the_parts_that_are_done(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = table(workplace)
    _, unharmed = gone_on(file, workplace / "unharmed", monkeypatch)
    runs = workplace / "runs"
    process = started(file, runs, 1)
    while len(list(runs.glob("artifacts/ingest/*.parts/[0-9]*/part.json"))) < 3:
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept, digest = gone_on(file, runs, monkeypatch)
    assert kept >= 3
    assert digest == unharmed
    assert not list(runs.glob("artifacts/ingest/*.parts"))


def test_cutting_takes_no_more_memory_than_a_row_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quote that is never closed makes one row of the rest of the file."""
    monkeypatch.setattr(delimited, "LONGEST", 1_000_000)
    monkeypatch.setattr(delimited, "BLOCK", 100_000)
    file = tmp_path / "a.csv"
    file.write_bytes(b"a,b\n" + b"x,y\n" * 500_000 + b'"' + b"x,y\n" * 5_000_000)
    tracemalloc.start()
    try:
        found = list(delimited.stretches(file, 500_000, ",", True))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8_000_000
    assert len(found) == 5
    assert sum(width for _, width in found) == file.stat().st_size == found[-1][0].stop
