"""A proof as one HTML file that a browser shows without any network.

No script, no image, no font, no address: the content security policy allows the one style sheet in the file, by its
hash, and nothing else. Mathematics is MathML, made of the same LaTeX that the LaTeX form has.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from html import escape
from typing import Any

from latex2mathml.converter import convert

from proofs.render.content import document_of
from proofs.render.document import (
    Block,
    Column,
    Display,
    Document,
    Foreign,
    Items,
    Line,
    Math,
    Paragraph,
    Row,
    Section,
    Table,
    Text,
    numbered,
    pieces,
    shortened,
)

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1f; --faint: #5c5f66; --line: #d9dbe0; --paper: #fdfdfb; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e3; --faint: #a2a5ac; --line: #3a3d43; --paper: #16171a; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 46rem; background: var(--paper); color: var(--ink);
  font: 1.0625rem/1.6 Charter, "Bitstream Charter", "Iowan Old Style", Palatino, Georgia, serif;
  -webkit-text-size-adjust: 100%; overflow-wrap: break-word; }
header { text-align: center; margin-bottom: 2.5rem; padding-bottom: 1.5rem; border-bottom: 1px solid var(--line); }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.25rem; line-height: 1.3; margin: 2.5rem 0 .5rem; }
header p { color: var(--faint); margin: 0; }
p, ul { margin: .75rem 0; }
ul { padding-left: 1.25rem; }
li { margin: .35rem 0; }
code { font: .85em ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.display { margin: 1rem 0; }
.formula, .formula div { display: flex; flex-wrap: wrap; align-items: baseline; row-gap: .4rem; }
.formula { justify-content: center; column-gap: 2rem; margin: .7rem 0; overflow-x: auto; overflow-y: hidden;
  padding: .15rem 0; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .85rem; line-height: 1.45; font-variant-numeric: tabular-nums;
  border-top: 1.5px solid var(--ink); border-bottom: 1.5px solid var(--ink); }
table.wide { width: 100%; }
th { text-align: left; font-weight: 600; border-bottom: 1px solid var(--ink); background: var(--paper); }
th, td { padding: .2rem .7rem .2rem 0; vertical-align: top; }
th:first-child, td:first-child { padding-left: .3rem; }
td { min-width: 9.5rem; }
td.narrow, th.narrow { white-space: nowrap; min-width: 0; }
.whole { white-space: nowrap; }
tr.begins td { border-top: 1px solid var(--line); }
td div:empty::before { content: "\\200b"; }
@media (max-width: 32rem) {
  body { font-size: 1rem; padding: 1.5rem 1rem 3rem; }
  .formula { justify-content: flex-start; }
}
@media print {
  :root { color-scheme: light; --ink: #000; --faint: #333; --line: #999; --paper: #fff; }
  @page { size: A4; margin: 18mm; }
  body { max-width: none; padding: 0; font-size: 10.5pt; line-height: 1.45; }
  h2, thead, p:has(+ .scroll) { break-after: avoid; }
  tr, .formula, li { break-inside: avoid; }
  thead { display: table-header-group; }
  .scroll, .formula { overflow: visible; }
  table { font-size: 7.5pt; }
  th, td { padding-right: .5rem; min-width: 0; }
}
"""


def render_html(bundle: Mapping[str, Any]) -> str:
    """A proof as one HTML file. Arguments and errors as `content.document_of`."""
    return html_of(document_of(bundle))


def html_of(document: Document) -> str:
    """The document as one HTML file, which is well-formed XML after its first line."""
    allowed = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{allowed}'; base-uri 'none'; form-action 'none'"
    sections = "\n".join(_section(section) for section in document.sections)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta http-equiv="Content-Security-Policy" content="{policy}"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>{escape(document.title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<header>
<h1>{escape(document.title)}</h1>
<p>{_line(document.subtitle)}</p>
</header>
<main>
{sections}
</main>
</body>
</html>
"""


def foreign(text: str, longest: int = 48) -> str:
    """Foreign text as HTML that prints it and does nothing else.

    Whatever is not printed, or would turn the direction of what stands around it, is shown by its number, such as
    <U+202E>. Text of more than `longest` characters loses its middle.
    """
    head, tail = shortened(text, longest)
    return f"{_visible(head)}…{_visible(tail)}" if tail else _visible(head)


def _visible(text: str) -> str:
    return escape("".join(character if character.isprintable() else numbered(character) for character in text))


def _section(section: Section) -> str:
    blocks = "\n".join(_block(block) for block in section.blocks)
    return f"<section>\n<h2>{_line(section.title)}</h2>\n{blocks}\n</section>"


def _line(line: Line) -> str:
    # A mark that follows a formula stays with it: a browser would break the line between the two.
    return _MARKS.sub(r'<span class="whole">\1</span>', "".join(_inline(part) for part in line))


_MARKS = re.compile(r"(<math>(?:(?!</math>).)*</math>[,.;:)-]+)")


def _inline(part: Text | Math | Foreign) -> str:
    match part:
        case Text(text, strong):
            return f"<strong>{escape(text)}</strong>" if strong else escape(text)
        case Math(latex):
            return mathml(latex)
        case Foreign(text, longest, code):
            # Letters that run from right to left stay within it.
            shown = f"<bdi>{foreign(text, longest)}</bdi>"
            return f"<code>{shown}</code>" if code else shown


@lru_cache(maxsize=8192)
def mathml(latex: str, *, displayed: bool = False) -> str:
    """LaTeX mathematics as MathML."""
    found = convert(latex, display="block" if displayed else "inline")
    # In HTML the element needs no namespace; it is always in a line, with large signs where it is displayed.
    found = re.sub(r"^<math [^>]*>", '<math displaystyle="true">' if displayed else "<math>", found)
    for pattern, better in _FINER:
        found = re.sub(pattern, better, found)
    return found


_FINER = (
    # Capital Greek letters stand upright, as in LaTeX.
    (r"<mi>&#x(0039[0-9A-F]|003A[0-9]);", r'<mi mathvariant="normal">&#x\1;'),
    # Arrows are operators, with space around them.
    (r"<mi>&#x(027F9|027FA);</mi>", r"<mo>&#x\1;</mo>"),
    # A slash, the bars of an absolute value and a full stop have no space around them.
    (r"<mo[^>]*>&#x(0002F|0007C|0002E);</mo>", r'<mo lspace="0" rspace="0" stretchy="false">&#x\1;</mo>'),
    # A function's name is set apart from a factor, and from an argument without brackets.
    (r"</mfrac><mi>ln</mi>", '</mfrac><mspace width="0.17em"/><mi>ln</mi>'),
    (r"(<mi>(?:ln|cosh)</mi>)(?!<mo)", r'\1<mspace width="0.17em"/>'),
    # What begins with a sign of approximation, in a table, begins where the cell does.
    (r"^<math><mrow><mo>&#x02248;</mo>", '<math><mrow><mo lspace="0">&#x02248;</mo>'),
)


def _block(block: Block) -> str:
    match block:
        case Paragraph(line):
            return f"<p>{_line(line)}</p>"
        case Display(lines):
            return '<div class="display">\n' + "\n".join(_formula(latex) for latex in lines) + "\n</div>"
        case Items(items):
            return "<ul>\n" + "\n".join(f"<li>{_line(item)}</li>" for item in items) + "\n</ul>"
        case Table():
            return _table(block)


def _formula(latex: str) -> str:
    formulas = (
        "".join(f"<span>{mathml(piece, displayed=True)}</span>" for piece in formula) for formula in pieces(latex)
    )
    return '<div class="formula">' + "".join(f"<div>{formula}</div>" for formula in formulas) + "</div>"


def _table(table: Table) -> str:
    heads = "".join(f'<th scope="col"{_kind(column)}>{_line(column.head)}</th>' for column in table.columns)
    rows = "\n".join(_row(row, table.columns) for row in table.rows)
    wide = ' class="wide"' if any(column.share for column in table.columns) else ""
    # Who moves by the keyboard can scroll it too.
    return (
        f'<div class="scroll" tabindex="0">\n<table{wide}>\n<thead><tr>{heads}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody>\n</table>\n</div>"
    )


def _kind(column: Column) -> str:
    return "" if column.share else ' class="narrow"'


def _row(row: Row, columns: tuple[Column, ...]) -> str:
    cells = "".join(f"<td{_kind(column)}>{_cell(cell)}</td>" for column, cell in zip(columns, row.cells, strict=True))
    return f'<tr class="begins">{cells}</tr>' if row.begins else f"<tr>{cells}</tr>"


def _cell(lines: tuple[Line, ...]) -> str:
    if len(lines) == 1:
        return _line(lines[0])
    return "".join(f"<div>{_line(line)}</div>" for line in lines)
