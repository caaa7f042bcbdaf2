"""Structured logs: JSON lines through Ray Serve's own logger, so that they land beside its own, by replica."""

import logging
from functools import cache

import structlog


@cache
def configure_logging() -> None:
    """Sends structlog through the standard library's logger ``ray.serve``. Idempotent."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=lambda *_: logging.getLogger("ray.serve"),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
