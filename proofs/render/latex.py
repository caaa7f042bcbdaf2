"""A proof as LaTeX source.

The document needs nothing beyond a standard LaTeX installation (amsmath, amssymb, array, booktabs, longtable). Whatever
comes from outside, job ids above all, is escaped character by character: nothing in a proof can become a command.
"""

import re
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from proofs.render.content import document_of
from proofs.render.document import (
    Block,
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
    shortened,
)

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
}
_OWN = {**_ESCAPES, "é": r"\'e", "'": "'"}
"""Our own words may have accents, and an apostrophe that looks like one."""

# The commands of pdfTeX keep dates and random identifiers out of the PDF; other engines do not have them. The four
# marks are those of the typewriter font and the bullet that of mathematics, so that no font is needed beyond the ones
# that every installation has: what it lacks it would draw itself, slowly, in dots.
_PREAMBLE = r"""\documentclass[11pt,a4paper]{article}
\ifdefined\pdfinfoomitdate\pdfinfoomitdate=1\fi
\ifdefined\pdfsuppressptexinfo\pdfsuppressptexinfo=-1\fi
\ifdefined\pdftrailerid\pdftrailerid{}\fi
\DeclareTextCommandDefault{\textquotedbl}{{\ttfamily\char34 }}
\DeclareTextCommandDefault{\textquotesingle}{{\ttfamily\char13 }}
\DeclareTextCommandDefault{\textasciigrave}{{\ttfamily\char18 }}
\DeclareTextCommandDefault{\textdollar}{{\ttfamily\char36 }}
\renewcommand{\labelitemi}{$\bullet$}
\usepackage[margin=20mm]{geometry}
\usepackage{amsmath,amssymb,array,booktabs,longtable}
\setlength{\parindent}{0pt}
\setlength{\parskip}{0.6em}
\setlength{\LTleft}{0pt}
\emergencystretch=3em
\allowdisplaybreaks
\begin{document}
"""


def render_latex(bundle: Mapping[str, Any]) -> str:
    """A proof as LaTeX source, complete and ready to compile. Arguments and errors as `content.document_of`."""
    return latex_of(document_of(bundle))


def latex_of(document: Document) -> str:
    """The document as LaTeX source."""
    title = (
        f"\\begin{{center}}\n{{\\Large\\bfseries {_own(document.title)}}}\\\\[0.5em]\n"
        f"{_line(document.subtitle)}\n\\end{{center}}"
    )
    parts = [_PREAMBLE, title, *(_section(section) for section in document.sections)]
    return "\n\n".join(parts) + "\n\n\\end{document}\n"


def escape(text: str, longest: int = 48) -> str:
    """Foreign text as LaTeX that prints it and does nothing else.

    Printable ASCII is printed as it is; any other character by its number, such as <U+00E9>. Text of more than
    `longest` characters loses its middle.
    """
    head, tail = shortened(text, longest)
    return f"{_escaped(head)}\\ldots{{}}{_escaped(tail)}" if tail else _escaped(head)


def _escaped(text: str) -> str:
    # Two hyphens would become a dash, and two commas a quotation mark.
    return re.sub(r"([-,])(?=\1)", r"\1{}", "".join(_escaped_character(character) for character in text))


def _escaped_character(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isascii() and character.isprintable():
        return character
    # A line may end after it: there may be many.
    return "".join(_ESCAPES.get(part, part) for part in numbered(character)) + r"\allowbreak{}"


def _own(text: str) -> str:
    return "".join(_OWN.get(character, character) for character in text)


def _section(section: Section) -> str:
    return "\n\n".join([f"\\section*{{{_line(section.title)}}}", *(_block(block) for block in section.blocks)])


def _line(line: Line) -> str:
    return "".join(_inline(part) for part in line)


def _inline(part: Text | Math | Foreign) -> str:
    match part:
        case Text(text, strong):
            return f"\\textbf{{{_own(text)}}}" if strong else _own(text)
        case Math(latex):
            return f"${latex}$"
        case Foreign(text, longest, code):
            # Among words an apostrophe looks like one; two of them stay two.
            shown = escape(text, longest)
            return f"\\texttt{{{shown}}}" if code else shown.replace(r"\textquotesingle{}", "'{}")


def _block(block: Block) -> str:
    match block:
        case Paragraph(line):
            return _line(line)
        case Display(lines):
            return "\\begin{gather*}\n" + " \\\\\n".join(lines) + "\n\\end{gather*}"
        case Items(items):
            return "\\begin{itemize}\n" + "\n".join(f"\\item {_line(item)}" for item in items) + "\n\\end{itemize}"
        case Table():
            return _table(block)


def _table(table: Table) -> str:
    shares = [column.share for column in table.columns]
    # How wide the other columns are, only LaTeX knows: together less than this, if there are any.
    left = 0.94 if all(shares) else 0.4
    columns = "".join(_column(left * share / sum(shares)) if share else "l" for share in shares)
    heads = " & ".join(_line(column.head) for column in table.columns)
    rows = "\n".join(_row(row, follower) for row, follower in zip_longest(table.rows, table.rows[1:]))
    return (
        f"{{\\footnotesize\\setlength{{\\tabcolsep}}{{3.5pt}}\n\\begin{{longtable}}{{{columns}}}\n\\toprule\n"
        f"{heads} \\\\\n\\midrule\n\\endhead\n{rows}\n\\bottomrule\n\\end{{longtable}}}}"
    )


def _column(width: float) -> str:
    return rf">{{\raggedright\arraybackslash}}p{{{width:.2f}\linewidth}}"


def _row(row: Row, follower: Row | None) -> str:
    height = max(len(cell) for cell in row.cells)
    lines = [" & ".join(_line(cell[at]) if at < len(cell) else "" for cell in row.cells) for at in range(height)]
    end = " \\\\"
    if follower is not None and follower.begins:
        end += "\n\\addlinespace[1pt]\\midrule[0.2pt]"
    elif follower is not None and row.begins:
        # The star keeps the first row of a group with the next, and a row's lines together.
        end += "*"
    return " \\\\*\n".join(lines) + end
