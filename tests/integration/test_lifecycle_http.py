"""How allocations end over HTTP: partly run, expired, adjusted by an operator; and what is kept for auditors."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from accounting.ledger.entry import EntryKind
from accounting.ledger.postgres import PostgresLedgerStore
from accounting.policy import SetBudget, decide_budget
from proofs.signing import SigningKey
from serve_app.service import PREFIX
from tests.ledgers import asked, ended, opened, spent
from tests.support import BATCH, Caller, Live, assert_problem, new_name

LAPLACE = {"kind": "laplace", "scale": 10, "sensitivity": 1}
TEN_LAPLACES = {"kind": "self_composed", "event": LAPLACE, "count": 10}
GAUSSIAN = {"kind": "gaussian", "sigma": 20, "sensitivity": 1}
UNKNOWN = "00000000-0000-8000-8000-000000000000"


def held(caller: Caller, **body: Any) -> str:  # noqa: ANN401
    """A hold; its id."""
    response = caller.allocate(mode="reserve", **body)
    assert response.status_code == 200, response.text
    identity: str = response.json()["allocation_id"]
    return identity


# Commits of fewer repetitions than were held.


def test_repetitions_that_were_not_run_are_given_back(engine: Caller) -> None:
    """By every filter that would have charged each by itself; what they gave back is told."""
    identity = held(engine, event=TEN_LAPLACES)
    assert engine.state().spent == "1"
    committed = engine.settle(identity, "commit", steps=3)
    assert committed.status_code == 200, committed.text
    answer = committed.json()
    assert (answer["state"], answer["exact"]["allocated_epsilon"]) == ("committed", "1")
    assert answer["given_back"]["basic"] == {"epsilon": "0.7", "delta": "0"}
    assert float(answer["given_back"]["renyi"]["renyi"]) > 0
    budget = engine.budget()
    assert (engine.state().spent, budget["held_epsilon"], budget["allocation_count"]) == ("0.3", 0, 1)


def test_a_price_of_the_whole_plan_is_not_given_back(engine: Caller) -> None:
    """Ten Gaussians cost less together than one by one: the Renyi filter gives back, basic does not."""
    event = {"kind": "self_composed", "event": GAUSSIAN, "count": 10}
    identity = held(engine, event=event, delta="0.000001")
    before = engine.budget()["filters"]
    back = engine.settle(identity, "commit", steps=4).json()["given_back"]
    after = engine.budget()["filters"]
    assert back["basic"] == {"epsilon": "0", "delta": "0"}
    assert after["basic"]["spent"] == before["basic"]["spent"]
    renyi = [float(filters["renyi"]["spent"]["renyi"]) for filters in (before, after)]
    assert renyi[1] == pytest.approx(renyi[0] * 0.4)


@pytest.mark.parametrize("steps", [0, 10])
def test_none_or_all_may_have_been_run(engine: Caller, steps: int) -> None:
    """A job that never began gives back everything, one that was run whole nothing."""
    identity = held(engine, event=TEN_LAPLACES)
    assert engine.settle(identity, "commit", steps=steps).status_code == 200
    assert engine.state().spent == ("1" if steps else "0")


@pytest.mark.parametrize("steps", [-1, 11, 10**30])
def test_more_than_was_held_or_less_than_nothing_is_refused(engine: Caller, steps: int) -> None:
    """And the hold stays open."""
    identity = held(engine, event=TEN_LAPLACES)
    before = engine.state()
    assert_problem(engine.settle(identity, "commit", steps=steps), 422, "invalid_request", "steps")
    assert engine.state() == before
    assert engine.settle(identity, "commit").status_code == 200


@pytest.mark.parametrize(
    "body", [{"epsilon": "1"}, {"event": LAPLACE}, {"event": {"kind": "composed", "events": [LAPLACE]}}]
)
def test_what_is_not_repeated_is_not_divided(engine: Caller, body: dict[str, Any]) -> None:
    """A claim or a single operation has no steps; the whole can still be committed."""
    identity = held(engine, **body)
    assert_problem(engine.settle(identity, "commit", steps=1), 422, "invalid_request", "steps")
    assert engine.settle(identity, "commit").status_code == 200


def test_a_partial_commit_repeated_is_a_replay_and_another_one_is_refused(engine: Caller) -> None:
    """So is a confirmation that says nothing of steps; nothing is given back twice."""
    identity = held(engine, event=TEN_LAPLACES)
    first = engine.settle(identity, "commit", steps=3)
    before = engine.state()
    for again in (engine.settle(identity, "commit", steps=3), engine.settle(identity, "commit")):
        assert again.headers["idempotency-replayed"] == "true"
        assert again.json() == first.json()
    assert_problem(engine.settle(identity, "commit", steps=2), 409, "conflict")
    assert_problem(engine.settle(identity, "void"), 409, "conflict")
    assert engine.state() == before


def test_to_confirm_what_was_spent_at_once_gives_nothing_back(engine: Caller) -> None:
    """Its only entry is its beginning, whichever way that was read."""
    spent = engine.allocate(epsilon="0.5")
    confirmed = engine.settle(spent.json()["allocation_id"], "commit")
    assert confirmed.status_code == 200, confirmed.text
    assert "given_back" not in confirmed.json()
    assert engine.state().spent == "0.5"


def test_a_commit_of_the_whole_is_not_cut_short_afterwards(engine: Caller) -> None:
    """Whoever has said that all was run cannot take it back."""
    identity = held(engine, event=TEN_LAPLACES)
    engine.settle(identity, "commit")
    assert_problem(engine.settle(identity, "commit", steps=3), 409, "conflict")
    consumed = engine.allocate(event=TEN_LAPLACES).json()["allocation_id"]
    assert_problem(engine.settle(consumed, "commit", steps=3), 409, "conflict")
    assert engine.state().spent == "2"


# Expiry.


async def wait(live: Live) -> None:
    """Lets a second of the database's own time pass."""
    connection = await asyncpg.connect(live.admin_url)
    await connection.execute("SELECT pg_sleep(1.1)")
    await connection.close()


async def old_hold(store: PostgresLedgerStore) -> tuple[str, str]:
    """A tenant and a hold of (1, 0) whose time passed long ago, though nobody has said so."""
    first = opened(new_name("tenant"))
    hold = spent(first, asked(first.tenant_id, "1", ttl=60))
    await store.append([first, hold])
    assert hold.allocation_id is not None
    return first.tenant_id, hold.allocation_id


def test_a_hold_does_not_expire_before_its_time(engine: Caller) -> None:
    """Refused, and it can still be ended either way."""
    identity = held(engine, epsilon="1")
    before = engine.state()
    assert "has not run out" in assert_problem(engine.settle(identity, "expire"), 409, "conflict")["detail"]
    assert engine.state() == before
    assert engine.settle(identity, "void").status_code == 200


async def test_a_hold_whose_time_has_passed_expires_once_and_stays_spent(
    live: Live, postgres: PostgresLedgerStore
) -> None:
    """Whoever says so, and whatever is tried afterwards."""
    tenant, identity = await old_hold(postgres)
    engine = live.caller(tenant)
    expired = engine.settle(identity, "expire")
    assert expired.status_code == 200, expired.text
    assert expired.json()["state"] == "expired_spent"
    budget = engine.budget()
    assert (budget["used_epsilon"], budget["held_epsilon"], budget["allocation_count"]) == (1, 0, 1)
    assert engine.settle(identity, "expire").headers["idempotency-replayed"] == "true"
    for end, body in (("void", {}), ("commit", {}), ("commit", {"steps": 0})):
        assert_problem(engine.settle(identity, end, **body), 409, "conflict")
    assert engine.state().seq == 3


async def test_steps_are_not_given_back_after_the_holds_time(live: Live, engine: Caller) -> None:
    """Fail closed, as for a void, whether the sweeper has said so or not yet."""
    identity = held(engine, event=TEN_LAPLACES, ttl_seconds=1)
    await wait(live)
    assert_problem(engine.settle(identity, "commit", steps=3), 409, "conflict")
    assert engine.state().spent == "1"


def test_only_who_may_spend_ends_allocations(live: Live, engine: Caller) -> None:
    """A reader may not; a platform engine may, for the tenant that it names."""
    identity = held(engine, event=TEN_LAPLACES)
    for end in ("commit", "expire", "void"):
        assert_problem(live.caller(engine.tenant, "viewer").settle(identity, end), 403, "forbidden")
    platform = live.caller("*", "engine", engine="text")
    assert_problem(platform.settle(identity, "expire"), 422, "invalid_request", "tenant_id")
    assert_problem(platform.settle(identity, "expire", tenant_id=engine.tenant), 409, "conflict")
    assert platform.settle(identity, "commit", tenant_id=engine.tenant, steps=1).status_code == 200
    assert_problem(engine.settle(UNKNOWN, "expire"), 404, "not_found", "allocation_id")


# Adjustments.


@pytest.fixture
def operator(live: Live) -> Iterator[SigningKey]:
    """An operator whose public key the service knows for the time of a test."""
    key = SigningKey.generate()
    with installed(live, key):
        yield key


class installed:  # noqa: N801 - reads as a sentence
    """Puts keys, or whatever else, where the service looks for its operators'."""

    def __init__(self, live: Live, *keys: SigningKey, text: str | None = None) -> None:
        self._file: Path = live.service.settings.operator_keys_file
        self._text = json.dumps({"keys": [key.public_jwk for key in keys]}) if text is None else text

    def __enter__(self) -> None:
        self._file.write_text(self._text)

    def __exit__(self, *_: object) -> None:
        self._file.unlink()


def statement(key: SigningKey, tenant: str, allocation: str, **changes: Any) -> str:  # noqa: ANN401
    """An operator's signed word that nothing of that allocation was released; a member that is None is left out."""
    said = {
        "tenant_id": tenant,
        "allocation_id": allocation,
        "reason": "the job crashed before it read anything",
        "evidence": "ticket 17",
        "at": datetime.now(UTC).isoformat(),
    } | changes
    return key.sign(json.dumps({name: value for name, value in said.items() if value is not None}).encode())


def adjust(caller: Caller, allocation: str, signed: str, **body: Any) -> httpx.Response:  # noqa: ANN401
    """Asks to adjust."""
    return caller.settle(allocation, "adjust", statement=signed, **body)


async def test_an_operators_signed_word_takes_an_ended_charge_back(
    live: Live, operator: SigningKey, postgres: PostgresLedgerStore
) -> None:
    """Once; the ledger keeps the statement, and the allocation counts no longer."""
    admin = live.new("admin")
    identity = admin.allocate(epsilon="1.5", delta="0.000001").json()["allocation_id"]
    admin.allocate(epsilon="0.5")
    signed = statement(operator, admin.tenant, identity)
    adjusted = adjust(admin, identity, signed)
    assert adjusted.status_code == 200, adjusted.text
    answer = adjusted.json()
    assert (answer["state"], answer["exact"]["allocated_epsilon"]) == ("adjusted", "1.5")
    assert answer["given_back"]["basic"] == {"epsilon": "1.5", "delta": "0.000001"}
    budget = admin.budget()
    assert (budget["exact"]["used_epsilon"], budget["exact"]["lifetime_epsilon"]) == ("0.5", "0.5")
    assert budget["allocation_count"] == 1
    entry = (await postgres.allocation(admin.tenant, identity))[-1]
    assert (entry.kind, entry.details) == (EntryKind.ADJUSTED, {"statement": signed})
    again = adjust(admin, identity, statement(operator, admin.tenant, identity, reason="again"))
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == answer
    assert admin.state().spent == "0.5"


async def test_an_expired_hold_can_be_adjusted_and_an_open_one_cannot(
    live: Live, operator: SigningKey, postgres: PostgresLedgerStore
) -> None:
    """An open hold is committed or voided; only its end is adjusted, and a void has nothing left to take back."""
    tenant, identity = await old_hold(postgres)
    admin = live.caller(tenant, "admin")
    assert admin.settle(identity, "expire").status_code == 200
    back = adjust(admin, identity, statement(operator, tenant, identity)).json()["given_back"]
    assert (back["basic"]["epsilon"], admin.state().spent) == ("1", "0")
    voided = held(admin, epsilon="1")
    signed = statement(operator, tenant, voided)
    assert "still held" in assert_problem(adjust(admin, voided, signed), 409, "conflict")["detail"]
    admin.settle(voided, "void")
    assert_problem(adjust(admin, voided, statement(operator, tenant, voided)), 409, "conflict")


def test_after_a_partial_commit_the_rest_is_taken_back(live: Live, operator: SigningKey) -> None:
    """What was given back already is not given back again."""
    admin = live.new("admin")
    identity = held(admin, event=TEN_LAPLACES)
    admin.settle(identity, "commit", steps=4)
    back = adjust(admin, identity, statement(operator, admin.tenant, identity)).json()["given_back"]["basic"]
    assert (back["epsilon"], admin.state().spent) == ("0.4", "0")


def test_without_operators_nothing_is_adjusted(live: Live) -> None:
    """The refusal says how to get one; a file that is no key set refuses as well, and says nothing of its place."""
    admin = live.new("admin")
    identity = admin.allocate(epsilon="1").json()["allocation_id"]
    signed = statement(SigningKey.generate(), admin.tenant, identity)
    refused = assert_problem(adjust(admin, identity, signed), 403, "forbidden")
    assert "privacy-engine operator-key new" in refused["detail"]
    for text in ('{"keys": []}', "", "[]", '{"keys": [{"kty": "RSA"}]}', '{"keys": [1]}', "\udcff"):
        live.service.settings.operator_keys_file.write_bytes(text.encode(errors="surrogateescape"))
        refused = assert_problem(adjust(admin, identity, signed), 403, "forbidden")
        assert str(live.service.settings.folder) not in refused["detail"]
    live.service.settings.operator_keys_file.unlink()
    assert admin.state().spent == "1"


def test_a_strangers_signature_adjusts_nothing(live: Live, operator: SigningKey) -> None:
    """Nor one that was cut, changed or made for other content; whatever the claims say."""
    admin = live.new("admin")
    identity = admin.allocate(epsilon="1").json()["allocation_id"]
    good = statement(operator, admin.tenant, identity)
    header, content, signature = good.split(".")
    other = statement(operator, admin.tenant, UNKNOWN).split(".")[1]
    stranger = statement(SigningKey.generate(), admin.tenant, identity)
    for forged in (
        stranger,
        f"{header}.{other}.{signature}",
        f"{header}.{content}.{stranger.split('.')[2]}",
        f"{header}.{content}.",
        f"{header}..{signature}",
        f"{header}.{content}",
        f"{good}.{content}",
        f"{header}.{content}=.{signature}",
        "",
        "é.é.é",
    ):
        assert_problem(adjust(admin, identity, forged), 403, "forbidden")
    assert_problem(adjust(admin, identity, "x" * 8_193), 422, "invalid_request", "statement")
    assert admin.state().spent == "1"
    assert adjust(admin, identity, good).status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"tenant_id": "another"},
        {"allocation_id": UNKNOWN},
        {"reason": ""},
        {"reason": " "},
        {"reason": None},
        {"evidence": None},
        {"evidence": 17},
        {"at": "yesterday"},
        {"at": "2026-11-21T04:37:00"},
        {"at": None},
        {"extra": "more"},
    ],
)
def test_a_statement_about_something_else_is_refused(live: Live, operator: SigningKey, changes: dict[str, Any]) -> None:
    """It names this tenant and allocation, a reason, and when it was made; and nothing besides."""
    admin = live.new("admin")
    identity = admin.allocate(epsilon="1").json()["allocation_id"]
    signed = statement(operator, admin.tenant, identity, **changes)
    assert_problem(adjust(admin, identity, signed), 422, "invalid_request", "statement")
    assert_problem(adjust(admin, identity, operator.sign(b"no JSON")), 422, "invalid_request", "statement")
    assert admin.state().spent == "1"


def test_an_adjustment_takes_an_administrator_beside_the_operator(live: Live, operator: SigningKey) -> None:
    """Of that tenant; and an allocation that there is."""
    admin = live.new("admin")
    identity = admin.allocate(epsilon="1").json()["allocation_id"]
    signed = statement(operator, admin.tenant, identity)
    for caller in (live.caller(admin.tenant, "engine"), live.caller(admin.tenant, "auditor"), live.new("admin")):
        wrong = adjust(caller, identity, signed)
        assert wrong.status_code in (403, 422), wrong.text
    assert_problem(adjust(live.caller("*", "engine"), identity, signed, tenant_id=admin.tenant), 403, "forbidden")
    assert_problem(
        adjust(admin, UNKNOWN, statement(operator, admin.tenant, UNKNOWN)), 404, "not_found", "allocation_id"
    )
    assert admin.state().spent == "1"


async def test_what_an_earlier_window_counted_falls_in_the_lifetime_alone(
    live: Live, operator: SigningKey, postgres: PostgresLedgerStore
) -> None:
    """The present window never counted it."""
    first = opened(new_name("tenant"), now=datetime.now(UTC) - timedelta(days=1, hours=2))
    (renewing,) = decide_budget(
        first, SetBudget(first.tenant_id, first.budget, "admin", renewal_days=1, renewal_stated=True), first.at
    ).entries
    charged = spent(renewing, asked(first.tenant_id, "2"), first.at + timedelta(hours=1))
    await postgres.append([first, renewing, charged])
    admin = live.caller(first.tenant_id, "admin")
    admin.allocate(epsilon="1")
    assert charged.allocation_id is not None
    adjusted = adjust(admin, charged.allocation_id, statement(operator, first.tenant_id, charged.allocation_id))
    assert adjusted.status_code == 200, adjusted.text
    budget = admin.budget()
    assert (budget["used_epsilon"], budget["lifetime_epsilon"], budget["allocation_count"]) == (1, 1, 1)


async def test_what_a_first_window_took_over_falls_in_it(live: Live, operator: SigningKey) -> None:
    """A budget that begins to renew counts in its first window all that it had spent before."""
    admin = live.new("admin", epsilon="4", delta="0")
    identity = admin.allocate(epsilon="1").json()["allocation_id"]
    admin.put_budget(epsilon="4", renewal_days=1)
    adjust(admin, identity, statement(operator, admin.tenant, identity))
    budget = admin.budget()
    assert (budget["used_epsilon"], budget["lifetime_epsilon"]) == (0, 0)


# Legal holds and refusals.


def test_a_legal_hold_is_placed_and_lifted_by_an_administrator(live: Live) -> None:
    """Both are entries; what is so already writes nothing, and spending goes on."""
    admin = live.new("admin", epsilon="4", delta="0")
    path = f"{PREFIX}/budget/{admin.tenant}/legal-hold"
    placed = admin.request("PUT", path, json={"in_force": True, "reason": "a lawsuit"})
    assert placed.status_code == 200, placed.text
    assert placed.json() == admin.budget()
    assert admin.budget()["legal_hold"] is True
    before = admin.state()
    assert admin.request("PUT", path, json={"in_force": True, "reason": "again"}).status_code == 200
    assert admin.state() == before
    admin.allocate(epsilon="1")
    assert admin.budget()["legal_hold"] is True
    admin.request("PUT", path, json={"in_force": False, "reason": "settled"})
    assert admin.budget()["legal_hold"] is False


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "in_force"),
        ({"in_force": True}, "reason"),
        ({"in_force": True, "reason": ""}, "reason"),
        ({"in_force": True, "reason": "a\x00"}, "reason"),
        ({"in_force": 1, "reason": "x"}, "in_force"),
    ],
)
def test_a_legal_hold_needs_a_reason(live: Live, body: dict[str, Any], field: str) -> None:
    """Refused by field, and nothing is written."""
    admin = live.new("admin", epsilon="4", delta="0")
    before = admin.state()
    path = f"{PREFIX}/budget/{admin.tenant}/legal-hold"
    assert_problem(admin.request("PUT", path, json=body), 422, "invalid_request", field)
    assert_problem(
        live.caller(admin.tenant).request("PUT", path, json={"in_force": True, "reason": "x"}), 403, "forbidden"
    )
    assert admin.state() == before


def test_refusals_are_kept_for_auditors(live: Live) -> None:
    """Latest first, with who asked for what and which scope refused; a refusal writes nothing to the ledger."""
    tenant = live.new(epsilon="1", delta="0").tenant
    engine, auditor = live.caller(tenant, engine="text"), live.caller(tenant, "auditor")
    engine.allocate(job_id="first", epsilon="1.5")
    engine.allocate({"Idempotency-Key": "k"}, job_id="second", epsilon="0.5", dataset_id="nothing")
    engine.post(BATCH, json={"allocations": [{"job_id": "third", "epsilon": "2"}, {"job_id": "fine", "epsilon": "1"}]})
    path = f"{PREFIX}/budget/{tenant}/denials"
    answer = auditor.get(path).json()
    assert answer["tenant_id"] == tenant
    denials = answer["denials"]
    assert [denial["job_id"] for denial in denials] == ["third", "second", "first"]
    first = denials[-1]
    assert datetime.now(UTC) - datetime.fromisoformat(first.pop("at")) < timedelta(minutes=5)
    assert first == {
        "outcome": "budget_exhausted",
        "scope": "tenant lifetime",
        "job_id": "first",
        "source_engine": "text",
        "actor": f"engine@{tenant}",
        "idempotency_key": "first",
        "epsilon": "1.5",
        "delta": "0",
        "ledger_seq": 1,
    }
    assert [denials[1][name] for name in ("outcome", "idempotency_key", "scope")] == ["unknown_dataset", "k", None]
    assert auditor.get(path, params={"limit": 1}).json()["denials"] == denials[:1]
    assert live.caller("*", "auditor").get(path).json()["denials"][:1] == denials[:1]
    assert live.caller(tenant, "admin").get(path).status_code == 200
    for other in (engine, live.caller(tenant, "viewer"), live.new("auditor"), live.caller("*", "engine")):
        assert_problem(other.get(path), 403, "forbidden")
    assert_problem(auditor.get(path, params={"limit": 0}), 422, "invalid_request", "limit")


def test_a_hold_and_its_void_leave_nothing_behind(engine: Caller, live: Live) -> None:
    """Held epsilon is told while the hold is open, and neither used nor lifetime keeps any of it after a void."""
    identity = held(engine, epsilon="1")
    budget = engine.budget()
    assert [budget[name] for name in ("held_epsilon", "used_epsilon", "lifetime_epsilon")] == [1, 1, 1]
    engine.settle(identity, "void")
    budget = engine.budget()
    assert [budget[name] for name in ("held_epsilon", "used_epsilon", "lifetime_epsilon")] == [0, 0, 0]


async def test_ended_in_the_ledger_means_ended_over_http(live: Live, postgres: PostgresLedgerStore) -> None:
    """Whoever wrote the end: the service reads it before it decides."""
    first = opened(new_name("tenant"))
    hold = spent(first, asked(first.tenant_id, "1", ttl=60))
    await postgres.append([first, hold, ended(hold, hold, EntryKind.VOIDED)])
    assert hold.allocation_id is not None
    assert_problem(live.caller(first.tenant_id).settle(hold.allocation_id, "expire"), 409, "conflict")
