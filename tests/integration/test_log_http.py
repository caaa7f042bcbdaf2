"""The log over HTTP: entries, heads and proofs for those who may see them, events as a stream."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import jwt
import pytest

from accounting.ledger.canonical import sha256
from accounting.ledger.entry import entry_from_body
from deployments.outbox.events import Topic, events_of
from proofs.checker.inclusion import check_consistency, check_inclusion
from proofs.heads import read_head
from serve_app.service import PREFIX
from tests.sse import Sent, SseReader
from tests.support import Caller, Live, assert_problem, new_name

LOG = f"{PREFIX}/log"
EVENTS = f"{LOG}/events"
BAD_COUNTS = ["-1", "x", "1.5", "", "9007199254740993", "1e3"]


@contextmanager
def streaming(caller: Caller, last_id: str | None = None, **params: Any) -> Iterator[Iterator[Sent]]:  # noqa: ANN401
    """The events that a caller is sent."""
    headers = {"Authorization": f"Bearer {caller.token}"} | ({} if last_id is None else {"Last-Event-ID": last_id})
    with caller._client.stream("GET", EVENTS, headers=headers, params=params) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield SseReader().lines(response.iter_lines())


def events(caller: Caller, count: int, last_id: str | None = None, **params: Any) -> list[Sent]:  # noqa: ANN401
    """So many events, from the beginning unless a place is named."""
    place = {} if last_id is not None else {"start": 0}
    with streaming(caller, last_id, **place, **params) as sent:
        return list(itertools.islice(sent, count))


def until(done: Callable[[], Any]) -> Any:  # noqa: ANN401
    """What `done` gives, once that is something: the log is a moment behind the ledger."""
    for _ in range(3_000):
        if found := done():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come")


def own_entries(caller: Caller, count: int) -> list[dict[str, Any]]:
    """A tenant's entries in the log, once there are so many."""

    def read() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = caller.get(f"{LOG}/entries").json()["entries"]
        return found if len(found) >= count else []

    found: list[dict[str, Any]] = until(read)
    return found


@pytest.fixture
def spender(live: Live) -> Caller:
    """An engine with four entries in its ledger: a budget, two charges, a void."""
    engine = live.new()
    engine.allocate(job_id="first", epsilon="0.5", source_engine="text")
    hold = engine.allocate(job_id="second", epsilon="0.25", mode="reserve", ttl_seconds=600).json()
    assert engine.settle(hold["allocation_id"], "void").status_code == 200
    return engine


@pytest.fixture
def auditor(live: Live) -> Caller:
    """Somebody who may see every tenant's entries."""
    return live.caller("*", "auditor")


# Events.


def test_a_tenants_events_come_in_order_without_a_gap(spender: Caller) -> None:
    """Each step of the ledger, exactly as its entry has it."""
    sent = events(spender, 4)
    assert [s.name for s in sent] == [Topic.OPERATIONS] * 4
    assert [s.data["seq"] for s in sent] == [1, 2, 3, 4]
    assert [s.data["kind"] for s in sent] == ["budget_set", "consumed", "held", "voided"]
    assert [s.data["exact"]["epsilon_consumed"] for s in sent] == ["0", "0.5", "0.25", "-0.25"]
    assert [s.data["job_id"] for s in sent] == [None, "first", "second", "second"]
    assert {s.data["tenant_id"] for s in sent} == {spender.tenant}
    logged = own_entries(spender, 4)
    assert [s.data for s in sent] == [
        events_of(item["position"], entry_from_body(item["body"]))[0].data for item in logged
    ]


def test_a_reader_comes_back_where_it_was(spender: Caller) -> None:
    """With the id of any event it has seen, it gets those after it."""
    everything = events(spender, 4)
    for seen, sent in enumerate(everything[:-1], start=1):
        assert events(spender, 4 - seen, sent.event_id) == everything[seen:]


def test_what_happens_while_somebody_listens_is_sent_as_it_happens(live: Live, spender: Caller) -> None:
    """Without a place the stream begins now."""
    own_entries(spender, 4)
    got: list[Sent] = []
    with streaming(live.caller(spender.tenant, "viewer")) as sent:
        listening = threading.Thread(target=lambda: got.extend(itertools.islice(sent, 2)))
        listening.start()
        spender.allocate(job_id="third", epsilon="0.125")
        spender.allocate(job_id="fourth", epsilon="0.125")
        listening.join()
    assert [s.data["job_id"] for s in got] == ["third", "fourth"]


def test_a_budget_that_nearly_ends_is_told_once_under_its_own_topic(live: Live) -> None:
    """A listener of that topic alone hears nothing else."""
    engine = live.new(epsilon="10")
    for epsilon in ("2", "2", "2", "2", "1.5", "0.1", "0.1"):
        assert engine.allocate(epsilon=epsilon, source_engine="image").status_code == 200
    (told,) = events(engine, 1, topic="privacy.budget.exhausted")
    assert told.name == "privacy.budget.exhausted"
    assert (told.data["seq"], told.data["remaining_epsilon"], told.data["scope"]) == (6, 0.5, "tenant lifetime")
    everything = events(engine, 9)
    assert [s.name for s in everything].count("privacy.budget.exhausted") == 1
    assert everything[6] == told
    assert events(engine, 2, told.event_id) == everything[7:]


def test_a_tenants_reader_never_sees_another_tenants_events(live: Live, spender: Caller) -> None:
    """Though both are in one log, entry by entry."""
    other = live.new()
    for number in range(3):
        spender.allocate(epsilon="0.01")
        other.allocate(job_id=f"other-{number}", epsilon="0.01")
    assert {s.data["tenant_id"] for s in events(spender, 7)} == {spender.tenant}
    assert {s.data["tenant_id"] for s in events(other, 4)} == {other.tenant}


def test_an_auditor_of_all_sees_all_or_the_tenant_that_is_named(live: Live, spender: Caller, auditor: Caller) -> None:
    """In the log's order, or that tenant's part of it."""
    start = own_entries(spender, 4)[0]["position"]
    other = live.new()
    other.allocate(epsilon="0.01")
    with streaming(auditor, start=start) as sent:
        seen: set[str] = set()
        while not {spender.tenant, other.tenant} <= seen:
            seen.add(next(sent).data["tenant_id"])
    assert events(auditor, 4, tenant_id=spender.tenant) == events(spender, 4)


def test_a_stream_ends_with_its_token(live: Live, spender: Caller) -> None:
    """Nobody goes on listening with a token that is no longer valid, and nobody is sent away before that."""
    own_entries(spender, 4)
    # On a busy machine a token may be over before its stream has begun: then one that lives longer.
    for lifetime in (1, 4, 16, 64):
        brief = live.caller(spender.tenant, "viewer", lifetime_seconds=lifetime)
        assert brief.token is not None
        with streaming(brief, start=0) as sent:
            heard = len(list(sent))
        assert time.time() >= jwt.decode(brief.token, options={"verify_signature": False})["exp"]
        if heard >= 4:
            return
    raise AssertionError("no stream was heard before its token had expired")


def test_more_streams_than_a_process_can_bear_are_refused(spender: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a time to come back, and those that are open go on."""
    with streaming(spender, start=0) as sent:
        assert next(sent).data["seq"] == 1
        monkeypatch.setattr("serve_app.routes.log.MAX_STREAMS", 1)
        refused = spender.get(EVENTS)
        assert_problem(refused, 503, "unavailable")
        assert refused.headers["retry-after"]
        assert [s.data["seq"] for s in itertools.islice(sent, 3)] == [2, 3, 4]


@pytest.mark.parametrize("last_id", ["x", "1-", "-1", "1.5", "1-0-0", "99999999999999999"])
def test_an_id_that_no_event_has_is_refused(spender: Caller, last_id: str) -> None:
    """Rather than taken for some place."""
    response = spender.get(EVENTS, headers={"Last-Event-ID": last_id})
    assert_problem(response, 422, "invalid_request", "Last-Event-ID")


def test_an_unknown_topic_is_refused(spender: Caller) -> None:
    """By name."""
    response = spender.get(EVENTS, params={"topic": ["privacy.operations", "privacy.nothing"]})
    assert response.status_code == 422
    assert response.json()["field"].startswith("topic")


@pytest.mark.parametrize("start", BAD_COUNTS)
def test_a_place_that_is_none_is_refused(spender: Caller, start: str) -> None:
    """In the stream as in the pages."""
    assert_problem(spender.get(EVENTS, params={"start": start}), 422, "invalid_request", "start")
    assert_problem(spender.get(f"{LOG}/entries", params={"start": start}), 422, "invalid_request", "start")


# Entries.


def test_entries_come_as_they_were_hashed(spender: Caller) -> None:
    """Whoever has the body has the hash, and each names the one before."""
    logged = own_entries(spender, 4)
    entries = [entry_from_body(item["body"]) for item in logged]
    assert [entry.seq for entry in entries] == [1, 2, 3, 4]
    for before, after in itertools.pairwise(logged):
        assert after["position"] > before["position"]
        assert entry_from_body(after["body"]).prev_hash == sha256(before["body"])


def test_pages_follow_one_another(spender: Caller, auditor: Caller) -> None:
    """`next` leads through everything and then stays where it is."""
    whole = own_entries(spender, 4)
    for reader, more in ((spender, {}), (auditor, {"tenant_id": spender.tenant})):
        found, start = [], 0
        while True:
            answer = reader.get(f"{LOG}/entries", params={"start": start, "limit": 3, **more}).json()
            found += answer["entries"]
            if answer["next"] == start:
                break
            start = answer["next"]
        assert found == whole


def test_an_auditor_of_all_reads_positions_without_a_gap(spender: Caller, auditor: Caller) -> None:
    """Page by page from the beginning."""
    own_entries(spender, 4)
    page = auditor.get(f"{LOG}/entries", params={"limit": 50}).json()
    assert [item["position"] for item in page["entries"]] == list(range(len(page["entries"])))
    assert page["next"] == len(page["entries"])


@pytest.mark.parametrize("limit", ["0", "1001", "x", "-1"])
def test_a_page_has_its_bounds(spender: Caller, limit: str) -> None:
    """Nobody gets the whole log at once."""
    for path in ("entries", "heads"):
        assert_problem(spender.get(f"{LOG}/{path}", params={"limit": limit}), 422, "invalid_request", "limit")


# Heads and proofs.


def heads_of(live: Live, caller: Caller, least: int) -> dict[str, Any]:
    """The latest head, once the log has so many entries in it."""

    def read() -> dict[str, Any] | None:
        answer = caller.get(f"{LOG}/head")
        return answer.json() if answer.status_code == 200 and answer.json()["size"] >= least else None

    found: dict[str, Any] = until(read)
    return found


def test_the_head_is_signed_with_a_published_key(live: Live, spender: Caller) -> None:
    """What is signed is what stands beside the signature."""
    least = own_entries(spender, 4)[-1]["position"] + 1
    head = heads_of(live, spender, least)
    signed = read_head(head["signed"], live.client.get("/.well-known/jwks.json").json()["keys"])
    assert (signed.size, signed.root) == (head["size"], head["root"])


def test_an_entry_is_proven_to_be_under_a_head(live: Live, spender: Caller) -> None:
    """By the independent checker, from what is public and the entry's own hash."""
    logged = own_entries(spender, 4)
    head = heads_of(live, spender, logged[-1]["position"] + 1)
    for seq, item in enumerate(logged, start=1):
        proof = spender.get(f"{LOG}/inclusion", params={"seq": seq, "size": head["size"]}).json()
        assert (proof["position"], proof["size"], proof["root"]) == (item["position"], head["size"], head["root"])
        entry_hash = sha256(item["body"]).hex()
        assert check_inclusion(entry_hash, proof["position"], proof["size"], proof["path"], head["root"]) == []


def test_a_later_head_is_proven_to_continue_an_earlier_one(live: Live, spender: Caller) -> None:
    """By the independent checker."""
    earlier = heads_of(live, spender, own_entries(spender, 4)[-1]["position"] + 1)
    spender.allocate(epsilon="0.1")
    later = heads_of(live, spender, own_entries(spender, 5)[-1]["position"] + 1)
    params = {"first": earlier["size"], "second": later["size"]}
    proof = spender.get(f"{LOG}/consistency", params=params).json()
    assert proof["first"] == {"size": earlier["size"], "root": earlier["root"]}
    assert proof["second"] == {"size": later["size"], "root": later["root"]}
    assert check_consistency(earlier["size"], earlier["root"], later["size"], later["root"], proof["path"]) == []


def test_heads_are_listed_from_the_smallest_and_after_any_size(live: Live, spender: Caller) -> None:
    """Every head that was published can be had."""
    latest = heads_of(live, spender, own_entries(spender, 4)[-1]["position"] + 1)
    heads = spender.get(f"{LOG}/heads").json()["heads"]
    sizes = [head["size"] for head in heads]
    assert sizes == sorted(set(sizes))
    assert latest in heads
    after = spender.get(f"{LOG}/heads", params={"after": latest["size"] - 1}).json()["heads"]
    assert after[0] == latest


def test_proofs_of_what_is_not_there_are_refused(spender: Caller, auditor: Caller) -> None:
    """Each with what is wrong."""
    logged = own_entries(spender, 4)
    inclusion, consistency = f"{LOG}/inclusion", f"{LOG}/consistency"
    assert_problem(spender.get(inclusion, params={"seq": 99}), 404, "not_found", "seq")
    assert_problem(spender.get(inclusion), 422, "invalid_request", "seq")
    assert_problem(spender.get(inclusion, params={"seq": 0}), 422, "invalid_request", "seq")
    small = {"seq": 4, "size": logged[-1]["position"]}
    assert_problem(spender.get(inclusion, params=small), 404, "not_found", "size")
    huge = 9_007_199_254_740_991
    assert_problem(spender.get(inclusion, params={"seq": 1, "size": huge}), 404, "not_found", "size")
    assert_problem(auditor.get(inclusion, params={"seq": 1}), 422, "invalid_request", "tenant_id")
    assert_problem(auditor.get(inclusion, params={"seq": 1, "tenant_id": "a b"}), 422, "invalid_request", "tenant_id")
    unknown = {"seq": 1, "tenant_id": new_name("tenant")}
    assert_problem(auditor.get(inclusion, params=unknown), 404, "not_found", "seq")
    assert_problem(spender.get(consistency, params={"first": 2, "second": 1}), 404, "not_found", "first")
    assert_problem(spender.get(consistency, params={"first": 0, "second": huge}), 404, "not_found", "second")
    assert_problem(spender.get(consistency), 422, "invalid_request", "first")


# Who may see what.


def test_every_role_of_a_tenant_sees_the_tenants_log(live: Live, spender: Caller) -> None:
    """Its entries, events, proofs, and the heads."""
    own_entries(spender, 4)
    for role in ("admin", "engine", "analyst", "viewer", "auditor"):
        caller = live.caller(spender.tenant, role)
        assert len(caller.get(f"{LOG}/entries").json()["entries"]) == 4
        assert len(events(caller, 4)) == 4
        for path, params in (("inclusion", {"seq": 1}), ("consistency", {"first": 1}), ("heads", {}), ("health", {})):
            assert caller.get(f"{LOG}/{path}", params=params).status_code == 200


def test_a_token_of_one_tenant_does_not_open_another_tenants_log(live: Live, spender: Caller) -> None:
    """Named outright, it is refused; nor does an auditor's role help."""
    for role in ("admin", "engine", "auditor"):
        stranger = live.new(role)
        for path, params in (("entries", {}), ("events", {}), ("inclusion", {"seq": 1})):
            refused = stranger.get(f"{LOG}/{path}", params={"tenant_id": spender.tenant, **params})
            assert_problem(refused, 403, "forbidden")
        assert stranger.get(f"{LOG}/inclusion", params={"seq": 1}).status_code == 404
        assert stranger.get(f"{LOG}/entries").json() == {"entries": [], "next": 0}


@pytest.mark.parametrize("role", ["engine", "admin", "analyst", "viewer"])
def test_of_the_tokens_for_any_tenant_only_an_auditors_reads_entries(live: Live, spender: Caller, role: str) -> None:
    """A platform engine charges budgets; it has no business in the log, of all tenants or of one."""
    platform = live.caller("*", role)
    for path, params in (("entries", {}), ("events", {}), ("inclusion", {"seq": 1})):
        for tenant in ({}, {"tenant_id": spender.tenant}):
            assert_problem(platform.get(f"{LOG}/{path}", params={**params, **tenant}), 403, "forbidden")


def test_an_auditor_of_all_may_look_and_change_nothing(live: Live, spender: Caller, auditor: Caller) -> None:
    """Budget and proof, which follow from the entries, are seen; nothing is charged, settled or set with that token."""
    before = spender.state()
    named = Caller(live.client, spender.tenant, auditor.token)
    for path in (f"{PREFIX}/budget/{spender.tenant}", f"{PREFIX}/proof/first"):
        assert named.get(path, params={"tenant_id": spender.tenant}).status_code == 200
    refused: list[httpx.Response] = [
        named.allocate(epsilon=1, tenant_id=spender.tenant),
        named.put_budget(epsilon="100", delta="0.1"),
        named.settle("00000000-0000-8000-8000-000000000000", "void", tenant_id=spender.tenant),
        named.get(f"{PREFIX}/generators/dataset", params={"tenant_id": spender.tenant}),
    ]
    for response in refused:
        assert_problem(response, 403, "forbidden")
    assert spender.state() == before


# How it stands.


def test_health_says_how_every_loop_stands(live: Live, spender: Caller) -> None:
    """And how far the log and its head have come; there is no relay without a broker."""
    least = own_entries(spender, 4)[-1]["position"] + 1
    heads_of(live, spender, least)
    health = spender.get(f"{LOG}/health").json()
    assert health["status"] == "well"
    assert health["log"]["size"] >= health["head"]["size"] >= least
    assert health["relays"] == {}
    assert {name: loop["status"] for name, loop in health["loops"].items()} == {
        "sequencer": "well",
        "heads": "well",
        "sweeper": "well",
    }
