"""Structured logs: one JSON object a line, through Ray Serve's own logger, so that they land in its files, by replica.

Ray Serve's own formatter would write our fields into a text inside its JSON, overwrite ``request_id`` with whatever the
caller sent, and drop ``job_id``, which is a word of Ray's. So its handlers are given a formatter of ours, for its lines
as for our own.
"""

import logging
from functools import cache
from logging.handlers import MemoryHandler

import structlog

from deployments.json_lines import PROCESSORS, EventDict

LOGGER = "ray.serve"
_OF_RAY = ("application", "deployment", "replica")
"""What Ray Serve knows of the process that writes."""


@cache
def configure_logging() -> None:
    """Sends structlog through the standard library's logger ``ray.serve``, as JSON. Idempotent."""
    structlog.configure(
        processors=[*PROCESSORS, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=lambda *_: logging.getLogger(LOGGER),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
    logger = logging.getLogger(LOGGER)
    if not logger.handlers:
        # Not on Ray: whoever runs the app reads standard error.
        logger.addHandler(logging.StreamHandler())
        logger.setLevel(logging.WARNING)
    for handler in logger.handlers:
        target = handler.target if isinstance(handler, MemoryHandler) else handler
        (target or handler).setFormatter(json_formatter())


def flush_logs() -> None:
    """Writes what Ray Serve holds back: with its throughput flags a thousand lines, or up to the next error."""
    for handler in logging.getLogger(LOGGER).handlers:
        handler.flush()


def json_formatter() -> logging.Formatter:
    """Writes a record, of structlog or of anybody else, as a JSON object on one line."""
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=PROCESSORS,
        processors=[
            _told_by_ray,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(),
        ],
    )


def _told_by_ray(_: object, __: str, event: EventDict) -> EventDict:
    record = event.get("_record")
    return {**event, **{name: getattr(record, name) for name in _OF_RAY if hasattr(record, name)}}
