"""The allocation benchmark: this service beside the service that most teams would write.

Every round puts load, one after the other, on the row-lock peer and on this service with one hot tenant, on this
service's no-op endpoint (the same authentication and body, no ledger), and on both again with 1,000 tenants. All of it
runs on one machine against one Postgres.

    python -m benchmarks.allocate        (or: make bench)
"""

import argparse
import asyncio
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import asyncpg
import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from accounting.storage import embedded
from benchmarks import row_lock_peer
from benchmarks.load import Generator, LoadError, LoadResult, run_load
from benchmarks.machine import this_machine
from benchmarks.report import MeasuredPath, Report, Round, summarize
from benchmarks.tokens import mint_many, public_pem
from serve_app.auth.keys import KeyRing
from serve_app.runner import find_running

ALLOCATE_PATH = "/api/v1/privacy/budget/allocate"
NOOP_PATH = "/api/v1/privacy/budget/noop"
TENANTS = 1_000

PEER_HOT = "row-lock peer, one hot tenant"
OURS_HOT = "allocate, one hot tenant"
NOOP = "no-op endpoint"
PEER_MANY = f"row-lock peer, {TENANTS:,} tenants"
OURS_MANY = f"allocate, {TENANTS:,} tenants"

PATHS = (
    MeasuredPath(PEER_HOT),
    MeasuredPath(OURS_HOT, peer=PEER_HOT, noop=NOOP),
    MeasuredPath(NOOP),
    MeasuredPath(PEER_MANY),
    MeasuredPath(OURS_MANY, peer=PEER_MANY, noop=NOOP),
)

_STARTUP_SECONDS = 30.0
_SHUTDOWN_SECONDS = 10.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Targets:
    """The service under test, already running, and what is needed to test it.

    Attributes:
        allocate_url: Where it takes allocations.
        noop_url: Where it takes the same requests and does nothing.
        private_key: The key whose tokens it accepts.
        kid: The name of that key in its key set.
        database_url: The Postgres that it writes to, and that the peer will share. The role in the URL creates tables.
    """

    allocate_url: str
    noop_url: str
    private_key: Ed25519PrivateKey
    kid: str
    database_url: str

    @classmethod
    def at(cls, base_url: str, *, private_key: Ed25519PrivateKey, kid: str, database_url: str) -> "Targets":
        """Return the targets of a service at its usual paths below `base_url`."""
        base = base_url.rstrip("/")
        return cls(f"{base}{ALLOCATE_PATH}", f"{base}{NOOP_PATH}", private_key, kid, database_url)


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how hard to measure.

    Attributes:
        rounds: How often every path is measured.
        seconds: How long each measurement lasts.
        warmup_seconds: How long each path runs before anything is measured.
        concurrency: Connections, each with one request in flight.
        peer_pool_size: Postgres connections of each of the peer's workers.
        peer_workers: Processes that the peer runs.
        generator: What sends the load; the best that is installed when absent.
    """

    rounds: int = 3
    seconds: int = 8
    warmup_seconds: int = 3
    concurrency: int = 32
    peer_pool_size: int = row_lock_peer.DEFAULT_POOL_SIZE
    peer_workers: int = 1
    generator: Generator | None = None


@dataclass(frozen=True, slots=True)
class _Shot:
    """One measurement of a round: a path by name, and the load that it is put under."""

    name: str
    url: str
    tokens: Sequence[str]


def measure(targets: Targets, plan: Plan, say: Say) -> Report:
    """Run the whole benchmark against a running service.

    Args:
        targets: The service under test.
        plan: How long and how hard to measure.
        say: Told about each measurement as it is made.

    Returns:
        The report.

    Raises:
        LoadError: One of the services did not answer as it should.
        RuntimeError: The peer did not start.
    """
    machine = this_machine(asyncio.run(_postgres_version(targets.database_url)))
    run = f"bench-{secrets.token_hex(4)}"
    hot = mint_many(targets.private_key, targets.kid, f"{run}-hot", 1)
    many = mint_many(targets.private_key, targets.kid, run, TENANTS)
    with running_peer(targets, plan) as peer_url:
        shots = (
            _Shot(PEER_HOT, peer_url, hot),
            _Shot(OURS_HOT, targets.allocate_url, hot),
            _Shot(NOOP, targets.noop_url, many),
            _Shot(PEER_MANY, peer_url, many),
            _Shot(OURS_MANY, targets.allocate_url, many),
        )
        for shot in shots:
            say(f"warm-up    {shot.name}")
            _fire(shot, plan, plan.warmup_seconds)
        rounds = [_measure_round(number, shots, plan, say) for number in range(1, plan.rounds + 1)]
    return summarize(PATHS, rounds, machine)


@contextmanager
def running_peer(targets: Targets, plan: Plan) -> Iterator[str]:
    """Run the row-lock peer on a free port, on the Postgres and with the key of the service under test.

    Args:
        targets: The service under test.
        plan: The size of the peer.

    Yields:
        The URL where the peer takes allocations.

    Raises:
        RuntimeError: The peer did not start.
    """
    port = _free_port()
    with tempfile.NamedTemporaryFile("w", encoding="ascii", prefix="bench-key-", suffix=".pem") as key_file:
        key_file.write(public_pem(targets.private_key))
        key_file.flush()
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                row_lock_peer.__name__,
                f"--database-url={targets.database_url}",
                f"--public-key={key_file.name}",
                f"--port={port}",
                f"--pool-size={plan.peer_pool_size}",
                f"--workers={plan.peer_workers}",
            ],
            cwd=Path(__file__).resolve().parent.parent,
        )
        try:
            _wait_until_healthy(process, f"http://127.0.0.1:{port}/health")
            yield f"http://127.0.0.1:{port}/allocate"
        finally:
            _stop(process)
            asyncio.run(row_lock_peer.drop_tables(targets.database_url))


@contextmanager
def start_service() -> Iterator[Targets]:
    """Start the service under test as a user does, with a data folder of its own and the no-op route switched on.

    Yields:
        The targets, which answer for as long as the context is open.
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
            yield Targets.at(
                running.url,
                private_key=key.private_key,
                kid=key.kid,
                database_url=embedded.start(home / "postgres"),
            )
        finally:
            subprocess.run([*command, "down"], env=environment, check=True)


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    plan = Plan()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.allocate",
        description="Measure allocations beside a plain row-lock service and beside the no-op endpoint.",
    )
    load = parser.add_argument_group("the load")
    load.add_argument("--rounds", type=int, default=plan.rounds)
    load.add_argument("--seconds", type=int, default=plan.seconds, help="of each measurement")
    load.add_argument("--warmup-seconds", type=int, default=plan.warmup_seconds, help="of each path, once")
    load.add_argument("--concurrency", type=int, default=plan.concurrency)
    load.add_argument("--peer-pool-size", type=int, default=plan.peer_pool_size)
    load.add_argument("--peer-workers", type=int, default=plan.peer_workers)
    load.add_argument("--generator", choices=get_args(Generator), help="default: wrk where it is installed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the report there as JSON")
    return parser.parse_args(arguments)


def main() -> None:
    """Run the benchmark and print the report."""
    options = parse_options()
    plan = Plan(
        rounds=options.rounds,
        seconds=options.seconds,
        warmup_seconds=options.warmup_seconds,
        concurrency=options.concurrency,
        peer_pool_size=options.peer_pool_size,
        peer_workers=options.peer_workers,
        generator=options.generator,
    )
    # A terminated benchmark leaves through the same door as a finished one, so that nothing it started outlives it.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with start_service() as targets:
        report = measure(targets, plan, say=lambda line: print(line, flush=True))
    print(f"\n{report.to_text()}")
    if options.json:
        options.json.write_text(report.to_json() + "\n", encoding="utf-8")


def _measure_round(number: int, shots: Sequence[_Shot], plan: Plan, say: Say) -> Round:
    """Measure every path once, one after the other."""
    figures: dict[str, LoadResult] = {}
    for shot in shots:
        result = _fire(shot, plan, plan.seconds)
        say(f"round {number:<4} {shot.name}: {result.rps:,.0f} requests/s")
        figures[shot.name] = result
    return figures


def _fire(shot: _Shot, plan: Plan, seconds: int) -> LoadResult:
    return run_load(shot.url, shot.tokens, concurrency=plan.concurrency, seconds=seconds, generator=plan.generator)


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


if __name__ == "__main__":
    main()
