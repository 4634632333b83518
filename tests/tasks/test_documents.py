"""Documents and tables that other programs write: paragraphs with page and heading, rows with their numbers."""

import zipfile
from datetime import date
from pathlib import Path
from typing import Any

import docx
import openpyxl
import pyarrow as pa
import pyarrow.feather
import pytest
from matplotlib.figure import Figure

from tasks.ingest import IngestConfig, ingest
from tasks.lib.errors import DataError
from tasks.lib.readers import read
from tasks.lib.records import iterate
from tasks.lib.rows import SourceRow
from tasks.lib.sources import Sources
from tests.tasks.test_readers import given

DATA = Path(__file__).parents[1] / "data"


def rows(file: Path, **card: Any) -> list[SourceRow]:
    return list(read(given(file, **card)))


def told(found: list[SourceRow]) -> list[tuple[str, str | None]]:
    return [(row.columns["text"], row.heading) for row in found]


def test_markdown_gives_blocks_under_their_headings(tmp_path: Path) -> None:
    file = tmp_path / "a.md"
    file.write_text("Before.\n\n# One\n\nText *of*\none.\n\n## Deeper\n\n- a\n- b\n\n# Two\n\n| x | y |\n|---|---|\n| 1 | 2 |\n\n# Bare\n")
    assert told(rows(file)) == [
        ("Before.", None),
        ("Text *of*\none.", "One"),
        ("- a\n- b", "One > Deeper"),
        ("| x | y |\n|---|---|\n| 1 | 2 |", "Two"),
        ("Bare", "Bare"),
    ]


def test_html_gives_paragraphs_and_no_scripts(tmp_path: Path) -> None:
    file = tmp_path / "a.html"
    file.write_text(
        "<html><head><title>T</title><script>var x</script></head><body>loose <b>bold</b> text<h1>One</h1><p>A &amp; B<br>next</p>"
        "<div>in <i>a</i> div<p>inner</p>tail</div><script>alert(1)</script><h2>Two</h2><ul><li>a</li><li>b</li></ul>"
        "<table><tr><th>x</th><th>y</th></tr><tr><td>1</td><td>2</td></tr></table><h1>Bare</h1></body></html>"
    )
    assert told(rows(file)) == [
        ("loose bold text", None),
        ("A & B", "One"),
        ("next", "One"),
        ("in a div", "One"),
        ("inner", "One"),
        ("tail", "One"),
        ("a", "One > Two"),
        ("b", "One > Two"),
        ("x | y\n1 | 2", "One > Two"),
        ("Bare", "Bare"),
    ]


@pytest.mark.parametrize("tag", ["b", "div"])
@pytest.mark.parametrize("deep", [600, 2_040])
def test_no_word_behind_elements_that_nobody_closes_is_lost(tag: str, deep: int, tmp_path: Path) -> None:
    file = tmp_path / "a.html"
    words = [f"word{number}" for number in range(deep)]
    file.write_text("".join(f"<{tag}>{word} " for word in words))
    assert " ".join(row.columns["text"] for row in rows(file)).split() == words


def test_a_page_of_which_the_parser_leaves_something_out_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.html"
    file.write_text("<p>&x; </i></u></q>\n" * 2_000 + "".join(f"<font>word{number} " for number in range(3_000)))
    with pytest.raises(DataError, match="Excessive depth") as caught:
        rows(file)
    assert (caught.value.file, "close the elements there" in str(caught.value)) == (str(file), True)


def test_html_in_the_encoding_that_it_declares(tmp_path: Path) -> None:
    file = tmp_path / "a.html"
    file.write_bytes('<meta charset="windows-1252"><p>Dose – 5 µg</p>'.encode("cp1252"))
    assert told(rows(file)) == [("Dose – 5 µg", None)]


def test_a_word_document_gives_paragraphs_tables_and_headings(tmp_path: Path) -> None:
    made = docx.Document()
    made.add_heading("Findings", 1)
    made.add_paragraph("The first paragraph.")
    made.add_paragraph("")
    table = made.add_table(2, 2)
    for place, text in enumerate(["drug", "dose", "aspirin", "100 mg"]):
        table.cell(place // 2, place % 2).text = text
    made.add_heading("Plan", 2)
    made.add_paragraph("The last one.")
    made.save(str(tmp_path / "a.docx"))
    assert told(rows(tmp_path / "a.docx")) == [
        ("The first paragraph.", "Findings"),
        ("drug | dose\naspirin | 100 mg", "Findings"),
        ("The last one.", "Findings > Plan"),
    ]


@pytest.mark.parametrize("name", ["a.docx", "a.xlsx", "a.pdf", "a.arrow", "a.parquet", "a.xml"])
@pytest.mark.parametrize("content", [b"", b"this is no such file", b"PK\x03\x04 nor an archive", b"%PDF-1.7\nbroken", b"ARROW1\0\0broken"])
def test_what_is_not_the_format_is_refused_by_file(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        rows(tmp_path / name)
    assert caught.value.file == str(tmp_path / name)


def sheet(file: Path, **sheets: list[list[Any]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, cells in sheets.items():
        made = book.create_sheet(name)
        for row in cells:
            made.append(row)
    book.save(file)
    return file


def test_a_spreadsheet_is_numbered_as_it_shows_itself(tmp_path: Path) -> None:
    cells: list[list[Any]] = [[], ["q", "a", "when", "n"], ["why", "so", date(2026, 3, 1), 3.0], [], ["how", None, None, 1.5]]
    found = rows(sheet(tmp_path / "a.xlsx", data=cells, empty=[]))
    assert [row.number for row in found] == [3, 5]
    assert found[0].columns == {"q": "why", "a": "so", "when": "2026-03-01", "n": 3}
    assert found[1].columns == {"q": "how", "a": None, "when": None, "n": 1.5}


@pytest.mark.parametrize("said", ["A1", "A1:A3"])
def test_a_sheet_that_states_a_smaller_size_than_it_has_is_read_whole(said: str, tmp_path: Path) -> None:
    cells: list[list[Any]] = [["q", "a"], *([f"why {i}", f"=1+{i}" if i == 5 else "so"] for i in range(10))]
    whole = sheet(tmp_path / "whole.xlsx", data=cells)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(tmp_path / "a.xlsx", "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, content.replace(b'<dimension ref="A1:B11"', f'<dimension ref="{said}"'.encode()))
            assert ("sheet1" in name) == (b'ref="A1:B11"' in content)
    found = rows(tmp_path / "a.xlsx")
    assert [row.columns["q"] for row in found] == [f"why {i}" for i in range(10)]
    assert [(row.number, row.columns) for row in found] == [(row.number, row.columns) for row in rows(whole)]


def test_which_sheet_must_be_said_where_several_have_rows(tmp_path: Path) -> None:
    file = sheet(tmp_path / "a.xlsx", one=[["q"], ["x"]], two=[["q"], ["y"]])
    with pytest.raises(DataError, match="'one', 'two'"):
        rows(file)
    assert [row.columns for row in rows(file, sheet="two")] == [{"q": "y"}]
    with pytest.raises(DataError, match="the sheets 'one', 'two'"):
        rows(file, sheet="three")


@pytest.mark.parametrize(
    ("cells", "says"),
    [([["q", "q"], [1, 2]], "more than once"), ([["q"], ["x", "more"]], "2 cells under 1 names"), ([["q"]], "no rows"), ([], "empty")],
)
def test_a_sheet_that_would_lose_cells_is_refused(cells: list[list[Any]], says: str, tmp_path: Path) -> None:
    dataset = given(sheet(tmp_path / "a.xlsx", data=cells), map={"text": "{q}"})
    with pytest.raises(DataError, match=says):
        ingest(IngestConfig(), Sources(edition="starter", datasets=[dataset]))


def test_arrow_files_and_streams_give_their_rows(tmp_path: Path) -> None:
    table = pa.table({"q": ["a", "b"], "n": [1, 2]})
    pyarrow.feather.write_feather(table, tmp_path / "a.feather")
    with pa.OSFile(str(tmp_path / "b.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    assert [row.columns for row in rows(tmp_path / "a.feather")] == table.to_pylist() == [row.columns for row in rows(tmp_path / "b.arrow")]


XML = '<?xml version="1.0"?><set xmlns="urn:x"><case id="1"><q>Why?</q><a kind="x">So.<!-- c --></a><tag>u</tag><tag>v</tag></case><case id="2"><q/><d><e>deep</e></d></case></set>'


def test_xml_gives_its_repeated_elements(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(XML)
    assert [row.columns for row in rows(tmp_path / "a.xml")] == [
        {"@id": "1", "text": "", "q": "Why?", "a": "So.", "tag": "u\nv"},
        {"@id": "2", "text": "", "q": "", "d": "", "d/e": "deep"},
    ]
    assert [row.columns["text"] for row in rows(tmp_path / "a.xml", records="tag")] == ["u", "v"]
    with pytest.raises(DataError, match="elements called 'none'"):
        rows(tmp_path / "a.xml", records="none")


def test_xml_neither_resolves_entities_nor_reads_files(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("SECRET")
    entity = f'<!DOCTYPE s [<!ENTITY x SYSTEM "{tmp_path / "secret"}"><!ENTITY y "inner">]>'
    (tmp_path / "a.xml").write_text(f"{entity}<s><r><q>&x;</q></r></s>")
    assert "SECRET" not in str(rows(tmp_path / "a.xml"))
    laughs = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    (tmp_path / "b.xml").write_text(f'<!DOCTYPE s [<!ENTITY a0 "ha">{laughs}]><s><r>&a11;</r></s>')
    with pytest.raises(DataError, match="amplification"):
        rows(tmp_path / "b.xml")


def test_where_a_paragraph_stood_goes_into_its_record(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Dose\n\nTwice a day, with food and water.\n")
    made = ingest(IngestConfig(), Sources(edition="starter", datasets=[given(tmp_path / "a.md", map={"text": "{heading}: {text}"})]))
    (record,) = iterate(made.path, "corpus")
    assert record["heading"] == "Dose"
    assert record["text"] == "Dose: Twice a day, with food and water."


WARD = [
    ("Every patient is weighed on the day of admission, and the weight is written into the chart before the first dose is given.", "Ward handbook"),
    ("Adults receive 30 mL per kilogram a day unless the heart or the kidneys forbid it. The balance is added up at six in the morning.", "Ward handbook > Fluids"),
    ("A potassium above 5.5 mmol/L is repeated at once.", "Ward handbook > Fluids"),
    ("The letter names the diagnosis, the drugs with their doses, and who answers questions – “day or night”.", "Ward handbook > Discharge"),
]  # fmt: skip


@pytest.mark.parametrize("name", ["browser.pdf", "office.pdf", "office.docx"])
def test_documents_that_other_programs_made_become_paragraphs_with_their_place(name: str) -> None:
    found = rows(DATA / name)
    assert [pair for pair in told(found) if pair in WARD] == WARD
    cells = " ".join(text for text, _ in told(found) if (text, _) not in WARD)
    assert all(word in cells for word in ("drug", "dose", "paracetamol", "1 g"))
    if name.endswith(".pdf"):
        assert [row.page for row in found] == [1] * (len(found) - 1) + [2]


def test_a_spreadsheet_that_another_program_made_sets_a_failed_formula_aside() -> None:
    dataset = given(DATA / "office.xlsx", role="tune", map={"prompt": "{question}", "response": "{answer}"})
    made = ingest(IngestConfig(), Sources(edition="starter", datasets=[dataset]))
    assert [(row["row"], row["prompt"], row["response"]) for row in iterate(made.path, "tune")] == [
        (2, "What is the usual dose of paracetamol, in adults?", "1 g"),
        (4, "Größe in µm?", "12"),
    ]
    (line,) = made.ledger
    assert line.set_aside == {"spreadsheet-error": 1}


def test_what_a_browser_prints_in_the_margins_is_set_aside_and_counted() -> None:
    made = ingest(IngestConfig(), Sources(edition="starter", datasets=[given(DATA / "printed.pdf", map={"text": "{text}"})]))
    found = list(iterate(made.path, "corpus"))
    assert [(row["page"], row["heading"]) for row in found] == [(1, "Weight"), (2, "Fluids"), (3, "Discharge")]
    assert not any(mark in row["text"] for row in found for mark in ("localhost", "/3", "PM"))
    (line,) = made.ledger
    assert line.set_aside == {"page-furniture": 3}
    (aside, *_) = [row.columns["text"].split("\n") for row in rows(DATA / "printed.pdf") if row.aside]
    assert set(aside) == {"11/21/26, 5:30 PM", "Ward handbook", "http://localhost:8765/handbook.html", "1/3"}


def test_a_long_table_is_divided_under_its_first_line(tmp_path: Path) -> None:
    cells = [(f"item {i}", f"the tenant pays for item {i}, and for whatever belongs to it") for i in range(80)]
    made = docx.Document()
    made.add_heading("Costs", 1)
    table = made.add_table(1, 2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "what", "who"
    for pair in cells:
        for cell, text in zip(table.add_row().cells, pair, strict=True):
            cell.text = text
    made.save(str(tmp_path / "a.docx"))
    lines = [("what", "who"), *cells]
    (tmp_path / "a.html").write_text(f"<h1>Costs</h1><table>{''.join(f'<tr><td><p>{a}</p><td>{b}' for a, b in lines)}</table>")
    (tmp_path / "a.md").write_text("# Costs\n\n| what | who |\n|---|---|\n" + "".join(f"| {a} | {b} |\n" for a, b in cells))
    for name, head in (("a.docx", "what | who"), ("a.html", "what | who"), ("a.md", "| what | who |\n|---|---|")):
        found = rows(tmp_path / name)
        assert len(found) > 1
        assert all(row.heading == "Costs" and len(row.columns["text"]) <= 2_000 for row in found)
        assert all(row.columns["text"].startswith(f"{head}\n") for row in found)
        text = "\n".join(row.columns["text"] for row in found)
        assert all(text.count(f"{a} | {b}") == 1 for a, b in cells)


def test_no_cell_of_a_table_is_lost_or_out_of_its_column(tmp_path: Path) -> None:
    made = docx.Document()
    table = made.add_table(3, 3)
    for place, text in enumerate(["", "2024", "2025", "rent", "10", "11"]):
        table.cell(place // 3, place % 3).text = text
    table.cell(2, 0).merge(table.cell(2, 1)).text = "both\nyears"
    table.cell(2, 2).add_table(1, 2).cell(0, 1).text = "inner"
    made.save(str(tmp_path / "a.docx"))
    assert told(rows(tmp_path / "a.docx")) == [("| 2024 | 2025\nrent | 10 | 11\nboth years | | inner", None)]


def test_a_table_that_only_lays_out_a_page_is_read_as_its_paragraphs(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("<table><tr><td><h1>One</h1><p>first</p><p>second</p></td><td>beside</td></tr></table>")
    assert told(rows(tmp_path / "a.html")) == [("first", "One"), ("second", "One"), ("beside", "One")]


def test_a_scan_is_refused_and_not_taken_for_an_empty_document(tmp_path: Path) -> None:
    Figure().savefig(tmp_path / "a.pdf")  # one page, no letter
    with pytest.raises(DataError, match="1 pages without any"):
        rows(tmp_path / "a.pdf")
