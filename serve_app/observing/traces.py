"""Whether there are traces. Off unless an operator wants them; then nothing of OpenTelemetry is even loaded."""

from functools import cache
from typing import TYPE_CHECKING

from serve_app.config import Settings

if TYPE_CHECKING:
    from serve_app.observing.spans import Tracing

TRACEPARENT_HEADER = b"traceparent"


def tracing_of(settings: Settings) -> "Tracing | None":
    """What makes spans in this process; None where the operator wants none."""
    return None if settings.traces is None else _tracing(settings.traces, settings.traces_ratio)


@cache
def _tracing(endpoint: str, ratio: float) -> "Tracing":
    from serve_app.observing.spans import Tracing

    return Tracing(endpoint, ratio)
