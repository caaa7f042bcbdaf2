"""What is put under load: this service, started as a user starts it, and the peer beside it on the same Postgres."""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from accounting.storage import embedded
from benchmarks import row_lock_peer
from benchmarks.load import LoadError
from benchmarks.machine import Machine, this_machine
from benchmarks.tokens import mint_many, public_pem
from serve_app.auth.keys import KeyRing
from serve_app.runner import find_running

BUDGET_PATH = "/api/v1/privacy/budget"

_STARTUP_SECONDS = 30.0
_SHUTDOWN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Target:
    """The service under test, already running, and what is needed to test it.

    Attributes:
        base_url: Where it answers.
        private_key: The key whose tokens it accepts.
        kid: The name of that key in its key set.
        database_url: The Postgres that it writes to, and that the peer will share. The role in the URL creates tables.
        pid: The process that started it, whose descendants all its other processes are.
    """

    base_url: str
    private_key: Ed25519PrivateKey
    kid: str
    database_url: str
    pid: int

    def url(self, path: str) -> str:
        """The address of a path below the budget's."""
        return f"{self.base_url}{BUDGET_PATH}{path}"

    def tokens(self, prefix: str, count: int) -> tuple[str, ...]:
        """Tokens of tenants named `prefix-0000`, `prefix-0001` and so on."""
        return mint_many(self.private_key, self.kid, prefix, count)

    def machine(self) -> Machine:
        """What all of it runs on."""
        return this_machine(asyncio.run(_postgres_version(self.database_url)))


@contextmanager
def running_service() -> Iterator[Target]:
    """Start the service under test, with a data folder of its own and the no-op route switched on.

    Yields:
        The target, which answers for as long as the context is open.
    """
    with tempfile.TemporaryDirectory(prefix="prv-", ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "home"
        environment = {**os.environ, "AUMOS_PRIVACY_HOME": str(home), "AUMOS_PRIVACY_NOOP_ROUTE": "true"}
        command = [sys.executable, "-m", "serve_app.cli.main"]
        subprocess.run([*command, "up", "--detach", "--port", str(_free_port())], env=environment, check=True)
        try:
            key = KeyRing(home / "keys").token_key
            running = find_running(home)
            if running is None:
                raise LoadError("the service under test has stopped")
            database_url = embedded.start(home / "postgres")
            yield Target(running.url.rstrip("/"), key.private_key, key.kid, database_url, running.pid)
        finally:
            subprocess.run([*command, "down"], env=environment, check=True)


@contextmanager
def running_peer(target: Target, *, pool_size: int, workers: int) -> Iterator[str]:
    """Run the row-lock peer on a free port, on the Postgres and with the key of the service under test.

    Args:
        target: The service under test.
        pool_size: Postgres connections of each of the peer's workers.
        workers: Processes that the peer runs.

    Yields:
        The peer's base URL.

    Raises:
        RuntimeError: The peer did not start.
    """
    port = _free_port()
    with tempfile.NamedTemporaryFile("w", encoding="ascii", prefix="bench-key-", suffix=".pem") as key_file:
        key_file.write(public_pem(target.private_key))
        key_file.flush()
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                row_lock_peer.__name__,
                f"--database-url={target.database_url}",
                f"--public-key={key_file.name}",
                f"--port={port}",
                f"--pool-size={pool_size}",
                f"--workers={workers}",
            ],
            cwd=Path(__file__).resolve().parent.parent,
        )
        try:
            _wait_until_healthy(process, f"http://127.0.0.1:{port}/health")
            yield f"http://127.0.0.1:{port}"
        finally:
            _stop(process)
            asyncio.run(row_lock_peer.drop_tables(target.database_url))


async def _postgres_version(database_url: str) -> str:
    connection = await asyncpg.connect(database_url)
    try:
        version = await connection.fetchval("SHOW server_version")
    finally:
        await connection.close()
    return str(version)


def _free_port() -> int:
    """Return a port that nobody listens on at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def _wait_until_healthy(process: subprocess.Popen[bytes], url: str) -> None:
    """Return when the process answers, and raise when it ends or stays silent instead."""
    deadline = time.monotonic() + _STARTUP_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the row-lock peer ended with status {process.returncode} before it answered")
        try:
            if httpx.get(url, timeout=1.0).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"the row-lock peer did not answer within {_STARTUP_SECONDS:.0f} s")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end, and end it if it does not."""
    process.terminate()
    try:
        process.wait(_SHUTDOWN_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
