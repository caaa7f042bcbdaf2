"""Traces over HTTP: one trace from an engine's own span to the write of the ledger, and nothing of tenants in it."""

import asyncio
import secrets
from collections.abc import Iterator

import httpx
import pytest

from serve_app.config import Settings
from serve_app.observing.traces import tracing_of
from serve_app.service import Service
from tests.databases import new_database
from tests.otlp import Received, Span, receiving
from tests.support import BATCH, Live, Serving, WholeService, free_port


@pytest.fixture(scope="module")
def collector() -> Iterator[Received]:
    """Where spans go."""
    with receiving() as received:
        yield received


@pytest.fixture(scope="module")
def traced(admin_url: str, tmp_path_factory: pytest.TempPathFactory, collector: Received) -> Iterator[Live]:
    """A service that sends traces, but starts none of its own.

    Its database is its own: of another it would end holds whose time has passed, in one write with what is asked here.
    """
    database, listener = asyncio.run(new_database(admin_url)), free_port()
    given = {
        "home": tmp_path_factory.mktemp("home"),
        "port": listener.getsockname()[1],
        "traces": collector.url,
        "traces_ratio": 0,
    }
    settings = Settings.model_validate(given)
    service = Service(settings, database.urls.service, database.urls.recorder)
    with (
        Serving(WholeService(service), listener),
        httpx.Client(base_url=settings.base_url, timeout=60) as client,
    ):
        yield Live(service, client, database.admin_url)


def sent(traced: Live, collector: Received, trace: str) -> dict[str, Span]:
    """The spans of a trace, by name, once all have been sent."""
    tracing = tracing_of(traced.service.settings)
    assert tracing is not None
    tracing.flush()
    return {span.name: span for span in collector.of(trace)}


def test_one_trace_leads_from_an_engine_through_apply_to_the_ledger(traced: Live, collector: Received) -> None:
    """Each span is below the one that caused it, in the trace that the engine named; no attribute names the tenant."""
    trace, caller = secrets.token_hex(16), secrets.token_hex(8)
    engine = traced.new()
    body = {"mechanism": "laplace", "epsilon": 1, "sensitivity": 1, "data": 1, "job_id": "j"}
    assert engine.apply({"traceparent": f"00-{trace}-{caller}-01"}, **body).status_code == 200

    spans = sent(traced, collector, trace)
    assert set(spans) == {"POST Mechanisms", "POST allocate", "price", "decide", "ledger append"}
    assert spans["POST Mechanisms"].parent == caller
    assert spans["POST allocate"].parent == spans["POST Mechanisms"].span
    assert spans["price"].parent == spans["decide"].parent == spans["POST allocate"].span
    assert spans["ledger append"].parent == spans["decide"].span
    assert spans["decide"].attributes == {"outcome": "admitted", "source_engine": "none"}
    # The tenant's first request opens its budget as well.
    assert spans["ledger append"].attributes == {"batch.entries": "2", "batch.requests": "1"}
    assert all(engine.tenant not in str(span) for span in collector.spans)


def test_a_write_for_many_is_one_span_linked_to_the_others(traced: Live, collector: Received) -> None:
    """What was decided together was written together."""
    trace, caller = secrets.token_hex(16), secrets.token_hex(8)
    items = [{"job_id": f"j{number}", "epsilon": "0.1"} for number in range(3)]
    headers = {"traceparent": f"00-{trace}-{caller}-01"}
    answered = traced.new().post(BATCH, json={"allocations": items}, headers=headers)
    assert [item["status_code"] for item in answered.json()["results"]] == [200] * 3

    spans = sent(traced, collector, trace)
    append = spans["ledger append"]
    assert append.parent == spans["POST allocate"].span
    assert len(append.links) == int(append.attributes["batch.requests"]) - 1


@pytest.mark.parametrize("flags", ["00", None])
def test_what_the_caller_does_not_sample_is_not_sent(traced: Live, collector: Received, flags: str | None) -> None:
    """With a ratio of nought a trace is kept only where the caller keeps it."""
    headers = {} if flags is None else {"traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-{flags}"}
    before = len(collector.spans)
    assert traced.new().allocate(headers, epsilon="1").status_code == 200
    tracing = tracing_of(traced.service.settings)
    assert tracing is not None
    tracing.flush()
    assert len(collector.spans) == before


def test_without_an_endpoint_nothing_of_it_is_loaded(live: Live) -> None:
    """Off means None, on which the hot path makes no span."""
    assert tracing_of(live.service.settings) is None
