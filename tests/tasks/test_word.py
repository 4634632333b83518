"""What stands in a Word file besides its paragraphs: breaks of pages, notes, comments, and what is not as it should be."""

from pathlib import Path
from typing import Any

import docx
import pytest
from docx.enum.text import WD_BREAK
from docx.opc.constants import CONTENT_TYPE, RELATIONSHIP_TYPE
from docx.opc.packuri import PackURI
from docx.opc.part import Part
from docx.oxml import parse_xml

from tasks.lib.errors import DataError
from tests.tasks.test_documents import rows, told
from tests.tasks.test_whole_text import SPACES, run

RENDERED = "<w:r><w:lastRenderedPageBreak/></w:r>"
ASKED = '<w:r><w:br w:type="page"/></w:r>'


def saved(folder: Path, body: str, notes: dict[str, str] | None = None, comments: tuple[str, ...] = ()) -> Path:
    """A Word file with this body, and notes by their kind."""
    made: Any = docx.Document()
    for element in reversed(list(parse_xml(f"<w:body {SPACES}>{body}</w:body>"))):
        made.element.body.insert(0, element)
    for kind, xml in (notes or {}).items():
        content = f"<w:{kind}s {SPACES}>{xml}</w:{kind}s>".encode()
        part = Part(PackURI(f"/word/{kind}s.xml"), getattr(CONTENT_TYPE, f"WML_{kind.upper()}S"), content, made.part.package)
        made.part.relate_to(part, getattr(RELATIONSHIP_TYPE, f"{kind.upper()}S"))
    for comment in comments:
        made.add_comment(made.paragraphs[0].runs, text=comment, author="A. Reviewer")
    made.save(str(folder / "a.docx"))
    return folder / "a.docx"


@pytest.mark.parametrize(
    "fault",
    [
        '<w:p><w:r><w:sym w:font="x" w:char="110000"/></w:r></w:p>',
        '<w:p><w:r><w:sym w:char="heart"/></w:r></w:p>',
        '<w:tbl><w:tr><w:tc><w:tcPr><w:gridSpan w:val="two"/></w:tcPr><w:p/></w:tc></w:tr></w:tbl>',
        '<w:tbl><w:tr><w:trPr><w:gridBefore w:val="1e3"/></w:trPr></w:tr></w:tbl>',
        '<w:tbl><w:tr><w:trPr><w:gridBefore w:val="2000000000"/></w:trPr></w:tr></w:tbl>',
    ],
)
def test_what_no_word_file_says_is_refused_by_file_and_paragraph(fault: str, tmp_path: Path) -> None:
    file = saved(tmp_path, f"<w:p>{run('one')}</w:p><w:p>{run('two')}</w:p>{fault}<w:p>{run('more')}</w:p>")
    with pytest.raises(DataError, match="a whole DOCX file") as caught:
        rows(file)
    assert (caught.value.file, caught.value.row) == (str(file), 3)


def test_a_break_that_a_person_has_set_ends_a_page_once(tmp_path: Path) -> None:
    body = (
        f"<w:p>{run('one')}{ASKED}</w:p><w:p>{RENDERED}{run('two')}</w:p><w:p>{run('two too')}</w:p>"
        f"<w:p>{RENDERED}{run('three')}</w:p><w:p>{ASKED}</w:p><w:p>{run('four')}{RENDERED}{run('and five')}</w:p>"
        f"<w:p>{run('five')}</w:p>"
    )
    found = rows(saved(tmp_path, body))
    assert [(row.columns["text"], row.page) for row in found] == [
        ("one", 1), ("two", 2), ("two too", 2), ("three", 3), ("fourand five", 4), ("five", 5),
    ]  # fmt: skip
    made: Any = docx.Document()
    made.add_paragraph("one").add_run().add_break(WD_BREAK.PAGE)
    made.add_paragraph("two")
    made.save(str(tmp_path / "b.docx"))
    assert [row.page for row in rows(tmp_path / "b.docx")] == [1, 2]


def test_notes_follow_with_the_page_that_refers_to_them_and_comments_are_set_aside(tmp_path: Path) -> None:
    gone = '<w:del><w:r><w:footnoteReference w:id="3"/></w:r></w:del>'
    body = (
        f'<w:p>{run("Dose")}<w:r><w:footnoteReference w:id="2"/></w:r>{gone}{ASKED}</w:p>'
        f'<w:p>{run("Route")}<w:r><w:footnoteReference w:id="1"/></w:r><w:r><w:endnoteReference w:id="1"/></w:r></w:p>'
    )
    line = '<w:footnote w:type="separator" w:id="-1"><w:p><w:r><w:separator/></w:r></w:p></w:footnote>'
    notes = {
        "footnote": line
        + "".join(f'<w:footnote w:id="{n}"><w:p>{run(f"foot {n}")}</w:p><w:p>{run("more")}</w:p></w:footnote>' for n in (1, 2, 3)),
        "endnote": f'<w:endnote w:id="1"><w:p><w:r><w:endnoteRef/></w:r>{run("end 1")}</w:p></w:endnote>',
    }
    found = rows(saved(tmp_path, body, notes, ("Is that so?", "Yes.")))
    assert told(found[:-1]) == [
        ("Dose", None), ("Route", None), ("foot 2 more", "Footnotes"), ("foot 1 more", "Footnotes"), ("end 1", "Endnotes"),
    ]  # fmt: skip
    assert [row.page for row in found] == [1, 2, 1, 2, 2, None]
    assert (found[-1].aside, found[-1].columns["text"]) == ("comments", "Is that so?\nYes.")
    assert found[-1].detail.startswith("2 comments")
