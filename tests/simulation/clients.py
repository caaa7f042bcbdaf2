"""Clients: engines that spend, hold, commit, void and repeat themselves, and administrators that raise budgets."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal

from accounting.admission import ACCEPTED, Allocate, Verdict, allocation_id_of
from accounting.datasets import Dataset
from accounting.events import Adjacency, ClaimEvent, Event, SelfComposedEvent
from accounting.ledger.entry import Entry, EntryKind
from accounting.policy import SetBudget, SetDataset, SetLegalHold
from tests.simulation import requests
from tests.simulation.machine import Front
from tests.simulation.network import Network
from tests.simulation.requests import Answer, End, Failure, Operation, Read, Request

MOST_ATTEMPTS = 6


@dataclass(slots=True)
class Town:
    """What clients share.

    Attributes:
        front: The service.
        tenants: All tenants' names.
        left: Operations that are still to be done.
        record: Operations that are done.
        holds: Allocations that somebody holds, with their events, by tenant.
        repeatable: Requests whose keys are used, by tenant.
    """

    front: Front
    tenants: list[str]
    left: int
    record: list[Operation] = field(default_factory=list)
    holds: dict[str, list[tuple[str, Event]]] = field(default_factory=lambda: defaultdict(list))
    repeatable: dict[str, list[Allocate]] = field(default_factory=lambda: defaultdict(list))


class Client:
    """One caller with one operation at a time."""

    def __init__(self, town: Town, network: Network, number: int) -> None:
        self._town = town
        self._network = network
        self._random = network.random
        self.name = f"client-{number}"
        self._keys = 0
        chances: list[tuple[float, Callable[[str], Awaitable[None]]]] = [
            (42, self._consume),
            (18, self._hold),
            (16, self._settle),
            (7, self._repeat),
            (6, self._read),
            (4, self._do_several),
            (2, self._adapt),
            (2, self._race),
            (2, self._adjust),
            (3, self._set_budget),
            (3, self._set_dataset),
            (2, self._set_legal_hold),
        ]
        self._weights = [weight for weight, _ in chances]
        self._actions = [action for _, action in chances]

    async def run(self) -> None:
        """Does operations until enough are done."""
        town, random = self._town, self._random
        action: Callable[[str], Awaitable[None]] = self._set_dataset
        while town.left > 0:
            await action(random.choice(town.tenants))
            action = random.choices(self._actions, self._weights)[0]
            if random.random() < 0.5:
                await asyncio.sleep(random.random() * self._network.plan.thinking)

    # What they do.

    async def _consume(self, tenant: str) -> None:
        await self._spend(self._new(tenant, None))

    async def _hold(self, tenant: str) -> None:
        request = self._new(tenant, self._random.choice([1, 2, 5]))
        if _is_accepted(await self._spend(request)):
            self._town.holds[tenant].append((allocation_id_of(tenant, request.key), request.event))

    async def _race(self, tenant: str) -> None:
        """Holds, and voids at about the moment at which the hold's time has passed."""
        request = self._new(tenant, 1)
        if _is_accepted(await self._spend(request)):
            await asyncio.sleep(0.7 + 0.6 * self._random.random())
            await self._insist(End(tenant, allocation_id_of(tenant, request.key), EntryKind.VOIDED))

    async def _settle(self, tenant: str) -> None:
        """Ends a hold of anybody's, in whole or in part; at times twice, too early, or one that does not exist."""
        random = self._random
        held = self._town.holds[tenant]
        if not held and random.random() < 0.8:
            await self._hold(tenant)
            return
        identity, event = "00000000-0000-8000-8000-000000000000", requests.COMMON[0]
        if held:
            chosen = int(random.random() * len(held))
            identity, event = held[chosen]
            if random.random() < 0.7:
                held[chosen] = held[-1]
                held.pop()
        kind = random.choice([EntryKind.COMMITTED, EntryKind.COMMITTED, EntryKind.VOIDED, EntryKind.VOIDED, None])
        steps = None
        if kind is EntryKind.COMMITTED:
            divisible = isinstance(event, SelfComposedEvent)
            steps = random.choice([None, 0, 3, 8, 9] if divisible else [None] * 19 + [1])
        await self._insist(End(tenant, identity, kind or EntryKind.EXPIRED_SPENT, steps))

    async def _adjust(self, tenant: str) -> None:
        used = self._town.repeatable[tenant]
        if not used:
            await self._consume(tenant)
            return
        key = self._random.choice(used).key
        await self._insist(End(tenant, allocation_id_of(tenant, key), EntryKind.ADJUSTED, statement="signed"))

    async def _repeat(self, tenant: str) -> None:
        """Uses a key that somebody has used: for the same request, or for another."""
        used = self._town.repeatable[tenant]
        if not used:
            await self._consume(tenant)
            return
        request = self._random.choice(used)
        if self._random.random() < 0.4:
            request = requests.allocate(tenant, requests.claim("0.03"), request.key)
        await self._insist(request)

    async def _do_several(self, tenant: str) -> None:
        """Does several things at once, for the same tenant."""
        actions = [self._consume, self._hold, self._settle, self._repeat, self._set_dataset, self._set_legal_hold]
        await asyncio.gather(*(action(tenant) for action in self._random.choices(actions, k=5)))

    async def _read(self, tenant: str) -> None:
        await self._insist(Read(tenant))

    async def _adapt(self, tenant: str) -> None:
        """Reads what is left and asks for exactly that."""
        entry = await self._insist(Read(tenant))
        if isinstance(entry, Entry):
            left = entry.budget.promise.epsilon - entry.spent.basic.epsilon
            if 0 < left <= 2:
                await self._spend(requests.allocate(tenant, ClaimEvent(left, Decimal(0)), self._key()))

    async def _set_budget(self, tenant: str) -> None:
        random = self._random
        wished = requests.tenant_budget(random.choice([5, 10, 15, 20, 30, 40, 60, 100]), random.choice([1, 2, 2, 2, 4]))
        await self._insist(
            SetBudget(
                tenant,
                wished,
                "admin",
                filters_stated=random.random() < 0.2,
                renewal_days=random.choice([None, 1, 1, 3]),
                renewal_stated=random.random() < 0.5,
            )
        )

    async def _set_dataset(self, tenant: str) -> None:
        random = self._random
        partitions = random.choice([(), ("north", "south"), ("north", "south", "west")])
        adjacency = Adjacency.ADD_REMOVE if random.random() < 0.8 else Adjacency.REPLACE_ONE
        name = random.choice(requests.DATASETS[:-1])
        dataset = Dataset(name, "patient", adjacency, partitions, "the hospital's place" if partitions else "")
        await self._insist(SetDataset(tenant, dataset, requests.tenant_budget(random.choice([5, 10, 20]), 2), "admin"))

    async def _set_legal_hold(self, tenant: str) -> None:
        await self._insist(SetLegalHold(tenant, self._random.random() < 0.5, "a lawsuit", "admin"))

    # How they do it.

    def _new(self, tenant: str, ttl: int | None) -> Allocate:
        """A request that nobody has made before."""
        random = self._random
        drawn = random.random()
        event: Event = random.choice(requests.COMMON)
        if ttl is not None and drawn < 0.4:
            event = random.choice(requests.DIVISIBLE)
        elif drawn > 0.98:
            event = requests.TOO_LARGE
        elif drawn > 0.96:
            event = requests.OF_PAIRS
        dataset = random.choice(requests.DATASETS) if random.random() < 0.5 else None
        return requests.allocate(
            tenant,
            event,
            self._key(),
            ttl=ttl,
            engine=random.choice([None, "text", "healthcare"]),
            dataset=dataset,
            partition=None if dataset is None else random.choice([None, "north", "south", "west"]),
        )

    def _key(self) -> str:
        self._keys += 1
        return f"{self.name}.{self._keys}"

    async def _spend(self, request: Allocate) -> Answer | Failure:
        self._town.repeatable[request.tenant_id].append(request)
        return await self._insist(request)

    async def _insist(self, request: Request) -> Answer | Failure:
        """Asks until there is an answer; some give up sooner."""
        loop, random = self._network.loop, self._random
        invoked = loop.time()
        self._town.left -= 1
        answer: Answer | Failure = Failure.SILENCE
        attempts = 0
        patience = 1 if random.random() < 0.2 else MOST_ATTEMPTS
        while attempts < patience:
            attempts += 1
            answer = await self._town.front.ask(self.name, request)
            if not isinstance(answer, Failure):
                break
            await asyncio.sleep(0.05 * random.random() * 2**attempts)
        self._town.record.append(Operation(request, invoked, loop.time(), answer, attempts))
        return answer


def _is_accepted(answer: Answer | Failure) -> bool:
    return isinstance(answer, Verdict) and answer.outcome in ACCEPTED
