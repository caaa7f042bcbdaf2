"""Reads the project's documents: fenced blocks, the commands in them, links and anchors."""

import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
_FENCED = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!`)!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (?P<text>.+)$", re.MULTILINE)
_HEREDOC = re.compile(r"<<-? *'?(?P<word>\w+)'?")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        place: Document and line, for whoever has to mend it.
        language: What stands behind the fence's opening; empty where nothing does.
        text: Its lines, without the indent of the fence.
    """

    place: str
    language: str
    text: str


def documents() -> list[Path]:
    """Everything in Markdown that people are given to read."""
    patterns = "*.md", "docs/**/*.md", "proofs/**/*.md", "ops/**/*.md"
    return sorted(one for pattern in patterns for one in ROOT.glob(pattern))


def guides() -> list[Path]:
    """The documents whose commands somebody follows: not the decisions, and not what is generated."""
    kept = ROOT / "docs" / "decisions", ROOT / "docs" / "reference"
    return [ROOT / "README.md", *(one for one in sorted(ROOT.glob("docs/**/*.md")) if not set(kept) & set(one.parents))]


def name_of(document: Path) -> str:
    """The document's path from the root of the tree."""
    return str(document.relative_to(ROOT))


def blocks(document: Path) -> list[Block]:
    """The fenced blocks of a document, in order."""
    text = document.read_text()
    return [
        Block(
            f"{name_of(document)}:{text.count(chr(10), 0, found.start()) + 1}",
            found["language"],
            textwrap.dedent(found["text"]),
        )
        for found in _FENCED.finditer(text)
    ]


def commands(block: Block) -> Iterator[str]:
    """The commands of a block for a shell; one may go over several lines."""
    gathered = ""
    for line in block.text.splitlines():
        gathered = f"{gathered}\n{line}" if gathered else line
        if _is_whole(gathered):
            if gathered.strip() and not gathered.lstrip().startswith("#"):
                yield gathered
            gathered = ""
    if gathered:
        raise ValueError(f"{block.place}: a command has no end: {gathered}")


def _is_whole(command: str) -> bool:
    if command.endswith("\\"):
        return False
    opened = _HEREDOC.search(command)
    if opened:
        return f"\n{opened['word']}" in command[opened.end() :]
    try:
        shlex.split(command, comments=True)
    except ValueError:  # a quotation is open
        return False
    return True


def inline_commands(document: Path) -> Iterator[str]:
    """What stands between backticks in a sentence and is a command of ours."""
    prose = _FENCED.sub("", document.read_text())
    for span in re.findall(r"`([^`\n]+)`", prose):
        if span.startswith(("privacy-engine ", "python -m ", "make ")):
            yield span


def links(document: Path) -> Iterator[str]:
    """The targets of links and pictures that lie in the tree."""
    for found in _LINK.finditer(_FENCED.sub("", document.read_text())):
        if not found["target"].startswith(("http://", "https://", "mailto:")):
            yield found["target"]


def anchors(document: Path) -> set[str]:
    """What a link may name behind ``#``: the headings, as GitHub spells them."""
    headings = (found["text"] for found in _HEADING.finditer(_FENCED.sub("", document.read_text())))
    unlinked = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text) for text in headings)
    return {re.sub(r"[^\w\- ]", "", text).lower().replace(" ", "-") for text in unlinked}
