"""The embedded Postgres after it was killed: it comes back with all that was committed, whatever was left behind."""

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from accounting.storage import embedded

PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a Postgres that runs and may be killed."""
    folder = tmp_path_factory.mktemp("pg")
    embedded.start(folder)
    yield folder
    embedded.stop(folder)


def query(folder: Path, statement: str) -> object:
    """What a statement answers."""

    async def ask() -> object:
        connection = await asyncpg.connect(embedded.start(folder))
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(ask())


def number_of(folder: Path) -> int:
    """The number of its first process, as it wrote it down."""
    return int((folder / "postmaster.pid").read_text().splitlines()[0])


def kill(folder: Path) -> int:
    """Kills its first process, and waits until it is dead; returns its number."""
    number = number_of(folder)
    os.kill(number, signal.SIGKILL)
    while embedded.is_running(folder):
        time.sleep(0.01)
    return number


def test_a_new_file_of_its_log_stops_nobody_while_it_is_zeroed(folder: Path) -> None:
    """It is told so at its first start, and stays told."""
    assert query(folder, "SHOW wal_init_zero") == "off"
    kill(folder)
    assert query(folder, "SHOW wal_init_zero") == "off"


def test_what_was_committed_is_there_after_a_kill(folder: Path) -> None:
    """Killed in the middle of things and started again, it has recovered when `start` returns."""
    query(folder, "CREATE TABLE kept (n int)")
    query(folder, "INSERT INTO kept SELECT generate_series(1, 1000) RETURNING n")
    kill(folder)
    assert not embedded.is_ready(folder)
    embedded.start(folder)
    assert embedded.is_ready(folder)
    assert query(folder, "SELECT count(*) FROM kept") == 1000


def test_a_number_that_another_process_has_by_now_is_no_postgres(folder: Path) -> None:
    """The file that a killed Postgres leaves behind names a process, which may be anybody's later on."""
    number = kill(folder)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as other:
        try:
            file = folder / "postmaster.pid"
            file.write_text(file.read_text().replace(str(number), str(other.pid), 1))
            assert not embedded.is_running(folder)
            embedded.start(folder)
            assert number_of(folder) != other.pid
            assert query(folder, "SELECT 1") == 1
        finally:
            other.kill()


def test_a_dead_process_that_nobody_has_waited_for_is_no_postgres(tmp_path_factory: pytest.TempPathFactory) -> None:
    """In a container whose first process waits for nobody, what was killed stays in the table of processes."""
    folder = tmp_path_factory.mktemp("pg")
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    # From now on orphans are this process's children, and it does not wait for them.
    assert prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    try:
        embedded.start(folder)
        number = number_of(folder)
        os.kill(number, signal.SIGKILL)
        while psutil.Process(number).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert not embedded.is_running(folder)
        embedded.start(folder)
        assert query(folder, "SELECT 1") == 1
        embedded.stop(folder)
    finally:
        prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        for child in psutil.Process().children():
            if child.name() == "postgres":
                child.wait()


def test_nothing_is_started_beside_what_is_left_of_the_killed_one(folder: Path) -> None:
    """A process of the killed Postgres may still write to the data; until it has ended, there is no other."""
    left = next(
        process for process in psutil.Process(number_of(folder)).children() if "walwriter" in process.cmdline()[0]
    )
    left.suspend()
    kill(folder)
    with pytest.raises(embedded.PostgresError, match="does not end"):
        embedded.start(folder, patience=0.2)
    assert not embedded.is_running(folder)
    left.kill()
    embedded.start(folder)
    assert query(folder, "SELECT 1") == 1


def test_stopping_what_was_killed_does_not_start_it(folder: Path) -> None:
    """There is nothing to stop."""
    kill(folder)
    embedded.stop(folder)
    assert not embedded.is_running(folder)
