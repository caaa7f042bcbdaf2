"""The parts of a service on one machine, as the supervisor sees them: what can die, and how it is started again."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil

from accounting.storage import embedded
from serve_app.cluster import READY_SECONDS, StartError
from serve_app.environment import runtime_folder
from serve_app.service import Service
from serve_app.sessions import ended, kill_session, members
from serve_app.supervisor import Say

START_SECONDS = READY_SECONDS + 60.0
"""After which a cluster that is still starting is given up."""
SILENCE_SECONDS = 60.0
"""After which a cluster whose processes live, but which answers nobody, is taken for dead.

Longer than Ray needs to bring back a replica, its controller or the load balancer by itself."""
STOP_SECONDS = 30.0
HEAD = frozenset({"gcs_server", "raylet"})
"""What Ray starts once and does not start again."""


class Postgres:
    """The embedded Postgres. One that is somebody else's is not ours to start."""

    name = "PostgreSQL"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fault(self) -> str | None:
        """What is wrong, if anything is."""
        return None if embedded.is_running(self._folder) else "its process is gone"

    def is_starting(self) -> bool:
        """Whether it still recovers what was committed before it died."""
        return not embedded.is_ready(self._folder)

    def restart(self) -> None:
        """Starts it again, on the same data."""
        try:
            embedded.start(self._folder, patience=5.0)
        except embedded.PostgresError:
            if not embedded.is_running(self._folder):
                raise


class Cluster:
    """Ray, the load balancer and the deployments: a child process, and all that belongs to its session."""

    name = "Ray"

    def __init__(self, service: Service, say: Say, on_up: Callable[[str | None], object]) -> None:
        """Does not start it yet.

        Args:
            service: What is to run.
            say: Takes a line for each step of a start.
            on_up: Called with the dashboard's URL each time it has become ready.
        """
        self._service = service
        self._say = say
        self._on_up = on_up
        self._log_file = service.settings.folder / "ray.log"
        self._child: subprocess.Popen[bytes] | None = None
        self._http = httpx.Client(base_url=service.settings.base_url, timeout=2)
        self._reset()

    def _reset(self) -> None:
        self._unread = b""
        self._failure: str | None = None
        self._head: list[psutil.Process] = []
        self._dashboard_url: str | None = None
        self._since = time.monotonic()
        self._starting = True

    def start(self) -> None:
        """Begins to start it; `fault` follows how it goes."""
        self._reset()
        # A session of its own: Ctrl-C reaches the supervisor alone, which stops things in order; and whatever Ray
        # leaves behind when it dies is found again by the session it belongs to.
        with self._log_file.open("ab") as file:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "serve_app.cluster"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                start_new_session=True,
            )
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        os.set_blocking(self._child.stdout.fileno(), False)
        # Through the pipe and not on the command line, which everybody can read.
        pickle.dump(self._service, self._child.stdin)
        self._child.stdin.flush()

    def wait_until_up(self) -> str | None:
        """Waits until it answers.

        Returns:
            The URL of Ray's dashboard, where there is one.

        Raises:
            StartError: If it does not come to that.
        """
        while self._starting:
            fault = self.fault()
            if fault is not None:
                raise StartError(fault)
            time.sleep(0.05)
        return self._dashboard_url

    def is_starting(self) -> bool:
        """Whether it was started and has not answered yet."""
        return self._starting

    def fault(self) -> str | None:
        """What is wrong, if anything is. Cheap: looks at three processes and asks for one small answer."""
        if self._child is None:
            return "was not started"
        self._listen(self._child)
        now = time.monotonic()
        # Not waited for as long as others of its session may live: nobody else gets its number meanwhile.
        if ended(psutil.Process(self._child.pid)):
            return self._failure or f"its process has ended; {self._log_file} may say why"
        if self._starting:
            return f"did not become ready within {START_SECONDS:.0f} s" if now - self._since > START_SECONDS else None
        for process in self._head:
            if ended(process):
                return f"its {process.name()} is gone"
        if self._answers():
            self._since = now
        silence = now - self._since
        return f"has not answered for {silence:.0f} s" if silence > SILENCE_SECONDS else None

    def restart(self) -> None:
        """Clears away what is left of it, and begins to start a new one."""
        self._clear()
        self.start()

    def stop(self) -> None:
        """Ends it: in order if it can, and then whatever is left."""
        child = self._child
        if child is not None and (self._starting or self.fault() is None):
            child.terminate()
            deadline = time.monotonic() + STOP_SECONDS
            while not ended(psutil.Process(child.pid)) and time.monotonic() < deadline:
                time.sleep(0.05)
        self._clear()
        self._http.close()

    def _answers(self) -> bool:
        try:
            return self._http.get("/health/live").status_code == 200
        except httpx.TransportError:
            return False

    def _listen(self, child: subprocess.Popen[bytes]) -> None:
        """Takes in what the child has reported since."""
        assert child.stdout is not None
        self._unread += child.stdout.read() or b""
        *lines, self._unread = self._unread.split(b"\n")
        for line in lines:
            report = json.loads(line)
            if "say" in report:
                self._say(report["say"])
            elif "failed" in report:
                self._failure = report["failed"]
            else:
                self._head = [process for process in members(child.pid) if process.name() in HEAD]
                self._since = time.monotonic()
                self._starting = False
                self._dashboard_url = report["dashboard_url"]
                self._on_up(self._dashboard_url)

    def _clear(self) -> None:
        child = self._child
        if child is None:
            return
        kill_session(child.pid)
        child.wait()
        self._child = None
        for pipe in (child.stdin, child.stdout):
            assert pipe is not None
            pipe.close()
        settings = self._service.settings
        runtime = runtime_folder(settings)
        logs = runtime / "ray" / "session_latest" / "logs"
        if logs.exists():
            # It did not end by itself, and its logs may say why.
            shutil.rmtree(settings.folder / "last-failure", ignore_errors=True)
            shutil.copytree(logs, settings.folder / "last-failure", ignore_dangling_symlinks=True, dirs_exist_ok=True)
        shutil.rmtree(runtime, ignore_errors=True)
