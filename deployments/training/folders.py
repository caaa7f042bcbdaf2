"""Where files of rows, checkpoints and results are: one folder that the service and its workers share.

Rows are personal data, and so are checkpoints until a task has ended: files are open to their owner alone.
"""

import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}")


class MissingFileError(Exception):
    """A file is not there, or is not the one that was meant."""


@dataclass(frozen=True, slots=True)
class Folders:
    """The shared folder.

    Attributes:
        root: Absolute.
    """

    root: Path

    def rows(self, tenant_id: str, sha256: str, form: str) -> Path:
        """Where a file of rows is."""
        return self.root / "rows" / _hashed(tenant_id) / f"{_checked(sha256)}.{_checked(form)}"

    def results(self, task_id: str, attempt: int) -> Path:
        """Where a start of a task puts what it makes."""
        return self.root / "tasks" / _checked(task_id) / f"start-{attempt}"

    def checkpoint(self, task_id: str) -> Path:
        """Where a task's starts keep what the next one goes on from."""
        return self.root / "tasks" / _checked(task_id) / "checkpoint"

    def result(self, task_id: str, attempt: int, name: str) -> Path:
        """One file that a task made."""
        return self.results(task_id, attempt) / _checked(name)

    def store_rows(self, tenant_id: str, content: bytes, form: str) -> str:
        """Keeps a file of rows, under the digest of its bytes.

        Returns:
            The digest, hex.
        """
        digest = hashlib.sha256(content).hexdigest()
        write_private(self.rows(tenant_id, digest, form), content)
        return digest

    def checked_rows(self, tenant_id: str, sha256: str, form: str) -> Path:
        """A file of rows whose bytes are what they were.

        Raises:
            MissingFileError: If it is not there or has changed.
        """
        path = self.rows(tenant_id, sha256, form)
        if not path.exists():
            raise MissingFileError(f"the file of rows {sha256[:12]} is not in the shared folder")
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise MissingFileError(f"the file of rows {sha256[:12]} is not what it was when the task was ordered")
        return path

    def keep_only(self, task_id: str, attempt: int | None) -> None:
        """Deletes what a task's starts kept, but for the results of one of them.

        Args:
            task_id: Which task.
            attempt: The start whose results are its outcome; None where it has none.
        """
        folder = self.checkpoint(task_id).parent
        kept = None if attempt is None else self.results(task_id, attempt)
        for one in folder.iterdir() if folder.is_dir() else ():
            if one != kept:
                shutil.rmtree(one, ignore_errors=True)

    def forget_rows(self, tenant_id: str, sha256: str, form: str) -> None:
        """Deletes a file of rows."""
        self.rows(tenant_id, sha256, form).unlink(missing_ok=True)


def private_folder(path: Path) -> None:
    """Makes a folder, and those above it that are missing, for their owner alone."""
    for folder in reversed([one for one in (path, *path.parents) if not one.exists()]):
        folder.mkdir(mode=0o700, exist_ok=True)


def write_private(path: Path, content: bytes) -> None:
    """Writes a file that is there as a whole or not at all, for its owner's eyes."""
    private_folder(path.parent)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def valid_file_name(name: str) -> bool:
    """Whether a file here may be called so: it leads nowhere else."""
    return _NAME.fullmatch(name) is not None


def _checked(name: str) -> str:
    if not valid_file_name(name):
        raise MissingFileError("that is no name of a file here")
    return name


def _hashed(tenant_id: str) -> str:
    # A tenant's name may have characters that a path may not.
    return hashlib.sha256(tenant_id.encode()).hexdigest()[:32]
