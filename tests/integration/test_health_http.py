"""Ready means ready: each thing that the service cannot do without is named when it is missing, and passes."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import asyncpg
import httpx
import pytest

from accounting.storage.version import needed_version
from deployments.outbox.witness import WITNESS_FILE
from proofs.heads import sign_head
from serve_app.config import Settings
from serve_app.service import PREFIX, Service
from tests.databases import Database, new_database
from tests.support import Live, Serving, WholeService, assert_problem, free_port

READY = "/health/ready"


@dataclass(frozen=True)
class Alone:
    """A service with a database of its own."""

    live: Live
    database: Database

    @property
    def witness(self) -> Path:
        """Where its last head is kept."""
        return self.live.service.settings.folder / WITNESS_FILE

    def get(self) -> httpx.Response:
        """Whether it is ready."""
        return self.live.client.get(READY)

    def sql(self, statement: str, *arguments: str) -> None:
        """What an administrator does to the database."""

        async def run() -> None:
            connection = await asyncpg.connect(self.database.admin_url)
            await connection.execute(statement, *arguments)
            await connection.close()

        asyncio.run(run())


@pytest.fixture(scope="module")
def alone(admin_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    """The service, fresh."""
    database, listener = asyncio.run(new_database(admin_url)), free_port()
    given = {"home": tmp_path_factory.mktemp("home"), "port": listener.getsockname()[1]}
    settings = Settings.model_validate(given)
    service = Service(settings, database.urls.service, database.urls.recorder)
    with (
        Serving(WholeService(service), listener),
        httpx.Client(base_url=settings.base_url, timeout=60) as client,
    ):
        yield Alone(Live(service, client, database.admin_url), database)


def until(answer: Callable[[], httpx.Response], status: int) -> httpx.Response:
    """The answer, once it has that status; a result is remembered for a moment."""
    deadline = time.monotonic() + 30
    while (response := answer()).status_code != status:
        assert time.monotonic() < deadline, response.text
        time.sleep(0.05)
    return response


def test_a_fresh_service_with_an_empty_log_is_ready(alone: Alone) -> None:
    """It has no head, and needs none; every check is named."""
    assert not alone.witness.exists()
    answer = alone.get()
    assert answer.status_code == 200, answer.text
    assert answer.json()["checks"] == {"database": "well", "schema": "well", "ledger": "well", "log": "well"}
    assert alone.live.client.get("/health/live").json()["status"] == "alive"


def test_a_schema_that_lacks_migrations_is_named(alone: Alone) -> None:
    """Somebody restored a database of an older release under the service."""
    alone.sql("UPDATE prv_schema_version SET version_num = $1", "20200101000000")
    try:
        document = assert_problem(until(alone.get, 503), 503, "unavailable")
        assert document["not_ready"] == ["schema"]
        assert "The schema has version 20200101000000" in document["checks"]["schema"]
        assert document["checks"]["database"] == "well"
    finally:
        alone.sql("UPDATE prv_schema_version SET version_num = $1", needed_version())
    until(alone.get, 200)


def test_a_ledger_that_went_back_is_named(alone: Alone) -> None:
    """The last published head has more entries than the database: nothing is decided, and the service is not ready."""
    engine = alone.live.new()
    assert engine.allocate(epsilon="1").status_code == 200
    until(lambda: engine.get(f"{PREFIX}/log/head"), 200)
    service = alone.live.service
    kept = alone.witness.read_text()
    head = service.witness().head()
    assert head is not None
    ahead = sign_head(replace(head, size=head.size + 5), service.keys().head_key)
    alone.witness.write_text(json.dumps(json.loads(kept) | {"head": ahead}))
    try:
        document = assert_problem(until(alone.get, 503), 503, "unavailable")
        assert document["not_ready"] == ["ledger"]
        assert "went back to an earlier state" in document["detail"]
    finally:
        alone.witness.write_text(kept)
    until(alone.get, 200)
