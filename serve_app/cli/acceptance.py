"""``privacy-engine accept-ledger``: an operator's word that the service goes on with a database that went back."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from serve_app.cli.exit_codes import REFUSED, UNREACHABLE, USAGE
from serve_app.cli.options import AsJson, Home
from serve_app.cli.output import CommandError, complain, console, not_installed

if TYPE_CHECKING:
    from deployments.outbox.guard import Standing
    from deployments.outbox.witness import Witness
    from proofs.heads import Head
    from serve_app.config import Settings


def accept_ledger(
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why what was published is given up, for auditors.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    database: Annotated[str, typer.Option(help="Which, where there are several databases.")] = "main",
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Go on with a database that lacks what was published.

    What the missing charges have spent is no longer counted.
    """
    try:
        from accounting.ledger.store import StoreUnavailableError
        from deployments.outbox.witness import Witness, WitnessError
        from proofs.heads import Acceptance, sign_acceptance, sign_head
        from serve_app.auth.keys import HEADS, KeyRing
        from serve_app.config import Settings
        from serve_app.service import witness_file
    except ModuleNotFoundError as error:
        raise not_installed(error) from None
    given = Settings()
    settings = Settings.model_validate(given.model_dump() | {"home": home or given.home})
    if not (settings.folder / witness_file(database)).exists():
        raise CommandError(f"{settings.folder} holds no witness: nothing was published from there", USAGE)
    keys = KeyRing.of(settings)
    witness = Witness(settings.folder / witness_file(database), lambda: keys.published(HEADS))
    try:
        last = witness.head()
        with _database(settings, database) as url:
            found, head = asyncio.run(_look(url, witness))
        if last is None or found.fine:
            raise CommandError(f"there is nothing to accept. {found.sentence}", REFUSED)
        complain(found.sentence)
        complain(f"given up  {last.size} entries of log {last.log_id}, root {last.root}")
        complain(f"accepted  {head.size} entries of log {head.log_id}, root {head.root}")
        if not yes:
            typer.confirm("Go on with this database?", abort=True, err=True)
        key = keys.head_key
        acceptance = sign_acceptance(Acceptance(last, head, reason, datetime.now(UTC)), key)
        witness.accept(acceptance, sign_head(head, key))
    except (StoreUnavailableError, OSError) as error:
        raise CommandError(f"the database cannot be reached: {error}", UNREACHABLE) from None
    except (ValueError, WitnessError) as error:
        raise CommandError(str(error), REFUSED) from None
    if as_json:
        typer.echo(json.dumps({"given_up": asdict(last), "accepted": asdict(head)}, default=str))
        return
    console().print("accepted: budgets can be spent again, and what was given up stays named in the witness file")


async def _look(url: str, witness: "Witness") -> "tuple[Standing, Head]":
    """How the database stands, and its head with everything in it that is durable."""
    from accounting.ledger.postgres_log import PostgresLog
    from accounting.storage.migrate import migrate
    from deployments.outbox.guard import standing
    from proofs.heads import head_of

    # What was restored may be of an older release.
    await migrate(url)
    log = await PostgresLog.open(url)
    try:
        while await log.sequence():
            pass
        return await standing(witness, log), await head_of(log, datetime.now(UTC))
    finally:
        await log.close()


@contextmanager
def _database(settings: "Settings", name: str) -> Iterator[str]:
    """The database's owner: of the one that is configured, or the embedded one, started if it does not run."""
    from accounting.storage import embedded

    if name != "main":
        further = settings.further().get(name)
        if further is None or further.url is None:
            raise CommandError(f"AUMOS_PRIVACY_MORE_DATABASES has no url of a database {name}", USAGE)
        yield further.url
        return
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    folder = settings.folder / "postgres"
    if not folder.exists():
        raise CommandError(f"{folder} holds no database; set AUMOS_PRIVACY_DATABASE_URL if it is elsewhere", USAGE)
    runs = embedded.is_running(folder)
    try:
        yield embedded.start(folder)
    finally:
        if not runs:
            embedded.stop(folder)
