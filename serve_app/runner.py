"""Starts the whole service on one machine and stops it again: database, Ray, load balancer, deployments."""

import contextlib
import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from accounting.storage import embedded
from accounting.storage.migrate import WrongDatabaseError
from proofs.signing import KeyFileError
from serve_app.auth.keys import KeyRing
from serve_app.cluster import StartError
from serve_app.config import Settings
from serve_app.parts import Cluster, Postgres
from serve_app.preparing import prepared_service
from serve_app.supervisor import Part, Say, Supervisor

STATE_FILE = "service.json"


@dataclass(frozen=True)
class Running:
    """A service that runs.

    Attributes:
        pid: Of the process that started it and stops it.
        url: Where it answers.
        dashboard_url: Ray's dashboard, where there is one.
    """

    pid: int
    url: str
    dashboard_url: str | None


def find_running(folder: Path) -> Running | None:
    """The service of that data folder, if its process is alive."""
    try:
        state = json.loads((folder / STATE_FILE).read_text())
        running = Running(int(state["pid"]), str(state["url"]), state.get("dashboard_url"))
        command = Path(f"/proc/{running.pid}/cmdline").read_bytes()
    except (OSError, ValueError, KeyError):
        return None
    # Another program may have got the number since.
    return running if b"serve_app" in command or b"privacy-engine" in command else None


@contextmanager
def running_service(settings: Settings, say: Say) -> Iterator[tuple[Running, Supervisor]]:
    """Runs the service for as long as the context lasts, then stops all that it started.

    Who waits in it lets the supervisor watch meanwhile.

    Args:
        settings: The operator's.
        say: Takes a line for each step, for people who wait.

    Raises:
        StartError: If the port is taken, or the service does not become ready.
    """
    folder = settings.folder
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _check_port(settings.port)
    _check_kafka(settings)
    with contextlib.ExitStack() as stack:
        # Registered first, so done last: who waits for the file to go waits for all the rest.
        stack.callback((folder / STATE_FILE).unlink, missing_ok=True)
        keys = checked_keys(settings)
        say("Opening the ledger (PostgreSQL)")
        admin_url = _database(settings, stack)
        try:
            service = prepared_service(settings, admin_url, keys)
        except WrongDatabaseError as error:
            raise StartError(str(error)) from None
        cluster = Cluster(service, say, lambda url: _announce(settings, url))
        stack.callback(cluster.stop)
        cluster.start()
        running = _announce(settings, cluster.wait_until_up())
        parts: list[Part] = [cluster] if settings.database_url else [Postgres(folder / "postgres"), cluster]
        try:
            yield running, Supervisor(parts, say, folder / "supervisor.log")
        finally:
            say("Stopping")
            # A second Ctrl-C must not leave half of it behind.
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def checked_keys(settings: Settings) -> KeyRing:
    """The service's keys, all of them made and found usable. Raises `StartError` if one is not."""
    keys = KeyRing.of(settings)
    try:
        keys.public_keys()
    except KeyFileError as error:
        raise StartError(str(error)) from None
    return keys


def _announce(settings: Settings, dashboard_url: str | None) -> Running:
    """Writes down that the service runs, for other processes."""
    running = Running(os.getpid(), settings.base_url, dashboard_url)
    (settings.folder / STATE_FILE).write_text(json.dumps(running.__dict__))
    return running


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        # As the load balancer will bind: an address in the last moments of an old connection does not count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            message = f"port {port} is taken by another program: choose another with --port or AUMOS_PRIVACY_PORT"
            raise StartError(message) from None


def _check_kafka(settings: Settings) -> None:
    if settings.kafka_brokers is None:
        return
    # librdkafka is loaded only where there is Kafka.
    from deployments.outbox.kafka import check_options

    try:
        check_options(settings.kafka())
    except ValueError as error:
        raise StartError(f"AUMOS_PRIVACY_KAFKA_OPTIONS: {error}") from None


def _database(settings: Settings, stack: contextlib.ExitStack) -> str:
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    folder = settings.folder / "postgres"
    try:
        url = embedded.start(folder)
    except embedded.PostgresError as error:
        raise StartError(f"PostgreSQL: {error}") from error
    stack.callback(embedded.stop, folder)
    return url
