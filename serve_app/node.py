"""One node of a cluster: Ray's processes on this machine, for as long as this process lives.

It does not start Ray again: whoever started this process (systemd, Kubernetes) does, and finds nothing of the last one
in the way. A node that was cut off long enough to be given up ends its Ray when it is connected again, and leaves the
load balancer behind, which would hold the port.
"""

import os
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from serve_app.cluster import StartError
from serve_app.config import Settings
from serve_app.environment import node_environment, node_folder
from serve_app.sessions import ended, kill_session, members

HEAD_PORT, NODE_MANAGER_PORT, OBJECT_MANAGER_PORT = 6379, 6380, 6381
RUNTIME_AGENT_PORT, AGENT_PORT, METRICS_PORT = 6382, 6383, 9102
WORKER_PORTS = 10_002, 19_999
"""Ray would take any free port otherwise, for which nobody can write a firewall's rule."""
TOKEN_FILE = "keys/ray-token"
STOP_SECONDS = 30.0
_PERIOD_SECONDS = 0.5
_VITAL = frozenset({"gcs_server", "raylet"})


@dataclass(frozen=True)
class NodeOptions:
    """What an operator says of a node.

    Attributes:
        join: The head's address, host:port; None makes this node the head.
        address: This node's own address, as the others reach it.
        port: Of the head, where this node is it.
        cpus: How many processors Ray may count on; None for all.
        gpus: How many GPUs; None for all.
        autoscaling: What `ray up` tells the head of its workers, if it started it.
    """

    join: str | None
    address: str
    port: int = HEAD_PORT
    cpus: int | None = None
    gpus: int | None = None
    autoscaling: Path | None = None


def start_command(options: NodeOptions, folder: Path) -> list[str]:
    """How Ray is started on this node, to stay in the foreground."""
    if options.join is not None:
        role = [f"--address={options.join}"]
    else:
        # The dashboard's interface takes deploys and training jobs; it listens on this machine alone.
        role = ["--head", f"--port={options.port}", "--include-dashboard=true", "--dashboard-host=127.0.0.1"]
        if options.autoscaling is not None:
            role.append(f"--autoscaling-config={options.autoscaling}")
    counted = {"--num-cpus": options.cpus, "--num-gpus": options.gpus}
    return [
        *(str(Path(sys.executable).with_name("ray")), "start", "--block", "--disable-usage-stats"),
        *role,
        f"--node-ip-address={options.address}",
        f"--temp-dir={folder / 'ray'}",
        f"--node-manager-port={NODE_MANAGER_PORT}",
        f"--object-manager-port={OBJECT_MANAGER_PORT}",
        f"--runtime-env-agent-port={RUNTIME_AGENT_PORT}",
        f"--dashboard-agent-grpc-port={AGENT_PORT}",
        f"--metrics-export-port={METRICS_PORT}",
        f"--min-worker-port={WORKER_PORTS[0]}",
        f"--max-worker-port={WORKER_PORTS[1]}",
        *(f"{name}={count}" for name, count in counted.items() if count is not None),
    ]


def run_node(settings: Settings, options: NodeOptions, asked: threading.Event) -> str | None:
    """Runs Ray on this node until it ends or somebody asks for its end; then nothing of it is left.

    Args:
        settings: The operator's.
        options: Which node this is.
        asked: Set when the node is to stop.

    Returns:
        What went wrong; None if it was asked to stop.

    Raises:
        StartError: If it cannot start.
    """
    folder = node_folder(settings, options.address)
    _prepare(settings, options, folder)
    environment = {
        **os.environ,
        **node_environment(settings, folder),
        # Replicas read their settings from it, wherever it was named.
        "AUMOS_PRIVACY_HOME": str(settings.folder),
    }
    child = subprocess.Popen(start_command(options, folder), env=environment, start_new_session=True)
    try:
        return _watch(child, asked)
    finally:
        _stop(child)
        shutil.rmtree(folder, ignore_errors=True)


def _prepare(settings: Settings, options: NodeOptions, folder: Path) -> None:
    # Left behind by a node that was killed; its load balancer's files would be taken for the new one's.
    shutil.rmtree(folder, ignore_errors=True)
    try:
        # Not in a folder that somebody else made there.
        folder.mkdir(mode=0o700)
        (folder / "haproxy").mkdir(mode=0o700)
    except OSError as error:
        raise StartError(f"{folder} cannot be made ({error.strerror}): remove what is there") from None
    token = settings.folder / TOKEN_FILE
    if token.exists() or "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ:
        return
    if options.join is not None:
        raise StartError(
            f"{token} is not there: AUMOS_PRIVACY_HOME must be the folder that the head has, shared by all nodes, or "
            "RAY_AUTH_TOKEN must be the head's token"
        )
    token.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Complete before it has its name: another node may look for it already.
    draft = token.with_name(f".{token.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32))
    draft.replace(token)


def _watch(child: subprocess.Popen[bytes], asked: threading.Event) -> str | None:
    vital: Sequence[psutil.Process] = ()
    while not asked.wait(_PERIOD_SECONDS):
        status = child.poll()
        if status is not None:
            return f"Ray has ended with status {status}"
        # Ray waits on for ever where one of them was told to end, as `ray stop` does.
        vital = vital or _vital(child.pid)
        for process in vital:
            if ended(process):
                return f"Ray's {process.name()} has ended"
    return None


def _vital(leader: int) -> Sequence[psutil.Process]:
    """Without which a node is none; nothing before all of them run, the raylet last."""
    found = [process for process in members(leader) if process.name() in _VITAL]
    return found if any(process.name() == "raylet" for process in found) else ()


def _stop(child: subprocess.Popen[bytes]) -> None:
    """First the raylet, in order, so that the others know at once that the node has left; then all that is left."""
    raylets = [process for process in members(child.pid) if process.name() == "raylet"]
    for process in raylets:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    while not all(ended(process) for process in raylets) and time.monotonic() < deadline:
        time.sleep(0.05)
    kill_session(child.pid)
    child.wait()
