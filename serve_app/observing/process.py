"""What this process counts, and the task that hands it on once a second, and the log with it."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager

import structlog
from fastapi import FastAPI

from serve_app.logs import flush_logs
from serve_app.observing.catalogue import Metric
from serve_app.observing.meter import Meter
from serve_app.observing.tallies import Tallies

log = structlog.get_logger()

TALLIES = Tallies()
"""One for the process: a replica runs one app."""
PERIOD_SECONDS = 1.0

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def count(metric: Metric, *labels: str, by: float = 1) -> None:
    """Adds to a counter of this process."""
    TALLIES.count(metric, *labels).value += by


@contextmanager
def timed(metric: Metric, *labels: str) -> Iterator[None]:
    """Counts how long the block took, whether or not it ended well."""
    began = time.perf_counter()
    try:
        yield
    finally:
        TALLIES.spread(metric, *labels).saw(time.perf_counter() - began)


def counted(lifespan: Lifespan | None) -> Lifespan:
    """The lifespan of an app, with what it counts handed to Ray for as long as it lasts; without Ray to nobody."""

    @asynccontextmanager
    async def counting(app: FastAPI) -> AsyncIterator[None]:
        meter = ray_meter()
        task = None if meter is None else asyncio.create_task(_keep_handing_over(meter), name="metrics")
        try:
            if lifespan is None:
                yield
            else:
                async with lifespan(app):
                    yield
        finally:
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    return counting


def ray_meter() -> Meter | None:
    """The meter of this replica; None where this process is none."""
    if "ray.serve" not in sys.modules:
        return None
    from ray import serve
    from ray.serve.exceptions import RayServeException

    try:
        serve.get_replica_context()
    except RayServeException:
        return None
    from serve_app.observing.ray_meter import RayMeter

    return RayMeter()


async def _keep_handing_over(meter: Meter) -> None:
    while True:
        await asyncio.sleep(PERIOD_SECONDS)
        try:
            TALLIES.hand_over(meter)
        except Exception:
            # Nothing that is counted is worth a request.
            log.exception("metrics_not_handed_over")
        flush_logs()
