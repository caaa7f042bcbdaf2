"""Parts of the real service are killed with SIGKILL under load: Ray, load balancer, owners of budgets, Postgres.

Whatever dies, nothing acknowledged is lost, nothing is counted twice, no budget is overspent, nobody waits for ever,
and the service answers again by itself. How long that took is recorded (``--junitxml``), not asserted: machines differ.
"""

import asyncio
import dataclasses
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from tests.acceptance.conftest import TWO_OWNERS, LiveService
from tests.acceptance.faults import (
    AFTER,
    Record,
    acknowledged,
    kill,
    numbers,
    postmaster,
    rays_head_killed,
    under_load,
)
from tests.acceptance.ledger_check import read, verify
from tests.acceptance.load import Load, Told, until
from tests.simulation.violation import ViolationError

pytestmark = pytest.mark.cluster


async def test_both_owners_are_killed_twice(live_service: LiveService, record_property: Record) -> None:
    """With no owner left for a moment, all that they had acknowledged is in the ledger, and nothing of it twice."""
    async with under_load(live_service, record_property) as load:
        for _ in range(2):
            kill(live_service.replicas("budget"))
            await acknowledged(load, AFTER)


async def test_one_of_two_owners_is_killed(live_service: LiveService, record_property: Record) -> None:
    """The other one takes over the tenants of the first, and gives them back when it has returned."""
    async with under_load(live_service, record_property) as load:
        await until(lambda: len(live_service.replicas("budget")) == 2, "two owners")
        killed = kill(live_service.replicas("budget")[:1])
        await acknowledged(load, AFTER)
        await until(lambda: len(numbers(live_service.replicas("budget")) - killed) == 2, "another second owner")


async def test_a_rolling_update_of_the_owners(live_service: LiveService, record_property: Record) -> None:
    """A new release replaces the owners one by one while engines keep asking."""
    async with under_load(live_service, record_property):
        await until(lambda: len(live_service.replicas("budget")) == 2, "two owners")
        before = numbers(live_service.replicas("budget"))
        update = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.acceptance.redeploy"),
            *("--home", str(live_service.home)),
            *("--port", live_service.url.rpartition(":")[2]),
            *("--ray-address", live_service.ray_address),
            *("--database-url", live_service.ledger_url),
            env={**os.environ, **TWO_OWNERS},
        )
        assert await update.wait() == 0
        await until(lambda: not before & numbers(live_service.replicas("budget")), "the old owners end")


async def test_postgres_is_killed(live_service: LiveService, record_property: Record) -> None:
    """Its postmaster dies with everybody's transactions under way; it is started again and recovers."""
    async with under_load(live_service, record_property) as load:
        for _ in range(2):
            kill(postmaster(live_service))
            await until(lambda: bool(postmaster(live_service)), "another Postgres")
            await acknowledged(load, AFTER)


async def test_postgres_and_the_owners_are_killed_together(live_service: LiveService, record_property: Record) -> None:
    """Owners that find no ledger when they start answer all the same, once there is one."""
    async with under_load(live_service, record_property):
        kill([*postmaster(live_service), *live_service.replicas("budget")])


async def test_the_load_balancer_and_the_controller_are_killed(
    live_service: LiveService, record_property: Record
) -> None:
    """Ray brings both back; engines that could not connect meanwhile repeat their requests."""
    async with under_load(live_service, record_property) as load:
        kill(live_service.parts("haproxy"))
        await acknowledged(load, AFTER)
        kill(live_service.replicas("ServeController"))


async def test_the_raylet_is_killed(live_service: LiveService, record_property: Record) -> None:
    """Nobody but the supervisor brings Ray back: it replaces all of it, and leaves nothing of the old one behind.

    That the other half of Ray's head dies is in `test_training.py`.
    """
    async with under_load(live_service, record_property):
        await rays_head_killed(live_service, "raylet", record_property)
    assert (live_service.home / "last-failure").exists(), "logs of the cluster that died were not kept"


async def test_what_is_checked_here_can_fail(live_service: LiveService) -> None:
    """Each promise that is broken on purpose, in what engines were told, is found."""
    load = Load(live_service)
    async with load.running():
        await until(lambda: load.refused > 0, "a refusal")
        await acknowledged(load, AFTER)
    folds, denials = await read(live_service, load.name)
    told = list(load.told.values())
    verify(told, folds, denials)

    def first(wanted: Callable[[Told], bool]) -> int:
        return next(number for number, one in enumerate(told) if wanted(one))

    def went_on(one: Told) -> bool:
        at = max(denial["seq"] for denial in denials[one.ask.tenant, one.ask.key])
        return any(
            later.document["ledger_seq"] > at
            for later in told
            if later.status == 200 and later.ask.tenant == one.ask.tenant
        )

    granted = first(lambda one: one.status == 200 and one.ask.ends_as is None and one.ask.path.endswith("/allocate"))
    hold = first(lambda one: one.status == 200 and one.ask.ends_as == "commit")
    # One after which its tenant's history went on: otherwise no balance is newer than the one it was decided on.
    refused = first(lambda one: one.status == 402 and went_on(one))

    def changed(number: int, **changes: Any) -> list[Told]:  # noqa: ANN401 - fields
        return [*told[:number], dataclasses.replace(told[number], **changes), *told[number + 1 :]]

    def asked_otherwise(number: int, **changes: Any) -> list[Told]:  # noqa: ANN401 - fields
        return changed(number, ask=dataclasses.replace(told[number].ask, **changes))

    for broken, complaint in (
        (asked_otherwise(granted, key="another"), "not in the ledger"),
        (told[:granted] + told[granted + 1 :], "nobody was told"),
        (asked_otherwise(hold, ends_as="void"), "ended otherwise"),
        (changed(granted, document=told[granted].document | {"ledger_hash": "00" * 32}), "not there"),
        (changed(granted, first_sent=time.monotonic()), "there first"),
        (asked_otherwise(refused, key="another"), "audit log"),
        (changed(refused, sent=time.monotonic()), "old balance"),
    ):
        with pytest.raises(ViolationError, match=complaint):
            verify(broken, folds, denials)
    at_the_beginning = {key: [{**row, "seq": 2} for row in rows] for key, rows in denials.items()}
    with pytest.raises(ViolationError, match="would have fitted"):
        verify(told, folds, defaultdict(list, at_the_beginning))
