"""``privacy-engine up`` and ``down``."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

from serve_app.cluster import StartError, end_like_ctrl_c
from serve_app.config import Settings
from serve_app.parts import START_SECONDS
from serve_app.runner import Running, find_running, running_service
from serve_app.supervisor import GaveUpError

_console = Console(stderr=True, highlight=False, soft_wrap=True)


def run_up(*, port: int | None, detach: bool, home: Path | None) -> int:
    """Starts the service; stays until Ctrl-C unless detached.

    Returns:
        Exit status: 0 if the service ran (or, detached, runs), 1 if it could not start.
    """
    settings = _settings(port, home)
    running = find_running(settings.folder)
    if running is not None:
        _console.print(f"The service of {settings.folder} runs already at {running.url} (process {running.pid}).")
        return 0
    if detach:
        return _detached(settings)
    started = time.monotonic()

    def say(line: str) -> None:
        _console.print(f"[dim]{time.monotonic() - started:5.1f} s[/]  {line}")

    end_like_ctrl_c()
    try:
        with running_service(settings, say) as (service, supervisor):
            say(f"Ready at [bold]{service.url}[/]")
            _introduce(service, settings)
            supervisor.watch_until_told()
    except StartError as error:
        _console.print(f"[red]The service could not start:[/] {error}")
        return 1
    except GaveUpError as error:
        _console.print(f"[red]The service was stopped:[/] {error}. The ledger is kept in {settings.folder}")
        return 1
    except KeyboardInterrupt:
        _console.print("Stopped while starting.")
        return 130
    _console.print(f"Stopped. The ledger is kept in {settings.folder}")
    return 0


def run_down(*, home: Path | None) -> int:
    """Stops the service of a data folder.

    Returns:
        Exit status: 0 if it is stopped now, 1 if it does not stop.
    """
    settings = _settings(None, home)
    running = find_running(settings.folder)
    if running is None:
        _console.print(f"No service of {settings.folder} is running.")
        return 0
    os.kill(running.pid, signal.SIGTERM)
    for _ in range(600):
        if find_running(settings.folder) is None:
            _console.print("Stopped. The ledger is kept.")
            return 0
        time.sleep(0.1)
    _console.print(f"Process {running.pid} does not stop; its log may say why.")
    return 1


def _settings(port: int | None, home: Path | None) -> Settings:
    settings = Settings()
    # Built anew, so that what is given on the command line is checked like the rest.
    given = {"port": port or settings.port, "home": home or settings.home}
    return Settings.model_validate(settings.model_dump() | given)


def _detached(settings: Settings) -> int:
    settings.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = settings.folder / "service.log"
    command = [sys.executable, "-m", "serve_app.cli.main", "up", "--port", str(settings.port)]
    with log.open("ab") as file:
        process = subprocess.Popen(
            [*command, "--home", str(settings.folder)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        running = find_running(settings.folder)
        if running is not None:
            _introduce(running, settings)
            return 0
        if process.poll() is not None:
            break
        time.sleep(0.2)
    _console.print(f"[red]The service could not start.[/] Its log is {log}; it ends:")
    _console.print("\n".join(log.read_text(errors="replace").splitlines()[-8:]), markup=False)
    return 1


def _introduce(running: Running, settings: Settings) -> None:
    sys.stdout.write(f"{running.url}\n")
    sys.stdout.flush()
    _console.print(f"  Page           {running.url}/  (`privacy-engine token` makes a token to log in with)")
    _console.print(f"  API document   {running.url}/openapi.json")
    if running.dashboard_url:
        _console.print(f"  Ray dashboard  {running.dashboard_url}  (token in {settings.folder}/keys/ray-token)")
    _console.print(f"  Data folder    {settings.folder}")
