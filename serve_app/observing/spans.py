"""Spans by OpenTelemetry, from an engine's own to the write of the ledger. No attribute tells of a tenant.

Loaded only where an operator wants traces: `serve_app.observing.traces`.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from serve_app.client.context import TRACEPARENT

Told = Mapping[str, str | int]


class Tracing:
    """Makes spans and sends them. The open one is in `serve_app.client.context`, for calls made meanwhile."""

    def __init__(self, endpoint: str, ratio: float) -> None:
        """Begins to send.

        Args:
            endpoint: URL that takes OTLP over HTTP, such as ``http://collector:4318/v1/traces``.
            ratio: Share of the traces without a sampled parent that are kept, 0 to 1.
        """
        self._propagator = TraceContextTextMapPropagator()
        # Not the global one: Ray has its own.
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(ratio)),
            resource=Resource.create({"service.name": "privacy-engine"}),
        )
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint)))
        self._tracer = self._provider.get_tracer("privacy-engine")

    @contextmanager
    def serving(self, name: str, traceparent: bytes | None) -> Iterator[Span]:
        """The span of a request that has come in, in the caller's trace if it named one."""
        carrier = {} if traceparent is None else {"traceparent": traceparent.decode("latin-1")}
        parent = self._propagator.extract(carrier, Context())
        with self._open(self._tracer.start_span(name, parent, trace.SpanKind.SERVER)) as span:
            yield span

    @contextmanager
    def part(self, name: str) -> Iterator[Span]:
        """A span below the open one."""
        with self._open(self._tracer.start_span(name, self._parent())) as span:
            yield span

    def tell(self, span: Span, told: Told) -> None:
        """Adds attributes to a span."""
        span.set_attributes(told)

    def mark(self) -> SpanContext | None:
        """The open span, for `wrote`; None where it is not sampled."""
        context = trace.get_current_span(self._parent()).get_span_context()
        return context if context.is_valid and context.trace_flags.sampled else None

    def wrote(self, marks: Sequence[object], told: Told, seconds: float) -> None:
        """The span of one write for many requests: below the first that is sampled, linked to the others.

        Args:
            marks: What `mark` was for each of them.
            told: Attributes.
            seconds: How long it took, until now.
        """
        sampled = [mark for mark in marks if isinstance(mark, SpanContext)]
        if not sampled:
            return
        ended = time.time_ns()
        parent = trace.set_span_in_context(trace.NonRecordingSpan(sampled[0]), Context())
        links = [trace.Link(other) for other in sampled[1:]]
        began = ended - int(seconds * 1e9)
        span = self._tracer.start_span("ledger append", parent, links=links, attributes=told, start_time=began)
        span.end(ended)

    def flush(self) -> None:
        """Sends what has not been sent. Blocking."""
        self._provider.force_flush()

    @contextmanager
    def _open(self, span: Span) -> Iterator[Span]:
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, trace.set_span_in_context(span, Context()))
        token = TRACEPARENT.set(carrier.get("traceparent"))
        try:
            yield span
        finally:
            TRACEPARENT.reset(token)
            span.end()

    def _parent(self) -> Context:
        known = TRACEPARENT.get()
        return self._propagator.extract({} if known is None else {"traceparent": known}, Context())
