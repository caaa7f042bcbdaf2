"""A real service, started as a user starts it: its own data folder, port, Postgres and Ray cluster."""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from serve_app.auth.keys import KeyRing
from serve_app.auth.tokens import mint_token
from serve_app.runner import find_running


@dataclass(frozen=True)
class LiveService:
    """A service that runs in processes of its own."""

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

    def replicas(self, deployment: str) -> list[psutil.Process]:
        """The processes of a deployment's replicas."""
        found = []
        for process in psutil.Process(self.pid).children(recursive=True):
            try:
                if process.name().startswith("ray::Serve") and deployment in " ".join(process.cmdline()):
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found


def cli(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Runs ``privacy-engine`` with its state in that folder."""
    return subprocess.run(
        [sys.executable, "-m", "serve_app.cli.main", *arguments],
        env={**os.environ, "AUMOS_PRIVACY_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture(scope="session")
def live_service() -> Iterator[LiveService]:
    """One service for all acceptance tests."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="prv-", ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "home"
        started = cli("up", "--detach", "--port", str(port), home=home)
        assert started.returncode == 0, started.stderr
        running = find_running(home)
        assert running is not None
        try:
            yield LiveService(running.url, home, running.pid)
        finally:
            stopped = cli("down", home=home)
            assert stopped.returncode == 0, stopped.stderr
