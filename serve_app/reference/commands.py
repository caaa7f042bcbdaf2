"""The commands, from the command line's own definitions."""

from collections.abc import Iterator
from typing import Any

import typer

from serve_app.cli import exit_codes
from serve_app.cli.main import app
from serve_app.reference.markdown import code, table

_HEADS = ("option", "value", "what it is")
_SHARED = "budget"
"""A command that has all options that most commands have."""
_SHARED_OPTIONS = ("--tenant", "--url", "--token", "--home", "--json")

Row = tuple[str, str, str]


def commands_page() -> str:
    """Exit statuses, the options that most commands have, then every command with what it takes, and examples."""
    group: Any = typer.main.get_command(app)
    shared = [row for row in _rows(group.commands[_SHARED]) if row[0].strip("`") in _SHARED_OPTIONS]
    return "\n".join(
        [
            "Results go to stdout, everything else to stderr.\n",
            f"## Exit status\n\n{exit_codes.as_markdown()}\n",
            f"## Options of most commands\n\n{table(_HEADS, shared)}",
            *_commands("privacy-engine", group, shared),
        ]
    )


def _commands(path: str, command: Any, shared: list[Row]) -> Iterator[str]:  # noqa: ANN401 - typer keeps the type to itself
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from _commands(f"{path} {name}", inner, shared)
        return
    rows = _rows(command)
    own = [row for row in rows if row not in shared]
    also = ", ".join(row[0] for row in rows if row in shared)
    parts = [f"## {path}", " ".join((command.help or "").split())]
    parts += [table(_HEADS, own)] if own else []
    parts += [f"And {also}."] if also else []
    examples = [
        line.strip() for line in (command.epilog or "").splitlines() if line.strip().startswith("privacy-engine")
    ]
    parts += ["\n".join(("```console", *examples, "```"))] if examples else []
    yield "\n\n".join(part.strip() for part in parts) + "\n"


def _rows(command: Any) -> list[Row]:  # noqa: ANN401
    return [_row(parameter) for parameter in command.params if not parameter.hidden]


def _row(parameter: Any) -> Row:  # noqa: ANN401
    if parameter.param_type_name != "option":
        return code(parameter.metavar or parameter.name.upper()), "", _meaning(parameter)
    named = [*parameter.opts, *parameter.secondary_opts]
    return ", ".join(map(code, named)), code(_value(parameter)), _meaning(parameter)


def _value(parameter: Any) -> str:  # noqa: ANN401
    if getattr(parameter, "is_flag", False):
        return ""
    # A range is told in words, and a list of choices is named one at a time.
    kind = str(parameter.display_type(ctx=None)).strip("<>").removesuffix(" range")
    return (parameter.metavar or kind.removeprefix("list[").removesuffix("]")).strip("<>")


def _meaning(parameter: Any) -> str:  # noqa: ANN401
    notes = []
    if parameter.required:
        notes.append("Needed.")
    elif parameter.default is not None and not isinstance(parameter.default, bool) and parameter.show_default:
        notes.append(f"Default: `{parameter.default}`.")
    if parameter.min is not None:
        notes.append(f"At least {parameter.min}." if parameter.max is None else f"{parameter.min} to {parameter.max}.")
    if parameter.envvar:
        notes.append(f"Or `{parameter.envvar}`.")
    return " ".join([parameter.help or "", *notes])
