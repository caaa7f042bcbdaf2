"""The budget's app where the service is at its limits: no default budget, too many requests, a bug, a ledger gone."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from accounting.ledger.entry import Entry
from accounting.ledger.homes import MAIN
from accounting.ledger.memory import MemoryLedgerStore
from accounting.ledger.store import LedgerStore, StoreUnavailableError, Tail, Wanted
from deployments.budget.owner import OverloadedError
from proofs.signing import SigningKey
from serve_app.auth.tokens import TokenVerifier, mint_token
from serve_app.config import Settings
from serve_app.routes.budget import create_budget_app
from serve_app.routes.hot import HotEndpoint
from serve_app.routes.standing import Standing
from tests.support import assert_problem

KEY = SigningKey.generate()
VERIFIER = TokenVerifier({KEY.kid: KEY.private_key.public_key()}, "i", "a", 0)
ADMIN = {"Authorization": f"Bearer {mint_token(KEY, issuer='i', audience='a', tenant_id='t', roles=['admin'])}"}
BODY = {"job_id": "j", "epsilon": 1}


class BrokenStore(MemoryLedgerStore):
    """Raises what it is told to instead of answering."""

    error: Exception | None = None

    async def append(self, entries: Sequence[Entry]) -> None:
        if self.error is not None:
            raise self.error
        await super().append(entries)

    async def tails(self, wanted: Mapping[str, Wanted]) -> dict[str, Tail]:
        if self.error is not None:
            raise self.error
        return await super().tails(wanted)


@asynccontextmanager
async def serving(
    store: LedgerStore,
    home: Path,
    standing: Standing | None = None,
    **changes: Any,  # noqa: ANN401
) -> AsyncIterator[httpx.AsyncClient]:
    """An administrator who speaks to the budget's app on that store, without a network between."""

    @asynccontextmanager
    async def open_store() -> AsyncIterator[LedgerStore]:
        yield store

    standings = {} if standing is None else {MAIN: standing}
    app = create_budget_app(Settings.model_validate({"home": home, **changes}), VERIFIER, open_store, standings)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.app.router.lifespan_context(app.app),
        httpx.AsyncClient(transport=transport, base_url="http://budget", headers=ADMIN) as client,
    ):
        yield client


async def test_where_no_budget_is_opened_by_default_a_tenant_is_unknown_until_it_has_one(tmp_path: Path) -> None:
    """Asking gets 404 and writes nothing to the ledger, and once a budget is set the charge is granted."""
    store = MemoryLedgerStore()
    async with serving(store, tmp_path, open_default_budget=False) as client:
        assert_problem(await client.post("/allocate", json=BODY), 404, "unknown_tenant")
        assert_problem(await client.get("/t"), 404, "unknown_tenant")
        assert_problem(await client.get("/status/t"), 404, "unknown_tenant")
        assert await store.history("t") == []
        assert (await client.put("/t", json={"epsilon": 2})).status_code == 200
        assert (await client.post("/allocate", json=BODY)).status_code == 200


@pytest.mark.parametrize("error", [StoreUnavailableError("gone"), RuntimeError("a secret of ours")])
async def test_a_ledger_that_fails_is_told_without_its_secrets_and_passes(tmp_path: Path, error: Exception) -> None:
    """Writes get 503 and a time to retry, no answer leaks the error, and the healed ledger charges again."""
    store = BrokenStore()
    async with serving(store, tmp_path) as client:
        store.error = error
        for response in (await client.post("/allocate", json=BODY), await client.put("/t", json={"epsilon": 20})):
            assert_problem(response, 503, "unavailable")
            assert response.headers["retry-after"] == "1"
            assert "secret" not in response.text
        read = await client.get("/t")
        expected = (503, "unavailable") if isinstance(error, StoreUnavailableError) else (500, "internal")
        assert_problem(read, *expected)
        assert "secret" not in read.text
        store.error = None
        assert (await client.post("/allocate", json=BODY)).status_code == 200


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(OverloadedError(), 503, "unavailable"), (RuntimeError("a secret of ours"), 500, "internal")],
)
async def test_whatever_goes_wrong_on_the_hot_path_leaves_as_a_problem(
    error: Exception, status: int, code: str
) -> None:
    """Overload gets 503 and a bug 500, both as problem documents that do not quote the error."""

    async def handle(*_: object) -> tuple[bytes, bool]:
        raise error

    transport = httpx.ASGITransport(HotEndpoint(VERIFIER, 10, handle))
    async with httpx.AsyncClient(transport=transport, base_url="http://budget", headers=ADMIN) as client:
        response = await client.post("/allocate", content=b"{}")
    assert_problem(response, status, code)
    assert "secret" not in response.text


async def test_a_body_that_comes_in_pieces_is_read_whole_up_to_its_bound(tmp_path: Path) -> None:
    """A streamed body, of no stated length, is granted at 250 kB and refused as too large at 270 kB."""

    async def pieces(count: int) -> AsyncIterator[bytes]:
        yield b'{"job_id": "j", "epsilon": 1'
        for _ in range(count):
            yield b" " * 1_000
        yield b"}"

    async with serving(MemoryLedgerStore(), tmp_path) as client:
        for path in ("/allocate", "/consume"):
            assert_problem(await client.post(path, content=pieces(270)), 413, "too_large")
        assert (await client.post("/allocate", content=pieces(250))).status_code == 200


async def test_the_benchmarks_route_is_there_only_where_it_is_switched_on(tmp_path: Path) -> None:
    """The route answers 405 when off and 200 when on, and never writes to the tenant's ledger."""
    for switched_on in (False, True):
        store = MemoryLedgerStore()
        async with serving(store, tmp_path, noop_route=switched_on) as client:
            response = await client.post("/noop", json=BODY)
            assert response.status_code == (200 if switched_on else 405), response.text
            assert await store.history("t") == []
