"""Files of every format, whole and broken, read in this process."""

import gzip
import json
import random
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.lib import digests, files, readers
from tasks.lib.domain import Dataset
from tasks.lib.errors import DataError
from tasks.lib.readers import read
from tasks.lib.sources import ResolvedDataset, SourceFile

ROWS = [{"text": f"Row {i} says “{w}”, with a comma\nand a second line", "n": str(i)} for i, w in enumerate(["α", "b", "c\t"])]


def given(file: Path, **card: Any) -> ResolvedDataset:
    values = {"name": "d", "role": "corpus", "source": {"path": file.name}, "licence": "CC0-1.0", "kind": "synthetic", "map": {"text": "x"}}
    dataset = Dataset.model_validate({**values, **card})
    source = SourceFile(name=file.name, sha256=digests.of_file(file), bytes=file.stat().st_size, path=file)
    return ResolvedDataset.of(dataset, [source])


def rows(folder: Path, name: str, content: bytes, **card: Any) -> list[dict[str, Any]]:
    file = folder / name
    file.write_bytes(content)
    return [source.columns for source in read(given(file, **card))]


def refused(folder: Path, name: str, content: bytes, **card: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        rows(folder, name, content, **card)
    assert caught.value.file == str(folder / name)
    assert "to do: " in str(caught.value)
    return caught.value


def delimited(mark: str) -> bytes:
    quoted = ['"' + row["text"].replace('"', '""') + '"' + mark + row["n"] for row in ROWS]
    return "\r\n".join([f"text{mark}n", *quoted, ""]).encode()


def lines(values: list[Any]) -> bytes:
    return "".join(json.dumps(value) + "\n" for value in values).encode()


CONTENTS = {
    "a.jsonl": lines(ROWS),
    "a.ndjson": lines(ROWS),
    "a.json": json.dumps(ROWS, indent=1).encode(),
    "a.csv": delimited(","),
    "a.tsv": delimited("\t"),
}


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("mark", [b"", "\ufeff".encode()])
def test_every_text_format_gives_the_same_rows_packed_or_not_with_a_mark_or_not(
    name: str, packed: bool, mark: bytes, tmp_path: Path
) -> None:
    content = mark + CONTENTS[name]
    found = rows(tmp_path, f"{name}.gz" if packed else name, gzip.compress(content) if packed else content)
    expected = [{**row, "text": row["text"].replace("\r\n", "\n")} for row in found]
    assert expected == ROWS


def test_parquet_gives_its_rows(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    assert rows(tmp_path, "a.parquet", (tmp_path / "a.parquet").read_bytes()) == ROWS


def varint(number: int) -> bytes:
    """A whole number as Thrift's compact protocol writes it: in sevens of bits, its sign first."""
    number, made = number << 1, b""
    while number > 127:
        made, number = made + bytes([number & 127 | 128]), number >> 7
    return made + bytes([number])


def claiming(content: bytes, where: str) -> bytes:
    """A Parquet file of three rows whose page, or whose footer, claims 2^31 - 1."""
    few, many = b"\x16" + varint(3), varint(2**31 - 1)
    length = int.from_bytes(content[-8:-4], "little")
    body, footer = content[: -8 - length], content[-8 - length : -8]
    if where == "footer":
        assert few in footer
        footer = footer.replace(few, b"\x16" + many)
    else:  # its checksum (field 4) is left out for the longer number; two fields that nobody knows fill the room
        old = body[4 : body.index(b"\x0a\0\0\0dose", 62)]
        crc = old.index(b"\x15", 6)
        head = old[:crc] + b"\x2c\x15" + many + old[crc + 9 :]
        end = head.index(b"\x11\x11\0\0") + 3
        head = head[:end] + b"\x41\x11" + head[end:]
        assert len(head) == len(old)
        body = body.replace(old, head)
    return body + footer + len(footer).to_bytes(4, "little") + b"PAR1"


def flipped(content: bytes) -> bytes:
    assert content.count(b"dose 10 mg") == 7  # three rows, and what stands about them in page and footer
    place = content.index(b"\x0a\0\0\0dose 10 mg") + 9
    return content[:place] + b"9" + content[place + 1 :]


@pytest.mark.parametrize("fault", ["flipped", "page", "footer"])
def test_parquet_that_is_not_as_it_was_written_is_refused(fault: str, tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["dose 10 mg"] * 3}), file, use_dictionary=False, compression="none", write_page_checksum=True)
    whole = file.read_bytes()
    assert rows(tmp_path, "a.parquet", whole) == [{"text": "dose 10 mg"}] * 3
    error = refused(tmp_path, "a.parquet", flipped(whole) if fault == "flipped" else claiming(whole, fault))
    assert {"flipped": "CRC checksum", "page": "num_values", "footer": "promises 2,147,483,647"}[fault] in error.found


def test_a_map_in_parquet_is_an_object_also_beside_one_with_a_key_twice(tmp_path: Path) -> None:
    kind = pa.map_(pa.string(), pa.string())
    maps = [[("drug", str(i))] if i != 5 else [("drug", "x"), ("drug", "y")] for i in range(9)]
    pq.write_table(pa.table({"m": pa.array(maps, kind)}), tmp_path / "a.parquet")
    found = [row["m"] for row in rows(tmp_path, "a.parquet", (tmp_path / "a.parquet").read_bytes())]
    assert found == [{"drug": str(i)} if i != 5 else maps[5] for i in range(9)]


@pytest.mark.parametrize("name", ["a.txt", "a.csv"])
def test_a_row_of_many_lines_that_does_not_end_is_refused_before_it_is_held(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "MAX_LINE", 2_000)
    monkeypatch.setattr("tasks.lib.delimited.MAX_ROW", 2_000)
    head = b"one\n\n" if name == "a.txt" else b"q,a\n1,2\n"
    line = b"A sentence of its own.\n" if name == "a.txt" else b'"so\n",'
    error = refused(tmp_path, name, head + line * 400)
    assert (error.row, "longer one, which goes on in line" in error.found or "row larger than" in error.found) == (
        2 if name == "a.txt" else 3,
        True,
    )
    if name == "a.txt":
        assert [len(row["text"]) for row in rows(tmp_path, name, head + line * 50)] == [4, 1_150]


def test_text_is_read_by_paragraph(tmp_path: Path) -> None:
    found = rows(tmp_path, "a.txt", b"\n\none\ntwo\n\n \n\nthree")
    assert found == [{"text": "one\ntwo\n"}, {"text": "three"}]


def test_an_unknown_suffix_is_refused_unless_the_format_is_said(tmp_path: Path) -> None:
    assert "`format:`" in refused(tmp_path, "a.dat", CONTENTS["a.csv"]).remedy
    assert len(rows(tmp_path, "a.dat", CONTENTS["a.csv"], format="csv")) == len(ROWS)


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.csv.gz", "a.json.gz"])
def test_a_truncated_gzip_file_is_refused(name: str, tmp_path: Path) -> None:
    noise = random.Random(4).randbytes(100_000).hex()
    content = CONTENTS[name.removesuffix(".gz")].replace("α".encode(), b"").replace(b"\\u03b1", b"")
    packed = gzip.compress(content + (lines([{"text": noise, "n": "9"}]) if name.startswith("a.jsonl") else noise.encode()))
    assert "gzip" in refused(tmp_path, name, packed[:-2_000]).asked


def test_a_gzip_file_with_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(lines(ROWS)))
    packed[-8] ^= 255
    assert "gzip" in refused(tmp_path, "a.jsonl.gz", bytes(packed)).asked


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.99])
def test_a_truncated_parquet_file_is_refused(keep: float, tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS * 500), tmp_path / "whole.parquet")
    whole = (tmp_path / "whole.parquet").read_bytes()
    assert "parquet" in refused(tmp_path, "a.parquet", whole[: int(keep * len(whole))]).asked


def test_a_parquet_file_whose_pages_are_damaged_is_refused(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([{"text": random.Random(i).randbytes(40).hex()} for i in range(2_000)])
    pq.write_table(table, tmp_path / "whole.parquet", compression="gzip")
    whole = bytearray((tmp_path / "whole.parquet").read_bytes())
    whole[1_000:1_200] = bytes(200)
    refused(tmp_path, "a.parquet", bytes(whole))


def test_parquet_text_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    broken = pa.array([b"good", b"\xff\xfe"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": broken}), tmp_path / "whole.parquet")
    found = refused(tmp_path, "a.parquet", (tmp_path / "whole.parquet").read_bytes())
    assert "0xff" in found.found


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.txt"])
def test_bytes_that_are_no_utf8_are_refused_by_line(name: str, tmp_path: Path) -> None:
    good = {"a.jsonl": b'{"text": "x"}\n', "a.csv": b"text\nx\n", "a.txt": b"x\n"}[name]
    content = good + b'{"text": "caf\xe9"}\n' * 2
    found = refused(tmp_path, name, content)
    assert found.row == content[: content.index(b"\xe9")].count(b"\n") + 1
    assert "0xe9" in found.found


def test_utf8_in_an_archive_read_in_another_encoding_is_refused(tmp_path: Path) -> None:
    pieces = {"one.txt": "Die Überwälzung von Schönheitsreparaturen.".encode("cp1252"), "two.txt": "Die Kündigung.".encode()}
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, content in pieces.items():
            archive.writestr(name, content)
    with pytest.raises(DataError, match="UTF-8, by every letter") as error:
        list(read(given(tmp_path / "a.zip", encoding="cp1252")))
    assert "two.txt" in str(error.value)
    (tmp_path / "b.csv").write_bytes("q,a\nW\u00e4r?,1\n".encode("cp1252"))
    assert [row.columns["q"] for row in read(given(tmp_path / "b.csv", encoding="cp1252"))] == ["W\u00e4r?"]
    (tmp_path / "c.csv").write_bytes(b"q,a\nWar?,1\n")
    assert [row.columns["q"] for row in read(given(tmp_path / "c.csv", encoding="latin-1"))] == ["War?"]


def test_a_file_in_utf16_is_refused_at_its_first_row(tmp_path: Path) -> None:
    assert refused(tmp_path, "a.csv", "text\nx\n".encode("utf-16")).row == 1


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.txt"])
def test_a_line_over_the_limit_is_refused(name: str, tmp_path: Path) -> None:
    assert refused(tmp_path, name, b'{"text": "x"}\n' + b"y" * (readers.MAX_LINE + 1)).row == 2
    (tmp_path / name).unlink()


def test_a_json_document_in_one_long_line_is_read_and_a_longer_one_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = json.dumps([{"text": f"{number} {'x' * 1_000}"} for number in range(40)]).encode()
    monkeypatch.setattr(readers, "MAX_LINE", 2_000)
    assert [row["text"].split()[0] for row in rows(tmp_path, "a.json", document)] == [str(number) for number in range(40)]
    (tmp_path / "a.json").unlink()
    monkeypatch.setattr(readers, "MAX_DOCUMENT", 40_000)
    error = refused(tmp_path, "a.json", document)
    assert (error.row, "40,000 bytes" in error.asked, "JSONL" in error.remedy) == (1, True, True)


def test_an_unpacked_size_over_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_UNPACKED", 5_000)  # the real limit, twenty gigabytes, would take minutes
    packed = gzip.compress(lines([{"text": "x" * 80}] * 100))
    assert len(packed) < 5_000
    assert "5,000 bytes" in refused(tmp_path, "a.jsonl.gz", packed).asked


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'["a list"]', "list"),
        (b'"a text"', "str"),
        (b"{", "Expecting"),
        (b"[" * 100_000, "recursion"),
        (b'{"text": "a", "text": "b"}', "'text' stands twice"),
        (b'{"n": ' + b"1" * 5_000 + b"}", "digits"),
    ],
)
def test_json_that_is_no_plain_object_is_refused_by_row(content: bytes, says: str, tmp_path: Path) -> None:
    found = refused(tmp_path, "a.jsonl", b'{"text": "x"}\n\n' + content + b"\n")
    assert found.row == 3
    assert says in found.found


@pytest.mark.parametrize("content", [b'{"rows": []}', b"3", b'[{"a": 1}, 2]'])
def test_a_json_document_that_is_no_list_of_objects_is_refused(content: bytes, tmp_path: Path) -> None:
    assert "`records:`" in refused(tmp_path, "a.json", content).remedy


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
@pytest.mark.parametrize("cells", [1, 3])
def test_a_ragged_row_is_refused_with_its_number(name: str, cells: int, tmp_path: Path) -> None:
    mark = "," if name == "a.csv" else "\t"
    content = "\n".join([mark.join("ab"), mark.join("xy"), "", mark.join("xyz"[:cells]), mark.join("xy")])
    found = refused(tmp_path, name, content.encode())
    assert found.row == 4
    assert f"{cells} cells (line 4)" in found.found


@pytest.mark.parametrize("tail", ['"open', '"a"b,c'])
def test_broken_quotes_are_refused(tail: str, tmp_path: Path) -> None:
    assert refused(tmp_path, "a.csv", f"a,b\nx,y\n{tail}\n".encode()).row == 3


def test_two_columns_of_one_name_are_refused_in_csv_and_in_parquet(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_arrays([pa.array(["1"]), pa.array(["2"])], names=["t", "t"]), tmp_path / "whole.parquet")
    for name, content in (("a.csv", b"t, t \n1,2\n"), ("a.parquet", (tmp_path / "whole.parquet").read_bytes())):
        assert "'t' more than once" in refused(tmp_path, name, content).found


def test_jq_makes_rows_of_a_document_and_changes_rows_of_a_table(tmp_path: Path) -> None:
    document = json.dumps({"p1": {"q": "why"}, "p2": {"q": "how"}}).encode()
    assert rows(tmp_path, "a.json", document, records="to_entries[] | {id: .key} + .value") == [
        {"id": "p1", "q": "why"},
        {"id": "p2", "q": "how"},
    ]
    assert rows(tmp_path, "a.csv", b"a\n1\n2\n", records="{b: (.a | tonumber + 1)}") == [{"b": 2}, {"b": 3}]


@pytest.mark.parametrize(
    ("program", "row", "says"),
    [
        ('select(.a != "2")', 3, "0 results"),
        ("., .", 2, "2 results"),
        (".a", 2, "1 results"),
        (".a | tonumber | {a: (1 / (. - 2))}", 3, "zero"),
        ("{", 2, "syntax error"),
        ("nonsense(.)", 2, "nonsense"),
    ],
)
def test_jq_that_drops_or_adds_rows_or_fails_is_refused_by_row(program: str, row: int, says: str, tmp_path: Path) -> None:
    found = refused(tmp_path, "a.csv", b"a\n1\n2\n3\n", records=program)
    assert found.row == row
    assert says in found.found


def test_a_long_number_goes_through_jq_digit_by_digit(tmp_path: Path) -> None:
    content = b'{"id": 12345678901234567891, "n": 7}\n{"id": 12345678901234567892, "n": 8}\n'
    found = rows(tmp_path, "a.jsonl", content, records="{id, n}")
    assert found == [{"id": "12345678901234567891", "n": 7}, {"id": "12345678901234567892", "n": 8}]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_json_number_is_refused(value: str, tmp_path: Path) -> None:
    assert value in refused(tmp_path, "a.jsonl", f'{{"n": 1}}\n{{"n": {value}}}\n'.encode()).found


def test_an_encoding_is_named_when_it_is_not_utf8_and_read_when_it_is_declared(tmp_path: Path) -> None:
    content = "name;grösse\nÄpfel und Öl;5 µg\nführt über die Brücke;7 µg\n".encode("cp1252")
    error = refused(tmp_path, "a.csv", content)
    assert "`encoding: cp125" in error.remedy
    found = rows(tmp_path, "a.csv", content, encoding="cp1252", delimiter=";")
    assert found[0] == {"name": "Äpfel und Öl", "grösse": "5 µg"}
    assert rows(tmp_path, "a.csv", "a,b\n1,ü\n".encode("utf-16"), encoding="utf-16") == [{"a": "1", "b": "ü"}]


def test_bytes_that_are_no_text_set_their_row_aside_where_the_card_says_so(tmp_path: Path) -> None:
    content = b"q,a\ngood,one\nbad \xff byte,two\n"
    refused(tmp_path, "a.csv", content)
    found = rows(tmp_path, "a.csv", content, undecodable="set-aside")
    assert [row["a"] for row in found] == ["one", "two"]
    assert found[1]["q"] == "bad \udcff byte"


@pytest.mark.parametrize("name", ["rot13", "no-such", "base64"])
def test_an_encoding_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no text encoding"):
        rows(tmp_path, "a.csv", b"a\n1\n", encoding=name)
