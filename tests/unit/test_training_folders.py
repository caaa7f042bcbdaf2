"""The shared folder: nothing in it is open to others, half written, or elsewhere."""

import hashlib
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from deployments.training.folders import Folders, MissingFileError, valid_file_name, write_private

CONTENT = b"a,b\n1,2\n"


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """An empty one, which is not even there yet."""
    return Folders(tmp_path / "files")


def test_rows_are_kept_under_their_digest_and_found_again(folders: Folders) -> None:
    """Twice the same bytes are one file."""
    digest = folders.store_rows("tenant", CONTENT, "csv")
    assert digest == hashlib.sha256(CONTENT).hexdigest() == folders.store_rows("tenant", CONTENT, "csv")
    path = folders.checked_rows("tenant", digest, "csv")
    assert path.read_bytes() == CONTENT
    assert [file for file in folders.root.rglob("*") if file.is_file()] == [path]


def test_rows_that_are_gone_or_changed_are_told_of(folders: Folders) -> None:
    """By the beginning of their digest."""
    digest = folders.store_rows("tenant", CONTENT, "csv")
    folders.rows("tenant", digest, "csv").write_bytes(CONTENT + b"3,4\n")
    with pytest.raises(MissingFileError, match="not what it was"):
        folders.checked_rows("tenant", digest, "csv")
    folders.rows("tenant", digest, "csv").unlink()
    with pytest.raises(MissingFileError, match="not in the shared folder"):
        folders.checked_rows("tenant", digest, "csv")


def test_the_same_rows_of_two_tenants_are_two_files(folders: Folders) -> None:
    """Whoever knows a digest has no rows by it, whatever the tenants are called."""
    digest = folders.store_rows("../a tenant", CONTENT, "csv")
    with pytest.raises(MissingFileError):
        folders.checked_rows("another", digest, "csv")
    assert folders.rows("../a tenant", digest, "csv").resolve().is_relative_to(folders.root.resolve())


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/etc/passwd", ".hidden", "a\x00", "a\n", "-x", "x" * 102]
)
def test_a_name_that_leads_elsewhere_is_refused(folders: Folders, name: str) -> None:
    """Of a result, a task, a digest or a form alike."""
    assert not valid_file_name(name)
    asks: list[Callable[[], Path]] = [
        lambda: folders.result("task", 1, name),
        lambda: folders.results(name, 1),
        lambda: folders.checkpoint(name),
        lambda: folders.rows("tenant", name, "csv"),
        lambda: folders.rows("tenant", "0", name),
    ]
    for ask in asks:
        with pytest.raises(MissingFileError, match="no name"):
            ask()


def test_files_and_folders_are_their_owners_alone(folders: Folders) -> None:
    """Whatever the process would let others do."""
    digest = folders.store_rows("tenant", CONTENT, "csv")
    path = folders.rows("tenant", digest, "csv")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for folder in (path.parent, path.parent.parent, folders.root):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """Nothing half written stays beside it."""
    path = tmp_path / "model.json"
    write_private(path, b"one")
    write_private(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_only_the_results_of_the_start_that_finished_are_kept(tmp_path: Path) -> None:
    """Checkpoints and what other starts made are gone; another task's files are not touched."""
    folders, task, other = Folders(tmp_path), "task-1", "task-2"
    for one in (task, other):
        write_private(folders.result(one, 1, "rows.csv"), b"1")
        write_private(folders.result(one, 2, "rows.csv"), b"2")
        write_private(folders.checkpoint(one) / "run", b"3")
    folders.keep_only(task, 2)
    assert [path.parent.name for path in tmp_path.rglob("rows.csv") if task in path.parts] == ["start-2"]
    assert not folders.checkpoint(task).exists()
    assert folders.checkpoint(other).exists()
    folders.keep_only("never-started", None)
