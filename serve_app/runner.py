"""Starts the whole service on one machine and stops it again: database, Ray, load balancer, deployments."""

import contextlib
import io
import json
import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from accounting.storage import embedded
from accounting.storage.migrate import prepare_database
from serve_app.auth.keys import KeyRing
from serve_app.config import Settings
from serve_app.environment import instance_name, ray_environment, runtime_folder
from serve_app.service import Service

STATE_FILE = "service.json"
READY_SECONDS = 120.0

Say = Callable[[str], None]


class StartError(RuntimeError):
    """The service could not start, for a reason that the operator can mend."""


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
def running_service(settings: Settings, say: Say) -> Iterator[Running]:
    """Runs the service for as long as the context lasts, then stops all that it started.

    Args:
        settings: The operator's.
        say: Takes a line for each step, for people who wait.

    Raises:
        StartError: If the port is taken, or the service does not become ready.
    """
    folder = settings.folder
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _check_port(settings.port)
    with contextlib.ExitStack() as stack:
        # Registered first, so done last: who waits for the file to go waits for all the rest.
        stack.callback((folder / STATE_FILE).unlink, missing_ok=True)
        stack.callback(setattr, sys, "stdout", sys.stdout)
        keys = KeyRing(folder / "keys")
        say("Opening the ledger (PostgreSQL)")
        admin_url = _database(settings, stack)
        given = settings.database_service_url
        service_url = prepare_database(
            admin_url,
            f"prv_service_{instance_name(settings)}",
            keys.database_password,
            None if given is None else given.get_secret_value(),
        )
        # Replicas need neither the owner's password nor the way to make themselves a better role.
        public = settings.model_copy(update={"database_url": None, "database_service_url": None})
        say("Starting Ray")
        dashboard_url = stack.enter_context(_ray(settings))
        say("Starting the deployments behind the load balancer")
        stack.enter_context(_deployed(Service(public, service_url)))
        _wait_until_ready(settings)
        running = Running(os.getpid(), settings.base_url, dashboard_url)
        (folder / STATE_FILE).write_text(json.dumps(running.__dict__))
        try:
            yield running
        finally:
            say("Stopping")
            # A second Ctrl-C must not leave half of it behind.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            # Serve kills its controller while a call to it is open; Ray then prints that it failed, which only alarms.
            sys.stdout = io.StringIO()


def end_like_ctrl_c() -> None:
    """Makes a plain ``kill`` end this process as Ctrl-C does: through every ``finally``."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


def wait_for_signal() -> None:
    """Returns when the process is asked to end (SIGINT or SIGTERM)."""
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    asked.wait()


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        # As the load balancer will bind: an address in the last moments of an old connection does not count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            message = f"port {port} is taken by another program: choose another with --port or AUMOS_PRIVACY_PORT"
            raise StartError(message) from None


def _database(settings: Settings, stack: contextlib.ExitStack) -> str:
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    folder = settings.folder / "postgres"
    url = embedded.start(folder)
    stack.callback(embedded.stop, folder)
    return url


@contextmanager
def _ray(settings: Settings) -> Iterator[str | None]:
    folder = runtime_folder(settings)
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o077:
        raise StartError(f"{folder} belongs to somebody else or is open to others: remove it")
    (folder / "haproxy").mkdir(mode=0o700, exist_ok=True)
    os.environ.update(ray_environment(settings))
    token = settings.folder / "keys" / "ray-token"
    if not token.exists():
        descriptor = os.open(token, os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(os.urandom(32).hex())
    import ray

    context = ray.init(
        address="local",
        include_dashboard=True,
        dashboard_host="127.0.0.1",
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=256 * 1024 * 1024,
        _temp_dir=str(folder / "ray"),
    )
    try:
        yield f"http://{context.dashboard_url}" if context.dashboard_url else None
    finally:
        ray.shutdown()
        # Session logs are worth keeping only while the service runs; each start makes a new session.
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _deployed(service: Service) -> Iterator[None]:
    from ray import serve

    from serve_app.app import run_targets

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    serve.start(http_options={"port": service.settings.port, "host": "0.0.0.0"})
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    try:
        serve.run_many(run_targets(service))
        yield
    finally:
        serve.shutdown()  # type: ignore[no-untyped-call]


def _wait_until_ready(settings: Settings) -> None:
    """Every application has to answer through the load balancer, which learns of them one by one."""
    prefix = "/api/v1/privacy"
    # A path with its own 401 shows that its application answers; the root would answer 404 for it.
    guarded = [f"{prefix}/budget/-", f"{prefix}/proof/-", f"{prefix}/loss/visualize", f"{prefix}/mechanism/apply"]
    deadline = time.monotonic() + READY_SECONDS
    with httpx.Client(base_url=settings.base_url, timeout=5) as client:
        while time.monotonic() < deadline:
            try:
                if client.get("/health/ready").status_code == 200 and all(
                    client.request("POST" if path.endswith("apply") else "GET", path).status_code == 401
                    for path in guarded
                ):
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
    raise StartError(f"the service did not become ready within {READY_SECONDS:.0f} s; its logs are under Ray's session")
