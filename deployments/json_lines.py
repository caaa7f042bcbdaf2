"""Log lines as JSON objects, one a line, without what a caller may have written.

An exception is told by its kind and by the places it passed through, never by its message: that may quote a request.
"""

import sys
from collections.abc import Iterator, MutableMapping
from traceback import extract_tb
from types import TracebackType
from typing import Any

import structlog

EventDict = MutableMapping[str, Any]


def without_words(_: object, __: str, event: EventDict) -> EventDict:
    """A processor of structlog: puts ``exception`` and ``at`` in the place of ``exc_info``."""
    given = event.pop("exc_info", None)
    error = given if isinstance(given, BaseException) else sys.exc_info()[1] if given is True else _second(given)
    if error is not None:
        event["exception"] = [type(one).__name__ for one in _chain(error)]
        event["at"] = _places(error.__traceback__)
    return event


PROCESSORS: tuple[structlog.types.Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    without_words,
)
"""What every line goes through before it is written."""


def log_to_stderr(**about: str | int) -> None:
    """Makes a process of its own, such as a training's, write its log to standard error, its last words too.

    Args:
        about: Fields of every line.
    """
    structlog.configure(
        processors=[*PROCESSORS, structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(**about)
    sys.excepthook = _last_words


def _last_words(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    structlog.get_logger().error("process_failed", exc_info=(kind, error, trace))


def _second(given: object) -> BaseException | None:
    return given[1] if isinstance(given, tuple) and isinstance(given[1], BaseException) else None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _places(trace: TracebackType | None) -> list[str]:
    return [f"{_short(frame.filename)}:{frame.lineno} {frame.name}" for frame in extract_tb(trace)[-20:]]


def _short(path: str) -> str:
    return "/".join(path.replace("\\", "/").split("/")[-2:])
