"""A real database that goes back to an older state is noticed, also when it has grown again since."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from accounting.ledger.entry import Entry
from accounting.ledger.heads import Log
from accounting.ledger.postgres_log import PostgresLog
from accounting.ledger.store import LedgerStore
from deployments.outbox.guard import Verdict, standing
from deployments.outbox.heads import publish_head
from deployments.outbox.witness import WITNESS_FILE, Witness, WitnessError
from proofs.heads import Acceptance, Head, head_of, sign_acceptance, sign_head
from proofs.signing import SigningKey
from tests.databases import Database, new_database
from tests.ledgers import asked, opened, spent
from tests.support import new_name

KEY = SigningKey.generate()
NOW = datetime(2026, 11, 21, 4, 37, tzinfo=UTC)


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    """A witness outside the database."""
    return Witness(tmp_path / WITNESS_FILE, lambda: [KEY.public_jwk])


async def spend(store: LedgerStore, log: Log, entry: Entry | None, count: int) -> Entry:
    """So many more charges of one tenant, durable and in the log."""
    entry = entry or opened(new_name("tenant"), epsilon="1000000")
    batch: list[Entry] = [] if entry.seq > 1 else [entry]
    for _ in range(count):
        entry = spent(entry, asked(entry.tenant_id, "1"))
        batch.append(entry)
    await store.append(batch)
    while await log.sequence():
        pass
    return entry


async def published(database: Database, witness: Witness, counts: Sequence[int] = (3,)) -> Entry:
    """A database that has published a head after each of so many charges. Nobody is connected to it afterwards."""
    entry = None
    async with database.opened() as (store, log):
        for count in counts:
            entry = await spend(store, log, entry, count)
            await publish_head(log, witness, KEY, NOW)
    assert entry is not None
    return entry


async def test_a_database_that_went_back_is_noticed(admin_url: str, witness: Witness) -> None:
    """A copy from before the last head is behind; the newest state is fine."""
    database = await new_database(admin_url)
    entry = await published(database, witness, (300,))
    backup = await new_database(admin_url, database)
    async with database.opened() as (store, log):
        assert (await standing(witness, log)).fine
        await spend(store, log, entry, 2)
        assert (await standing(witness, log)).fine
        await publish_head(log, witness, KEY, NOW)
        assert (await standing(witness, log)).fine
    async with backup.opened() as (_, log):
        found = await standing(witness, log)
        assert found.verdict is Verdict.BEHIND
        assert "has 303 entries; the database has only 301" in found.sentence
        with pytest.raises(WitnessError):
            await publish_head(log, witness, KEY, NOW)


@pytest.mark.parametrize("more", [1, 2, 3, 400])
async def test_a_database_that_went_back_and_grew_again_is_noticed(admin_url: str, witness: Witness, more: int) -> None:
    """Shorter, as long as, or longer than what was published: the entries are not the same."""
    database = await new_database(admin_url)
    entry = await published(database, witness)
    backup = await new_database(admin_url, database)
    async with database.opened() as (store, log):
        await spend(store, log, entry, 2)
        await publish_head(log, witness, KEY, NOW)
    async with backup.opened() as (store, log):
        await spend(store, log, entry, more)
        found = await standing(witness, log)
        assert found.verdict is (Verdict.BEHIND if more < 2 else Verdict.FORKED)
        with pytest.raises(WitnessError):
            await publish_head(log, witness, KEY, NOW)


async def test_a_backup_that_lost_nothing_published_is_fine(admin_url: str, witness: Witness) -> None:
    """Restoring a state that holds the last head needs nobody's word, and the log goes on."""
    database = await new_database(admin_url)
    entry = await published(database, witness)
    backup = await new_database(admin_url, database)
    async with backup.opened() as (store, log):
        assert (await standing(witness, log)).fine
        await spend(store, log, entry, 5)
        head = await publish_head(log, witness, KEY, NOW)
        assert head is not None
        assert head.size == 9
        assert (await standing(witness, log)).fine


async def test_another_database_is_noticed(admin_url: str, witness: Witness) -> None:
    """A fresh one under the old address is no continuation, whatever it holds."""
    await published(await new_database(admin_url), witness)
    other = await new_database(admin_url)
    async with other.opened() as (store, log):
        await spend(store, log, None, 20)
        assert (await standing(witness, log)).verdict is Verdict.ANOTHER_LOG


async def test_after_an_operators_word_the_service_goes_on(admin_url: str, witness: Witness) -> None:
    """The head that was given up stays named, and the next heads continue the accepted one."""
    database = await new_database(admin_url)
    entry = await published(database, witness)
    backup = await new_database(admin_url, database)
    async with database.opened() as (store, log):
        await spend(store, log, entry, 2)
        await publish_head(log, witness, KEY, NOW)
    given_up = witness.head()
    assert given_up is not None
    async with backup.opened() as (store, log):
        accepted: Head = await head_of(log, NOW)
        acceptance = Acceptance(given_up, accepted, "the disk is lost", NOW)
        witness.accept(sign_acceptance(acceptance, KEY), sign_head(accepted, KEY))
        assert (await standing(witness, log)).fine
        await spend(store, log, entry, 7)
        await publish_head(log, witness, KEY, NOW)
        assert (await standing(witness, log)).fine
        assert witness.accepted() == [acceptance]


async def test_the_service_can_ask_with_its_own_login(admin_url: str, witness: Witness) -> None:
    """Whoever spends budgets need not see other tenants' ledgers to know that the database is whole."""
    database = await new_database(admin_url)
    await published(database, witness, (300,))
    log = await PostgresLog.open(database.urls.service)
    assert (await standing(witness, log)).fine
    await log.close()
