"""Machines of a network of their own, on this one: network namespaces on a bridge, whose cables can be pulled."""

import asyncio
import ctypes
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_CLONE_NEWNET = 0x40000000


class Network:
    """A bridge and the machines at it."""

    def __init__(self, names: Sequence[str]) -> None:
        """Makes it. Needs root and `ip` (iproute2).

        Args:
            names: Of the machines, a letter each.
        """
        self._prefix = f"prv{os.getpid()}"
        self.machines = {name: Machine(f"{self._prefix}{name}", f"10.77.0.{at}") for at, name in enumerate(names, 1)}
        self._hub = f"{self._prefix}hub"
        try:
            self._make()
        except (OSError, subprocess.CalledProcessError) as error:
            self.remove()
            said = error.stderr.decode().strip() if isinstance(error, subprocess.CalledProcessError) else error
            raise AssertionError(
                f"this test makes network namespaces, for which it needs root (CAP_SYS_ADMIN) and iproute2: {said}"
            ) from None

    def _make(self) -> None:
        for namespace in (self._hub, *(machine.namespace for machine in self.machines.values())):
            _ip("netns", "add", namespace)
            _ip("-n", namespace, "link", "set", "lo", "up")
        _ip("-n", self._hub, "link", "add", "bridge", "type", "bridge")
        _ip("-n", self._hub, "link", "set", "bridge", "up")
        for name, machine in self.machines.items():
            # Made in the hub, so that no name is taken on the machine that runs the test.
            _ip(
                "-n", self._hub, "link", "add", f"to-{name}", "type", "veth", "peer", "eth0", "netns", machine.namespace
            )
            _ip("-n", self._hub, "link", "set", f"to-{name}", "master", "bridge", "up")
            _ip("-n", machine.namespace, "addr", "add", f"{machine.address}/24", "dev", "eth0")
            _ip("-n", machine.namespace, "link", "set", "eth0", "up")

    def cut(self, name: str) -> None:
        """Pulls a machine's cable: what it sends is lost, and it does not learn that."""
        _ip("-n", self._hub, "link", "set", f"to-{name}", "down")

    def heal(self, name: str) -> None:
        """Puts it in again."""
        _ip("-n", self._hub, "link", "set", f"to-{name}", "up")

    def remove(self) -> None:
        """Ends every process on the machines, and the machines."""
        for namespace in (self._hub, *(machine.namespace for machine in self.machines.values())):
            found = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False)
            for pid in found.stdout.split():
                # Not the test itself, whose threads may be there.
                if int(pid) != os.getpid():
                    with suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)
            subprocess.run(["ip", "netns", "delete", namespace], capture_output=True, check=False)


class Machine:
    """One of them."""

    def __init__(self, namespace: str, address: str) -> None:
        self.namespace = namespace
        self.address = address

    @property
    def path(self) -> Path:
        """Names its network."""
        return Path("/run/netns") / self.namespace

    def command(self, *words: str) -> list[str]:
        """A command that runs there."""
        return ["ip", "netns", "exec", self.namespace, *words]

    def runs(self, pid: int) -> bool:
        """Whether a process runs there."""
        try:
            return Path(f"/proc/{pid}/ns/net").stat().st_ino == self.path.stat().st_ino
        except FileNotFoundError:
            return False


class Passage:
    """Connections through one socket to another, where one of them is on a machine: a thread that lives there."""

    def __init__(self, machine: Machine, *, listen: Path | int, to: Path | int) -> None:
        """Does not begin yet.

        Args:
            machine: On which.
            listen: A Unix socket, or a port of the machine's own 127.0.0.1.
            to: Likewise.
        """
        self._machine, self._listen, self._to = machine, listen, to
        self._loop = asyncio.new_event_loop()
        self._flows = asyncio.Event()
        self._flows.set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @contextmanager
    def open(self) -> Iterator["Passage"]:
        """Lets connections through."""
        self._thread.start()
        assert self._ready.wait(10), "the passage did not open"
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)

    def block(self) -> None:
        """Nothing goes through from now on, in either direction, and nobody is told."""
        self._there(self._flows.clear)

    def unblock(self) -> None:
        """What was held up goes on its way."""
        self._there(self._flows.set)

    def _there(self, change: Callable[[], None]) -> None:
        """Does something in the thread, and returns when it is done."""
        done = threading.Event()
        self._loop.call_soon_threadsafe(change)
        self._loop.call_soon_threadsafe(done.set)
        assert done.wait(10), "the passage does not react"

    def _run(self) -> None:
        with self._machine.path.open() as network:
            if ctypes.CDLL(None, use_errno=True).setns(network.fileno(), _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        asyncio.set_event_loop(self._loop)
        if isinstance(self._listen, Path):
            server = asyncio.start_unix_server(self._connected, self._listen)
        else:
            server = asyncio.start_server(self._connected, "127.0.0.1", self._listen)
        self._loop.run_until_complete(server)
        self._ready.set()
        self._loop.run_forever()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if isinstance(self._to, Path):
                far_reader, far_writer = await asyncio.open_unix_connection(self._to)
            else:
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self._pass_on(reader, far_writer), self._pass_on(far_reader, writer))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
        # An end on one side is one on the other.
        writer.close()


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
