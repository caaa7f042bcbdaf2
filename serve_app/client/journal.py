"""The client's own memory of what it asked for: keys are on disk before they are sent, so that a crash charges once.

One line of JSON for every call that is begun, and one when its outcome is known. What has no outcome after a crash is
repeated with the same key. A lost outcome only means that a call is repeated, which the service answers as before;
so only beginnings are forced to the disk.
"""

import contextlib
import json
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve_app.client.calls import PREFIX, Call
from serve_app.client.errors import PrivacyEngineError

_WITH_DATA = f"{PREFIX}/mechanism/"


class JournalError(PrivacyEngineError):
    """The journal cannot be used, so nothing was sent."""


@dataclass(frozen=True)
class Unfinished:
    """A call that was begun and whose outcome is not known.

    Attributes:
        key: Its idempotency key.
        method: HTTP method.
        path: Path below the base URL.
        job_id: The job it belongs to, if it says.
        body: What was sent; None where that holds true values of the data, which a journal never does.
    """

    key: str
    method: str
    path: str
    job_id: str | None
    body: dict[str, Any] | None

    def call(self) -> Call | None:
        """The very same call; None if the body was not kept, so that only its author can repeat it with `key`."""
        if self.path.startswith(_WITH_DATA):
            return None
        return Call(self.method, self.path, self.body, headers={"Idempotency-Key": self.key})


class Journal:
    """An append-only file, for one process at a time. It is begun anew when it is opened and nothing is unfinished.

    It holds names, amounts and keys, but no token and no data: of releases only the key is kept.

    Args:
        path: The file; it is made, readable by its owner alone, if it is not there.

    Raises:
        JournalError: If another process uses it, or it is not a journal.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise JournalError(f"{self._path}: {error.strerror}. Name a file in a folder that is there.") from None
        try:
            _lock_alone(self._file)
            self._open = self._read()
            _sync_folder(self._path.absolute().parent)
        except BlockingIOError:
            os.close(self._file)
            message = f"{self._path}: another process uses this journal. Give each process a journal of its own."
            raise JournalError(message) from None
        except BaseException:
            os.close(self._file)
            raise

    def unfinished(self) -> list[Unfinished]:
        """The calls without an outcome, oldest first."""
        with self._lock:
            return list(self._open.values())

    def begin(self, calls: Iterable[tuple[str, Call]]) -> None:
        """Writes down calls with their keys; on the disk when this returns.

        Raises:
            JournalError: If they cannot be written. Then they must not be sent.
        """
        asked = [_unfinished(key, call) for key, call in calls]
        with self._lock:
            # What is repeated is there already.
            begun = [one for one in asked if self._open.get(one.key) != one]
            self._append(
                [
                    {"begun": one.key, "method": one.method, "path": one.path, "job_id": one.job_id, "body": one.body}
                    for one in begun
                ]
            )
            try:
                os.fsync(self._file)
            except OSError as error:
                raise JournalError(f"{self._path}: {error.strerror}. Nothing was sent.") from None
            self._open |= {one.key: one for one in begun}

    def end(self, outcomes: Iterable[tuple[str, str]]) -> None:
        """Writes down how calls ended, by key."""
        with self._lock:
            ended = [(key, outcome) for key, outcome in outcomes if self._open.pop(key, None) is not None]
            # An outcome that cannot be written must not hide the answer: it is only asked for once more.
            with contextlib.suppress(JournalError):
                self._append([{"ended": key, "outcome": outcome} for key, outcome in ended])

    def close(self) -> None:
        """Lets go of the file."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    def _append(self, lines: list[dict[str, Any]]) -> None:
        if not lines:
            return
        if self._file < 0:
            raise JournalError(f"{self._path}: the journal is closed.")
        data = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines).encode()
        length = os.fstat(self._file).st_size
        try:
            while data:
                data = data[os.write(self._file, data) :]
        except OSError as error:
            # Half a line would spoil the next one.
            os.ftruncate(self._file, length)
            raise JournalError(f"{self._path}: {error.strerror}. Make room, then repeat.") from None

    def _read(self) -> dict[str, Unfinished]:
        content = self._path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        found: dict[str, Unfinished] = {}
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                said = json.loads(line)
                if "begun" in said:
                    found[said["begun"]] = Unfinished(
                        said["begun"], said["method"], said["path"], said["job_id"], said["body"]
                    )
                else:
                    found.pop(said["ended"], None)
            except (ValueError, KeyError, TypeError):
                message = f"{self._path}: line {number} is no entry of a journal. Move the file away and look into it."
                raise JournalError(message) from None
        # A line that was cut off in the middle was never forced to the disk, so its call was never sent.
        os.ftruncate(self._file, len(whole) if found else 0)
        return found


def _unfinished(key: str, call: Call) -> Unfinished:
    body = dict(call.json or {})
    job = body.get("job_id")
    kept = None if call.path.startswith(_WITH_DATA) else body
    return Unfinished(key, call.method, call.path, None if job is None else str(job), kept)


def _lock_alone(file: int) -> None:
    """Keeps every other process out until the file is closed, also by a crash."""
    # Only POSIX has it; the client without a journal runs anywhere.
    import fcntl

    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _sync_folder(folder: Path) -> None:
    """Makes the file's name durable, and not only what is in it."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
