"""What is gathered for the audit log: folded, bounded, and never in the way of an answer."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from accounting.ledger.audited import AuditRecord, Deed
from serve_app.auth import trail as trails
from serve_app.auth.audited_app import Audited
from serve_app.auth.deeds import ASKED, DENIED, DONE, Asked, deed_of, kept, target_of
from serve_app.auth.policy import RULES, Action, Kept, Role
from serve_app.auth.principal import ANY_TENANT, Principal
from serve_app.auth.trail import Gathered, Trail
from serve_app.problems import Code
from tests.support import free_port

DEED = Deed("t", "ann", "set_budget", "PUT /budget/t", "forbidden", 403)
deeds = st.builds(
    Deed, st.sampled_from("abc"), st.none(), st.just("plan"), st.sampled_from("xyz"), st.just("forbidden"), st.just(403)
)


def asker(tenant: str = "t") -> Principal:
    """Somebody with a token."""
    return Principal("ann", tenant, frozenset({Role.VIEWER}), None, float("inf"))


@given(st.lists(deeds))
def test_equal_deeds_are_one_record_and_none_is_lost(done: list[Deed]) -> None:
    """The counts add up to what was added, with the id of the first of each."""
    gathered = Gathered()
    for number, deed in enumerate(done):
        gathered.add(AuditRecord(deed, str(number), 1))
    records = gathered.taken()
    assert {record.deed: record.count for record in records} == {deed: done.count(deed) for deed in done}
    assert all(record.request_id == str(done.index(record.deed)) for record in records)
    assert not gathered


def test_what_is_gathered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is more is counted as lost, whoever it was."""
    monkeypatch.setattr(trails, "MAX_GATHERED", 10)
    gathered = Gathered()
    for number in range(25):
        gathered.add(AuditRecord(replace(DEED, tenant_id=str(number)), None, 1))
    assert len(gathered.taken()) == 10
    assert gathered.lost == 15


def test_one_tenant_does_not_crowd_out_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a tenant that does very many different things in a moment, further ones fold without their target."""
    monkeypatch.setattr(trails, "MAX_OF_TENANT", 3)
    gathered = Gathered()
    for number in range(100):
        gathered.add(AuditRecord(replace(DEED, target=str(number)), None, 1))
    gathered.add(AuditRecord(replace(DEED, tenant_id="other"), None, 1))
    records = gathered.taken()
    assert [record.deed.target for record in records] == ["0", "1", "2", None, DEED.target]
    assert [record.count for record in records] == [1, 1, 1, 97, 1]
    assert gathered.lost == 0


async def test_a_database_that_is_down_fails_no_answer_and_loses_nothing() -> None:
    """What could not be written is tried again with what comes later."""
    with free_port() as listener:
        url = f"postgresql://nobody@127.0.0.1:{listener.getsockname()[1]}/none"
    trail = Trail(url)
    trail.add(DEED, None)
    async with trail.running():
        await trail.write(DEED, "request")
        trail.add(DEED, None)
    assert trail.health.written == 0
    assert trail.health.lost == 0
    assert [record.count for record in trail._gathered.taken()] == [3]


async def answered(action: Action, app: Callable[[Send], Awaitable[None]], *, hang_up: bool = False) -> list[Deed]:
    """The deeds of a request to a small app behind the middleware."""
    trail = Trail("")
    begun = asyncio.Event()

    async def asgi(scope: Scope, _: Receive, send: Send) -> None:
        scope[ASKED].action, scope[ASKED].principal = action, asker()
        begun.set()
        await app(send)

    async def ignored(_: Message) -> None:
        pass

    async def nothing() -> Message:
        return {"type": "http.request"}

    scope: Scope = {"type": "http", "method": "PUT", "path": "/x"}
    task = asyncio.create_task(Audited(asgi, trail)(scope, nothing, ignored))
    await begun.wait()
    if hang_up:
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return [record.deed for record in trail._gathered.taken()]


async def test_whoever_hangs_up_leaves_a_row_of_what_may_have_happened() -> None:
    """Once, and none of what would leave none; a download that breaks off was told of when it began."""

    async def for_ever(_: Send) -> None:
        await asyncio.Event().wait()

    async def half(send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.Event().wait()

    (deed,) = await answered(Action.SET_BUDGET, for_ever, hang_up=True)
    assert (deed.outcome, deed.status) == ("unanswered", 499)
    assert await answered(Action.READ_BUDGET, for_ever, hang_up=True) == []
    (deed,) = await answered(Action.READ_RESULTS, half, hang_up=True)
    assert (deed.outcome, deed.status) == ("done", 200)


async def test_a_fault_of_ours_leaves_a_row_too() -> None:
    """What answers for it stands further out."""

    async def broken(_: Send) -> None:
        raise ZeroDivisionError

    (deed,) = await answered(Action.READ_BUDGET, broken)
    assert (deed.outcome, deed.status) == ("internal", 500)


# What leaves a row.


@pytest.mark.parametrize("code", Code)
def test_a_refusal_leaves_a_row_unless_the_ledger_lists_it(code: Code) -> None:
    """Of every action and for every reason; what is no action leaves none."""
    wanted = Kept.NO if code in DENIED else Kept.AFTER
    assert all(kept(Asked(action, asker()), code) is wanted for action in Action)
    assert kept(Asked(None, None), code) is Kept.NO


@pytest.mark.parametrize("action", Action)
def test_a_success_leaves_a_row_where_the_table_says(action: Action) -> None:
    """And where that is before the answer, it is an administrator's change."""
    rule = RULES[action]
    assert kept(Asked(action, asker()), DONE) is rule.kept
    if rule.kept is Kept.BEFORE:
        assert rule.roles == {Role.ADMIN}


def test_a_row_is_in_the_log_of_the_tokens_tenant() -> None:
    """Whatever tenant was named: nobody writes into another's log. A token for any tenant writes where it acts."""

    def tenant(principal: Principal | None, named: str | None) -> str:
        return deed_of(Asked(Action.READ_PROOFS, principal, named), "GET", "/proof/x", "forbidden", 403).tenant_id

    assert tenant(asker(), "other") == "t"
    assert tenant(asker(ANY_TENANT), "other") == "other"
    assert tenant(asker(ANY_TENANT), None) == ANY_TENANT
    assert tenant(asker(ANY_TENANT), "no name\x00") == ANY_TENANT
    assert tenant(None, "other") == ANY_TENANT


def test_nothing_that_an_unknown_asker_wrote_is_kept() -> None:
    """Neither the path nor what is in it."""
    deed = deed_of(Asked(Action.SETTLE, None, "secret"), "POST", "/allocations/secret/void", "unauthenticated", 401)
    assert deed == Deed(ANY_TENANT, None, "settle", None, "unauthenticated", 401)


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/proof/job-7", "GET /proof/job-7"),
        ("/proof/ann@example.com", "GET /proof/~"),
        ("/proof/Ann Smith/x", "GET /proof/~/x"),
        ("/proof/\x00\ud800", "GET /proof/~"),
        ("/" + "a/" * 500, ("GET /" + "a/" * 500)[:255]),
    ],
    ids=["plain", "address", "name", "control", "long"],
)
def test_what_may_be_somebodys_name_is_hidden(path: str, target: str) -> None:
    """A path has names that callers chose; only plain ones are kept, and no more than there is room for."""
    assert target_of("GET", path) == target
