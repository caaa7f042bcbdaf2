"""How ``--help`` looks: plain text, the same in a terminal and in a file, commands and options under headings."""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from typer.core import TyperCommand, TyperGroup

ANY_LENGTH = 1_000
_INDENT = "  "
_KIND = re.compile(r"<(?:list\[)?([^\]> ]+)(?: range)?\]?>")
_WORDS = {"str": "TEXT", "int": "N", "float": "NUMBER", "path": "FILE"}


class CommandPage(TyperCommand):
    """A command whose options stand under headings, and whose epilog is examples."""

    def format_options(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - typer keeps these types to itself
        """Arguments, options, and options under headings of their own."""
        parts: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                argument = parameter.param_type_name == "argument"
                plain = "Arguments" if argument else "Options"
                record = _named(record[0], argument), record[1]
                parts.setdefault(getattr(parameter, "rich_help_panel", None) or plain, []).append(record)
        for heading, records in parts.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:  # noqa: ANN401
        """What is to be typed, without the braces around arguments."""
        return [piece.replace("{", "").replace("}", "") for piece in super().collect_usage_pieces(ctx)]

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Examples, a line each, never broken: they are there to be copied."""
        if self.epilog:
            _verbatim(formatter, "Examples", self.epilog)


class GroupPage(TyperGroup):
    """Commands under headings, and an epilog that is kept as it is."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Each heading's commands, a line each."""
        commands = [self.commands[name] for name in self.list_commands(ctx)]
        longest = max(len(command.name or "") for command in commands)
        for heading, members in groupby(commands, lambda command: getattr(command, "rich_help_panel", None)):
            with formatter.section(heading or "Commands"):
                # As long as all the others, so that what they do stands in one column.
                rows = [((one.name or "").ljust(longest), one.get_short_help_str(ANY_LENGTH)) for one in members]
                formatter.write_dl(rows)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """The exit statuses."""
        if self.epilog:
            _verbatim(formatter, "Exit status", self.epilog)


def _named(name: str, argument: bool) -> str:
    """An option's or argument's name with what it takes, in place of the names that Python has for it."""
    if argument:
        # Its name says already what it is, but for a choice.
        return name if "|" in name else name.partition(" <")[0]
    return _KIND.sub(lambda kind: _WORDS.get(kind[1], f"<{kind[1]}>"), name)


def _verbatim(formatter: Any, heading: str, text: str) -> None:  # noqa: ANN401
    formatter.write_paragraph()
    formatter.write_heading(heading)
    formatter.write("".join(_indented(text.splitlines())))


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"{_INDENT}{line}\n" for line in lines)
