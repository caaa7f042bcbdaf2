"""Engines that keep asking while parts of the service are killed, and that remember what they were told."""

import asyncio
import itertools
import random
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.acceptance.conftest import LiveService

BUDGET = "/api/v1/privacy/budget"
WORKERS = 12
PATIENCE_SECONDS = 120.0
"""Twice as long as the load balancer waits for an answer: who waits longer waits for ever."""
ATTEMPTS = 3
"""How often a request is repeated at once. After that it is left until the end of the load."""
EPSILON = "0.0001"
SMALL = "0.003"
"""A budget that has room for thirty operations: it runs out early, and whatever is voided is fought for."""
PARTITIONS = ("north", "south")


@dataclass(frozen=True)
class Ask:
    """Something an engine wants done, under a key of its own, so that it may be repeated.

    Attributes:
        key: Its idempotency key; for the end of a hold, a name.
        tenant: Whose budget.
        path: Where it is asked for.
        body: What is asked for.
        service_token: Whether a platform engine asks, whose token the load balancer sends to any owner, so that two
            owners are at work on one tenant.
        ends_as: For a hold: how it is to end.
    """

    key: str
    tenant: str
    path: str
    body: dict[str, Any]
    service_token: bool = False
    ends_as: str | None = None


@dataclass
class Told:
    """What an engine was told.

    Attributes:
        ask: To what.
        first_sent: When it was first asked for, in seconds of a monotonic clock.
        sent: When the request was sent that was answered.
        answered: When the answer came.
        status: Of the answer.
        document: The answer.
        replayed: Whether it said that it had been given before.
    """

    ask: Ask
    first_sent: float
    sent: float = 0.0
    answered: float = 0.0
    status: int = 0
    document: dict[str, Any] = field(default_factory=dict)
    replayed: bool = False


class Load:
    """Engines at work on tenants of their own.

    Attributes:
        told: What was answered for good, by key: acknowledged (200) or refused for want of budget (402).
        unanswered: What was left without an answer for now.
        wrong: Answers that nothing explains: neither an answer nor "come back later".
        waited_for_ever: Requests that got no answer at all in a very long time.
        statuses: Of everything that came back, the load balancer's own words included.
    """

    def __init__(self, service: LiveService, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """Does not begin yet.

        Args:
            service: Whose budgets are spent.
            transport: How requests reach it, where there is more than one way.
        """
        self.name = f"load-{uuid.uuid4().hex[:8]}"
        self.told: dict[str, Told] = {}
        self.unanswered: list[Told] = []
        self.wrong: list[str] = []
        self.waited_for_ever: list[Ask] = []
        self.statuses: Counter[str] = Counter()
        self.longest_silence = 0.0
        self._last_acknowledged = 0.0
        self._service = service
        self._chance = random.Random(self.name)
        self._stop = asyncio.Event()
        self._transport = transport
        self._http = self._client(limits=httpx.Limits(max_connections=WORKERS))
        self.tenants = [f"{self.name}-{number}" for number in range(6)]
        self.small = f"{self.name}-small"
        engines = {tenant: service.token(tenant) for tenant in (*self.tenants, self.small)}
        self._headers = {tenant: {"Authorization": f"Bearer {token}"} for tenant, token in engines.items()}
        self._any_tenant = {"Authorization": f"Bearer {service.token('*')}"}

    @property
    def acknowledged(self) -> int:
        """How many requests were acknowledged so far."""
        return sum(1 for told in self.told.values() if told.status == 200)

    @property
    def refused(self) -> int:
        """How many were refused for want of budget."""
        return len(self.told) - self.acknowledged

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Load"]:
        """The engines at work; at the end all that is unanswered is repeated until it is answered."""
        numbers = itertools.count()
        async with self._http:
            await self._prepare()
            workers = [asyncio.create_task(self._work(numbers)) for _ in range(WORKERS)]
            try:
                yield self
            finally:
                self._stop.set()
                await asyncio.gather(*workers)
            async with asyncio.timeout(PATIENCE_SECONDS):
                while self.unanswered:
                    left, self.unanswered = self.unanswered, []
                    await asyncio.gather(*(self._whole(told) for told in left))

    async def repeated(self, some: Sequence[Told]) -> list[Told]:
        """What the same requests are told now, when everything works."""
        async with self._client() as client:
            again = [Told(told.ask, time.monotonic()) for told in some]
            for told in again:
                assert await self._send(client, told), "a request was not answered although nothing is broken any more"
        return again

    def _client(self, **options: Any) -> httpx.AsyncClient:  # noqa: ANN401 - options of httpx
        return httpx.AsyncClient(
            base_url=self._service.url, timeout=PATIENCE_SECONDS, transport=self._transport, **options
        )

    async def _prepare(self) -> None:
        """The small budget; a small data set in a large one."""
        dataset: dict[str, Any] = {"epsilon": SMALL, "privacy_unit": "patient", "adjacency": "add_remove"}
        dataset |= {"partitions": list(PARTITIONS), "partition_basis": "the hospital"}
        for tenant, path, body in (
            (self.small, "", {"epsilon": SMALL, "delta": "0"}),
            (self.tenants[0], "", {"epsilon": "10", "delta": "0"}),
            (self.tenants[0], "/datasets/patients", dataset),
        ):
            headers = {"Authorization": f"Bearer {self._service.token(tenant, 'admin')}"}
            await self._put(f"{BUDGET}/{tenant}{path}", body, headers)

    async def _put(self, path: str, body: dict[str, Any], headers: dict[str, str]) -> None:
        """Asks until it is done: a node that has just started may hang up, or know of no replica yet."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                response = await self._http.put(path, json=body, headers=headers)
                if response.status_code == 200:
                    return
                told = response.text
            except httpx.TransportError as error:
                told = repr(error)
            assert time.monotonic() < deadline, told
            await asyncio.sleep(0.2)

    def _next(self, number: int) -> Ask:
        key = f"{self.name}-{number}"
        kind, service_token = number % 10, number % 3 == 0
        tenant = self.tenants[number % len(self.tenants)]
        body: dict[str, Any] = {"job_id": key, "epsilon": EPSILON, "source_engine": "tabular"}
        ends_as = None
        if kind < 2:
            tenant = self.small
        elif kind < 4:
            tenant = self.tenants[0]
            body |= {"dataset_id": "patients", "partition": PARTITIONS[number // 10 % 2]}
        if kind in (1, 3, 4, 5):
            body |= {"mode": "reserve", "ttl_seconds": 3600}
            ends_as = self._chance.choice(("commit", "void"))
        if service_token:
            body["tenant_id"] = tenant
        return Ask(key, tenant, f"{BUDGET}/allocate", body, service_token, ends_as)

    async def _work(self, numbers: Iterator[int]) -> None:
        while not self._stop.is_set():
            await self._whole(Told(self._next(next(numbers)), time.monotonic()))

    async def _whole(self, told: Told) -> None:
        """A request, and where it is a hold that was granted, its end."""
        if not await self._pursue(told) or told.status != 200 or told.ask.ends_as is None:
            return
        ask = told.ask
        path = f"{BUDGET}/allocations/{told.document['allocation_id']}/{ask.ends_as}"
        body = {"tenant_id": ask.tenant} if ask.service_token else {}
        end = Ask(f"{ask.key} {ask.ends_as}", ask.tenant, path, body, ask.service_token)
        await self._pursue(Told(end, time.monotonic()))

    async def _pursue(self, told: Told) -> bool:
        """Asks, and asks again if there was no answer, a few times; whether there was one."""
        for _ in range(ATTEMPTS):
            if await self._send(self._http, told):
                self.told[told.ask.key] = told
                return True
            await asyncio.sleep(self._chance.uniform(0.05, 0.5))
        self.unanswered.append(told)
        return False

    async def _send(self, client: httpx.AsyncClient, told: Told) -> bool:
        """One request; whether it was answered. What is no answer of the service's leaves everything open."""
        ask = told.ask
        headers = self._any_tenant if ask.service_token else self._headers[ask.tenant]
        told.sent = time.monotonic()
        try:
            response = await client.post(ask.path, json=ask.body, headers=headers)
        except httpx.TransportError as error:
            self.statuses[type(error).__name__] += 1
            if isinstance(error, httpx.ReadTimeout):
                self.waited_for_ever.append(ask)
            return False
        told.answered = time.monotonic()
        told.status = response.status_code
        told.replayed = response.headers.get("idempotency-replayed") == "true"
        if not response.headers["content-type"].endswith("json"):
            # The load balancer's own words: it has no replica, or does not know the service yet.
            self.statuses[f"{told.status} of the load balancer"] += 1
            return False
        told.document = response.json()
        self.statuses[str(told.status)] += 1
        if told.status == 200:
            self._heard(told.answered)
            return True
        code = told.document.get("code")
        if (told.status, code) == (402, "budget_exhausted"):
            return True
        if told.status != 503 or not response.headers.get("retry-after"):
            self.wrong.append(f"{ask.path} {ask.body}: {told.status} {told.document}")
        return False

    def _heard(self, now: float) -> None:
        if self._last_acknowledged:
            self.longest_silence = max(self.longest_silence, now - self._last_acknowledged)
        self._last_acknowledged = now


async def until(condition: Callable[[], bool], what: str) -> None:
    """Waits for something that must come by itself, with more patience than any machine needs."""
    try:
        async with asyncio.timeout(300):
            while not condition():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"this never came: {what}") from None
