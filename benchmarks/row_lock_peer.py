"""The plain service that most teams would write: FastAPI, asyncpg and a row lock.

It is the yardstick of `make bench`, so it gets everything that a good engineer would give it: uvloop, httptools, no
access log, a connection pool with prepared statements, asynchronous handlers throughout, and verified tokens
remembered until they expire. What it lacks is what this project adds: no ledger, no hash chain, no idempotency, no
row-level security, and no filter beyond a sum of epsilons. Its no-op shows what FastAPI on uvicorn costs by itself.

Run it with `python -m benchmarks.row_lock_peer --database-url URL --public-key FILE --port N`.
"""

import argparse
import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import asyncpg
import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel, Field

from benchmarks.tokens import ALGORITHM, AUDIENCE, ISSUER

# The best of 4, 8, 16 and 32 with 32 callers: more connections only queue for the row of a hot tenant.
DEFAULT_POOL_SIZE = 8
REMEMBERED_TOKENS = 10_000

_ENVIRONMENT_PREFIX = "ROW_LOCK_PEER_"

_CREATE_TABLES = """
CREATE TABLE bench_budget (
    tenant_id      text PRIMARY KEY,
    epsilon_cap    numeric NOT NULL,
    delta_cap      numeric NOT NULL,
    epsilon_spent  numeric NOT NULL DEFAULT 0,
    delta_spent    numeric NOT NULL DEFAULT 0
);
CREATE TABLE bench_allocation (
    id          uuid PRIMARY KEY,
    tenant_id   text NOT NULL,
    job_id      text NOT NULL,
    epsilon     numeric NOT NULL,
    delta       numeric NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);
"""
_DROP_TABLES = "DROP TABLE IF EXISTS bench_allocation, bench_budget"
_LOCK_BUDGET = """
SELECT epsilon_cap, delta_cap, epsilon_spent, delta_spent FROM bench_budget WHERE tenant_id = $1 FOR UPDATE
"""
# Caps so large that no benchmark exhausts them: what is measured is the path of an approval.
_OPEN_BUDGET = """
INSERT INTO bench_budget (tenant_id, epsilon_cap, delta_cap) VALUES ($1, 1000000000, 1) ON CONFLICT DO NOTHING
"""
_SPEND = "UPDATE bench_budget SET epsilon_spent = $2, delta_spent = $3 WHERE tenant_id = $1"
_RECORD = "INSERT INTO bench_allocation (id, tenant_id, job_id, epsilon, delta) VALUES ($1, $2, $3, $4, $5)"


class AllocateRequest(BaseModel):
    """What an engine asks for."""

    job_id: str = Field(min_length=1, max_length=200)
    source_engine: str
    epsilon: Decimal = Field(gt=0)
    delta: Decimal = Field(default=Decimal(0), ge=0, lt=1)


class BatchRequest(BaseModel):
    """What an engine asks for at once."""

    allocations: list[AllocateRequest] = Field(min_length=1, max_length=1000)


class AllocateResponse(BaseModel):
    """What an engine is told when the budget holds."""

    allocation_id: uuid.UUID
    job_id: str
    tenant_id: str
    allocated_epsilon: Decimal
    remaining_epsilon: Decimal


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """How the peer runs.

    Attributes:
        database_url: The Postgres that it shares with the service it is compared with.
        public_key_file: PEM of the Ed25519 key that verifies tokens.
        pool_size: Connections to Postgres, for each worker.
    """

    database_url: str
    public_key_file: Path
    pool_size: int = DEFAULT_POOL_SIZE

    def to_environment(self) -> dict[str, str]:
        """Return the settings as environment variables, the one channel that reaches uvicorn's workers."""
        return {
            f"{_ENVIRONMENT_PREFIX}DATABASE_URL": self.database_url,
            f"{_ENVIRONMENT_PREFIX}PUBLIC_KEY_FILE": str(self.public_key_file),
            f"{_ENVIRONMENT_PREFIX}POOL_SIZE": str(self.pool_size),
        }

    @classmethod
    def from_environment(cls) -> "PeerSettings":
        """Read back what `to_environment` wrote."""
        return cls(
            database_url=os.environ[f"{_ENVIRONMENT_PREFIX}DATABASE_URL"],
            public_key_file=Path(os.environ[f"{_ENVIRONMENT_PREFIX}PUBLIC_KEY_FILE"]),
            pool_size=int(os.environ[f"{_ENVIRONMENT_PREFIX}POOL_SIZE"]),
        )


class TokenVerifier:
    """Verifies bearer tokens, each distinct one once, because an Ed25519 check costs more than reading a request."""

    def __init__(self, public_key: Ed25519PublicKey) -> None:
        """Verify against `public_key`."""
        self._public_key = public_key
        self._verified: dict[str, tuple[str, float]] = {}

    def tenant_of(self, token: str) -> str:
        """Return the tenant that a token speaks for.

        Args:
            token: The encoded token.

        Returns:
            The tenant's identifier.

        Raises:
            jwt.InvalidTokenError: The token is malformed, expired, or not signed by the issuer.
        """
        remembered = self._verified.get(token)
        if remembered is not None and time.time() < remembered[1]:
            return remembered[0]
        claims = jwt.decode(
            token,
            self._public_key,
            algorithms=[ALGORITHM],
            issuer=ISSUER,
            audience=AUDIENCE,
            options={"require": ["exp", "iss", "aud", "tenant_id"]},
        )
        tenant_id = str(claims["tenant_id"])
        if len(self._verified) >= REMEMBERED_TOKENS:
            self._verified.clear()
        self._verified[token] = (tenant_id, float(claims["exp"]))
        return tenant_id


def create_app(settings: PeerSettings) -> FastAPI:
    """Build the service.

    Args:
        settings: Where its database and its key are.

    Returns:
        The application; its connection pool opens and closes with its lifespan.

    Raises:
        ValueError: The public key is not an Ed25519 key.
    """
    public_key = load_pem_public_key(settings.public_key_file.read_bytes())
    if not isinstance(public_key, Ed25519PublicKey):
        raise ValueError(f"expected an Ed25519 public key, found {type(public_key).__name__}")
    verifier = TokenVerifier(public_key)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with asyncpg.create_pool(
            settings.database_url, min_size=settings.pool_size, max_size=settings.pool_size
        ) as pool:
            app.state.pool = pool
            yield

    async def tenant_of_bearer(authorization: Annotated[str, Header()] = "") -> str:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise HTTPException(401, "a bearer token is needed")
        try:
            return verifier.tenant_of(token)
        except jwt.InvalidTokenError as error:
            raise HTTPException(401, "the token is not valid") from error

    app = FastAPI(title="Row-lock peer", lifespan=lifespan)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/noop")
    async def noop(request: AllocateRequest, tenant_id: Annotated[str, Depends(tenant_of_bearer)]) -> AllocateResponse:
        return _answer(uuid.UUID(int=0), request, tenant_id, Decimal(10))

    @app.post("/allocate")
    async def allocate(
        request: AllocateRequest, tenant_id: Annotated[str, Depends(tenant_of_bearer)]
    ) -> AllocateResponse:
        return (await record([request], tenant_id))[0]

    @app.post("/allocate:batch")
    async def allocate_batch(
        batch: BatchRequest, tenant_id: Annotated[str, Depends(tenant_of_bearer)]
    ) -> list[AllocateResponse]:
        return await record(batch.allocations, tenant_id)

    async def record(requests: list[AllocateRequest], tenant_id: str) -> list[AllocateResponse]:
        """All of them in one transaction, or none."""
        pool: asyncpg.Pool = app.state.pool
        async with pool.acquire() as connection, connection.transaction():
            budget = await connection.fetchrow(_LOCK_BUDGET, tenant_id)
            if budget is None:
                await connection.execute(_OPEN_BUDGET, tenant_id)
                budget = await connection.fetchrow(_LOCK_BUDGET, tenant_id)
                assert budget is not None, "a budget that was just opened is there"
            epsilon, delta = budget["epsilon_spent"], budget["delta_spent"]
            answers, rows = [], []
            for request in requests:
                epsilon, delta = epsilon + request.epsilon, delta + request.delta
                if epsilon > budget["epsilon_cap"] or delta > budget["delta_cap"]:
                    raise HTTPException(402, "the budget is exhausted")
                allocation_id = uuid.uuid4()
                rows.append((allocation_id, tenant_id, request.job_id, request.epsilon, request.delta))
                answers.append(_answer(allocation_id, request, tenant_id, budget["epsilon_cap"] - epsilon))
            await connection.execute(_SPEND, tenant_id, epsilon, delta)
            if len(rows) == 1:
                await connection.execute(_RECORD, *rows[0])
            else:
                await connection.executemany(_RECORD, rows)
        return answers

    return app


def _answer(
    allocation_id: uuid.UUID, request: AllocateRequest, tenant_id: str, remaining_epsilon: Decimal
) -> AllocateResponse:
    return AllocateResponse(
        allocation_id=allocation_id,
        job_id=request.job_id,
        tenant_id=tenant_id,
        allocated_epsilon=request.epsilon,
        remaining_epsilon=remaining_epsilon,
    )


def app_from_environment() -> FastAPI:
    """Build the service in a uvicorn worker."""
    return create_app(PeerSettings.from_environment())


async def recreate_tables(database_url: str) -> None:
    """Give the peer empty tables."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(f"{_DROP_TABLES}; {_CREATE_TABLES}")
    finally:
        await connection.close()


async def drop_tables(database_url: str) -> None:
    """Leave the database as it was found."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(_DROP_TABLES)
    finally:
        await connection.close()


def main() -> None:
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.row_lock_peer", description="The row-lock peer.")
    parser.add_argument("--database-url", required=True, help="the Postgres to use; bench_* tables are recreated there")
    parser.add_argument("--public-key", required=True, type=Path, help="PEM file of the Ed25519 public key")
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--pool-size", type=int, default=DEFAULT_POOL_SIZE, help="connections for each worker")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()

    settings = PeerSettings(options.database_url, options.public_key, options.pool_size)
    os.environ.update(settings.to_environment())
    asyncio.run(recreate_tables(settings.database_url))
    uvicorn.run(
        "benchmarks.row_lock_peer:app_from_environment",
        factory=True,
        host="127.0.0.1",
        port=options.port,
        workers=options.workers,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
