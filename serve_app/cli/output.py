"""How commands speak: results on stdout, everything else on stderr, and an exit status that scripts can rely on."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import wrap
from typing import Any, NoReturn

import typer
from rich.console import Console

from serve_app.cli.exit_codes import INTERRUPTED, UNREACHABLE, USAGE, exit_code_of
from serve_app.cli.keyed import unknown_outcome

NONE = "-"
_GAP = "  "
_LEAST_ROOM = 20
"""Of the last column: in less than that it is not broken."""


class CommandError(Exception):
    """Why a command cannot go on, in words that say what to do, and the exit status for it."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def console(*, stderr: bool = False) -> Console:
    """A console that prints foreign text as it is: no markup in it is obeyed, no number painted.

    Lines are broken between words in a terminal, and nowhere else.
    """
    made = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    made.soft_wrap = not made.is_terminal
    return made


def complain(message: str) -> None:
    """One message on stderr."""
    console(stderr=True).print(message)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows of text under their heads, a line each, so that an id can be copied and a line be searched for.

    Only the last column is broken, in a terminal that is too narrow for it.
    """
    return _columns([tuple(heads), *(tuple(row) for row in rows)])


def show_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on stdout. Its lines are not broken: what does not fit is the terminal's to continue."""
    console().print(table(heads, rows), soft_wrap=True)


def show_fields(fields: Mapping[str, str]) -> None:
    """Names on stdout, and beside them what they are."""
    console().print(_columns(list(fields.items())), soft_wrap=True)


def _columns(lines: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    margin = sum(widths[:-1]) + len(_GAP) * (len(widths) - 1)
    room = console().width - margin
    last = room if console().is_terminal and room >= _LEAST_ROOM else max(widths[-1], 1)
    told: list[str] = []
    for line in lines:
        begin = "".join(cell.ljust(width) + _GAP for cell, width in zip(line, widths[:-1], strict=False))
        first, *more = wrap(line[-1], last, break_long_words=False, break_on_hyphens=False) or [""]
        told += [(begin + first).rstrip(), *(" " * margin + part for part in more)]
    return "\n".join(told)


def or_none(value: Any) -> str:  # noqa: ANN401 - JSON
    """A value for a table, and a dash where there is none."""
    return NONE if value is None else str(value)


def several(number: int, what: str) -> str:
    """So many of a thing, in English."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def minute(moment: str) -> str:
    """A moment, to the minute."""
    return moment[:16].replace("T", " ")


def deliver(content: bytes, output: Path | None) -> None:
    """A document on stdout, or in the file that was named.

    Raises:
        CommandError: If the file cannot be written.
    """
    if output is None:
        sys.stdout.buffer.write(content)
        return
    try:
        output.write_bytes(content)
    except OSError as error:
        raise CommandError(f"{output} cannot be written: {error.strerror}", USAGE) from None
    complain(f"written to {output}")


def tell(text: str, as_json: bool, show: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """The service's answer, for programs as it came, for people as `show` shows it.

    Returns:
        The answer, read by `exact_json`.

    Raises:
        CommandError: If it is no JSON object.
    """
    answer = answer_in(text)
    if as_json:
        typer.echo(text)
    else:
        show(answer)
    return answer


def no_terminal_takes(format: str, output: Path | None) -> None:  # noqa: A002 - the options' own word
    """Refuses to write what is no text to a terminal.

    Raises:
        CommandError: If it would be.
    """
    if format in ("pdf", "png") and output is None and sys.stdout.isatty():
        raise CommandError(f"a {format.upper()} is nothing for a terminal: name a file with --output", USAGE)


def not_installed(error: ModuleNotFoundError, extra: str = "service") -> CommandError:
    """What to install where a command needs more than the base installation."""
    return CommandError(f"this needs {error.name}: install privacy-engine[{extra}]", USAGE)


@contextmanager
def errors_reported() -> Iterator[None]:
    """Turns what can go wrong with a call into a message on stderr and an exit status."""
    from serve_app.client.errors import RefusedError, ServiceUnreachableError

    try:
        yield
    except CommandError as error:
        complain(f"error: {error}")
        raise typer.Exit(error.status) from None
    except ServiceUnreachableError as error:
        complain(f"error: the service does not answer: {error}")
        complain(
            "Is it running? `privacy-engine status` says, `privacy-engine up` starts it."
            if error.key is None
            else unknown_outcome(error.key)
        )
        raise typer.Exit(UNREACHABLE) from None
    except RefusedError as error:
        for line in refusal_lines(error.document):
            complain(line)
        status = exit_code_of(error.status)
        if status == UNREACHABLE and error.key is not None:
            complain(unknown_outcome(error.key))
        raise typer.Exit(status) from None
    except KeyboardInterrupt:
        complain("stopped")
        raise typer.Exit(INTERRUPTED) from None


def refusal_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """A problem document for people: its code and detail, and what would still fit where a budget is exhausted."""
    yield f"refused: {document.get('code', 'unknown')}: {document.get('detail', 'no reason was given')}"
    largest = document.get("largest_charge")
    if isinstance(largest, Mapping):
        yield f"largest charge that would fit: epsilon {largest.get('epsilon')} with delta {largest.get('delta')}"
    advice = _ADVICE.get(str(document.get("code")))
    if advice is not None:
        yield advice


def exact_json(text: str) -> Any:  # noqa: ANN401 - JSON
    """JSON with every number that is not whole as the text that it was written as, so that no digit is lost.

    Raises:
        ValueError: If it is not JSON.
    """
    return json.loads(text, parse_float=str, parse_constant=_refuse_constant)


def answer_in(text: str) -> dict[str, Any]:
    """The JSON object that the service answered, read by `exact_json`.

    Raises:
        CommandError: If it is none, so that something else answers there.
    """
    try:
        answer = exact_json(text)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise CommandError("what answers at this address is not the privacy engine: check --url", UNREACHABLE)
    return answer


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number that JSON knows")


_ADVICE = {
    "unauthenticated": "Give a valid token with --token or AUMOS_PRIVACY_TOKEN; `privacy-engine token` makes one where "
    "the service runs.",
    "forbidden": "`privacy-engine whoami` says what the token allows, `privacy-engine roles` which role allows more.",
    "unknown_tenant": "Check --tenant; an admin opens a budget with `privacy-engine budget --set-epsilon --set-delta`.",
}
"""What to do next, by the code of a refusal, where its own words do not say."""
