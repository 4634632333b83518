"""No word of a document is lost, whatever it stands in; what is not its text does not become it."""

import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import docx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from docx.oxml import parse_xml

from flows import template
from tasks.lib import files
from tasks.lib.errors import ConfigError, DataError
from tests.tasks.test_documents import rows, told

SPACES = " ".join(
    f'xmlns:{name}="http://schemas.{place}"'
    for name, place in {
        "w": "openxmlformats.org/wordprocessingml/2006/main",
        "m": "openxmlformats.org/officeDocument/2006/math",
        "mc": "openxmlformats.org/markup-compatibility/2006",
        "wps": "microsoft.com/office/word/2010/wordprocessingShape",
    }.items()
)


def run(text: str, properties: str = "") -> str:
    return f'<w:r><w:rPr>{properties}</w:rPr><w:t xml:space="preserve">{text}</w:t></w:r>'


def math(text: str) -> str:
    return f"<m:r><m:t>{text}</m:t></m:r>"


def texts(file: Path, **card: Any) -> list[str]:
    return [text for text, _ in told(rows(file, **card))]


def word(folder: Path, body: str) -> list[str]:
    """The paragraphs that are read of a Word file with this body."""
    made = docx.Document()
    for element in reversed(list(parse_xml(f"<w:body {SPACES}>{body}</w:body>"))):
        made.element.body.insert(0, element)
    made.save(str(folder / "a.docx"))
    return texts(folder / "a.docx")


HIGH = '<w:vertAlign w:val="superscript"/>'
BOX = f"<w:txbxContent><w:p>{run('in a box')}</w:p></w:txbxContent>"
WORD = {
    "an insertion and a deletion": (f"<w:p>{run('not ')}<w:ins>{run('more ')}</w:ins><w:del><w:r><w:delText>less </w:delText></w:r></w:del>{run('than 5')}</w:p>", ["not more than 5"]),
    "a move": (f"<w:p><w:moveFrom>{run('old')}</w:moveFrom>{run('a ')}<w:moveTo>{run('new')}</w:moveTo></w:p>", ["a new"]),
    "a link and a smart tag": (f"<w:p>{run('see ')}<w:hyperlink>{run('here ')}</w:hyperlink><w:smartTag>{run('Bern')}</w:smartTag></w:p>", ["see here Bern"]),
    "a control in a line": (f"<w:p>{run('Dose: ')}<w:sdt><w:sdtContent>{run('5 mg')}</w:sdtContent></w:sdt></w:p>", ["Dose: 5 mg"]),
    "a control around paragraphs": (f"<w:sdt><w:sdtContent><w:p>{run('one')}</w:p><w:p>{run('two')}</w:p></w:sdtContent></w:sdt>", ["one", "two"]),
    "a control that is not filled in": (f"<w:p>{run('Dose:')}<w:sdt><w:sdtPr><w:showingPlcHdr/></w:sdtPr><w:sdtContent>{run('Click here')}</w:sdtContent></w:sdt></w:p>", ["Dose:"]),
    "a text box, twice for two programs": (
        (f"<w:p>{run('beside')}<w:r><mc:AlternateContent><mc:Choice Requires='wps'><w:drawing><wps:txbx>{BOX}</wps:txbx></w:drawing></mc:Choice>"
        f"<mc:Fallback><w:pict>{BOX}</w:pict></mc:Fallback></mc:AlternateContent></w:r></w:p>"), ["beside", "in a box"],
    ),
    "superscripts": (f"<w:p>{run('10')}{run('-', HIGH)}{run('5', HIGH)}{run(' m')}{run('2', HIGH)}</w:p>", ["10^-5 m2"]),
    "tab stops, breaks and hyphens": ("<w:p><w:pPr><w:tabs><w:tab w:val='left' w:pos='9'/></w:tabs></w:pPr><w:r><w:t>a</w:t><w:tab/><w:t>b</w:t><w:br/><w:t>c</w:t><w:noBreakHyphen/><w:t>d</w:t></w:r></w:p>", ["a\tb\nc-d"]),
    "an equation": (
        (f"<w:p>{run('so ')}<m:oMath>{math('x=')}<m:f><m:num>{math('1')}</m:num><m:den>{math('a+b')}</m:den></m:f>{math('+')}"
        f"<m:sSup><m:e>{math('10')}</m:e><m:sup>{math('5')}</m:sup></m:sSup></m:oMath></w:p>"), ["so x=1/(a+b)+10^5"],
    ),
    "an equation with brackets and a root": (
        f"<w:p><m:oMathPara><m:oMath><m:d><m:e>{math('a+b')}</m:e></m:d><m:rad><m:deg/><m:e>{math('c')}</m:e></m:rad></m:oMath></m:oMathPara></w:p>", ["(a+b)√c"],
    ),
    "a table with controls": (
        (f"<w:tbl><w:sdt><w:sdtContent><w:tr><w:tc><w:p>{run('drug')}</w:p></w:tc><w:sdt><w:sdtContent><w:tc><w:p><w:ins>{run('5 mg')}</w:ins></w:p></w:tc>"
        "</w:sdtContent></w:sdt></w:tr></w:sdtContent></w:sdt></w:tbl>"), ["drug | 5 mg"],
    ),
    "a cell over two rows": (
        (f"<w:tbl><w:tr><w:tc><w:tcPr><w:vMerge w:val='restart'/></w:tcPr><w:p>{run('x')}</w:p></w:tc><w:tc><w:p>{run('1')}</w:p></w:tc></w:tr>"
        f"<w:tr><w:tc><w:tcPr><w:vMerge/></w:tcPr><w:p/></w:tc><w:tc><w:p>{run('2')}</w:p></w:tc></w:tr></w:tbl>"), ["x | 1\nx | 2"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WORD)
def test_no_word_of_a_word_file_is_lost(what: str, tmp_path: Path) -> None:
    body, wanted = WORD[what]
    assert word(tmp_path, body) == wanted


XML = {
    "mark-up in a sentence": ("<p>A <b>bold</b> word, <i>in <u>order</u></i>.</p>", {"p": "A bold word, in order.", "p/b": "bold", "p/i": "in order", "p/i/u": "order"}),
    "a paragraph that is all mark-up": ("<p><i>all</i></p><p>next</p>", {"p": "all\nnext", "p/i": "all"}),
    "a power and an index": ("<p>10<sup>-5</sup> H<sub>2</sub>O m<sup>2</sup></p>", {"p": "10^-5 H2O m2", "p/sup": "-5\n2", "p/sub": "2"}),
    "an entity": ("<p>before &y; after</p>", {"p": "before &y; after"}),
    "a comment": ("<p>before <!-- c -->after</p>", {"p": "before after"}),
    "a list in a sentence": ("<p>Take:<l><i>one</i><i>two</i></l> daily</p>", {"p": "Take:onetwo daily", "p/l": "onetwo", "p/l/i": "one\ntwo"}),
    "a list of items": ("<p>Take:<l><e>one</e><e>two</e></l> daily</p>", {"p": "Take:\none\ntwo\n daily", "p/l": "", "p/l/e": "one\ntwo"}),
    "text of the row itself": ("in <q>a</q> row", {"text": "in a row", "q": "a"}),
    "fields as ever": ("<q>a</q><q>b</q><d><e>c</e></d>", {"q": "a\nb", "d": "", "d/e": "c"}),
}  # fmt: skip


@pytest.mark.parametrize("what", XML)
def test_no_word_of_an_xml_element_is_lost(what: str, tmp_path: Path) -> None:
    content, wanted = XML[what]
    (tmp_path / "a.xml").write_text(f'<!DOCTYPE s [<!ENTITY y "inner">]><s><r>{content}</r></s>')
    (row,) = rows(tmp_path / "a.xml")
    assert row.columns == {"text": "", **wanted}


def test_a_row_within_a_row_takes_no_text_from_it(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("<s><sec><t>One</t><p>x</p><sec><p>inner</p></sec><p>y</p></sec></s>")
    inner, outer = (row.columns for row in rows(tmp_path / "a.xml", records="sec"))
    assert inner == {"text": "", "p": "inner"}
    assert outer == {"text": "", "t": "One", "p": "x\ny", "sec": "", "sec/p": "inner"}


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("10<sup>5</sup>, 10<sup><i>\u22123</i></sup>, 2<sup>n</sup>", "10^5, 10^\u22123, 2n"),
        ("H<sub>2</sub>O, m<sup>2</sup>, Ca<sup>2+</sup>, the 5<sup>th</sup>", "H2O, m2, Ca2+, the 5th"),
        ("<table><tr><td>10<sup>5</sup><td>a<tr hidden><td>no<td>no</table>", "10^5 | a"),
        ("kept<button>no</button><select><option>no</select><svg><text>no</text></svg> <script>no</script>whole", "kept whole"),
        ("kept<span style='color: red; DISPLAY : none'>no</span><span hidden>no</span><b style='visibility:hidden'>no</b>", "kept"),
        ("<details><summary>kept</summary></details>", "kept"),
    ],
)
def test_a_page_is_read_as_it_is_seen(content: str, wanted: str, tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(f"<meta charset=utf-8><body>{content}</body>", encoding="utf-8")
    assert texts(tmp_path / "a.html") == [wanted]


def test_footnotes_of_markdown_are_text_and_its_front_matter_is_not(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("---\ntitle: A page\ntags:\n- x\n---\n# One\n\nText[^1].\n\n[^1]: foot\n")
    found = rows(tmp_path / "a.md")
    assert told(found) == [("Text[^1].", "One"), ("[^1]: foot", "One")]
    assert {row.columns["front_matter"] for row in found} == {"title: A page\ntags:\n- x"}
    (tmp_path / "b.md").write_text("---\n\nNo metadata: a line across the page.\n\n---\n\nmore\n")
    assert texts(tmp_path / "b.md") == ["No metadata: a line across the page.", "more"]


def test_numbers_of_single_precision_have_their_shortest_text(tmp_path: Path) -> None:
    table = pa.table({"x": pa.array([0.1, None, 1e-30], pa.float32()), "v": pa.array([[0.1, 2.5], [], None], pa.list_(pa.float32()))})
    pq.write_table(table, tmp_path / "a.parquet")
    found = [row.columns for row in rows(tmp_path / "a.parquet")]
    assert found == [{"x": 0.1, "v": [0.1, 2.5]}, {"x": None, "v": []}, {"x": 1e-30, "v": None}]


def test_lines_that_end_with_a_carriage_return_alone_are_lines(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'q,a\rwhy,"so\rand so"\rhow,thus\r')
    assert [row.columns for row in rows(tmp_path / "a.csv")] == [{"q": "why", "a": "so\rand so"}, {"q": "how", "a": "thus"}]
    (tmp_path / "a.txt").write_bytes(b"one\rparagraph\r\ranother\r")
    assert [" ".join(text.split()) for text in (row.columns["text"] for row in rows(tmp_path / "a.txt"))] == ["one paragraph", "another"]


@pytest.mark.parametrize(("suffix", "says"), [(".ods", "save it as .xlsx"), (".odt", "save it as .docx"), (".pptx", "print it to PDF")])
def test_an_office_file_that_is_not_read_is_named_with_what_to_do(suffix: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / f"qa{suffix}"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.text")
    with pytest.raises(DataError, match=says) as caught:
        rows(file)
    assert caught.value.file == str(file)


@pytest.mark.parametrize("name", ["con", "nul", "aux", "prn", "com1", "lpt9"])
def test_no_domain_is_called_like_a_device(name: str, workplace: Path) -> None:
    with pytest.raises(ConfigError, match="keeps for a device"):
        template.write(name)
    assert not (workplace / "domains").exists()


@pytest.mark.parametrize("name", ["arrow.py_extension_type", "somebody.own"])
@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_a_column_of_an_unknown_type_is_read_as_what_it_is_stored_as(name: str, suffix: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    pickled = f"cposix\nsystem\n(S'touch {canary}'\ntR.".encode()  # what would run if anybody unpickled it
    field = pa.field("text", pa.string(), metadata={"ARROW:extension:name": name, "ARROW:extension:metadata": pickled})
    table = pa.table([pa.array(["whole"])], schema=pa.schema([field]))
    file = tmp_path / f"a.{suffix}"
    if suffix == "parquet":
        pq.write_table(table, file)
    else:
        with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    assert pickled in file.read_bytes() or suffix == "parquet", "it is in the file; Parquet keeps it in base 64"
    assert [row.columns for row in rows(file)] == [{"text": "whole"}]
    assert not canary.exists()


def test_more_members_than_any_archive_may_have_are_refused_in_little_memory(tmp_path: Path) -> None:
    file = tmp_path / "a.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(files.MAX_MEMBERS + 1):
            archive.writestr(zipfile.ZipInfo(f"{number}.txt"), b"")
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="more than 100,000 members"):
            rows(file)
        assert tracemalloc.get_traced_memory()[1] < 300_000_000
    finally:
        tracemalloc.stop()
