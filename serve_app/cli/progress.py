"""What a person sees while something takes long: on stderr, only in a terminal, gone when it is done."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from serve_app.cli.output import console

T = TypeVar("T")
CHUNK = 1 << 16
_TEXT = TextColumn("{task.description}", markup=False)


class Bar(Protocol):
    """Something that takes how far it is."""

    def __call__(self, done: float, total: float | None = None, what: str | None = None) -> None:
        """So much is done, of so much if that is known; and what is being done, where that has changed."""


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """A spinner, for what does not say how far it is."""
    with _progress(SpinnerColumn(), _TEXT, TimeElapsedColumn()) as progress:
        progress.add_task(what, total=None)
        yield


@contextmanager
def counting(what: str, total: float | None = None) -> Iterator[Bar]:
    """A bar with the numbers beside it."""
    with _progress(_TEXT, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()) as progress:
        task = progress.add_task(what, total=total)

        def told(done: float, total: float | None = None, what: str | None = None) -> None:
            progress.update(task, completed=done, total=total, description=what)

        yield told


def counted(items: Iterable[T], bar: Bar) -> Iterator[T]:
    """The items, while the bar counts them."""
    for number, item in enumerate(items, 1):
        if not number % 100:
            bar(number)
        yield item


class Sent:
    """Bytes to be sent in pieces, while a bar says how many have gone. They can be sent again."""

    def __init__(self, content: bytes, bar: Bar) -> None:
        self._content, self._bar = content, bar

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self._content), CHUNK):
            self._bar(start)
            yield self._content[start : start + CHUNK]
        self._bar(len(self._content))


def _progress(*columns: TextColumn | BarColumn | SpinnerColumn | MofNCompleteColumn | TimeElapsedColumn) -> Progress:
    err = console(stderr=True)
    shown = err.is_terminal and os.environ.get("TERM") != "dumb"
    return Progress(*columns, console=err, transient=True, disable=not shown)
