"""What every deployment's app is made from, small enough to be sent to any replica."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import structlog
from fastapi import FastAPI, Request
from starlette.responses import Response

from accounting.ledger.postgres import PostgresLedgerStore
from accounting.ledger.postgres_recorder import PostgresRecorder
from accounting.ledger.store import StoreUnavailableError
from deployments.outbox.witness import WITNESS_FILE, Witness
from serve_app.auth.keys import HEADS, KeyRing
from serve_app.auth.tokens import TokenVerifier
from serve_app.config import Settings
from serve_app.logs import configure_logging
from serve_app.problems import install_problem_handlers, problem_response, unavailable

log = structlog.get_logger()

VERSION = "0.1.0"
PREFIX = "/api/v1/privacy"


@dataclass(frozen=True)
class Service:
    """Settings and addresses that the apps need.

    Attributes:
        settings: The operator's.
        database_url: Postgres, as the service's own role.
        recorder_url: Postgres, as the role that keeps the log.
    """

    settings: Settings
    database_url: str
    recorder_url: str

    def keys(self) -> KeyRing:
        """The service's secrets, from the data folder and the settings."""
        return KeyRing.of(self.settings)

    def verifier(self) -> TokenVerifier:
        """Checks tokens signed with the service's token key."""
        key = self.keys().token_key
        settings = self.settings
        return TokenVerifier(
            {key.kid: key.private_key.public_key()},
            settings.token_issuer,
            settings.token_audience,
            settings.token_leeway_seconds,
        )

    def witness(self) -> Witness:
        """Keeps the latest head of the log outside the database."""
        keys = self.keys()
        return Witness(self.settings.folder / WITNESS_FILE, lambda: keys.published(HEADS))

    @asynccontextmanager
    async def store(self, connections: int = 4) -> AsyncIterator[PostgresLedgerStore]:
        """The ledger, for as long as an app runs."""
        store = await PostgresLedgerStore.open(self.database_url, connections=connections)
        try:
            yield store
        finally:
            await store.close()

    @asynccontextmanager
    async def recorder(self, connections: int = 4) -> AsyncIterator[PostgresRecorder]:
        """The log, for as long as an app runs."""
        recorder = await PostgresRecorder.open(self.recorder_url, connections=connections)
        try:
            yield recorder
        finally:
            await recorder.close()


def new_app(title: str, lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None) -> FastAPI:
    """A FastAPI app whose errors are problem documents. Its OpenAPI document is served by the front."""
    configure_logging()
    app = FastAPI(title=title, version=VERSION, openapi_url=None, docs_url=None, redoc_url=None, lifespan=lifespan)
    install_problem_handlers(app)

    @app.exception_handler(StoreUnavailableError)
    async def on_unavailable(request: Request, error: StoreUnavailableError) -> Response:
        # The driver's own words can name hosts, so they go to the log and not to the caller.
        log.warning("ledger_unavailable", path=request.url.path, error=str(error))
        problem = unavailable("The ledger did not answer")
        return problem_response(problem, request.headers.get("accept", ""))

    return app
