"""`broken: set-aside`: one bad row does not refuse a file, and is seen in the ledger."""

import json
from functools import partial
from pathlib import Path

import pytest

from tasks import ingest as module
from tasks.ingest import IngestConfig, ingest
from tasks.lib import broken
from tasks.lib.domain import Dataset
from tasks.lib.errors import ConfigError, DataError
from tasks.lib.parts import parts
from tasks.lib.records import content_of, iterate
from tasks.lib.sources import ResolvedDataset, Sources
from tests.tasks.test_cut_tables import pieces, resolved
from tests.tasks.test_readers import rows

BAD = {
    "a.jsonl": [b"{", b'{"a": NaN}', b'{"a": [1e999]}', b'{"a": "1", "a": "2"}', b'{"a": "\0"}', b"[1]"],
    "a.csv": [b"one", b"1,2,3", b"x\ry,2", b'1,"x, ""y""",3', b'x\ry,"2"', b'"x"y,2'],  # a misplaced quote in the last line only
    "a.tsv": [b"one", b"1\t2\t3"],
}
GOOD = {"a.jsonl": b'{"a": "x", "b": "y"}\n', "a.csv": b'"x\n",y\n', "a.tsv": b"x\ty\n"}
HEAD = {"a.jsonl": b"", "a.csv": b"a,b\n", "a.tsv": b"a\tb\n"}


def written(folder: Path, name: str, every: int = 2) -> Path:
    """Each bad row behind good ones, the last one at the end."""
    (folder / name).write_bytes(HEAD[name] + b"".join(GOOD[name] * every + bad + b"\n" for bad in BAD[name]))
    return folder / name


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("size", [20, 60, 10_000])
def test_bad_rows_are_set_aside_counted_and_readable(name: str, size: int, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, count = written(workplace, name), len(BAD[name])
    with pytest.raises(DataError, match="say `broken: set-aside`") as caught:
        list(pieces(resolved(file), size))
    head = HEAD[name].count(b"\n")
    assert caught.value.row == head + 3
    monkeypatch.setattr(module, "parts", partial(parts, size=size))
    made = ingest(IngestConfig(workers=1), Sources(edition="starter", datasets=[resolved(file, broken="set-aside")]))
    (line,) = made.ledger
    assert (line.rows_in, line.rows_used, line.set_aside) == (3 * count, 2 * count, {"broken-row": count})
    aside = list(iterate(made.path, "set_aside"))
    assert [row["row"] for row in aside] == [head + 3 * i + 3 for i in range(count)]
    shown = [content_of(row)["line"] for row in aside]
    assert shown == [bad.decode().replace("\0", "\\x00").replace("\r", "\\x0d") for bad in BAD[name]]
    assert all(row["detail"] for row in aside)


@pytest.mark.parametrize("tail", [b'1,"open\n2,3\n', b'1,"x"y,"open\n2,3\n', b'1,"open\n2,"x"y\n2,3\n'])
def test_a_row_whose_end_is_not_sure_is_refused(tail: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not sure"):
        rows(tmp_path, "a.csv", b"a,b\n1,2\n" + tail, broken="set-aside")


def test_an_open_quote_in_the_last_line_is_set_aside(tmp_path: Path) -> None:
    assert rows(tmp_path, "a.csv", b'a,b\n1,2\n3,"open', broken="set-aside")[1] == {"line": '3,"open'}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_mostly_broken_is_refused(name: str, workplace: Path) -> None:
    of = resolved(written(workplace, name, every=0), broken="set-aside")
    with pytest.raises(DataError, match="at most half of the rows of a file broken") as caught:
        ingest(IngestConfig(max_set_aside=1), Sources(edition="starter", datasets=[of]))
    assert f"{len(BAD[name])} of {len(BAD[name])}; the first: " in caught.value.found


def test_formats_without_sure_ends_refuse_the_field(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a json file: where a broken row ends"):
        rows(tmp_path, "a.json", json.dumps([{"a": 1}]).encode(), broken="set-aside")
    with pytest.raises(ValueError, match="is for jsonl, csv and tsv"):
        Dataset.model_validate({**resolved(tmp_path / "a.json").dataset.model_dump(), "format": "json", "broken": "set-aside"})


def test_a_jq_expression_is_not_asked_about_broken_rows(tmp_path: Path) -> None:
    found = rows(tmp_path, "a.jsonl", b'{"a": 1}\n{"a": \n{"a": 3}\n', records="{b: .a}", broken="set-aside")
    assert found == [{"b": 1}, {"line": '{"a": '}, {"b": 3}]


UNSURE = {
    "a cell that goes on": b'1,"a 5" pipe\nof 3 m, long"\n2,ok\n',
    "a delimiter behind a quote": b'1,"he said "hi", and\nleft",x\n',
    "a line end behind a quote": b'1,"he said "hi"\nand left",x\n',
    "a quote at both ends": b'1,"5" pipe"\n2,ok\n',
    "one behind a cell": b'"x"y,2\n2,ok\n',
    "a space before a quote": b'1, "Smith, John\njunior", x\n',
    "a quote too many in a row too long": b'1,5" pipe,3\n2,ok\n',
    "a return beside an open quote": b'x\ry,"open\n2",ok\n',
}


@pytest.mark.parametrize("tail", UNSURE.values(), ids=UNSURE)
def test_a_line_that_a_quoted_cell_may_leave_is_refused(tail: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="where this row ends is not sure, so that it cannot be set aside") as caught:
        rows(tmp_path, "a.csv", b"a,b\n1,2\n" + tail, broken="set-aside")
    assert caught.value.row == 3


@pytest.mark.parametrize("card", [{}, {"broken": "set-aside"}])
def test_a_row_of_several_lines_and_another_length_is_refused_with_both_lines(card: dict[str, str], tmp_path: Path) -> None:
    """Three good rows lie in it: the first quote is one too many."""
    with pytest.raises(DataError, match=r"(?s)cells \(lines 3 to 6\).*cannot be set aside") as caught:
        rows(tmp_path, "a.csv", b'a,b,c\n1,2,3\n1,"open,2\nx,y,z\nx2,y2,z2\nq,r,s"\n4,5,6\n', **card)
    assert caught.value.row == 3


@pytest.mark.parametrize("last", [b'1,"x"y', b'1,"x"y\n\r\n\n', b'1,"5" pipe"\n', b'1,5" pipe,3\n'])
def test_a_misplaced_quote_behind_which_nothing_follows_is_set_aside(last: bytes, tmp_path: Path) -> None:
    assert rows(tmp_path, "a.csv", b"a,b\n1,2\n" + last, broken="set-aside")[1:] == [{"line": last.decode().rstrip()}]


@pytest.mark.parametrize("delimiter", [",", "|", "^"])
def test_a_row_with_whole_quoted_cells_ends_with_its_line(delimiter: str) -> None:
    for line in ('1,"x, ""y""",3', '"a","",""""', '"a",b\r\n', "plain\n"):
        assert broken.is_closed(line.replace(",", delimiter), delimiter)
    for line in ('"', '1,"a', '1,"a"",2', '"a"",""b', '"a" ,2', ' "a",2', '1,a"b"'):
        assert not broken.is_closed(line.replace(",", delimiter), delimiter)


@pytest.mark.parametrize(("head", "row"), [(b"", 2), (b"broken\n", 3)])
def test_a_wrong_map_is_refused_behind_a_broken_first_row(head: bytes, row: int, workplace: Path) -> None:
    (workplace / "a.csv").write_bytes(b"q,b\n" + head + b"x,y\n" * 20)
    of = resolved(workplace / "a.csv", broken="set-aside")
    with pytest.raises(DataError, match="a column 'a', which its map names") as caught:
        ingest(IngestConfig(max_set_aside=1), Sources(edition="starter", datasets=[of]))
    assert caught.value.row == row


@pytest.mark.parametrize("size", [10, 10_000])
def test_a_mostly_broken_file_is_told_with_its_own_fault(size: int, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (workplace / "a.csv").write_bytes(b"a,b\n1,2,3,4\n" + b"x,y\n" * 9)
    (workplace / "b.csv").write_bytes(b"a,b\nx,y\n" + b"one\n" * 5)
    first, second = (resolved(workplace / name, broken="set-aside") for name in ("a.csv", "b.csv"))
    monkeypatch.setattr(module, "parts", partial(parts, size=size))
    both = ResolvedDataset.of(first.dataset, [*first.files, *second.files])
    with pytest.raises(DataError, match=r"5 of 6; the first: 1 cells \(line 3\)") as caught:
        ingest(IngestConfig(workers=1), Sources(edition="starter", datasets=[both]))
    assert str(caught.value.file).endswith("b.csv")
