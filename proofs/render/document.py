"""What a rendered proof is made of: text, mathematics, lists and tables, in no particular form.

`content` builds a `Document` of a proof; `latex`, `html` and `plain_pdf` write one. Mathematics is LaTeX everywhere, so
that all forms show the very same formulas. A writer decides how foreign text is made harmless: that is why it has a
type of its own.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """Our own words."""

    text: str
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Math:
    """A formula in a line of text, as LaTeX. Never made of foreign text, but for numbers that the parser checked."""

    latex: str


@dataclass(frozen=True, slots=True)
class Foreign:
    """Words that came from outside, or that a machine shall read.

    Attributes:
        text: Any text at all.
        longest: Characters that are shown; of a longer one the middle is left out.
        code: Whether it is set in a typewriter's letters.
    """

    text: str
    longest: int = 48
    code: bool = True


Line = tuple[Text | Math | Foreign, ...]


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph."""

    line: Line


@dataclass(frozen=True, slots=True)
class Display:
    """Formulas in lines of their own, as LaTeX."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    items: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """A table's column.

    Attributes:
        head: Its head.
        share: Of the width that other columns leave, where its cells are broken into lines; 0 where they never are.
    """

    head: Line
    share: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """A table's row.

    Attributes:
        cells: One for each column; each holds the lines that stand in it, one below the other.
        begins: Whether it begins a group of rows, which a thin line sets apart.
    """

    cells: tuple[tuple[Line, ...], ...]
    begins: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


Block = Paragraph | Display | Items | Table


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the document under a title."""

    title: Line
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A whole document."""

    title: str
    subtitle: Line
    sections: tuple[Section, ...]


_MARKED = re.compile(r"\$(?P<math>[^$]+)\$|\*\*(?P<strong>[^*]+)\*\*|`(?P<code>[^`]+)`", re.DOTALL)
_DISPLAYED = re.compile(r"\\\[(.*?)\\\]", re.DOTALL)


def line(text: str) -> Line:
    """Our own words with ``$mathematics$``, ``**strong words**`` and `` `code` `` in them. Never foreign text."""
    return tuple(_inlines(text))


def blocks(text: str) -> tuple[Block, ...]:
    r"""Paragraphs of our own words, as in `line`, with formulas between ``\[`` and ``\]`` in lines of their own."""
    found: list[Block] = []
    for number, part in enumerate(_DISPLAYED.split(text)):
        words = " ".join(part.split())
        if words:
            found.append(Display((words,)) if number % 2 else Paragraph(line(words)))
    return tuple(found)


def _inlines(text: str) -> Iterator[Text | Math | Foreign]:
    at = 0
    for match in _MARKED.finditer(text):
        if match.start() > at:
            yield Text(text[at : match.start()])
        if match["math"] is not None:
            yield Math(match["math"])
        elif match["strong"] is not None:
            yield Text(match["strong"], strong=True)
        else:
            yield Foreign(match["code"])
        at = match.end()
    if at < len(text):
        yield Text(text[at:])


def shortened(text: str, longest: int) -> tuple[str, str]:
    """What is shown of a text: its head and its tail. The tail is empty where nothing is left out between them."""
    if len(text) <= longest:
        return text, ""
    kept = longest - 3
    return text[: kept - kept // 3], text[-(kept // 3) :]


def numbered(character: str) -> str:
    """A character that is not to be printed, by its number, such as <U+202E>."""
    return f"<U+{ord(character):04X}>"


_RELATIONS = ("=", r"\le", r"\ge", r"\approx", r"\Longrightarrow", r"\iff")
_TOKEN = re.compile(r"\\[a-zA-Z]+|\\.|.", re.DOTALL)
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")


def pieces(latex: str) -> list[list[str]]:
    """The pieces of a formula between which it may be broken where it is too wide for its line.

    Returns:
        The formulas that stand side by side, a wide space apart; each as its pieces, which begin with a relation.
        Brackets are kept whole.
    """
    found, depth = [[""]], 0
    for token in _TOKEN.findall(latex):
        depth += (token in _OPENING) - (token in _CLOSING)
        if depth == 0 and token in (r"\qquad", r"\quad"):
            found.append([""])
            continue
        if depth == 0 and token in _RELATIONS and found[-1][-1].strip():
            found[-1].append("")
        found[-1][-1] += token
    return [[piece.strip() for piece in formula if piece.strip()] for formula in found if "".join(formula).strip()]
