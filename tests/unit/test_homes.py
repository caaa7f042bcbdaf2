"""Where tenants live: written down once, never moved by a setting, never guessed where somebody cannot be asked."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.admission import Limits, Outcome
from accounting.filters import basic_budget
from accounting.ledger.homes import Directory, HomeError, Homes, proposed_home
from accounting.ledger.memory import MemoryDirectory, MemoryLedgerStore
from accounting.ledger.postgres_homes import PostgresDirectory
from accounting.ledger.store import StoreUnavailableError, Tail, Wanted
from deployments.budget.owner import BudgetOwner, OwnerSettings
from deployments.budget.owners import OwnersByHome
from tests.ledgers import asked, loss, opened
from tests.support import new_name

NAMES = ("main", "east", "west")


def databases(*names: str) -> dict[str, MemoryLedgerStore]:
    """Empty databases of those names."""
    return {name: MemoryLedgerStore(name) for name in names}


class Away(MemoryLedgerStore):
    """A database that does not answer."""

    async def tails(self, wanted: Mapping[str, Wanted]) -> dict[str, Tail]:
        """Does not answer."""
        raise StoreUnavailableError("connection refused")


@pytest.fixture(params=["memory", "postgres"])
async def directory(request: pytest.FixtureRequest, service_url: str) -> AsyncIterator[Directory]:
    """A directory that may know other tests' tenants."""
    if request.param == "memory":
        yield MemoryDirectory()
        return
    directory = await PostgresDirectory.open(service_url)
    yield directory
    await directory.close()


async def test_the_first_proposal_stays(directory: Directory) -> None:
    """Whatever is proposed later, and by whom."""
    tenant = new_name("tenant")
    assert await directory.home(tenant) is None
    assert await directory.settle(tenant, "east") == "east"
    assert await directory.settle(tenant, "main") == "east"
    assert await directory.home(tenant) == "east"


async def test_of_many_who_decide_at_once_one_is_right(directory: Directory) -> None:
    """All of them learn of the one home that was written down, though their settings differ."""
    tenant = new_name("tenant")
    asking = [Homes(directory, databases(*NAMES), [NAMES[index % 3]]).of(tenant) for index in range(12)]
    assert len(set(await asyncio.gather(*asking))) == 1


@given(st.text(min_size=1, max_size=40), st.permutations(NAMES))
def test_everybody_proposes_the_same(tenant: str, names: Sequence[str]) -> None:
    """In whatever order the databases are named."""
    assert proposed_home(tenant, names) == proposed_home(tenant, NAMES)


@given(st.text(min_size=1, max_size=40))
def test_another_database_draws_tenants_to_itself_alone(tenant: str) -> None:
    """Among the others, proposals stay where they were."""
    assert proposed_home(tenant, NAMES) in {proposed_home(tenant, NAMES[:2]), "west"}


def test_new_tenants_are_spread_evenly() -> None:
    """Each of three databases is proposed for about a third of them."""
    homes = [proposed_home(f"tenant-{number}", NAMES) for number in range(3_000)]
    assert all(900 < homes.count(name) < 1_100 for name in NAMES)


async def test_another_setting_moves_nobody() -> None:
    """A home that is written down holds, also for a service that would propose another one."""
    directory, stores = MemoryDirectory(), databases(*NAMES)
    assert await Homes(directory, stores, ["east"]).of("acme") == "east"
    assert await Homes(directory, stores, ["west"]).of("acme") == "east"


async def test_who_was_there_before_stays_there() -> None:
    """A tenant with entries and no home written down, from when there was one database, lives where its entries are."""
    stores = databases(*NAMES)
    await stores["main"].append([opened("acme")])
    homes = Homes(MemoryDirectory(), stores, ["west"])
    assert await homes.of("acme") == "main"
    assert homes.known("acme") == "main"
    assert homes.known("another") is None


async def test_who_only_looks_decides_nothing() -> None:
    """To ask where a tenant lives writes nothing down, so anybody may name whom they like; what is known is told."""
    directory, stores = MemoryDirectory(), databases(*NAMES)
    homes = Homes(directory, stores, ["east"])
    assert await homes.where("nobody") is None
    assert await directory.home("nobody") is None
    await stores["west"].append([opened("acme")])
    assert await homes.where("acme") == "west"
    assert await homes.of("acme") == await homes.where("acme") == "west"
    assert await homes.of("nobody") == await homes.where("nobody") == "east"


async def test_a_database_that_cannot_be_asked_decides_nothing() -> None:
    """It might have the tenant's entries; once it answers, the tenant is given a home."""
    stores = databases("main", "east") | {"west": Away("west")}
    directory = MemoryDirectory()
    with pytest.raises(StoreUnavailableError):
        await Homes(directory, stores, ["main"]).of("acme")
    assert await directory.home("acme") is None
    assert await Homes(directory, stores | databases("west"), ["main"]).of("acme") == "main"


async def test_who_has_a_home_needs_no_other_database() -> None:
    """A database that is away stops its own tenants and no others."""
    directory = MemoryDirectory()
    await directory.settle("acme", "east")
    assert await Homes(directory, databases("main", "east") | {"west": Away("west")}, ["main"]).of("acme") == "east"


async def test_addresses_that_changed_places_are_refused() -> None:
    """In the wrong database a tenant would be found without a history, and its budget whole again."""
    directory, stores = MemoryDirectory(), databases(*NAMES)
    await directory.settle("acme", "east")
    swapped = stores | {"east": stores["west"], "west": stores["east"]}
    with pytest.raises(HomeError, match="given as database east says that it is west"):
        await Homes(directory, swapped, ["main"]).of("acme")


async def test_a_database_that_was_left_out_is_missed() -> None:
    """Its tenants are not served from another one."""
    directory = MemoryDirectory()
    await directory.settle("acme", "east")
    with pytest.raises(HomeError, match="database east is not among those"):
        await Homes(directory, databases("main"), ["main"]).of("acme")


async def test_a_tenant_in_two_databases_is_not_decided_on() -> None:
    """Somebody restored a database into another one, and nobody knows which history counts."""
    stores = databases("main", "east")
    for store in stores.values():
        await store.append([opened("acme")])
    with pytest.raises(HomeError, match="more than one database"):
        await Homes(MemoryDirectory(), stores, ["main"]).of("acme")


@pytest.mark.parametrize("names", [[], ["nowhere"]])
def test_new_tenants_need_a_database_that_is_there(names: list[str]) -> None:
    """A setting that names none, or one that is not there, is refused before anybody asks."""
    with pytest.raises(ValueError, match="databases for new tenants"):
        Homes(MemoryDirectory(), databases(*NAMES), names)


async def test_each_owner_decides_for_its_own_tenants() -> None:
    """Budgets hold in every database, and no database has entries of a tenant that lives in another."""
    stores = databases(*NAMES)
    homes = Homes(MemoryDirectory(), stores, NAMES)
    settings = OwnerSettings(Limits(Decimal(2), {}), basic_budget(loss("1", "0")))
    parts = {name: BudgetOwner(store, settings) for name, store in stores.items()}
    owners = OwnersByHome(parts, homes)
    for owner in parts.values():
        owner.start()
    try:
        tenants = [f"tenant-{number}" for number in range(30)]
        requests = [asked(tenant, "0.4", key=f"{tenant}-{turn}") for turn in range(3) for tenant in tenants]
        verdicts = await asyncio.gather(*(owners.enqueue(request) for request in requests))
    finally:
        for owner in parts.values():
            await owner.stop()
    admitted = [verdict.outcome for verdict in verdicts]
    assert (admitted.count(Outcome.ADMITTED), admitted.count(Outcome.BUDGET_EXHAUSTED)) == (60, 30)
    for name, store in stores.items():
        lodgers = {entry.tenant_id for entry in store.committed}
        assert lodgers
        assert lodgers == {tenant for tenant in tenants if await homes.of(tenant) == name}
