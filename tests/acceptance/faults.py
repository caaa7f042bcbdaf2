"""Parts of a real service killed with SIGKILL, under a load that remembers what it was told."""

import json
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import psutil

from tests.acceptance.conftest import LiveService
from tests.acceptance.ledger_check import check
from tests.acceptance.load import Load, until

Record = Callable[[str, object], None]
BEFORE, AFTER = 300, 300
"""How many requests are acknowledged before something is killed, and after it is back."""


@asynccontextmanager
async def under_load(service: LiveService, record_property: Record) -> AsyncIterator[Load]:
    """A load at work; in the end everything that it was told is checked."""
    load = Load(service)
    async with load.running():
        await acknowledged(load, BEFORE)
        yield load
        await acknowledged(load, AFTER)
    assert load.refused, "the small budget never ran out, so overspending would not have shown"
    record_property("acknowledged", load.acknowledged)
    record_property("refused", load.refused)
    record_property("answers", json.dumps(dict(load.statuses)))
    record_property("longest_silence_seconds", round(load.longest_silence, 1))
    await check(service, load)


async def acknowledged(load: Load, more: int) -> None:
    """Waits until so many requests have been acknowledged from now on."""
    before = load.acknowledged
    await until(lambda: load.acknowledged >= before + more, f"{more} acknowledged requests")


def kill(victims: Iterable[psutil.Process]) -> set[int]:
    """Kills processes with SIGKILL; returns their numbers."""
    killed = set()
    for victim in victims:
        victim.kill()
        killed.add(victim.pid)
    assert killed, "there was nothing to kill"
    return killed


def postmaster(service: LiveService) -> list[psutil.Process]:
    """The first process of Postgres, if that answers."""
    found = service.postmaster()
    return [] if found is None else [found]


async def rays_head_killed(service: LiveService, part: str, record_property: Record) -> None:
    """Kills a part of Ray's head, and waits until nothing is left of the cluster that it was in."""
    (cluster,) = psutil.Process(service.pid).children()
    former = [cluster, *cluster.children(recursive=True)]
    killed_at = time.monotonic()
    kill(service.parts(part))
    await until(lambda: not any(process.is_running() for process in former), "the old cluster is gone")
    record_property("seconds_until_the_old_cluster_was_gone", round(time.monotonic() - killed_at, 1))


def numbers(processes: Iterable[psutil.Process]) -> set[int]:
    """Their numbers."""
    return {process.pid for process in processes}
