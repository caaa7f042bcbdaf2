"""A real Postgres, a real service on a real port; started once, ended with the session."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from hypothesis import settings

from accounting.ledger.postgres import PostgresLedgerStore
from accounting.ledger.postgres_log import PostgresLog
from accounting.storage import embedded
from accounting.storage.migrate import (
    Role,
    check_recorder_role,
    check_service_role,
    ensure_service_login,
    migrate,
)
from proofs.signing import SigningKey
from serve_app.config import Settings
from serve_app.service import Service
from tests.support import Caller, Live, Serving, WholeService, free_port

# A busy machine is no reason to fail.
settings.register_profile("patient", deadline=None)
# Where all tests run together every time, each run may try fewer examples: they are others each time.
settings.register_profile("brief", settings.get_profile("patient"), max_examples=40)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "patient"))

LOGIN, RECORDER_LOGIN, PASSWORD = "prv_test", "prv_test_recorder", "onlyForTests1"


@pytest.fixture(scope="session")
def admin_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The superuser of an embedded Postgres with the ledger's schema."""
    folder: Path = tmp_path_factory.mktemp("pg")
    url = embedded.start(folder)
    try:
        asyncio.run(migrate(url))
        yield url
    finally:
        embedded.stop(folder)


@pytest.fixture(scope="session")
def service_url(admin_url: str) -> str:
    """The service's own login on that Postgres, checked as at every start."""

    async def prepare() -> str:
        url = await ensure_service_login(admin_url, LOGIN, PASSWORD)
        await check_service_role(url)
        return url

    return asyncio.run(prepare())


@pytest.fixture(scope="session")
def recorder_url(admin_url: str) -> str:
    """The log's own login on that Postgres, checked as at every start."""

    async def prepare() -> str:
        url = await ensure_service_login(admin_url, RECORDER_LOGIN, PASSWORD, Role.RECORDER)
        await check_recorder_role(url)
        return url

    return asyncio.run(prepare())


@pytest_asyncio.fixture(scope="session")
async def postgres_log(recorder_url: str) -> AsyncIterator[PostgresLog]:
    """The log of everything that the tests write to that Postgres."""
    log = await PostgresLog.open(recorder_url)
    yield log
    await log.close()


@pytest_asyncio.fixture(scope="session")
async def postgres(service_url: str) -> AsyncIterator[PostgresLedgerStore]:
    """A store on the service's login, on the tests' own event loop."""
    store = await PostgresLedgerStore.open(service_url)
    yield store
    await store.close()


@pytest.fixture(scope="session")
def live(
    admin_url: str, service_url: str, recorder_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Live]:
    """The whole service over HTTP."""
    listener = free_port()
    chosen = Settings.model_validate({"home": tmp_path_factory.mktemp("home"), "port": listener.getsockname()[1]})
    service = Service(chosen, service_url, recorder_url)
    with (
        Serving(WholeService(service), listener),
        httpx.Client(base_url=chosen.base_url, timeout=30) as client,
    ):
        yield Live(service, client, admin_url)


@pytest.fixture
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Commands find a data folder of their own, no settings of whoever runs the tests, and a terminal of one width."""
    for name in list(os.environ):
        if name.startswith("AUMOS_PRIVACY_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AUMOS_PRIVACY_HOME", str(tmp_path / "home"))
    # Tables are as wide as the terminal.
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A data folder with a key that signs tokens, and no service."""
    folder = tmp_path / "home"
    SigningKey.load_or_create(folder / "keys" / "token-signing-key.pem")
    return folder


@pytest.fixture
def engine(live: Live) -> Caller:
    """An engine of a fresh tenant, which gets the default budget (10, 1e-5) at its first request."""
    return live.new()
