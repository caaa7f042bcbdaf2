"""The owner of the budgets is killed with SIGKILL under load: what is lost, what is counted twice, how long it is away.

Clients allocate without pause, and repeat a request with the same key until it is answered, as engines do. Every round
kills all replicas of the budget's deployment at once. Afterwards the ledger is compared with what the clients know.

    python -m benchmarks.killed
"""

import asyncio
import secrets
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import count
from statistics import median

import asyncpg
import httpx
import psutil

from accounting.ledger.entry import entry_from_body
from benchmarks.command import run
from benchmarks.findings import Findings, at_most
from benchmarks.load import EPSILON, LoadError
from benchmarks.report import layout
from benchmarks.rounds import Plan, Say
from benchmarks.services import Target

CLIENTS = 8
"""Each with a tenant of its own. Few, since what they send while nobody answers keeps the machine from the restart."""
PAUSE_SECONDS = 0.02
BEFORE_SECONDS = AFTER_SECONDS = 2.0
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Kill:
    """What came of one kill.

    Attributes:
        acknowledged: Allocations that were answered with a success, before and after.
        lost: Of these, how many the ledger does not hold.
        twice: Operations in the tenants' balances beyond one for each key.
        back_seconds: From the kill to the first success of a request that was sent after it.
        all_back_seconds: From the kill until every tenant has had one.
    """

    acknowledged: int
    lost: int
    twice: int
    back_seconds: float
    all_back_seconds: float


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the ledger holds of a tenant: the keys of its allocations, and how many its last balance counts."""

    keys: frozenset[str]
    operations: int


@dataclass(slots=True)
class Seen:
    """What the clients know: for each tenant and key that was acknowledged, when that request was sent and answered."""

    acknowledged: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    stop: bool = False

    def back(self, killed_at: float) -> dict[str, float]:
        """When each tenant had the first success of a request that was sent after the kill, of those that had one."""
        back: dict[str, float] = {}
        for (tenant_id, _), (sent_at, answered_at) in self.acknowledged.items():
            # An answer that was on its way already is not one of the service's that came back.
            if sent_at > killed_at:
                back[tenant_id] = min(back.get(tenant_id, answered_at), answered_at)
        return back


def measure(target: Target, plan: Plan, say: Say) -> Findings:
    """Run the benchmark against a running service. Arguments and errors as for `benchmarks.allocate.measure`."""
    kills = []
    for number in range(1, plan.rounds + 1):
        kill = asyncio.run(_kill_once(target))
        kills.append(kill)
        say(f"round {number:<4} SIGKILL: back after {kill.back_seconds:.2f} s")
    return findings(kills)


def findings(kills: Sequence[Kill]) -> Findings:
    """What the rounds say together: totals of what may never happen, medians of times."""
    lost, twice = sum(kill.lost for kill in kills), sum(kill.twice for kill in kills)
    back = median(kill.back_seconds for kill in kills)
    lines = [
        (
            str(number),
            f"{kill.acknowledged:,}",
            f"{kill.lost:,}",
            f"{kill.twice:,}",
            f"{kill.back_seconds:.2f}",
            f"{kill.all_back_seconds:.2f}",
        )
        for number, kill in enumerate(kills, start=1)
    ]
    headers = ("SIGKILL", "acknowledged", "lost", "counted twice", "first answer, s", "every tenant, s")
    wanted = [
        at_most("SIGKILL of the owner: acknowledged and lost", lost, 0, places=0),
        at_most("SIGKILL of the owner: counted twice", twice, 0, places=0),
        at_most("SIGKILL of the owner: s until it answers", back, 3),
    ]
    return Findings("killed", layout(headers, lines), wanted, {"kills": [asdict(kill) for kill in kills]})


def compared(seen: Seen, ledgers: Mapping[str, Ledger], killed_at: float) -> Kill:
    """Compare what the clients know with what the ledger holds.

    Args:
        seen: What the clients know. Every key they have sent was acknowledged in the end.
        ledgers: What the ledger holds, for each tenant.
        killed_at: When the replicas were killed, by the clients' clock.

    Raises:
        LoadError: A tenant has had no success since.
    """
    back = seen.back(killed_at)
    silent = ledgers.keys() - back.keys()
    if silent:
        raise LoadError(f"no answer after the kill for {', '.join(sorted(silent))}")
    return Kill(
        acknowledged=len(seen.acknowledged),
        lost=sum(key not in ledgers[tenant_id].keys for tenant_id, key in seen.acknowledged),
        twice=sum(ledger.operations - len(ledger.keys) for ledger in ledgers.values()),
        back_seconds=min(back.values()) - killed_at,
        all_back_seconds=max(back.values()) - killed_at,
    )


async def _kill_once(target: Target) -> Kill:
    prefix = f"bench-{secrets.token_hex(4)}-kill"
    tokens = target.tokens(prefix, CLIENTS)
    tenants = [f"{prefix}-{number:04d}" for number in range(CLIENTS)]
    seen = Seen()
    async with asyncio.timeout(PATIENCE_SECONDS):
        clients = [
            asyncio.create_task(_allocate(target.url("/allocate"), tenant, token, seen))
            for tenant, token in zip(tenants, tokens, strict=True)
        ]
        await asyncio.sleep(BEFORE_SECONDS)
        victims = _replicas(target.pid)
        for victim in victims:
            victim.send_signal(signal.SIGKILL)
        killed_at = time.monotonic()
        while len(seen.back(killed_at)) < CLIENTS:
            await asyncio.sleep(0.1)
        await asyncio.sleep(AFTER_SECONDS)
        seen.stop = True
        await asyncio.gather(*clients)
    return compared(seen, await _ledgers(target.database_url, tenants), killed_at)


async def _allocate(url: str, tenant_id: str, token: str, seen: Seen) -> None:
    """One client: a request after the other, each repeated until it is acknowledged."""
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(headers=headers, timeout=5) as client:
        for number in count():
            if seen.stop:
                return
            key = f"job-{number}"
            sent_at = time.monotonic()
            while not await _acknowledged(client, url, key):
                await asyncio.sleep(PAUSE_SECONDS)
                sent_at = time.monotonic()
            seen.acknowledged[tenant_id, key] = (sent_at, time.monotonic())


async def _acknowledged(client: httpx.AsyncClient, url: str, key: str) -> bool:
    try:
        return (await client.post(url, json={"job_id": key, "epsilon": EPSILON})).is_success
    except httpx.TransportError:
        return False


def _replicas(pid: int) -> list[psutil.Process]:
    """The processes of the budget's replicas.

    Raises:
        LoadError: There are none.
    """
    found = [
        process
        for process in psutil.Process(pid).children(recursive=True)
        if any("ServeReplica:budget:" in part for part in process.cmdline())
    ]
    if not found:
        raise LoadError("the budget has no replica to kill")
    return found


async def _ledgers(database_url: str, tenants: Sequence[str]) -> dict[str, Ledger]:
    connection = await asyncpg.connect(database_url)
    try:
        ledgers = {}
        for tenant_id in tenants:
            rows = await connection.fetch("SELECT body FROM prv_ledger WHERE tenant_id = $1 ORDER BY seq", tenant_id)
            entries = [entry_from_body(row["body"]) for row in rows]
            keys = frozenset(entry.idempotency_key for entry in entries if entry.idempotency_key is not None)
            ledgers[tenant_id] = Ledger(keys, entries[-1].operations)
    finally:
        await connection.close()
    return ledgers


if __name__ == "__main__":
    run("benchmarks.killed", __doc__, measure)
