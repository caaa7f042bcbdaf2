"""What the service writes to its log, when it runs in the tests' own process."""

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from serve_app.logs import LOGGER, configure_logging, json_formatter


class Lines:
    """What was written to the log."""

    def __init__(self, written: io.StringIO) -> None:
        self._written = written

    @property
    def text(self) -> str:
        """As it was written."""
        return self._written.getvalue()

    def of(self, event: str) -> list[dict[str, Any]]:
        """The lines of one event. Every line is an object by itself."""
        return [line for line in map(json.loads, self.text.splitlines()) if line["event"] == event]


@contextmanager
def written() -> Iterator[Lines]:
    """The log for as long as the block lasts, at the level that it has on Ray."""
    configure_logging()
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(json_formatter())
    logger = logging.getLogger(LOGGER)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield Lines(text)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
