"""A service with rate limits and an outside issuer, over HTTP: the hot path and the others hold to both."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from serve_app.config import Settings
from serve_app.service import PREFIX, Service
from tests.issuing import Key, LiveIssuer, claims, issuing, new_key, token_of
from tests.support import BATCH, Caller, Live, Serving, WholeService, assert_problem, free_port, new_name

KEY = new_key("ES256", "theirs")


@pytest.fixture(scope="module")
def issuer() -> Iterator[LiveIssuer]:
    """An outside issuer."""
    with issuing(KEY) as live:
        yield live


@pytest.fixture(scope="module")
def strict(
    admin_url: str,
    service_url: str,
    recorder_url: str,
    issuer: LiveIssuer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Live]:
    """A service where a tenant may send three requests at once, and then one in a quarter of an hour."""
    listener = free_port()
    chosen = Settings.model_validate(
        {
            "home": tmp_path_factory.mktemp("home"),
            "port": listener.getsockname()[1],
            "rate_per_tenant": 0.001,
            "rate_burst_seconds": 3600,
            "issuers": json.dumps([issuer.settings()]),
        }
    )
    service = Service(chosen, service_url, recorder_url)
    with ExitStack() as stack:
        stack.enter_context(Serving(WholeService(service), listener))
        client = stack.enter_context(httpx.Client(base_url=chosen.base_url, timeout=30))
        yield Live(service, client, admin_url)


def outside(live: Live, tenant: str, key: Key = KEY) -> Caller:
    """Somebody whom the outside issuer vouches for."""
    told = claims(tenant_id=tenant, roles=["engine"])
    return live.stranger(tenant, token_of(key, told).removeprefix("Bearer "))


def test_a_tenant_that_is_too_fast_is_told_to_wait_and_charged_nothing(strict: Live) -> None:
    """429 with how long; another tenant is not slowed down, and neither are health, keys and the document."""
    engine = strict.new()
    answers = [engine.allocate(epsilon="0.1") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    document = assert_problem(answers[-1], 429, "rate_limited")
    assert int(answers[-1].headers["Retry-After"]) == document["retry_after_seconds"] > 100
    for path in ("/health/live", "/health/ready", "/.well-known/jwks.json", "/openapi.json"):
        for _ in range(6):
            assert strict.client.get(path).status_code == 200
    assert strict.new().allocate(epsilon="0.1").status_code == 200
    entries = strict.caller(engine.tenant, "viewer").get(f"{PREFIX}/analytics/operations").json()["operations"]
    assert len(entries) == 3


def test_a_batch_counts_as_its_allocations(strict: Live) -> None:
    """A batch above the burst is answered, and what comes after it waits."""
    engine = strict.new()
    items = [{"job_id": f"job-{number}", "epsilon": "0.1"} for number in range(20)]
    response = engine.post(BATCH, json={"allocations": items})
    assert response.status_code == 200, response.text
    assert {item["status_code"] for item in response.json()["results"]} == {200}
    assert_problem(engine.post(BATCH, json={"allocations": items[:1]}), 429, "rate_limited")
    assert_problem(engine.allocate(epsilon="0.1"), 429, "rate_limited")


def test_other_routes_are_limited_too(strict: Live) -> None:
    """In each app by itself."""
    viewer = strict.new("viewer")
    statuses = [viewer.get(f"{PREFIX}/access/me").status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]


def test_a_token_of_an_outside_issuer_is_good_everywhere(strict: Live, issuer: LiveIssuer) -> None:
    """On the hot path and elsewhere; what it charges is in the ledger under its subject."""
    engine = outside(strict, new_name("tenant"))
    assert engine.allocate(epsilon="0.5").status_code == 200
    assert engine.get(f"{PREFIX}/access/me").json()["subject"] == "ann"
    assert issuer.fetches >= 1


def test_a_forged_token_of_an_outside_issuer_is_refused(strict: Live) -> None:
    """Under the key id of the issuer's own key."""
    forged = outside(strict, new_name("tenant"), new_key("ES256", "theirs"))
    assert_problem(forged.allocate(epsilon="0.5"), 401, "unauthenticated")
    assert_problem(forged.get(f"{PREFIX}/access/me"), 401, "unauthenticated")


def test_what_was_limited_is_in_the_audit_log(strict: Live) -> None:
    """As every refusal is."""
    engine = strict.new()
    while engine.allocate(epsilon="0.1").status_code == 200:
        pass
    # A token for any tenant is not the tenant's, so it is not limited with it.
    auditor = strict.caller("*", "auditor")

    def limited() -> bool:
        answer = auditor.get(f"{PREFIX}/audit", params={"tenant_id": engine.tenant})
        return any(row["outcome"] == "rate_limited" for row in answer.json()["records"])

    for _ in range(500):
        if limited():
            return
        time.sleep(0.02)
    raise AssertionError("there is no such row")
