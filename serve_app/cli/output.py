"""How commands speak: results on stdout, everything else on stderr, and an exit status that scripts can rely on."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

DONE, REFUSED, USAGE, UNREACHABLE = 0, 1, 2, 3
"""Exit statuses: done; refused, or not valid; asked in a wrong way; the service cannot be reached."""


class CommandError(Exception):
    """Why a command cannot go on, in words that say what to do, and the exit status for it."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def console(*, stderr: bool = False) -> Console:
    """A console that prints foreign text as it is: no markup in it is obeyed, no number painted, no line broken."""
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=True)


def complain(message: str) -> None:
    """One message on stderr."""
    console(stderr=True).print(message)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Rows of text under their heads."""
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        # An id is there to be copied: it is not broken, whatever becomes of the rest.
        drawn.add_column(head, overflow="fold", no_wrap=head == "id")
    for row in rows:
        drawn.add_row(*row)
    return drawn


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


@contextmanager
def errors_reported(hint: str = "") -> Iterator[None]:
    """Turns what can go wrong with a call into a message on stderr and an exit status.

    Args:
        hint: What to do if the service does not answer, where there is more to say than that it does not.
    """
    from serve_app.client.calls import RefusedError, ServiceUnreachableError

    try:
        yield
    except CommandError as error:
        complain(f"error: {error}")
        raise typer.Exit(error.status) from None
    except ServiceUnreachableError as error:
        complain(f"error: the service does not answer: {error}")
        complain(hint or "Is it running? `privacy-engine status` says, `privacy-engine up` starts it.")
        raise typer.Exit(UNREACHABLE) from None
    except RefusedError as error:
        for line in refusal_lines(error.document):
            complain(line)
        if error.status == 503 and hint:
            complain(hint)
        raise typer.Exit(UNREACHABLE if error.status == 503 else REFUSED) from None


def refusal_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """A problem document for people: its code and detail, and what would still fit where a budget is exhausted."""
    yield f"refused: {document.get('code', 'unknown')}: {document.get('detail', 'no reason was given')}"
    largest = document.get("largest_charge")
    if isinstance(largest, Mapping):
        yield f"largest charge that would fit: epsilon {largest.get('epsilon')} with delta {largest.get('delta')}"


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
