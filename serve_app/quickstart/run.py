"""What ``make run`` does: starts the service, plays the quick start against it over HTTP, and stays up until Ctrl-C."""

import argparse
import sys
import time
from pathlib import Path

from rich.console import Console

from serve_app.cluster import StartError, end_like_ctrl_c
from serve_app.config import Settings
from serve_app.runner import find_running, running_service
from serve_app.supervisor import GaveUpError

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """Runs the quick start.

    Returns:
        Exit status: 0 if the scenario reached its end.
    """
    parser = argparse.ArgumentParser(prog="make run")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--out", type=Path, default=Path("quickstart-output"))
    options = parser.parse_args()
    settings = Settings(port=options.port)
    already = find_running(settings.folder)
    if already is not None:
        console.print(f"A service runs already at {already.url}; the quick start uses it.")
        return _play(already.url, options.out, settings.folder)
    started = time.monotonic()

    def say(line: str) -> None:
        console.print(f"[dim]{time.monotonic() - started:5.1f} s[/]  {line}")

    end_like_ctrl_c()
    try:
        with running_service(settings, say) as (service, supervisor):
            say(f"Ready at [bold]{service.url}[/]")
            status = _play(service.url, options.out, settings.folder)
            console.print(f"The service stays up at [bold]{service.url}[/]. Ctrl-C stops it; the ledger is kept.")
            supervisor.watch_until_told()
    except StartError as error:
        console.print(f"[red]The service could not start:[/] {error}")
        return 1
    except GaveUpError as error:
        console.print(f"[red]The service was stopped:[/] {error}. The ledger is kept in {settings.folder}")
        return 1
    except KeyboardInterrupt:
        console.print("Stopped.")
        return 130
    console.print(f"Stopped. The ledger is kept in {settings.folder}")
    return status


def _play(url: str, out: Path, folder: Path) -> int:
    from serve_app.quickstart.__main__ import play

    return play(url, out, folder)


if __name__ == "__main__":
    sys.exit(main())
