"""What the service's own calls carry on from the request that they are made for: its id, and its trace.

Outside of the service both are unset, and a client adds no header.
"""

from contextvars import ContextVar

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the request that is being answered."""
TRACEPARENT: ContextVar[str | None] = ContextVar("traceparent", default=None)
"""The span that is open, as W3C's header ``traceparent`` writes it."""


def context_headers() -> dict[str, str]:
    """The headers that a call made now should carry."""
    headers = {"X-Request-ID": REQUEST_ID.get(), "traceparent": TRACEPARENT.get()}
    return {name: value for name, value in headers.items() if value is not None}
