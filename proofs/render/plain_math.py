"""Formulas where there is no LaTeX: as text with marks for a line of words, and as outlines for a line of their own."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from html import escape

from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.textpath import TextToPath

_SIGNS = {
    r"\alpha": "<i>α</i>",
    r"\delta": "<i>δ</i>",
    r"\varepsilon": "<i>ε</i>",
    r"\mu": "<i>μ</i>",
    r"\rho": "<i>ρ</i>",
    r"\sigma": "<i>σ</i>",
    r"\tau": "<i>τ</i>",
    r"\Delta": "Δ",
    r"\Phi": "Φ",
    r"\sum": "∑",
    r"\ln": "ln ",
    r"\le": " ≤ ",
    r"\approx": " ≈ ",
    r"\cdot": " · ",
    r"\ ": " ",
    r"\,": " ",
    r"\bigl": "",
    r"\bigr": "",
    "=": " = ",
    ">": " &gt; ",
    "+": " + ",
    "-": "−",
}
"""What the signs of formulas in a line of words become. A formula with any other is a mistake of ours."""
_TOKEN = re.compile(r"\\[a-zA-Z]+|\\.|\s+|.", re.DOTALL)
_FOR_MATHTEXT = {
    r"\frac": r"\dfrac",
    r"\le": r"\leq",
    r"\ge": r"\geq",
    r"\iff": r"\Leftrightarrow",
    r"\Longrightarrow": r"\Rightarrow",
    **{rf"\{size}{side}": rf"\{name}" for size in ("big", "Big") for side, name in (("l", "left"), ("r", "right"))},
}
"""What Matplotlib calls the commands that it has under another name."""


@dataclass(frozen=True, slots=True)
class Outline:
    """A formula as outlines, with its origin at the left end of its base line. Lengths in points.

    Attributes:
        curves: Each a Matplotlib path code with the points that belong to it, flat.
        width: Of the whole.
        height: Above the base line.
        depth: Below it.
    """

    curves: tuple[tuple[int, tuple[float, ...]], ...]
    width: float
    height: float
    depth: float


@lru_cache(maxsize=512)
def outline(latex: str, size: float) -> Outline:
    """A formula as outlines, as Matplotlib sets it.

    Args:
        latex: The formula.
        size: Of its letters, in points.
    """
    text = "".join(_FOR_MATHTEXT.get(token, token) for token in _TOKEN.findall(latex))
    font, writer = FontProperties(size=size, math_fontfamily="stix"), TextToPath()
    width, height, depth = writer.get_text_width_height_descent(f"${text}$", font, ismath=True)
    vertices, codes = writer.get_text_path(font, f"${text}$", ismath=True)
    scale = size / writer.FONT_SCALE
    path = Path(vertices, codes)
    curves = tuple((int(code), tuple(float(at) * scale for at in points)) for points, code in path.iter_segments())
    return Outline(curves, width, height - depth, depth)


def inline_markup(latex: str) -> str:
    """A short formula as the markup of ReportLab's paragraphs.

    Raises:
        KeyError: If it has a sign that is not known here.
    """
    shown = "".join(_marked(iter(_TOKEN.findall(latex))))
    return re.sub(r" +", " ", shown).strip()


def _marked(tokens: Iterator[str]) -> Iterator[str]:
    for token in tokens:
        if token == "}":
            return
        if token == "{":
            yield from _marked(tokens)
        elif token in "^_":
            tag, rise = ("super", 40) if token == "^" else ("sub", 20)
            yield f'<{tag} rise="{rise}%" size="70%">{"".join(_argument(tokens))}</{tag}>'
        elif token == r"\text":
            yield from _words(tokens)
        elif not token.isspace():
            yield _sign(token)


def _argument(tokens: Iterator[str]) -> Iterator[str]:
    token = next(tokens)
    yield from _marked(tokens) if token == "{" else (_sign(token),)


def _words(tokens: Iterator[str]) -> Iterator[str]:
    """Upright words, up to the brace that closes them."""
    next(tokens)
    for token in tokens:
        if token == "}":
            return
        yield escape(token)


def _sign(token: str) -> str:
    if token in _SIGNS:
        return _SIGNS[token]
    if token.isascii() and token.isalpha():
        return f"<i>{token}</i>"
    if token.isascii() and (token.isdigit() or token in "()[]/|.,:"):
        return token
    raise KeyError(token)
