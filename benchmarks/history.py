"""What a long history costs: a tenant with a million entries beside one with a thousand.

Both histories are written by the owner that the service itself runs, so they are ledgers like any other; the long one
takes about two minutes, and Postgres is vacuumed then: what it does after a million inserts is not the cost of having
them. Then, in turn: a fresh owner that knows nothing opens each tenant and allocates once (cold open); the running
service takes allocations for each; and it tells each budget. A round goes there and back, short, long, long, short, so
that a machine that slows down or speeds up does so for both.

    python -m benchmarks.history
"""

import asyncio
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, astuple, dataclass, replace
from decimal import Decimal
from statistics import median

import asyncpg
import httpx
import uvloop

from accounting.admission import Allocate, Verdict
from accounting.ledger.postgres import PostgresLedgerStore
from accounting.storage.migrate import prepare_database
from benchmarks.command import run
from benchmarks.findings import Findings, Goal, at_least, at_most
from benchmarks.load import EPSILON
from benchmarks.report import layout
from benchmarks.rounds import Plan, Say, Shot, fire
from benchmarks.services import Target
from deployments.budget.owner import BudgetOwner, OwnerSettings
from serve_app.auth.policy import Role
from serve_app.auth.principal import Principal
from serve_app.config import Settings
from serve_app.routes.allocation_request import read_allocation
from serve_app.schemas import AllocateBody

SHORT, LONG = 1_000, 1_000_000
COLD_OPENS = 15
"""Of each tenant in a round; the median of their times counts."""
READS = 100
"""How often a round asks for each budget, one request after the other; the median of their times counts."""
TOLERANCE = 0.10

_WRITTEN_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True)
class Figures:
    """What one round measured of one tenant.

    Attributes:
        cold_open_ms: From a fresh owner's first request to its answer.
        allocations_per_second: Of the running service, under the plan's load.
        alone_ms: Median latency of a single caller's allocations.
        read_ms: Median latency of a request for the budget.
    """

    cold_open_ms: float
    allocations_per_second: float
    alone_ms: float
    read_ms: float


Pair = tuple[Figures, Figures]
"""The figures of one round: the short history's and the long one's."""


def measure(target: Target, plan: Plan, say: Say) -> Findings:
    """Run the benchmark against a running service. Arguments and errors as for `benchmarks.allocate.measure`."""
    database_url = prepare_database(target.database_url, "bench", secrets.token_hex(12)).service
    run = f"bench-{secrets.token_hex(4)}"
    long = f"{run}-long"
    begun = time.monotonic()
    uvloop.run(_write(database_url, _tenant(long), LONG))
    seconds = time.monotonic() - begun
    say(f"written    {LONG:,} entries in {seconds:.0f} s")
    asyncio.run(_settle(target.database_url))
    rounds = []
    for number in range(1, plan.rounds + 1):
        # Load makes a short history long, so each pass has its own.
        shorts = [f"{run}-short-{number}-{passed}" for passed in ("there", "back")]
        for short in shorts:
            uvloop.run(_write(database_url, _tenant(short), SHORT))
        cold = uvloop.run(_open_cold(database_url, [_tenant(shorts[0]), _tenant(long)]))
        there = _figures(target, shorts[0], plan, cold[0]), _figures(target, long, plan, cold[1])
        back = _figures(target, long, plan, cold[1]), _figures(target, shorts[1], plan, cold[0])
        pair = _mean(there[0], back[1]), _mean(there[1], back[0])
        rounds.append(pair)
        say(f"round {number:<4} allocations/s: {' and '.join(f'{one.allocations_per_second:,.0f}' for one in pair)}")
    return findings(rounds, seconds)


def findings(rounds: Sequence[Pair], written_seconds: float) -> Findings:
    """Reduce the figures of all rounds to medians, and to ratios that are paired within a round.

    Args:
        rounds: The figures.
        written_seconds: What writing the long history took.
    """
    rows = [
        _row(rounds, "cold open, ms", "cold_open_ms", 2),
        _row(rounds, "allocations a second", "allocations_per_second", 0),
        _row(rounds, "allocate, one caller, p50 ms", "alone_ms", 2),
        _row(rounds, "tell the budget, p50 ms", "read_ms", 2),
    ]
    title = f"history    medians of {len(rounds)} rounds; the long one was written in {written_seconds:.0f} s"
    headers = ("history", f"{SHORT:,} entries", f"{LONG:,} entries", "ratio")
    return Findings(
        "history",
        [title, *layout(headers, [cells for cells, _ in rows])],
        [goal for _, goal in rows],
        {"written_seconds": written_seconds, "rounds": [[asdict(one) for one in pair] for pair in rounds]},
    )


def _row(rounds: Sequence[Pair], name: str, figure: str, places: int) -> tuple[tuple[str, ...], Goal]:
    """The cells of one figure, and what is wanted of it: a time may not grow, a rate not fall."""
    pairs = [(getattr(short, figure), getattr(long, figure)) for short, long in rounds]
    ratio = median(long / short for short, long in pairs)
    cells = (name, *(f"{median(pair[side] for pair in pairs):,.{places}f}" for side in (0, 1)), f"{ratio:.2f}")
    what = f"{name}: {LONG:,} to {SHORT:,} entries"
    is_rate = figure == "allocations_per_second"
    return cells, at_least(what, ratio, 1 - TOLERANCE) if is_rate else at_most(what, ratio, 1 + TOLERANCE)


def _tenant(prefix: str) -> str:
    """The name of the first tenant that `Target.tokens` makes a token for."""
    return f"{prefix}-0000"


def _figures(target: Target, prefix: str, plan: Plan, cold_open_ms: float) -> Figures:
    shot = Shot(prefix, target.url("/allocate"), target.tokens(prefix, 1))
    # The service forgets what the cold opens wrote behind its back.
    fire(shot, plan, 1)
    loaded = fire(shot, plan, plan.seconds)
    alone = fire(shot, replace(plan, concurrency=1), 1)
    times = []
    with httpx.Client(headers={"Authorization": f"Bearer {shot.tokens[0]}"}, timeout=10) as client:
        for _ in range(READS):
            begun = time.perf_counter()
            client.get(target.url(f"/{_tenant(prefix)}")).raise_for_status()
            times.append((time.perf_counter() - begun) * 1e3)
    return Figures(cold_open_ms, loaded.rps, alone.p50_ms, median(times))


def _mean(there: Figures, back: Figures) -> Figures:
    return Figures(*((one + other) / 2 for one, other in zip(astuple(there), astuple(back), strict=True)))


async def _settle(admin_url: str) -> None:
    """Has Postgres finish what it has to do after so many inserts."""
    connection = await asyncpg.connect(admin_url)
    await connection.execute("VACUUM ANALYZE")
    await connection.execute("CHECKPOINT")
    await connection.close()


async def _write(database_url: str, tenant_id: str, entries: int) -> None:
    """Brings a new tenant's history to so many entries."""
    async with _store(database_url) as store, _fresh_owner(store) as owner:
        commands = _commands(tenant_id)
        under_way: deque[asyncio.Future[Verdict]] = deque()
        # The budget's own entry is the first.
        for _ in range(entries - 1):
            under_way.append(owner.enqueue(next(commands)))
            if len(under_way) > _WRITTEN_AT_ONCE:
                await under_way.popleft()
        await asyncio.gather(*under_way)


async def _open_cold(database_url: str, tenants: Sequence[str]) -> list[float]:
    """Median milliseconds that a fresh owner takes for its first allocation, tenant by tenant."""
    times: Mapping[str, list[float]] = {tenant_id: [] for tenant_id in tenants}
    async with _store(database_url) as store:
        commands = {tenant_id: _commands(tenant_id) for tenant_id in tenants}
        for _ in range(COLD_OPENS):
            for tenant_id in tenants:
                async with _fresh_owner(store) as owner:
                    begun = time.perf_counter()
                    await owner.submit(next(commands[tenant_id]))
                    times[tenant_id].append((time.perf_counter() - begun) * 1e3)
    return [median(times[tenant_id]) for tenant_id in tenants]


@asynccontextmanager
async def _store(database_url: str) -> AsyncIterator[PostgresLedgerStore]:
    store = await PostgresLedgerStore.open(database_url)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def _fresh_owner(store: PostgresLedgerStore) -> AsyncIterator[BudgetOwner]:
    """An owner with nothing in memory, that decides as the service's own does."""
    settings = Settings()
    owner = BudgetOwner(store, OwnerSettings(settings.limits(), settings.default_budget()))
    owner.start()
    try:
        yield owner
    finally:
        await owner.stop()


def _commands(tenant_id: str) -> Iterator[Allocate]:
    """Allocations without end, each of a job of its own, made from bodies as the service makes them."""
    asker = Principal("benchmark", tenant_id, frozenset({Role.ENGINE}), "tabular", float("inf"))
    run, number = secrets.token_hex(6), 0
    while True:
        number += 1
        body = AllocateBody(job_id=f"bench-{run}-{number:012d}", epsilon=Decimal(EPSILON))
        yield read_allocation(body, asker).priced()


if __name__ == "__main__":
    run("benchmarks.history", __doc__, measure)
