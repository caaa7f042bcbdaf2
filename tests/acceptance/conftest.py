"""A real service, started as a user starts it: its own data folder, port, Postgres and Ray cluster."""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from accounting.storage import embedded
from serve_app.auth.keys import KeyRing
from serve_app.auth.tokens import mint_token
from serve_app.runner import find_running

TWO_OWNERS = {"AUMOS_PRIVACY_BUDGET_REPLICAS": "2"}


@dataclass
class LiveService:
    """A service that runs in processes of its own.

    Attributes:
        url: Where it answers.
        home: Its data folder.
        pid: The process that started all others; another one once it was started again.
    """

    url: str
    home: Path
    pid: int

    def token(self, tenant_id: str, *roles: str, engine: str | None = None) -> str:
        """A token as the service's own key signs it."""
        return mint_token(
            KeyRing(self.home / "keys").token_key,
            issuer="privacy-engine",
            audience="privacy-engine",
            tenant_id=tenant_id,
            roles=roles or ("engine",),
            engine=engine,
        )

    @property
    def ledger_url(self) -> str:
        """Its Postgres, as the owner."""
        return f"postgresql://postgres:@/postgres?host={self.home / 'postgres'}"

    @property
    def ray_address(self) -> str:
        """Where Ray's head listens."""
        (raylet,) = self.parts("raylet")
        words: list[str] = raylet.cmdline()
        return next(word.partition("=")[2] for word in words if word.startswith("--gcs-address="))

    def replicas(self, deployment: str) -> list[psutil.Process]:
        """The processes of a deployment's replicas."""
        return self._running(lambda name, command: name.startswith("ray::Serve") and deployment in command)

    def parts(self, program: str) -> list[psutil.Process]:
        """The processes that run a program, such as Ray's."""
        return self._running(lambda name, _: name == program)

    def running_as(self, title: str) -> list[psutil.Process]:
        """The processes that go by a title, such as Ray gives its workers."""
        return self._running(lambda name, command: name.startswith(title) or command.startswith(title))

    def postmaster(self) -> psutil.Process | None:
        """The first process of its Postgres, if that answers."""
        folder = self.home / "postgres"
        if not embedded.is_ready(folder):
            return None
        return psutil.Process(int((folder / "postmaster.pid").read_text().splitlines()[0]))

    def _running(self, wanted: Callable[[str, str], bool]) -> list[psutil.Process]:
        found = []
        for process in psutil.Process(self.pid).children(recursive=True):
            try:
                if wanted(process.name(), " ".join(process.cmdline())):
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found


def cli(*arguments: str, home: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Runs ``privacy-engine`` with its state in that folder, and with settings from the environment."""
    return subprocess.run(
        [sys.executable, "-m", "serve_app.cli.main", *arguments],
        env={**os.environ, "AUMOS_PRIVACY_HOME": str(home), **settings},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture(scope="session")
def live_service() -> Iterator[LiveService]:
    """One service for all acceptance tests, with two owners of budgets."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="prv-", ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "home"
        started = cli("up", "--detach", "--port", str(port), home=home, **TWO_OWNERS)
        assert started.returncode == 0, started.stderr
        running = find_running(home)
        assert running is not None
        try:
            yield LiveService(running.url, home, running.pid)
        finally:
            stopped = cli("down", home=home)
            assert stopped.returncode == 0, stopped.stderr
