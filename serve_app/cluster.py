"""Ray and the deployments on it, in a process of their own, which can be replaced when Ray's head dies.

A minute after the head is gone Ray ends every process that is connected to it, so this one too, which started it. The
supervisor (`serve_app.parts.Cluster`) writes the service to this process's standard input and reads reports, a JSON
object a line, from its standard output; when the input ends, the supervisor has died and this process stops what it
started.
"""

import io
import json
import logging
import os
import pickle
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from serve_app.config import Settings
from serve_app.environment import ray_environment, runtime_folder
from serve_app.service import Service

READY_SECONDS = 120.0


class StartError(RuntimeError):
    """The service could not start, for a reason that the operator can mend."""


def main() -> int:
    """Runs until it is told to stop.

    Returns:
        Exit status: 0 if it ran, 1 if it could not start.
    """
    service: Service = pickle.load(sys.stdin.buffer)
    reports = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    # What Ray prints is no report.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def report(**facts: str | None) -> None:
        reports.write(json.dumps(facts) + "\n")

    threading.Thread(target=_end_with_the_supervisor, daemon=True).start()
    end_like_ctrl_c()
    try:
        report(say="Starting Ray")
        with _ray(service.settings) as dashboard_url:
            # Ray has made the signal its own.
            end_like_ctrl_c()
            report(say="Starting the deployments behind the load balancer")
            with _deployed(service):
                _wait_until_ready(service.settings)
                report(dashboard_url=dashboard_url)
                threading.Event().wait()
    except StartError as error:
        report(failed=str(error))
        return 1
    except KeyboardInterrupt:
        return 0
    raise AssertionError("the wait above ends with an interrupt only")


def end_like_ctrl_c() -> None:
    """Makes a plain ``kill`` end this process as Ctrl-C does: through every ``finally``."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


def _end_with_the_supervisor() -> None:
    # Not through the buffer, which nobody may wait in when the interpreter ends.
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


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
        # A second signal must not leave half of it behind.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        # Serve kills its controller while a call to it is open; Ray then prints that it failed, which only alarms.
        sys.stdout = io.StringIO()
        serve.shutdown()  # type: ignore[no-untyped-call]


def _wait_until_ready(settings: Settings) -> None:
    """Every application has to answer through the load balancer, which learns of them one by one."""
    prefix = "/api/v1/privacy"
    # A path with its own 401 shows that its application answers; the root would answer 404 for it.
    paths = ("budget/-", "proof/-", "loss/visualize", "log/head", "training/jobs", "mechanism/apply")
    guarded = [f"{prefix}/{path}" for path in paths]
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


if __name__ == "__main__":
    sys.exit(main())
