"""A proof as a PDF where no LaTeX is installed: plainer than LaTeX's, with the same words, formulas and numbers.

ReportLab sets the pages; the letters are the STIX and DejaVu fonts that come with Matplotlib, which draws the formulas
too. Equal documents give equal bytes.
"""

import re
from collections.abc import Iterator
from functools import cache
from html import escape
from io import BytesIO
from pathlib import Path

from matplotlib import get_data_path
from matplotlib.path import Path as Curve
from reportlab.lib import colors
from reportlab.lib.enums import TA_CENTER
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import FILL_NON_ZERO, Canvas
from reportlab.platypus import (
    Flowable,
    ListFlowable,
    ListItem,
    LongTable,
    SimpleDocTemplate,
    TableStyle,
)
from reportlab.platypus import Paragraph as Words

from proofs.render.document import (
    Block,
    Display,
    Document,
    Foreign,
    Items,
    Line,
    Math,
    Paragraph,
    Section,
    Table,
    Text,
    numbered,
    pieces,
    shortened,
)
from proofs.render.plain_math import Outline, inline_markup, outline

_FONTS = {
    "Proof": "STIXGeneral.ttf",
    "Proof-Bold": "STIXGeneralBol.ttf",
    "Proof-Italic": "STIXGeneralItalic.ttf",
    "Proof-BoldItalic": "STIXGeneralBolIta.ttf",
    "Proof-Code": "DejaVuSansMono.ttf",
}
_WIDTH = A4[0] - 40 * mm
_BODY = ParagraphStyle("body", fontName="Proof", fontSize=10.5, leading=14, spaceAfter=5)
_CELL = ParagraphStyle("cell", fontName="Proof", fontSize=8, leading=10)
_TITLE = ParagraphStyle("title", parent=_BODY, fontName="Proof-Bold", fontSize=17, leading=22, alignment=TA_CENTER)
_SUBTITLE = ParagraphStyle("subtitle", parent=_BODY, alignment=TA_CENTER, spaceAfter=12)
_HEADING = ParagraphStyle(
    "heading", parent=_BODY, fontName="Proof-Bold", fontSize=13, leading=17, spaceBefore=12, keepWithNext=1
)
_SIZE = 11.0
"""Of the letters of a formula, in points."""
_APART = 24.0
"""Points between formulas side by side."""
_PADDING = 7.0
"""Points between a table's columns."""


def plain_pdf_of(document: Document) -> bytes:
    """The document as a PDF."""
    story = story_of(document)
    written = BytesIO()
    margin = 20 * mm
    template = SimpleDocTemplate(
        written,
        pagesize=A4,
        leftMargin=margin,
        rightMargin=margin,
        topMargin=margin,
        bottomMargin=margin,
        title=document.title,
        # Neither dates nor random identifiers.
        invariant=1,
    )
    template.build(story, onFirstPage=_number_page, onLaterPages=_number_page)
    return written.getvalue()


def story_of(document: Document) -> list[Flowable]:
    """What ReportLab sets into pages, from the first to the last."""
    _register_fonts()
    story = [Words(escape(document.title), _TITLE), Words(_line(document.subtitle), _SUBTITLE)]
    for section in document.sections:
        story += _section(section)
    return story


@cache
def _register_fonts() -> None:
    folder = Path(get_data_path()) / "fonts" / "ttf"
    for name, file in _FONTS.items():
        pdfmetrics.registerFont(TTFont(name, folder / file))
    pdfmetrics.registerFontFamily("Proof", "Proof", "Proof-Bold", "Proof-Italic", "Proof-BoldItalic")


def _number_page(canvas: Canvas, template: SimpleDocTemplate) -> None:
    canvas.setFont("Proof", 9)
    canvas.drawCentredString(A4[0] / 2, 12 * mm, str(template.page))


def _section(section: Section) -> list[Flowable]:
    return [Words(_line(section.title), _HEADING), *(part for block in section.blocks for part in _block(block))]


def _block(block: Block) -> list[Flowable]:
    match block:
        case Paragraph(line):
            return [Words(_line(line), _BODY)]
        case Display(lines):
            return [Formula(latex) for latex in lines]
        case Items(items):
            entries = [ListItem(Words(_line(item), _BODY)) for item in items]
            return [ListFlowable(entries, bulletType="bullet", start="•", bulletFontName="Proof", leftIndent=14)]
        case Table():
            return [_table(block)]


def _line(line: Line) -> str:
    return "".join(_inline(part) for part in line)


def _inline(part: Text | Math | Foreign) -> str:
    match part:
        case Text(text, strong):
            return f"<b>{escape(text)}</b>" if strong else escape(text)
        case Math(latex):
            return inline_markup(latex)
        case Foreign(text, longest, code):
            shown = "…".join(_visible(half) for half in shortened(text, longest) if half)
            return f'<font name="Proof-Code" size="-1.5">{shown}</font>' if code else shown


def _visible(text: str) -> str:
    """Printable ASCII as it is, anything else by its number: the fonts do not have every letter."""
    shown = (
        character if character.isascii() and character.isprintable() else numbered(character) for character in text
    )
    return escape("".join(shown))


def _table(table: Table) -> Flowable:
    cells = [[_line(column.head) for column in table.columns]]
    cells += [["<br/>".join(_line(line) for line in cell) for cell in row.cells] for row in table.rows]
    narrow = [
        0.0 if column.share else max(_width(row[at]) for row in cells) + _PADDING
        for at, column in enumerate(table.columns)
    ]
    shares = max(sum(column.share for column in table.columns), 1)
    left = _WIDTH - sum(narrow)
    widths = [width or left * column.share / shares for column, width in zip(table.columns, narrow, strict=True)]
    heads = [Words(f"<b>{head}</b>", _CELL) for head in cells[0]]
    body = [[Words(cell, _CELL) if cell else "" for cell in row] for row in cells[1:]]
    return LongTable(
        [heads, *body],
        colWidths=widths,
        repeatRows=1,
        hAlign="LEFT",
        spaceBefore=4,
        spaceAfter=8,
        style=_table_style(table),
    )


def _table_style(table: Table) -> TableStyle:
    rows = table.rows
    style = [
        ("LINEABOVE", (0, 0), (-1, 0), 0.8, colors.black),
        ("LINEBELOW", (0, 0), (-1, 0), 0.5, colors.black),
        ("LINEBELOW", (0, -1), (-1, -1), 0.8, colors.black),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), 0),
        ("TOPPADDING", (0, 0), (-1, -1), 1.2),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 1.2),
    ]
    # A narrow column has its padding in its width; one that breaks its lines would run into the next.
    style += [("RIGHTPADDING", (at, 0), (at, -1), _PADDING) for at, column in enumerate(table.columns) if column.share]
    for at, row in enumerate(rows, start=1):
        if row.begins:
            style.append(("LINEABOVE", (0, at), (-1, at), 0.25, colors.grey))
        elif at > 1 and rows[at - 2].begins:
            # The first row of a group does not stand alone at the foot of a page.
            style.append(("NOSPLIT", (0, at - 1), (-1, at)))
    return TableStyle(style)


def _width(markup: str) -> float:
    """How wide the widest line of a cell is, at most: raised and lowered letters are smaller than is reckoned here."""
    return max(sum(_length(*run) for run in _runs(line)) for line in markup.split("<br/>"))


def _length(letters: str, font: str) -> float:
    return float(pdfmetrics.stringWidth(re.sub(r"&[a-z#0-9]+;", "<", letters), font, _CELL.fontSize))


def _runs(markup: str) -> Iterator[tuple[str, str]]:
    """The runs of a line: letters, and the widest font that they may have."""
    code = False
    for part in re.split(r"(<[^>]+>)", markup):
        if part.startswith("<"):
            code = part.startswith("<font") or (code and part != "</font>")
        elif part:
            yield part, "Proof-Code" if code else "Proof-Bold"


class Formula(Flowable):  # type: ignore[misc]
    """A formula in lines of its own, broken where it is too wide for the page."""

    def __init__(self, latex: str) -> None:
        """Begins.

        Args:
            latex: The formula.
        """
        super().__init__()
        # Behind a blank, a piece that begins with a relation has the relation's space on both sides.
        self._formulas = [
            [outline(f"{{}}{piece}" if number else piece, _SIZE) for number, piece in enumerate(formula)]
            for formula in pieces(latex)
        ]
        self._lines: list[list[tuple[float, Outline]]] = []

    def wrap(self, width: float, _: float) -> tuple[float, float]:
        """Sets the pieces into lines of that width; ReportLab asks for it."""
        self._lines, at = [[]], 0.0
        for formula in self._formulas:
            for number, piece in enumerate(formula):
                gap = 0.0 if number or not self._lines[-1] else _APART
                if self._lines[-1] and at + gap + piece.width > width:
                    self._lines.append([])
                    at, gap = 0.0, 0.0
                self._lines[-1].append((at + gap, piece))
                at += gap + piece.width
        self.width, self.height = width, sum(_height(line) + _depth(line) + 6 for line in self._lines) + 5
        return self.width, self.height

    def draw(self) -> None:
        """Draws the lines, each in the middle."""
        top = self.height - 4
        for line in self._lines:
            base = top - _height(line)
            last_at, last = line[-1]
            left = (self.width - last_at - last.width) / 2
            for at, piece in line:
                self._draw(piece, left + at, base)
            top = base - _depth(line) - 6

    def _draw(self, piece: Outline, left: float, base: float) -> None:
        path, at = self.canv.beginPath(), (0.0, 0.0)
        for code, flat in piece.curves:
            points = [(left + x, base + y) for x, y in zip(flat[::2], flat[1::2], strict=True)]
            if code == Curve.MOVETO:
                path.moveTo(*points[0])
            elif code == Curve.LINETO:
                path.lineTo(*points[0])
            elif code == Curve.CURVE3:
                # PDF has no curve of one control point: the same one with two.
                control, end = points
                path.curveTo(*_towards(at, control), *_towards(end, control), *end)
            elif code == Curve.CURVE4:
                path.curveTo(*points[0], *points[1], *points[2])
            else:
                path.close()
            at = points[-1]
        self.canv.drawPath(path, stroke=0, fill=1, fillMode=FILL_NON_ZERO)


def _towards(end: tuple[float, float], control: tuple[float, float]) -> tuple[float, float]:
    return end[0] + 2 / 3 * (control[0] - end[0]), end[1] + 2 / 3 * (control[1] - end[1])


def _height(line: list[tuple[float, Outline]]) -> float:
    return max(piece.height for _, piece in line)


def _depth(line: list[tuple[float, Outline]]) -> float:
    return max(piece.depth for _, piece in line)
