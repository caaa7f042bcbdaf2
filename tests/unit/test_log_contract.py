"""What every log promises, over the ledger in memory and in Postgres alike."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

import pytest
import pytest_asyncio

from accounting.ledger.entry import Entry
from accounting.ledger.heads import HeadStore, StoredHead
from accounting.ledger.log import EntryLog, Logged
from accounting.ledger.memory import MemoryLedgerStore
from accounting.ledger.memory_log import MemoryLog
from accounting.ledger.merkle import (
    consistency_holds,
    consistency_proof,
    inclusion_holds,
    inclusion_proof,
    leaf_hash,
    root_at,
    tree_root,
)
from accounting.ledger.store import LedgerStore
from tests.databases import new_database
from tests.ledgers import asked, opened, spent
from tests.support import new_name


@dataclass
class Ledger:
    """A store with its log, which may hold other tests' entries before those of this one.

    Attributes:
        store: Where entries are appended.
        log: Their order.
        start: Where this test's entries begin.
    """

    store: LedgerStore
    log: EntryLog
    start: int = 0

    async def take_up(self) -> list[Logged]:
        """Takes up all that is durable, and returns this test's part of the log."""
        while await self.log.sequence():
            pass
        return await self.log.read(self.start, 10_000)


@pytest_asyncio.fixture(scope="module")
async def own(admin_url: str) -> AsyncIterator[tuple[LedgerStore, EntryLog]]:
    """A database of these tests' own: elsewhere a service that runs takes up what it finds."""
    async with (await new_database(admin_url)).opened() as (store, log):
        yield store, log


@pytest.fixture(params=["memory", "postgres"])
def found(request: pytest.FixtureRequest, own: tuple[LedgerStore, EntryLog]) -> Ledger:
    """A ledger as it is found."""
    if request.param == "postgres":
        return Ledger(*own)
    store = MemoryLedgerStore()
    return Ledger(store, MemoryLog(store))


@pytest_asyncio.fixture
async def ledger(found: Ledger) -> Ledger:
    """A ledger whose log has taken up everything."""
    await found.take_up()
    found.start = await found.log.size()
    return found


@pytest_asyncio.fixture(params=["memory", "postgres"])
async def heads(request: pytest.FixtureRequest, admin_url: str) -> AsyncIterator[HeadStore]:
    """An empty log of this test's own: a head that is made up would disturb others."""
    if request.param == "memory":
        yield MemoryLog(MemoryLedgerStore())
        return
    async with (await new_database(admin_url)).opened() as (_, log):
        yield log


def history(length: int) -> list[Entry]:
    """A new tenant's entries."""
    entries = [opened(new_name("tenant"), epsilon="1000000")]
    while len(entries) < length:
        entries.append(spent(entries[-1], asked(entries[0].tenant_id, "1")))
    return entries


async def test_entries_are_taken_up_in_the_order_in_which_they_were_acknowledged(ledger: Ledger) -> None:
    """Each once, without a gap, whole, and a tenant's by seq."""
    first, second = history(3), history(2)
    for batch in (first[:2], second, first[2:]):
        await ledger.store.append(batch)
    logged = await ledger.take_up()
    assert [item.position for item in logged] == list(range(ledger.start, ledger.start + 5))
    assert [item.entry.body for item in logged] == [entry.body for entry in (*first[:2], *second, first[2])]
    assert await ledger.log.size() == ledger.start + 5


async def test_taking_up_says_how_many_and_stops_at_the_limit(ledger: Ledger) -> None:
    """One append may be cut in two by the limit; nothing is lost or doubled there."""
    entries = history(7)
    await ledger.store.append(entries)
    assert [await ledger.log.sequence(3) for _ in range(4)] == [3, 3, 1, 0]
    assert [item.entry.seq for item in await ledger.take_up()] == [1, 2, 3, 4, 5, 6, 7]


async def test_what_is_not_taken_up_yet_has_no_position(ledger: Ledger) -> None:
    """An entry gets its place when it is taken up, and an entry that does not exist never does."""
    entries = history(2)
    tenant = entries[0].tenant_id
    await ledger.store.append(entries)
    assert await ledger.log.position(tenant, 1) is None
    await ledger.take_up()
    assert [await ledger.log.position(tenant, seq) for seq in (1, 2, 3)] == [ledger.start, ledger.start + 1, None]
    assert await ledger.log.position(new_name("tenant"), 1) is None


async def test_the_log_is_read_in_pages(ledger: Ledger) -> None:
    """Pages neither overlap nor leave anything out, and past the end there is nothing."""
    await ledger.store.append(history(5))
    await ledger.take_up()
    pages = [await ledger.log.read(ledger.start + at, 2) for at in (0, 2, 4, 5, 1_000)]
    assert [[item.position - ledger.start for item in page] for page in pages] == [[0, 1], [2, 3], [4], [], []]


async def test_sequencers_at_once_are_harmless(ledger: Ledger) -> None:
    """Of several that take up the same entries, each entry is taken by one."""
    entries = [entry for _ in range(4) for entry in history(20)]
    await ledger.store.append(entries)
    taken = await asyncio.gather(*(ledger.log.sequence(30) for _ in range(6)))
    logged = await ledger.take_up()
    assert sum(taken) <= 80
    assert [item.position for item in logged] == list(range(ledger.start, ledger.start + 80))
    assert len({(item.entry.tenant_id, item.entry.seq) for item in logged}) == 80


async def test_the_stored_tree_is_the_tree_over_the_entries_hashes(ledger: Ledger) -> None:
    """At every size, however unevenly the log grew over the edges of stored nodes."""
    entries = history(600)
    sizes = []
    for at in range(0, 600, 150):
        await ledger.store.append(entries[at : at + 150])
        while await ledger.log.sequence(70):
            sizes.append(await ledger.log.size())
    leaves = await ledger.log.nodes(0, 0, sizes[-1])
    assert leaves[ledger.start :] == [leaf_hash(entry.hash) for entry in entries]
    for size in sizes:
        assert await root_at(ledger.log.nodes, size) == tree_root(leaves[:size])
    assert await ledger.log.nodes(1, 0, 10_000) == [
        tree_root(leaves[at : at + 256]) for at in range(0, len(leaves) // 256 * 256, 256)
    ]


async def test_what_the_log_proves_can_be_checked(ledger: Ledger) -> None:
    """An entry is in the log, and the log only grew."""
    entries = history(300)
    await ledger.store.append(entries[:100])
    await ledger.take_up()
    earlier = await ledger.log.size()
    await ledger.store.append(entries[100:])
    await ledger.take_up()
    later, nodes = await ledger.log.size(), ledger.log.nodes
    roots = await root_at(nodes, earlier), await root_at(nodes, later)
    assert consistency_holds(earlier, roots[0], later, roots[1], await consistency_proof(nodes, earlier, later))
    position = await ledger.log.position(entries[7].tenant_id, 8)
    assert position is not None
    proof = await inclusion_proof(nodes, position, later)
    assert inclusion_holds(leaf_hash(entries[7].hash), position, later, proof, roots[1])


async def test_a_relay_goes_on_where_it_stood_and_never_back(ledger: Ledger) -> None:
    """Each relay by its own name; an earlier position than the remembered one changes nothing."""
    relay, other = new_name("relay"), new_name("relay")
    assert await ledger.log.relayed(relay) == 0
    for position in (5, 9, 7, 9):
        await ledger.log.set_relayed(relay, position)
    assert (await ledger.log.relayed(relay), await ledger.log.relayed(other)) == (9, 0)


async def test_the_first_head_of_a_size_stays(heads: HeadStore) -> None:
    """Two publishers at once leave one head, and heads are read from the smallest on."""
    assert await heads.last_head() is None
    first, second, third = (StoredHead(size, bytes([size]) * 32, f"signed {size}") for size in (0, 7, 8))
    for head in (third, first, second, StoredHead(7, bytes(32), "another")):
        await heads.store_head(head)
    assert await heads.heads() == [first, second, third]
    assert await heads.heads(0, 1) == [second]
    assert await heads.heads(8) == []
    assert await heads.last_head() == third


async def test_a_log_has_one_name(heads: HeadStore) -> None:
    """A UUID, the same whenever it is asked for."""
    name = await heads.log_id()
    assert str(UUID(name)) == name
    assert await heads.log_id() == name
