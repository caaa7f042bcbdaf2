"""Holds around blocks of code, and training steps under one: what the real ledger says when each has ended."""

import asyncio
from collections.abc import Callable
from decimal import Decimal

import pytest

from serve_app.client import calls
from serve_app.client.engine import AsyncPrivacyEngine, PrivacyEngine
from serve_app.client.errors import (
    BudgetExhaustedError,
    CommitUnconfirmedError,
    ConflictError,
    HoldLostError,
    HoldReplayedError,
    InvalidRequestError,
)
from serve_app.client.requests import Spend, repeated
from serve_app.client.steps import PlanExhaustedError
from tests.integration.relay import relaying
from tests.integration.test_client_engine import QUICK, address, token_of
from tests.support import Caller, Live

STEP = {"kind": "laplace", "scale": "10", "sensitivity": "1"}
"""Costs an epsilon of 0.1."""
TENTH = Spend(job_id="j", epsilon="0.1")


class BrokenError(Exception):
    """Something in a block went wrong."""


def standing(engine: Caller) -> tuple[str, str]:
    """What the tenant has used, and what of that is only held."""
    exact = engine.budget()["exact"]
    return exact["used_epsilon"], exact["held_epsilon"]


def test_a_block_that_ends_well_commits(live: Live, engine: Caller) -> None:
    """Held before it runs, committed when it is left; or earlier, where the block says so."""
    with PrivacyEngine(address(live), token_of(engine)) as ours:
        with ours.reserve(TENTH) as hold:
            assert standing(engine) == ("0.1", "0.1")
            hold.reading()
        assert standing(engine) == ("0.1", "0")
        with ours.reserve(Spend(job_id="j", event=repeated(STEP, 5))) as hold:
            assert hold.commit(steps=2).given_back.epsilon == Decimal("0.3")
            assert standing(engine) == ("0.3", "0")
        assert standing(engine) == ("0.3", "0")


def test_a_block_that_is_denied_does_not_run(live: Live, engine: Caller) -> None:
    """The denial comes out of the ``with`` itself."""
    ran = False
    with PrivacyEngine(address(live), token_of(engine)) as ours, pytest.raises(BudgetExhaustedError):
        with ours.reserve(Spend(job_id="j", epsilon="50")):
            ran = True
    assert not ran


@pytest.mark.parametrize(
    ("said", "after", "note"),
    [
        (["nothing_read"], ("0", "0"), "is taken back"),
        ([], ("0.1", "0.1"), "counts as spent"),
        (["reading"], ("0.1", "0.1"), "counts as spent"),
        (["nothing_read", "reading"], ("0.1", "0.1"), "counts as spent"),
    ],
)
async def test_an_exception_takes_a_hold_back_only_on_a_statement(
    live: Live, said: list[str], after: tuple[str, str], note: str
) -> None:
    """Voided where nothing was read by the block's own word; else left to be spent. The exception tells which."""
    one, other = live.new(), live.new()
    with PrivacyEngine(address(live), token_of(one)) as ours:
        with pytest.raises(BrokenError) as broken, ours.reserve(TENTH) as hold:  # noqa: PT012
            for word in said:
                getattr(hold, word)()
            raise BrokenError
    async with AsyncPrivacyEngine(address(live), token_of(other)) as theirs:
        with pytest.raises(BrokenError) as also_broken:  # noqa: PT012
            async with theirs.reserve(TENTH) as async_hold:
                for word in said:
                    getattr(async_hold, word)()
                raise BrokenError
    for error, engine in ((broken, one), (also_broken, other)):
        assert standing(engine) == after
        assert note in error.value.__notes__[0]


def test_a_statement_cannot_follow_the_reading(live: Live, engine: Caller) -> None:
    """Nobody can say any more that nothing was read; nor is there anything to say before, or a second time."""
    with PrivacyEngine(address(live), token_of(engine)) as ours:
        hold = ours.reserve(TENTH)
        with pytest.raises(RuntimeError, match="nothing is held yet"):
            _ = hold.allocation
        with hold:
            hold.reading()
            with pytest.raises(RuntimeError, match="data was read"):
                hold.nothing_read()
        with pytest.raises(RuntimeError, match="a hold is for one block"):
            hold.__enter__()


def test_a_commit_that_nobody_confirms_counts_as_spent(live: Live, engine: Caller) -> None:
    """The error says so, names the hold, and what to do; the ledger agrees."""
    with relaying(address(live)) as relay, PrivacyEngine(relay.base_url, token_of(engine), retries=QUICK) as ours:
        relay.skip, relay.lose = 1, QUICK.attempts
        with pytest.raises(CommitUnconfirmedError, match="will count as spent in any case") as unconfirmed:
            with ours.reserve(TENTH) as hold:
                hold.nothing_read()
        assert standing(engine)[0] == "0.1"
        assert ours.commit(unconfirmed.value.allocation_id).state == "committed"


def test_a_void_that_nobody_confirms_is_told(live: Live, engine: Caller) -> None:
    """The exception that was on its way stays the one that is raised."""
    with relaying(address(live)) as relay, PrivacyEngine(relay.base_url, token_of(engine), retries=QUICK) as ours:
        relay.skip, relay.lose = 1, QUICK.attempts
        with pytest.raises(BrokenError) as broken, ours.reserve(TENTH) as hold:  # noqa: PT012
            hold.nothing_read()
            raise BrokenError
    assert "could not be taken back, so it counts as spent" in broken.value.__notes__[0]


def expire(ours: PrivacyEngine, allocation_id: str) -> None:
    """Says that the hold's time has passed, until it has."""
    while True:
        try:
            ours.send(calls.expire(allocation_id))
        except ConflictError:
            continue
        return


def test_a_hold_whose_time_runs_out_in_the_block_is_spent_and_told(live: Live, engine: Caller) -> None:
    """The block's commit comes too late; what it computed may not be published before somebody has looked."""
    with PrivacyEngine(address(live), token_of(engine)) as ours:
        with pytest.raises(HoldLostError, match="Publish nothing") as lost:
            with ours.reserve(TENTH, ttl_seconds=1) as hold:
                expire(ours, hold.allocation.allocation_id)
        assert lost.value.allocation_id == hold.allocation.allocation_id
        assert standing(engine) == ("0.1", "0")


def test_a_hold_that_was_made_before_pays_for_no_second_reading(live: Live, engine: Caller) -> None:
    """By a key of one's own an old hold comes back, which may have ended: the block does not run."""
    with PrivacyEngine(address(live), token_of(engine)) as ours:
        with ours.reserve(TENTH, key="mine"):
            pass
        with pytest.raises(HoldReplayedError, match="new key"), ours.reserve(TENTH, key="mine"):
            raise AssertionError("the block ran")
    assert standing(engine) == ("0.1", "0")


def test_a_commit_that_cannot_be_divided_leaves_the_hold_as_it_was(live: Live, engine: Caller) -> None:
    """A bare epsilon has no steps; the block goes on, and commits it whole."""
    with PrivacyEngine(address(live), token_of(engine)) as ours, ours.reserve(TENTH) as hold:
        with pytest.raises(InvalidRequestError):
            hold.commit(steps=3)
        assert standing(engine) == ("0.1", "0.1")
    assert standing(engine) == ("0.1", "0")


@pytest.mark.parametrize(("said", "after"), [("nothing_read", ("0", "0")), ("reading", ("0.1", "0.1"))])
async def test_a_cancelled_block_takes_back_only_what_was_not_read(
    live: Live, engine: Caller, said: str, after: tuple[str, str]
) -> None:
    """As any other exception; who cancels does not wait for the network, closing the engine does."""
    in_block = asyncio.Event()
    async with AsyncPrivacyEngine(address(live), token_of(engine)) as ours:

        async def work() -> None:
            async with ours.reserve(TENTH) as hold:
                getattr(hold, said)()
                in_block.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await in_block.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert standing(engine) == after


async def test_who_is_cancelled_before_the_block_gives_back_what_it_held(live: Live, engine: Caller) -> None:
    """The hold is made, its answer is on the way, nobody waits for it any more: nothing was read, so it is voided."""
    with relaying(address(live)) as relay:
        relay.lose, relay.hang = 1, True
        async with AsyncPrivacyEngine(relay.base_url, token_of(engine), retries=QUICK) as ours:

            async def work() -> None:
                async with ours.reserve(TENTH):
                    raise AssertionError("the block ran")

            task = asyncio.create_task(work())
            await asyncio.to_thread(relay.lost.wait)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert standing(engine) == ("0.1", "0.1")
            relay.go_on.set()
    assert standing(engine) == ("0", "0")


async def test_a_commit_goes_on_when_its_caller_is_cancelled(live: Live, engine: Caller) -> None:
    """The block had ended well; closing the engine waits until it is committed."""
    with relaying(address(live)) as relay:
        relay.skip, relay.lose, relay.hang = 1, 1, True
        async with AsyncPrivacyEngine(relay.base_url, token_of(engine), retries=QUICK) as ours:

            async def work() -> None:
                async with ours.reserve(Spend(job_id="j", event=repeated(STEP, 3))) as hold:
                    await hold.commit(steps=1)

            task = asyncio.create_task(work())
            await asyncio.to_thread(relay.lost.wait)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            relay.go_on.set()
    assert standing(engine) == ("0.1", "0")


@pytest.mark.parametrize("begun", [0, 1, 4, 5])
@pytest.mark.parametrize("fails", [False, True])
def test_steps_are_charged_as_they_were_begun(live: Live, engine: Caller, begun: int, fails: bool) -> None:
    """The whole plan is held before the first; at the end, or at an exception, the ledger counts those begun."""
    seen: list[int] = []
    with PrivacyEngine(address(live), token_of(engine)) as ours:

        @ours.private_steps(Spend(job_id="training", event=STEP), steps=5)
        def step(number: int, *, last: bool) -> int:
            seen.append(number)
            if last and fails:
                raise BrokenError
            return number + 1

        def train() -> None:
            with step:
                assert standing(engine) == ("0.5", "0.5")
                for number in range(begun):
                    assert step(number, last=number == begun - 1) == number + 1

        _ended(train, fails and begun > 0)
    assert seen == list(range(begun))
    assert step.begun == begun
    assert Decimal(standing(engine)[0]) == begun * Decimal("0.1")
    assert standing(engine)[1] == "0"


def _ended(work: Callable[[], None], fails: bool) -> None:
    if fails:
        with pytest.raises(BrokenError):
            work()
    else:
        work()


def test_a_step_beyond_the_plan_or_outside_of_it_does_not_run(live: Live, engine: Caller) -> None:
    """It is refused before it can read anything, and the plan is charged whole."""
    seen: list[int] = []
    with PrivacyEngine(address(live), token_of(engine)) as ours:
        step = ours.private_steps(Spend(job_id="training", event=STEP), steps=2)(seen.append)
        with pytest.raises(RuntimeError, match="in a block"):
            step(0)
        with step:
            with pytest.raises(RuntimeError, match="in a block already"):
                step.__enter__()
            step(1)
            step(2)
            with pytest.raises(PlanExhaustedError, match="All 2 planned steps"):
                step(3)
        with pytest.raises(RuntimeError, match="in a block"):
            step(4)
    assert seen == [1, 2]
    assert standing(engine) == ("0.2", "0")


async def test_steps_that_are_awaited_count_when_they_are_begun(live: Live, engine: Caller) -> None:
    """Three begun, the third cancelled: three charged; a second block holds anew."""
    started = asyncio.Event()
    async with AsyncPrivacyEngine(address(live), token_of(engine)) as ours:

        @ours.private_steps(Spend(job_id="training", event=STEP), steps=5)
        async def step(number: int) -> int:
            if number == 2:
                started.set()
                await asyncio.Event().wait()
            return number

        async def train() -> None:
            async with step:
                for number in range(3):
                    await step(number)

        task = asyncio.create_task(train())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await ours.close()
        assert standing(engine) == ("0.3", "0")
    async with AsyncPrivacyEngine(address(live), token_of(engine)) as again:
        other = again.private_steps(Spend(job_id="training", event=STEP), steps=2)(lambda: None)
        async with other:
            other()
        assert standing(engine) == ("0.4", "0")


def test_a_failing_step_is_told_before_a_failing_commit(live: Live, engine: Caller) -> None:
    """The exception of the training is raised; what became of the hold stands in its note."""
    with relaying(address(live)) as relay, PrivacyEngine(relay.base_url, token_of(engine), retries=QUICK) as ours:

        @ours.private_steps(Spend(job_id="training", event=STEP), steps=2)
        def step() -> None:
            raise BrokenError

        relay.skip, relay.lose = 1, QUICK.attempts
        with pytest.raises(BrokenError) as broken, step:
            step()
    assert "will count as spent in any case" in broken.value.__notes__[0]
