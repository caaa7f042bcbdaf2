"""What is wrong is refused with a reason, and the ledger stays as it was."""

import json
from collections.abc import Iterator

import pytest

from serve_app.service import PREFIX
from tests.support import ALLOCATE, Caller, Live, assert_problem


@pytest.fixture
def engine(live: Live) -> Iterator[Caller]:
    """An engine whose tenant's ledger must be the same after the test as before it."""
    caller = live.new()
    assert caller.allocate(epsilon="1", delta="0.000001").status_code == 200
    before = caller.state()
    yield caller
    assert caller.state() == before


DIGITS = "0." + "1" * 40
NOT_EPSILONS = {
    "NaN as text": '"NaN"',
    "signalling NaN as text": '"sNaN"',
    "Infinity as text": '"Infinity"',
    "minus Infinity as text": '"-Infinity"',
    "overflowing number": "1e400",
    "exponent bomb": "1e999999",
    "exponent bomb as text": '"1e999999"',
    "exponent beyond decimals": "1e99999999999999999999",
    "exponent beyond decimals as text": '"1e99999999999999999999"',
    "tiny exponent": "1e-999999",
    "40 digits": DIGITS,
    "40 digits as text": f'"{DIGITS}"',
    "5000 digits": "1" * 5000,
    "negative": "-1",
    "zero": "0",
    "minus zero": "-0.0",
    "zero as text": '"0"',
    "bool": "true",
    "list": "[1]",
    "object": '{"value": 1}',
    "word": '"much"',
    "empty text": '""',
    "null": "null",
}


@pytest.mark.parametrize("value", NOT_EPSILONS.values(), ids=NOT_EPSILONS.keys())
@pytest.mark.parametrize("name", ["epsilon", "epsilon_requested", "requested_epsilon"])
def test_an_epsilon_that_is_none_is_refused_in_every_spelling(engine: Caller, name: str, value: str) -> None:
    """What is no positive, bounded decimal is refused under each name of epsilon; nothing is written."""
    document = assert_problem_of(engine.raw_allocate(f'{{"job_id": "j", "{name}": {value}}}'))
    assert document["field"] in (name, "epsilon")


NOT_DELTAS = {
    "NaN": '"NaN"', "Infinity": '"Infinity"', "negative": "-1e-6", "one": "1", "more than one": "1.5", "bool": "false",
    "exponent bomb": "1e-999999", "40 digits": DIGITS,
}  # fmt: skip


@pytest.mark.parametrize("value", NOT_DELTAS.values(), ids=NOT_DELTAS.keys())
def test_a_delta_that_is_none_is_refused(engine: Caller, value: str) -> None:
    """A delta must be a bounded decimal from 0 to below 1; anything else is refused and not written."""
    document = assert_problem_of(engine.raw_allocate(f'{{"job_id": "j", "epsilon": 1, "delta": {value}}}'))
    assert document["field"] == "delta"


def assert_problem_of(response: object) -> dict[str, object]:
    """The document of a refused request, whichever field it names."""
    field = response.json().get("field")  # type: ignore[attr-defined]
    assert field
    return assert_problem(response, 422, "invalid_request", field)  # type: ignore[arg-type]


BODIES: dict[str, tuple[str | bytes, str]] = {
    "NaN as a bare word": ('{"job_id": "j", "epsilon": NaN}', "body"),
    "Infinity as a bare word": ('{"job_id": "j", "epsilon": Infinity}', "body"),
    "no JSON": ("epsilon=1", "body"),
    "nothing": ("", "body"),
    "cut short": ('{"job_id": "j", "epsilon": 1', "body"),
    "two documents": ('{"job_id": "j", "epsilon": 1}{}', "body"),
    "a list": ("[]", "body"),
    "null": ("null", "body"),
    "not UTF-8": (b'{"job_id": "\xff", "epsilon": 1}', "body"),
    "half a surrogate pair": ('{"job_id": "\\ud800", "epsilon": 1}', "body"),
    "deeply nested": ("[" * 30_000, "body"),
    "deeply nested inside": ('{"job_id": "j", "epsilon": ' + "[" * 30_000, "epsilon"),
    "unknown field": ('{"job_id": "j", "epsilon": 1, "epsilom": 2}', "epsilom"),
    "unknown field of an event": (
        '{"job_id": "j", "event": {"kind": "claim", "epsilon": 1, "delta": 0, "count": 3}}',
        "event.count",
    ),
    "no job": ('{"epsilon": 1}', "job_id"),
    "a job that is no text": ('{"job_id": 7, "epsilon": 1}', "job_id"),
    "an empty job": ('{"job_id": "", "epsilon": 1}', "job_id"),
    "a job that is too long": (json.dumps({"job_id": "j" * 256, "epsilon": 1}), "job_id"),
    "NUL in the job": ('{"job_id": "a\\u0000b", "epsilon": 1}', "job_id"),
    "a line break in the job": ('{"job_id": "a\\nb", "epsilon": 1}', "job_id"),
    "NUL in the purpose": ('{"job_id": "j", "epsilon": 1, "purpose": "a\\u0000b"}', "purpose"),
    "a purpose that is too long": (json.dumps({"job_id": "j", "epsilon": 1, "purpose": "p" * 2001}), "purpose"),
    "an operation of control characters": ('{"job_id": "j", "epsilon": 1, "operation_id": "\\u0007"}', "operation_id"),
    "no epsilon": ('{"job_id": "j"}', "epsilon"),
    "disagreeing epsilons": ('{"job_id": "j", "epsilon": 1, "requested_epsilon": 2}', "epsilon"),
    "two signalling NaNs": ('{"job_id": "j", "epsilon": "sNaN", "requested_epsilon": "sNaN"}', "epsilon"),
    "disagreeing deltas": ('{"job_id": "j", "epsilon": 1, "delta": 0, "delta_requested": 1e-6}', "delta"),
    "disagreeing purposes": ('{"job_id": "j", "epsilon": 1, "purpose": "a", "query_description": "b"}', "purpose"),
    "an engine nobody knows": ('{"job_id": "j", "epsilon": 1, "source_engine": "oil"}', "source_engine"),
    "a mechanism nobody knows": ('{"job_id": "j", "epsilon": 1, "mechanism": "magic"}', "mechanism"),
    "a mode nobody knows": ('{"job_id": "j", "epsilon": 1, "mode": "free"}', "mode"),
    "a time to live without a hold": ('{"job_id": "j", "epsilon": 1, "ttl_seconds": 5}', "ttl_seconds"),
    "no time to live": ('{"job_id": "j", "epsilon": 1, "mode": "reserve", "ttl_seconds": 0}', "ttl_seconds"),
    "an endless hold": ('{"job_id": "j", "epsilon": 1, "mode": "reserve", "ttl_seconds": 1e30}', "ttl_seconds"),
    "a tenant that is no name": ('{"job_id": "j", "epsilon": 1, "tenant_id": "a b"}', "tenant_id"),
    "an event and an epsilon": ('{"job_id": "j", "epsilon": 1, "event": {"kind": "claim"}}', "epsilon"),
    "an unknown event": ('{"job_id": "j", "event": {"kind": "none"}}', "event.kind"),
    "an event without its numbers": ('{"job_id": "j", "event": {"kind": "laplace", "scale": 1}}', "event.sensitivity"),
    "a fail-open event": (
        '{"job_id": "j", "event": {"kind": "gaussian", "sigma": "NaN", "sensitivity": 1}, "delta": 1e-6}',
        "event.sigma",
    ),
    "an endless noise": (
        '{"job_id": "j", "event": {"kind": "gaussian", "sigma": "1e18", "sensitivity": 1e-9}, "delta": 1e-6}',
        "event.sigma",
    ),
    "a Gaussian without delta": (
        '{"job_id": "j", "event": {"kind": "gaussian", "sigma": 1, "sensitivity": 1}}',
        "delta",
    ),
    "Laplace noise with a delta": (
        '{"job_id": "j", "event": {"kind": "laplace", "scale": 1, "sensitivity": 1}, "delta": 1e-6}',
        "delta",
    ),
    "a claim with another delta beside it": (
        '{"job_id": "j", "event": {"kind": "claim", "epsilon": 1, "delta": 0}, "delta": 1e-6}',
        "delta",
    ),
}


@pytest.mark.parametrize(("body", "field"), BODIES.values(), ids=BODIES.keys())
def test_a_body_that_is_wrong_is_refused_with_the_field(engine: Caller, body: str | bytes, field: str) -> None:
    """A wrong body is a 422 that names the offending field, or the body itself; nothing is written."""
    assert_problem(engine.raw_allocate(body), 422, "invalid_request", field)


@pytest.mark.parametrize("size", [270_000, 2_000_000])
def test_a_huge_body_is_refused(engine: Caller, size: int) -> None:
    """An allocation body above the size limit is a 413 and leaves the ledger unchanged."""
    assert_problem(engine.raw_allocate('{"job_id": "' + "j" * size + '", "epsilon": 1}'), 413, "too_large")


def test_a_huge_body_is_refused_wherever_it_goes(engine: Caller) -> None:
    """The size limit holds on consume, commit and void as well, before the body is even read as JSON."""
    for path in ("budget/consume", "budget/allocations/x/commit", "budget/allocations/x/void"):
        assert_problem(engine.post(f"{PREFIX}/{path}", content=b"x" * 270_000), 413, "too_large")


@pytest.mark.parametrize("key", ["", "k" * 256, "tab\there"])
def test_a_key_that_is_none_is_refused(engine: Caller, key: str) -> None:
    """A key that is empty, too long or has control characters is refused, never silently ignored."""
    refused = engine.allocate({"Idempotency-Key": key}, epsilon=1)
    assert_problem(refused, 422, "invalid_request", "Idempotency-Key")


def test_the_wrong_tenant_is_refused(live: Live, engine: Caller) -> None:
    """A body cannot name a tenant other than the token's; the ledger of the one named is unchanged."""
    assert_problem(live.new().allocate(epsilon=1, tenant_id=engine.tenant), 403, "forbidden")


def test_a_service_token_has_to_name_a_tenant(live: Live) -> None:
    """A token for all tenants charges nobody by default: the body must say who."""
    refused = live.caller("*", "engine").allocate(epsilon=1)
    assert_problem(refused, 422, "invalid_request", "tenant_id")


def test_what_is_not_part_of_the_interface_is_told_so(engine: Caller) -> None:
    """Unknown paths are 404 and wrong methods 405, each as a problem document like any other refusal."""
    assert_problem(engine.get("/nothing/here"), 404, "not_found")
    assert_problem(engine.get(f"{PREFIX}/mechanism/nothing"), 404, "not_found")
    assert_problem(engine.request("DELETE", ALLOCATE), 405, "method_not_allowed")
    assert_problem(engine.post("/health/live"), 405, "method_not_allowed")
