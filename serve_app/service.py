"""What every deployment's app is made from, small enough to be sent to any replica."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import structlog
from fastapi import FastAPI, Request
from starlette.responses import Response

from accounting.ledger.homes import MAIN
from accounting.ledger.store import StoreUnavailableError
from accounting.storage.urls import DatabaseUrls
from deployments.outbox.witness import WITNESS_FILE, Witness
from serve_app.auth.audited_app import Audited
from serve_app.auth.keys import HEADS, KeyRing
from serve_app.auth.limits import Rate, RateLimits
from serve_app.auth.tokens import TokenVerifier
from serve_app.auth.trail import Trail
from serve_app.config import Settings
from serve_app.databases import Databases, open_databases
from serve_app.logs import configure_logging
from serve_app.methods import KnownMethods
from serve_app.observing.process import Lifespan, counted
from serve_app.observing.requests import Observed, route_of
from serve_app.observing.traces import tracing_of
from serve_app.problems import install_problem_handlers, problem_response, unavailable

log = structlog.get_logger()

VERSION = "0.1.0"
PREFIX = "/api/v1/privacy"


@dataclass(frozen=True)
class Service:
    """Settings and addresses that the apps need.

    Attributes:
        settings: The operator's.
        database_url: The main Postgres, as the service's own role.
        recorder_url: The same, as the role that keeps the log.
        further: Further ones, by name.
    """

    settings: Settings
    database_url: str
    recorder_url: str
    further: Mapping[str, DatabaseUrls] = field(default_factory=dict)

    @property
    def urls(self) -> dict[str, DatabaseUrls]:
        """All databases by name, the main one first."""
        return {MAIN: DatabaseUrls(self.database_url, self.recorder_url), **self.further}

    def keys(self) -> KeyRing:
        """The service's secrets, from the data folder and the settings."""
        return KeyRing.of(self.settings)

    def verifier(self) -> TokenVerifier:
        """Checks tokens, of the service's own key and of outside issuers, and counts what they ask."""
        key = self.keys().token_key
        settings = self.settings
        return TokenVerifier(
            {key.kid: key.private_key.public_key()},
            settings.token_issuer,
            settings.token_audience,
            settings.token_leeway_seconds,
            settings.outside_issuers,
            RateLimits(self._rate(settings.rate_per_tenant), self._rate(settings.rate_per_token)),
        )

    def _rate(self, per_second: float | None) -> Rate | None:
        if per_second is None:
            return None
        return Rate(per_second, max(1.0, per_second * self.settings.rate_burst_seconds))

    def trail(self) -> Trail:
        """Where an app's deeds go: the audit log."""
        return Trail(self.database_url)

    def witness(self, database: str = MAIN) -> Witness:
        """Keeps the latest head of a database's log outside of it."""
        keys = self.keys()
        return Witness(self.settings.folder / witness_file(database), lambda: keys.published(HEADS))

    def databases(self, connections: int = 4) -> AbstractAsyncContextManager[Databases]:
        """The ledgers, and what else is in their databases, for as long as an app runs."""
        return open_databases(self, connections)


def witness_file(database: str) -> str:
    """The name of the file in the data folder that has the latest head of a database's log."""
    return WITNESS_FILE if database == MAIN else f"witness-{database}.json"


def _with_trail(lifespan: Lifespan | None, trail: Trail) -> Lifespan:
    """The lifespan of an app whose deeds are written for as long as it runs."""

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        async with trail.running():
            if lifespan is None:
                yield
                return
            async with lifespan(app):
                yield

    return running


def new_app(
    title: str, lifespan: Lifespan | None = None, settings: Settings | None = None, trail: Trail | None = None
) -> FastAPI:
    """A FastAPI app whose errors are problem documents, observed. Its OpenAPI document is served by the front.

    Args:
        title: Its name.
        lifespan: What lives as long as it does.
        settings: The operator's; without them there are no traces.
        trail: Where its deeds go; without it there is no audit log.
    """
    configure_logging()
    running = counted(lifespan if trail is None else _with_trail(lifespan, trail))
    app = FastAPI(title=title, version=VERSION, openapi_url=None, docs_url=None, redoc_url=None, lifespan=running)
    install_problem_handlers(app)
    # The last that is added is the outermost.
    app.add_middleware(KnownMethods, routes=lambda: app.router.routes)
    if trail is not None:
        app.add_middleware(Audited, trail=trail)
    app.add_middleware(Observed, name=title, tracing=None if settings is None else tracing_of(settings))

    @app.exception_handler(StoreUnavailableError)
    async def on_unavailable(request: Request, error: StoreUnavailableError) -> Response:
        # The driver's own words can name hosts, so they go to the log and not to the caller.
        log.warning("ledger_unavailable", route=route_of(request.scope), error=str(error))
        problem = unavailable("The ledger did not answer")
        return problem_response(problem, request.headers.get("accept", ""))

    return app
