"""The conformance suite's stand-in answers as the real service does, in all that an adapter relies on."""

from collections.abc import Callable
from typing import Any

import httpx

from serve_app.client.calls import PREFIX
from serve_app.client.conformance.ledger import TinyLedger
from serve_app.client.conformance.stand_in import TOKEN, StandIn
from tests.support import ALLOCATE, Live

Send = Callable[..., httpx.Response]
OWN = frozenset({"allocation_id", "tenant_id", "ledger_seq", "title", "detail", "filters"})
"""Members whose values each has of its own."""


def scene(send: Send) -> list[httpx.Response]:
    """What adapters ask for, rightly and wrongly; the answers."""

    def allocate(key: str | None, **body: Any) -> httpx.Response:  # noqa: ANN401 - JSON
        return send(ALLOCATE, {} if key is None else {"Idempotency-Key": key}, body)

    def settle(allocation_id: str, end: str) -> httpx.Response:
        return send(f"{PREFIX}/budget/allocations/{allocation_id}/{end}", {}, {})

    answers = [
        allocate("a", job_id="j", epsilon="0.1", delta="0.000001"),
        allocate("a", job_id="j", epsilon="0.1", delta="0.000001"),
        allocate("a", job_id="j", epsilon="0.2"),
        allocate("b", job_id="j", epsilon_requested=0.2),
        allocate(None, job_id="j", epsilon="0.1", operation_id="c"),
        allocate("c", job_id="j", epsilon="0.1"),
        allocate(None, job_id="by its job", epsilon="0.00001"),
        allocate("d", job_id="j", epsilon="0.7"),
        allocate("e", job_id="j", epsilon="-1"),
        allocate("f", job_id="j"),
        allocate("g", epsilon="0.1"),
    ]
    spent = answers[0].json()["allocation_id"]
    held = allocate("h", job_id="j", epsilon="0.1", mode="reserve")
    other = allocate("i", job_id="j", epsilon="0.1", mode="reserve")
    one, two = held.json()["allocation_id"], other.json()["allocation_id"]
    return [
        *answers,
        held,
        other,
        settle(one, "commit"),
        settle(one, "commit"),
        settle(one, "void"),
        settle(two, "void"),
        settle(two, "commit"),
        settle(spent, "commit"),
        settle(spent, "void"),
        settle("no such", "commit"),
        send(f"{PREFIX}/budget/consume", {}, {"allocation_id": one}),
        # The last bit, exactly: of 1, there have been spent 0.1, 0.2, 0.1, 0.00001 and 0.1.
        allocate("k", job_id="j", epsilon="0.49999"),
        allocate("l", job_id="j", epsilon="0.00001"),
        send(ALLOCATE, {"Authorization": "Bearer nobody"}, {"job_id": "j", "epsilon": "0.1"}),
    ]


def alike(ours: Any, theirs: Any) -> bool:  # noqa: ANN401 - JSON
    """Whether the service says the same, and perhaps more."""
    if isinstance(ours, dict):
        return isinstance(theirs, dict) and all(
            name in theirs
            and (type(ours[name]) is type(theirs[name]) if name in OWN else alike(ours[name], theirs[name]))
            for name in ours
        )
    return bool(ours == theirs)


def test_the_stand_in_answers_as_the_service_does(live: Live) -> None:
    """The same requests to both: statuses, replays, states, exact amounts, codes and what would fit."""
    engine = live.new()
    # The stand-in only adds up, and so does a budget whose one filter is basic composition.
    plain = [{"filter": "basic", "delta_share": "1"}]
    created = live.caller(engine.tenant, "admin").put_budget(epsilon="1", delta="0.00001", filters=plain)
    assert created.status_code == 200, created.text

    def to_the_service(path: str, headers: dict[str, str], body: dict[str, Any]) -> httpx.Response:
        return engine.post(path, headers=headers, json=body)

    with StandIn(TinyLedger("1", "0.00001")) as stand_in, httpx.Client(base_url=stand_in.base_url) as client:

        def to_the_stand_in(path: str, headers: dict[str, str], body: dict[str, Any]) -> httpx.Response:
            return client.post(path, headers={"Authorization": f"Bearer {TOKEN}"} | headers, json=body)

        pairs = list(zip(scene(to_the_stand_in), scene(to_the_service), strict=True))
    statuses = [theirs.status_code for _, theirs in pairs]
    assert set(statuses) == {200, 401, 402, 404, 409, 422}
    assert statuses == [ours.status_code for ours, _ in pairs]
    for ours, theirs in pairs:
        for header in ("idempotency-replayed", "content-type"):
            assert ours.headers.get(header) == theirs.headers.get(header), theirs.text
        assert alike(ours.json(), theirs.json()), f"{ours.text}\n{theirs.text}"
