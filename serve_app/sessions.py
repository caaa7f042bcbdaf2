"""All that a process started in a session of its own, and how it is ended: Ray leaves processes behind when it dies."""

import os
import time

import psutil

KILL_SECONDS = 30.0


def ended(process: psutil.Process) -> bool:
    """Whether it is gone, or only not waited for yet."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def members(leader: int) -> list[psutil.Process]:
    """The living processes of a session, whoever their parent is by now, and those that descend from them."""
    children: dict[int, list[psutil.Process]] = {}
    found = []
    for process in psutil.process_iter(["ppid"]):
        children.setdefault(process.info["ppid"], []).append(process)
        try:
            if os.getsid(process.pid) == leader:
                found.append(process)
        except ProcessLookupError:
            continue
    known = {process.pid for process in found}
    for process in found:
        for child in children.get(process.pid, []):
            if child.pid not in known:
                known.add(child.pid)
                found.append(child)
    return [process for process in found if not ended(process)]


def kill_session(leader: int) -> None:
    """Kills every process of a session. Raises `RuntimeError` if one does not end."""
    deadline = time.monotonic() + KILL_SECONDS
    while left := members(leader):
        if time.monotonic() > deadline:
            raise RuntimeError(f"these processes of the last one do not end: {[process.pid for process in left]}")
        for process in left:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.05)
