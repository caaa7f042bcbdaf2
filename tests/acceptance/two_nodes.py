"""The service on a cluster of two nodes, each on a machine of its own in every respect that a network knows."""

import asyncio
import base64
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import httpx
import yaml

from accounting.storage import embedded
from tests.acceptance.conftest import LiveService
from tests.acceptance.namespaces import Machine, Network, Passage

HTTP_PORT, DATABASE_PORT, HEAD_PORT = 8000, 5432, 6379
WANTED = ("budget", "log")
"""Of the applications in `serve_config.yaml`, those that the test needs."""
PATIENCE_SECONDS = 60.0
QUICK = {
    # Ray gives a node up after some seconds, not half a minute.
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
    # A request that was on its way to the other node when the cable was pulled waits so long, and not a minute.
    "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S": "8",
}


@dataclass
class Node:
    """One node.

    Attributes:
        machine: Where it runs.
        clients: The socket through which a client on that machine speaks to the machine's load balancer.
        database: The way from that machine to Postgres.
        starts: How often it was started.
        process: Its first process.
    """

    machine: Machine
    clients: Path
    database: Passage
    starts: int = 0
    process: asyncio.subprocess.Process | None = None

    async def keep(self, arguments: list[str], environment: Mapping[str, str], log: Path) -> None:
        """Runs it, and starts it again when it has ended, as systemd does."""
        words = self.machine.command(sys.executable, "-m", "serve_app.cli.main", "node", *arguments)
        with log.open("ab") as output:
            while True:
                self.starts += 1
                self.process = await asyncio.create_subprocess_exec(
                    *words, env=environment, stdout=output, stderr=output
                )
                await self.process.wait()


class BothWays(httpx.AsyncBaseTransport):
    """Clients on both machines: each attempt goes by the next one, so that a repeated request meets another owner.

    Attributes:
        only: The machine whose clients speak alone, if any.
        statuses: What was answered, by machine and status.
        admitted: How many requests each machine acknowledged for the first time.
        answered: Machines and the tenants that were answered there, admitted or refused for want of budget.
    """

    def __init__(self, nodes: Mapping[str, Node]) -> None:
        self._ways = {name: httpx.AsyncHTTPTransport(uds=str(node.clients)) for name, node in nodes.items()}
        self._numbers = count()
        self.only: str | None = None
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.admitted: Counter[str] = Counter()
        self.answered: set[tuple[str, str]] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends it by one of them."""
        name = self.only or list(self._ways)[next(self._numbers) % len(self._ways)]
        response = await self._ways[name].handle_async_request(request)
        self.statuses[name, response.status_code] += 1
        if response.status_code == 200 and "idempotency-replayed" not in response.headers:
            self.admitted[name] += 1
        if response.status_code in (200, 402):
            self.answered.add((name, _tenant(request)))
        return response


def _tenant(request: httpx.Request) -> str:
    """Whose budget it is about: the body says so, or the token."""
    body = json.loads(request.content or b"{}")
    claims = request.headers["authorization"].split(".")[1]
    token = json.loads(base64.urlsafe_b64decode(claims + "=="))
    tenant: str = body.get("tenant_id", token["tenant_id"])
    return tenant


@dataclass
class TwoNodes:
    """The cluster.

    Attributes:
        service: The service on it, as loads and checks know one.
        network: What it hangs on.
        nodes: By name; ``a`` is the head.
        logs: What the nodes have said.
    """

    service: LiveService
    network: Network
    nodes: dict[str, Node]
    logs: Path
    _kept: list[asyncio.Task[None]] = field(default_factory=list)

    def owners(self, name: str) -> set[int]:
        """The processes that own budgets on a node."""
        machine = self.nodes[name].machine
        return {process.pid for process in self.service.replicas("budget") if machine.runs(process.pid)}

    def transport(self) -> BothWays:
        """Clients on both machines."""
        return BothWays(self.nodes)

    async def start(self) -> None:
        """Starts the nodes and deploys the service."""
        environment = {
            **os.environ,
            **QUICK,
            "AUMOS_PRIVACY_HOME": str(self.service.home),
            "AUMOS_PRIVACY_PORT": str(HTTP_PORT),
        }
        head = self.nodes["a"].machine
        for name, node in self.nodes.items():
            role = ["--head"] if node.machine is head else ["--join", f"{head.address}:{HEAD_PORT}"]
            arguments = [*role, "--address", node.machine.address, "--cpus", "2"]
            self._kept.append(asyncio.create_task(node.keep(arguments, environment, self.logs / f"{name}.log")))
            if node.machine is head:
                # The head writes the token that the other one needs.
                await self._until_there(self.service.home / "keys" / "ray-token")
        config = yaml.safe_load((Path(__file__).parents[2] / "serve_config.yaml").read_text())
        config["applications"] = [one for one in config["applications"] if one["name"] in WANTED]
        (self.logs / "serve_config.yaml").write_text(yaml.safe_dump(config))
        owner = f"postgresql://postgres:@127.0.0.1:{DATABASE_PORT}/postgres"
        words = (sys.executable, "-m", "serve_app.cli.main", "deploy", str(self.logs / "serve_config.yaml"))
        with (self.logs / "deploy.log").open("ab") as output:
            deployed = await asyncio.create_subprocess_exec(
                *head.command(*words),
                env={**environment, "AUMOS_PRIVACY_DATABASE_URL": owner},
                stdout=output,
                stderr=output,
            )
            assert await deployed.wait() == 0, self.said()

    async def stop(self) -> None:
        """Asks the nodes to end, the head last."""
        for task in self._kept:
            task.cancel()
        for node in reversed(self.nodes.values()):
            if node.process is not None and node.process.returncode is None:
                node.process.terminate()
                await asyncio.wait_for(node.process.wait(), PATIENCE_SECONDS)

    def said(self) -> str:
        """The end of what the nodes and the deploy have said."""
        return "\n".join(f"{log.name}: {log.read_text(errors='replace')[-2_000:]}" for log in self.logs.glob("*.log"))

    async def _until_there(self, path: Path) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not path.exists():
                await asyncio.sleep(0.05)


@asynccontextmanager
async def two_nodes() -> AsyncIterator[TwoNodes]:
    """The cluster, for as long as the context lasts. Nothing of it is left afterwards, however that ends."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="prv-", ignore_cleanup_errors=True)))
        home = folder / "home"
        network = Network("ab")
        stack.callback(network.remove)
        embedded.start(home / "postgres")
        stack.callback(embedded.stop, home / "postgres")
        nodes = {}
        for name, machine in network.machines.items():
            database = Passage(machine, listen=DATABASE_PORT, to=home / "postgres" / ".s.PGSQL.5432")
            clients = Passage(machine, listen=folder / f"{name}.sock", to=HTTP_PORT)
            for passage in (database, clients):
                stack.enter_context(passage.open())
            nodes[name] = Node(machine, folder / f"{name}.sock", database)
        service = LiveService(f"http://127.0.0.1:{HTTP_PORT}", home, os.getpid())
        cluster = TwoNodes(service, network, nodes, folder)
        stack.push_async_callback(cluster.stop)
        await cluster.start()
        yield cluster
