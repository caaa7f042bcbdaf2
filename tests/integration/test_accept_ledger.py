"""``privacy-engine accept-ledger`` on a real database that went back."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deployments.outbox.guard import standing
from deployments.outbox.heads import publish_head
from deployments.outbox.witness import WITNESS_FILE, Witness
from serve_app.auth.keys import KeyRing
from serve_app.cli.main import app
from tests.databases import Database, new_database
from tests.ledgers import asked, opened, spent
from tests.support import new_name

NOW = datetime(2026, 11, 21, 4, 37, tzinfo=UTC)


def run(home: Path, *arguments: str, answer: str | None = None) -> tuple[int, str]:
    """The command's exit status and all that it printed."""
    result = CliRunner().invoke(app, ["accept-ledger", "--home", str(home), *arguments], input=answer)
    return result.exit_code, result.output


def witness_of(home: Path) -> Witness:
    """The witness of that data folder."""
    return Witness(home / WITNESS_FILE, lambda: KeyRing(home / "keys").published("heads"))


async def prepare(admin_url: str, home: Path) -> tuple[Database, Database]:
    """A database that has published a head, and a copy from before its last entry."""
    database = await new_database(admin_url)
    first = opened(new_name("tenant"))
    key, witness = KeyRing(home / "keys").head_key, witness_of(home)
    async with database.opened() as (store, log):
        await store.append([first])
        await log.sequence()
        await publish_head(log, witness, key, NOW)
    backup = await new_database(admin_url, database)
    async with database.opened() as (store, log):
        await store.append([spent(first, asked(first.tenant_id, "1"))])
        await log.sequence()
        await publish_head(log, witness, key, NOW)
    return database, backup


async def fine(home: Path, database: Database) -> bool:
    """Whether the service would spend budgets on that database."""
    async with database.opened() as (_, log):
        return (await standing(witness_of(home), log)).fine


@pytest.fixture
def databases(admin_url: str, tmp_path: Path) -> tuple[Database, Database]:
    """A database that has published a head, and a copy from before its last entry."""
    return asyncio.run(prepare(admin_url, tmp_path))


def test_an_operator_accepts_a_database_that_went_back(
    databases: tuple[Database, Database], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is fine then, as is the newest state should it come back; both heads and the reason stay named."""
    database, backup = databases
    monkeypatch.setenv("AUMOS_PRIVACY_DATABASE_URL", backup.admin_url)
    assert not asyncio.run(fine(tmp_path, backup))
    status, output = run(tmp_path, "--reason", "the disk is lost", "--yes")
    assert (status, "has 2 entries; the database has only 1" in output) == (0, True), output
    assert asyncio.run(fine(tmp_path, backup))
    assert asyncio.run(fine(tmp_path, database))
    (acceptance,) = witness_of(tmp_path).accepted()
    assert (acceptance.given_up.size, acceptance.accepted.size, acceptance.reason) == (2, 1, "the disk is lost")


def test_without_the_operators_yes_nothing_is_accepted(
    databases: tuple[Database, Database], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question comes after what was found, and only y goes on."""
    backup = databases[1]
    monkeypatch.setenv("AUMOS_PRIVACY_DATABASE_URL", backup.admin_url)
    assert run(tmp_path, "--reason", "why", answer="n\n")[0] == 1
    assert not asyncio.run(fine(tmp_path, backup))
    assert run(tmp_path, "--reason", "why", answer="y\n")[0] == 0
    assert asyncio.run(fine(tmp_path, backup))


@pytest.mark.parametrize("reason", ["", "x" * 2_000])
def test_a_reason_is_needed(
    databases: tuple[Database, Database], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    """Auditors want to read why."""
    backup = databases[1]
    monkeypatch.setenv("AUMOS_PRIVACY_DATABASE_URL", backup.admin_url)
    status, output = run(tmp_path, "--reason", reason, "--yes")
    assert (status, "a reason has" in output) == (1, True), output
    assert not asyncio.run(fine(tmp_path, backup))


def test_what_is_fine_needs_no_acceptance(
    databases: tuple[Database, Database], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written then."""
    monkeypatch.setenv("AUMOS_PRIVACY_DATABASE_URL", databases[0].admin_url)
    before = (tmp_path / WITNESS_FILE).read_text()
    status, output = run(tmp_path, "--reason", "why", "--yes")
    assert (status, "there is nothing to accept" in output) == (1, True), output
    assert (tmp_path / WITNESS_FILE).read_text() == before


def test_a_folder_without_a_witness_or_a_database_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As is a database that does not answer, and a witness that cannot be read."""
    monkeypatch.delenv("AUMOS_PRIVACY_DATABASE_URL", raising=False)
    assert run(tmp_path, "--reason", "why") == (
        2,
        f"error: {tmp_path} holds no witness: nothing was published from there\n",
    )
    witness = tmp_path / WITNESS_FILE
    witness.write_text("?")
    status, output = run(tmp_path, "--reason", "why")
    assert (status, "Put it back from a copy" in output) == (1, True), output
    assert list(tmp_path.glob("*.pem")) == []


def test_a_database_that_does_not_answer_is_named(
    databases: tuple[Database, Database], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status 3, as for a service that does not answer; without any database at all, status 2."""
    assert databases
    monkeypatch.setenv("AUMOS_PRIVACY_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    status, output = run(tmp_path, "--reason", "why", "--yes")
    assert (status, "the database cannot be reached" in output) == (3, True), output
    monkeypatch.delenv("AUMOS_PRIVACY_DATABASE_URL")
    status, output = run(tmp_path, "--reason", "why", "--yes")
    assert (status, "holds no database" in output) == (2, True), output
