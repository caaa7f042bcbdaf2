"""The engine's end against the real service: typed answers, keys that survive, batches; whatever is lost on the way."""

import asyncio
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from serve_app.client import calls
from serve_app.client.answers import Allocation, Loss
from serve_app.client.engine import AsyncPrivacyEngine, PrivacyEngine
from serve_app.client.errors import (
    BudgetExhaustedError,
    ForbiddenError,
    IdempotencyMismatchError,
    InvalidRequestError,
    OperationLimitError,
    ServiceUnreachableError,
    UnauthenticatedError,
)
from serve_app.client.requests import Apply, Plan, PlanStep, Select, Spend
from serve_app.client.retries import RetryPolicy
from tests.integration.relay import relaying
from tests.support import Caller, Live

QUICK = RetryPolicy(attempts=3, first_pause=0.01)
LAPLACE = {"kind": "laplace", "scale": 10, "sensitivity": 1}


def address(live: Live) -> str:
    """Where the service under test is."""
    return live.service.settings.base_url


def token_of(caller: Caller) -> str:
    """The token of an engine."""
    assert caller.token is not None
    return caller.token


def test_what_an_engine_does_in_a_day(live: Live, engine: Caller) -> None:
    """Every method against its route: amounts come back as exact decimals, and sum up."""
    with PrivacyEngine(address(live), token_of(engine)) as ours:
        spent = ours.allocate(Spend(job_id="j", epsilon="0.1", purpose="a count"))
        assert (spent.state, spent.charged, spent.replayed) == ("consumed", Loss(Decimal("0.1"), Decimal(0)), False)
        assert spent.balance.remaining.epsilon == Decimal("9.9")
        held = ours.hold(Spend(job_id="j", epsilon="0.2"))
        assert ours.commit(held.allocation_id).state == "committed"
        other = ours.hold(Spend(job_id="j", epsilon="0.2"), ttl_seconds=60)
        voided = ours.void(other.allocation_id)
        assert (voided.state, voided.given_back.epsilon) == ("voided", Decimal("0.2"))
        noisy = ours.apply(Apply(job_id="j", mechanism="laplace", data=[4, 5], sensitivity=1, epsilon="0.5"))
        assert isinstance(noisy.values, list)
        assert len(noisy.values) == 2
        assert noisy.charged.epsilon <= Decimal("0.5")
        chosen = ours.select(Select(job_id="j", scores=[1, 50], sensitivity=1, candidates=["a", "b"], epsilon=1))
        assert chosen.names is not None
        assert set(chosen.names) <= {"a", "b"}
        priced = ours.plan(Plan(name="p", steps=[PlanStep(step_name="s", mechanism="laplace", epsilon="0.1")]))
        assert priced.feasible
        assert {one.name for one in priced.theorems} >= {"basic", "renyi"}
        used = Decimal("0.3") + noisy.charged.epsilon + chosen.charged.epsilon
        budget = ours.budget(engine.tenant)
        assert budget.balance.used.epsilon == used
        assert (budget.held.epsilon, budget.operations) == (Decimal(0), 4)
        assert b'"certificates"' in ours.proof("j")
        assert ours.send(calls.budget(engine.tenant))["tenant_id"] == engine.tenant


async def test_the_same_for_asyncio(live: Live, engine: Caller) -> None:
    """One answer from each method."""
    async with AsyncPrivacyEngine(address(live), token_of(engine)) as ours:
        assert (await ours.allocate(Spend(job_id="j", epsilon="0.1"))).state == "consumed"
        held = await ours.hold(Spend(job_id="j", epsilon="0.1"))
        assert (await ours.commit(held.allocation_id)).state == "committed"
        noisy = await ours.apply(Apply(job_id="j", mechanism="laplace", data=4, sensitivity=1, scale=10))
        assert noisy.charged.epsilon == Decimal("0.1")
        chosen = await ours.select(Select(job_id="j", scores=[1, 2], sensitivity=1, scale=100))
        assert chosen.selected in {(0,), (1,)}
        assert (await ours.plan(Plan(name="p", event=LAPLACE))).feasible
        assert (await ours.budget(engine.tenant)).operations == 4
        assert b'"certificates"' in await ours.proof("j")
        assert (await ours.send(calls.budget(engine.tenant)))["tenant_id"] == engine.tenant
        results = await ours.allocate_many([Spend(job_id="j", epsilon="0.1"), Spend(job_id="j", epsilon="50")])
        assert [type(result) for result in results] == [Allocation, BudgetExhaustedError]


def test_refusals_have_classes_and_charge_nothing(live: Live) -> None:
    """Each of the codes that an engine meets, with what would fit."""
    engine = live.new(epsilon="1")
    with PrivacyEngine(address(live), token_of(engine)) as ours:
        with pytest.raises(BudgetExhaustedError, match="read no data") as exhausted:
            ours.allocate(Spend(job_id="j", epsilon="1.5"))
        assert exhausted.value.largest == (Decimal(1), Decimal(0))
        assert exhausted.value.scope == "tenant lifetime"
        with pytest.raises(InvalidRequestError) as invalid:
            ours.allocate(Spend(job_id="j", epsilon="-1"))
        assert invalid.value.field == "epsilon"
        ours.allocate(Spend(job_id="j", epsilon="0.1"), key="k")
        with pytest.raises(IdempotencyMismatchError, match="new key"):
            ours.allocate(Spend(job_id="j", epsilon="0.2"), key="k")
        with pytest.raises(ForbiddenError):
            ours.budget("somebody-else")
        assert ours.budget(engine.tenant).balance.used.epsilon == Decimal("0.1")
    rich = live.new(epsilon="100")
    with PrivacyEngine(address(live), token_of(rich)) as ours, pytest.raises(OperationLimitError) as limit:
        ours.allocate(Spend(job_id="j", epsilon="5"))
    assert limit.value.limit == Decimal(2)
    with PrivacyEngine(address(live), "no token") as nobody, pytest.raises(UnauthenticatedError, match="valid token"):
        nobody.allocate(Spend(job_id="j", epsilon="1"))


def test_a_token_that_expired_is_asked_for_anew(live: Live, engine: Caller) -> None:
    """Once for each call, and only where there is another one."""
    tokens = iter(["expired", token_of(engine)])
    with PrivacyEngine(address(live), lambda: next(tokens, token_of(engine))) as ours:
        assert ours.allocate(Spend(job_id="j", epsilon="0.1")).state == "consumed"
    asked: list[str] = []

    def always_the_same() -> str:
        asked.append("expired")
        return "expired"

    with PrivacyEngine(address(live), always_the_same) as ours, pytest.raises(UnauthenticatedError):
        ours.allocate(Spend(job_id="j", epsilon="0.1"))
    assert len(asked) == 2


def test_a_lost_answer_is_charged_once(live: Live, engine: Caller) -> None:
    """The client repeats with the key that it made, and learns that it is a repetition."""
    with relaying(address(live)) as relay, PrivacyEngine(relay.base_url, token_of(engine), retries=QUICK) as ours:
        relay.lose = 1
        answer = ours.allocate(Spend(job_id="j", epsilon="0.1"))
        assert answer.replayed
        assert len(relay.paths) == 2
    assert engine.state().spent == "0.1"


def test_what_was_never_answered_is_unfinished_and_charged_once(live: Live, engine: Caller, tmp_path: Path) -> None:
    """The journal keeps it until somebody answers; a denial is an answer."""
    with (
        relaying(address(live)) as relay,
        PrivacyEngine(relay.base_url, token_of(engine), journal=str(tmp_path / "journal"), retries=QUICK) as ours,
    ):
        relay.lose = QUICK.attempts
        with pytest.raises(ServiceUnreachableError) as unknown:
            ours.allocate(Spend(job_id="j", epsilon="0.1"))
        (left,) = ours.unfinished()
        assert (left.job_id, left.key) == ("j", unknown.value.key)
        ((again, answer),) = ours.resume()
        assert (again, answer["job_id"]) == (left, "j")
        assert ours.unfinished() == []
        with pytest.raises(BudgetExhaustedError):
            ours.allocate(Spend(job_id="j", epsilon="50"))
        assert ours.unfinished() == []
        assert ours.resume() == []
    assert engine.state().spent == "0.1"


async def test_a_release_is_repeated_by_its_author(live: Live, engine: Caller, tmp_path: Path) -> None:
    """The journal keeps no data, so it says which key to repeat with; then the same noise comes back, charged once."""
    count = Apply(job_id="j", mechanism="laplace", data=812, sensitivity=1, epsilon="0.5")
    with relaying(address(live)) as relay:
        async with AsyncPrivacyEngine(
            relay.base_url, token_of(engine), journal=str(tmp_path / "journal"), retries=QUICK
        ) as ours:
            relay.lose = QUICK.attempts
            with pytest.raises(ServiceUnreachableError):
                await ours.apply(count)
            ((left, answer),) = await ours.resume()
            assert answer is None
            first = await ours.apply(count, key=left.key)
            assert first.replayed
            assert ours.unfinished() == []
            assert (await ours.apply(count, key=left.key)).values == first.values
            relay.lose = QUICK.attempts
            with pytest.raises(ServiceUnreachableError):
                await ours.allocate(Spend(job_id="j", epsilon="50"))
            ((_, refusal),) = await ours.resume()
            assert isinstance(refusal, BudgetExhaustedError)
            assert ours.unfinished() == []
    assert engine.state().spent == str(first.charged.epsilon)


async def test_a_cancelled_caller_leaves_its_key_in_the_journal(live: Live, engine: Caller, tmp_path: Path) -> None:
    """It does not know whether it was charged; repeating tells, and charges nothing more."""
    with relaying(address(live)) as relay:
        relay.lose, relay.hang = 1, True
        async with AsyncPrivacyEngine(
            relay.base_url, token_of(engine), journal=str(tmp_path / "journal"), retries=QUICK
        ) as ours:
            caller = asyncio.create_task(ours.allocate(Spend(job_id="j", epsilon="0.1")))
            await asyncio.to_thread(relay.lost.wait)
            caller.cancel()
            with pytest.raises(asyncio.CancelledError):
                await caller
            relay.go_on.set()
            ((_, answer),) = await ours.resume()
            assert answer["exact"]["allocated_epsilon"] == "0.1"
            assert ours.unfinished() == []
    assert engine.state().spent == "0.1"


def test_a_process_that_is_killed_before_the_answer_is_charged_once(live: Live, engine: Caller, tmp_path: Path) -> None:
    """A real process, SIGKILLed after the charge; started again it repeats with the key that it had written down."""
    journal = str(tmp_path / "journal")

    def start(url: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "tests.integration.crashing_engine", url, token_of(engine), journal]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])

    with relaying(address(live)) as relay:
        relay.lose, relay.hang = 1, True
        first = start(relay.base_url)
        assert relay.lost.wait(60)
        first.kill()
        assert first.communicate()[0] == ""
    assert engine.state().spent == "0.5"
    second = start(address(live))
    said, _ = second.communicate(timeout=60)
    assert second.returncode == 0
    state = engine.state()
    assert state.spent == "0.5"
    assert len(said.split()) == 1
    assert Path(journal).read_text().count('"begun"') == 1


def test_many_are_charged_in_few_calls_each_with_its_own_outcome(live: Live, engine: Caller) -> None:
    """Order kept; what does not fit is refused alone; one that nobody can read spoils none."""
    small = [Spend(job_id=f"j{at}", epsilon="0.001") for at in range(1_100)]
    wrong = Spend(job_id="j", epsilon="0.001", source_engine="no engine of ours")
    with relaying(address(live)) as relay, PrivacyEngine(relay.base_url, token_of(engine), retries=QUICK) as ours:
        relay.lose = 1
        results = ours.allocate_many([*small, Spend(job_id="j", epsilon="50")])
        assert len(relay.paths) == 3
        assert [one.job_id for one in results if isinstance(one, Allocation)] == [one.job_id for one in small]
        assert isinstance(results[-1], BudgetExhaustedError)
        outcomes = ours.allocate_many([small[0], wrong, small[1]])
        assert [type(one) for one in outcomes] == [Allocation, InvalidRequestError, Allocation]
        assert ours.allocate_many([]) == []
    assert engine.state().spent == "1.102"


async def test_what_is_asked_concurrently_goes_together(live: Live, engine: Caller) -> None:
    """Few calls for many callers; each has its own answer or error, and a cancelled one takes no other with it."""
    with relaying(address(live)) as relay:
        async with AsyncPrivacyEngine(relay.base_url, token_of(engine)) as ours, ours.batching() as batch:
            callers = [
                asyncio.create_task(batch.allocate(Spend(job_id=f"j{at}", epsilon="50" if at == 7 else "0.01")))
                for at in range(200)
            ]
            callers[3].cancel()
            results = await asyncio.gather(*callers, return_exceptions=True)
            again = await asyncio.gather(
                *(batch.allocate(Spend(job_id="j", epsilon="0.01"), key="k") for _ in range(3))
            )
        assert len(relay.paths) <= 5
    assert isinstance(results[3], asyncio.CancelledError)
    assert isinstance(results[7], BudgetExhaustedError)
    others = [one for at, one in enumerate(results) if at not in (3, 7)]
    assert [one.job_id for one in others if isinstance(one, Allocation)] == [
        f"j{at}" for at in range(200) if at not in (3, 7)
    ]
    assert len({one.allocation_id for one in again}) == 1
    assert engine.state().spent == "1.99"


async def test_a_caller_that_is_cancelled_in_flight_takes_no_other_with_it(live: Live, engine: Caller) -> None:
    """Its allocation may be charged; the others, and those who come later, are answered."""
    with relaying(address(live)) as relay:
        relay.lose, relay.hang = 1, True
        async with AsyncPrivacyEngine(relay.base_url, token_of(engine), retries=QUICK) as ours:
            batch = ours.batching()
            callers = [asyncio.create_task(batch.allocate(Spend(job_id=f"j{at}", epsilon="0.1"))) for at in range(3)]
            await asyncio.to_thread(relay.lost.wait)
            later = asyncio.create_task(batch.allocate(Spend(job_id="later", epsilon="0.1")))
            callers[1].cancel()
            relay.go_on.set()
            results = await asyncio.gather(*callers, later, return_exceptions=True)
            await batch.close()
            with pytest.raises(RuntimeError, match="has ended"):
                await batch.allocate(Spend(job_id="j", epsilon="0.1"))
    kinds = [type(one) for one in results]
    assert kinds == [Allocation, asyncio.CancelledError, Allocation, Allocation]
    assert engine.state().spent == "0.4"
