"""``health``: whether the process answers, and whether the service can do its work."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import APIRouter

from accounting.ledger.postgres_log import PostgresLog
from accounting.storage.version import SchemaVersion, version_fault
from serve_app.auth.policy import Role
from serve_app.auth.principal import ANY_TENANT
from serve_app.auth.tokens import mint_token
from serve_app.client import calls
from serve_app.client.client import AsyncPrivacyClient
from serve_app.client.retries import RetryPolicy
from serve_app.problems import Code, Problem
from serve_app.readiness import Check, LogProgress, Readiness
from serve_app.routes.standing import guarded
from serve_app.service import PREFIX, VERSION, Service

TOKEN_SECONDS = 3_600
SUBJECT = "privacy-engine-health"
KEEPS_THE_LOG = ("sequencer", "heads")
"""The loops without which the log stands still. A relay or a sweeper that fails keeps nobody from deciding."""


@asynccontextmanager
async def readiness_of(service: Service) -> AsyncIterator[Readiness]:
    """The checks, with the connections that they need for as long as the context lasts."""
    async with AsyncExitStack() as stack:
        log = await PostgresLog.open(service.database_url, connections=1, command_timeout=5)
        stack.push_async_callback(log.close)
        version = await SchemaVersion.open(service.database_url, command_timeout=5)
        stack.push_async_callback(version.close)
        once = RetryPolicy(attempts=1)
        client = AsyncPrivacyClient(service.settings.base_url, timeout=3, retries=once)
        await stack.enter_async_context(client)

        async def schema() -> str | None:
            return version_fault(await version.found())

        checks: dict[str, Check] = {
            "database": lambda: _answers(version),
            "schema": schema,
            "ledger": guarded(service.witness(), lambda: log),
            "log": _log_check(service, client),
        }
        yield Readiness(checks)


def health_router(readiness: Callable[[], Readiness]) -> APIRouter:
    """The routes below ``health``. Neither needs a token, and neither tells of any tenant."""
    router = APIRouter()

    @router.get("/live", summary="Whether the process answers")
    async def live() -> dict[str, str]:
        return {"status": "alive", "version": VERSION}

    @router.get("/ready", summary="Whether the service can do its work: database, schema, ledger and log are well")
    async def ready() -> dict[str, Any]:
        faults = await readiness().faults()
        checks = {name: fault or "well" for name, fault in faults.items()}
        wrong = [f"{name}: {fault}." for name, fault in faults.items() if fault is not None]
        if wrong:
            extra = {"checks": checks, "not_ready": [name for name, fault in faults.items() if fault is not None]}
            raise Problem(Code.UNAVAILABLE, f"Not ready. {' '.join(wrong)}", extra, {"Retry-After": "1"})
        return {"status": "ready", "ledger": "reachable", "version": VERSION, "checks": checks}

    return router


async def _answers(version: SchemaVersion) -> str | None:
    await version.found()
    return None


def _log_check(service: Service, client: AsyncPrivacyClient) -> Check:
    """Asks the process that keeps the log how that goes."""
    progress = LogProgress()
    token, minted_at = "", 0.0

    async def check() -> str | None:
        nonlocal token, minted_at
        if not token or time.monotonic() - minted_at > TOKEN_SECONDS / 2:
            token, minted_at = _token(service), time.monotonic()
        try:
            told = await client.send(calls.Call("GET", f"{PREFIX}/log/health"), token=token)
        except (calls.RefusedError, calls.ServiceUnreachableError):
            return "What keeps the log did not answer"
        failing = {name for name in KEEPS_THE_LOG if told["loops"][name]["status"] != "well"}
        covered = 0 if told["head"] is None else told["head"]["size"]
        return progress.fault(told["log"]["size"], covered, frozenset(failing))

    return check


def _token(service: Service) -> str:
    settings = service.settings
    return mint_token(
        service.keys().token_key,
        issuer=settings.token_issuer,
        audience=settings.token_audience,
        tenant_id=ANY_TENANT,
        roles=[Role.AUDITOR],
        subject=SUBJECT,
        lifetime_seconds=TOKEN_SECONDS,
    )
