"""``privacy-engine node``: this machine as a node of a cluster, in the foreground."""

import signal
import socket
import threading
from pathlib import Path
from typing import Annotated

import typer

from serve_app.cli.exit_codes import REFUSED, USAGE
from serve_app.cli.options import Home
from serve_app.cli.output import CommandError, complain, errors_reported


def node(
    head: Annotated[bool, typer.Option("--head", help="Be the head, which the other nodes join.")] = False,
    join: Annotated[str | None, typer.Option(help="Join the head at this address, host:port.")] = None,
    address: Annotated[
        str | None,
        typer.Option(help="This node's address, as the others reach it. (default: as the head sees it)"),
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The head's port.")] = 6379,
    cpus: Annotated[int | None, typer.Option(min=0, help="Processors that Ray may count on. (default: all)")] = None,
    gpus: Annotated[int | None, typer.Option(min=0, help="GPUs that Ray may count on. (default: all)")] = None,
    autoscaling_config: Annotated[
        Path | None, typer.Option(help="What `ray up` left on the head, to start the other nodes by.")
    ] = None,
    home: Home = None,
) -> None:
    """Run this machine as a node of a cluster, and stay until Ctrl-C. Ends with status 1 when Ray ends."""
    with errors_reported():
        try:
            from serve_app.cluster import StartError
            from serve_app.config import Settings
            from serve_app.node import NodeOptions, run_node
        except ModuleNotFoundError as error:
            message = f"this needs {error.name}, which comes with the service: install privacy-engine[service]"
            raise CommandError(message, USAGE) from None
        if head == (join is not None):
            raise CommandError("say either --head or --join HOST:PORT", USAGE)
        given = Settings()
        settings = Settings.model_validate(given.model_dump() | {"home": home or given.home})
        options = NodeOptions(join, address or _own_address(join), port, cpus, gpus, autoscaling_config)
        asked = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: asked.set())
        try:
            fault = run_node(settings, options, asked)
        except (StartError, RuntimeError) as error:
            raise CommandError(str(error), REFUSED) from None
        if fault is not None:
            raise CommandError(f"{fault}; nothing of it is left on this machine, and it may be started again", REFUSED)
    complain("Stopped. This machine has left the cluster.")


def _own_address(join: str | None) -> str:
    """The address from which packets go towards the head, or where this is the head, anywhere. Sends none."""
    host, _, port = (join or "192.0.2.1:9").rpartition(":")
    if not host or not port.isdigit():
        raise CommandError(f"--join {join} is not host:port, such as 10.0.0.1:6379", USAGE)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((host, int(port)))
            found: str = probe.getsockname()[0]
            return found
    except OSError as error:
        raise CommandError(f"this machine's address is not known ({error}): name it with --address", USAGE) from None
