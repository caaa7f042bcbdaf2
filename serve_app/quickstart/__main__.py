"""``python -m serve_app.quickstart [--url URL] [--out FOLDER]``: the quick start, against a running service."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from serve_app.cli.connection import mint, service_url
from serve_app.cli.exit_codes import DONE, REFUSED, USAGE
from serve_app.cli.options import Home, Url
from serve_app.cli.output import CommandError, errors_reported
from serve_app.client.client import PrivacyClient
from serve_app.quickstart.patients import RADIUS_EDGES, Column, l2_sensitivity, load_patients
from serve_app.quickstart.scenario import (
    BUDGET_EPSILON,
    COUNT_EPSILON,
    HISTOGRAM_EPSILON,
    MEAN_EPSILON,
    MEANS,
    PAIR,
    PAIR_DELTA,
    PAIR_EPSILON,
    REPEATED_EPSILON,
    Auditor,
    Clinic,
    Patients,
    Refusal,
    Release,
    ScenarioError,
    open_budget,
)
from serve_app.quickstart.show import Show


def main(
    url: Url = None,
    out: Annotated[Path, typer.Option(help="Folder for proofs and pictures.")] = Path("quickstart-output"),
    home: Home = None,
) -> None:
    """A clinic releases statistics about real patients until its budget is spent, and proves every charge."""
    raise typer.Exit(play(url, out, home))


def play(url: str | None, out: Path, home: Path | None = None) -> int:
    """Plays the quick start, and prints it.

    Args:
        url: Address of the service, if not the one running here.
        out: Folder for what is kept, made if needed.
        home: Data folder with the key that signs tokens, if not the default one.

    Returns:
        Exit status: 0 if everything went as it should.
    """
    show = Show(Console(highlight=False, emoji=False, markup=False))
    try:
        with errors_reported():
            _play(service_url(url, home), out, home, show)
    except typer.Exit as failed:
        return failed.exit_code
    show.finished(out)
    return DONE


def _play(address: str, out: Path, home: Path | None, show: Show) -> None:
    tenant_id = f"clinic-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    patients = _patients()
    with (
        PrivacyClient(address, mint(home, tenant_id, "admin")) as admin,
        PrivacyClient(address, mint(home, tenant_id, "engine", engine="healthcare")) as engine,
        PrivacyClient(address, mint(home, tenant_id, "auditor")) as viewer,
    ):
        clinic, auditor = Clinic(engine, patients), Auditor(viewer, tenant_id, _folder(out))
        show.introduction(tenant_id, clinic.size)
        try:
            _grant(admin, tenant_id, show)
            count = _release(clinic, show)
            _retry(clinic, auditor, count, show)
            _exhaust(clinic, show)
            _prove(clinic, auditor, show)
            show.page(address, tenant_id)
        except ScenarioError as error:
            raise CommandError(f"the quick start failed: {error}", REFUSED) from None


def _patients() -> Patients:
    try:
        return load_patients()
    except ModuleNotFoundError as error:
        message = f"the patients' table comes with {error.name}: install privacy-engine[quickstart]"
        raise CommandError(message, USAGE) from None


def _folder(out: Path) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"{out} cannot be made: {error.strerror}", USAGE) from None
    return out


def _grant(admin: PrivacyClient, tenant_id: str, show: Show) -> None:
    show.section("A budget", "An administrator grants all that may ever be spent on this table.")
    open_budget(admin, tenant_id)
    show.budget(Decimal(BUDGET_EPSILON))


def _release(clinic: Clinic, show: Show) -> Release:
    """Four kinds of releases. Returns the first, the count."""
    show.section(
        "How many patients are there?",
        f"One patient changes the count by 1: Laplace noise on whole numbers, epsilon {COUNT_EPSILON}.",
    )
    count, estimate = clinic.count()
    show.estimates([estimate])
    show.budget(count.remaining)

    show.section(
        "Three means",
        f"Each value is clipped to public bounds ({_bounds(MEANS)}).",
        f"So one patient moves a sum by at most its upper bound: Laplace noise, epsilon {MEAN_EPSILON} for each sum.",
        "Dividing a private sum by the private count reads no data again, and so costs nothing.",
    )
    means = list(clinic.means(count))
    show.estimates([estimate for _, estimate in means])
    for release, estimate in means:
        show.budget(release.remaining, f" after {estimate.name}")

    show.section(
        "A histogram of the mean radius",
        f"One patient is in one of the public bins and changes one count by 1: epsilon {HISTOGRAM_EPSILON} for all "
        f"{len(RADIUS_EDGES) - 1} (Laplace, L1 sensitivity 1).",
    )
    release, estimates = clinic.histogram()
    show.histogram(estimates)
    show.say(
        f"Each count is within {release.half_width:.0f} of the true one 95 % of the time; small ones can fall below 0."
    )
    show.budget(release.remaining)

    show.section(
        "Two means at once, with Gaussian noise",
        f"Values are clipped ({_bounds(PAIR)}) and summed as shares of their bound.",
        "One patient moves either sum by at most 1, both together by at most √2 "
        f"(L2 sensitivity {l2_sensitivity(len(PAIR))}): epsilon {PAIR_EPSILON}, delta {PAIR_DELTA}.",
    )
    release, estimates = clinic.pair(count)
    show.estimates(estimates)
    show.budget(release.remaining)
    return count


def _retry(clinic: Clinic, auditor: Auditor, count: Release, show: Show) -> None:
    show.section(
        "A retry", "A request that is sent again with its idempotency key gets the same noise, and costs nothing more."
    )
    again = clinic.count_again(count)
    show.say(f"first answer {count.values[0]}, answer to the retry {again.values[0]}")
    show.budget(Decimal(BUDGET_EPSILON) - auditor.spent())


def _exhaust(clinic: Clinic, show: Show) -> None:
    show.section("The end of the budget", f"The engine asks for epsilon {REPEATED_EPSILON} until the service refuses.")
    for outcome in clinic.exhaust():
        if isinstance(outcome, Refusal):
            show.refusal(outcome)
        else:
            show.budget(outcome)


def _prove(clinic: Clinic, auditor: Auditor, show: Show) -> None:
    show.section("To read", "The derivation of one job, and the picture of the loss against the cap.")
    for path in auditor.save_for_reading("size-pair"):
        show.file(path)

    show.section(
        "Proofs",
        "An auditor saves the proof of each job, and the service's public keys, and checks every step again: with "
        "other code than the service's, and without the service.",
    )
    proofs = list(auditor.check(clinic.jobs))
    for proof in proofs:
        show.check(proof)
    proved = auditor.reconcile(proofs)
    show.say(f"In sum epsilon {proved}: all that the ledger says was spent.")
    before, after, report = auditor.check_forged(proofs[0])
    show.say(
        f"With one digit of the first changed, epsilon {before} to {after}, it is not valid: {len(report.reasons)} "
        "faults are found, as in"
    )
    show.say(f"  {report.reasons[0]}")
    show.say(
        "The commands need nothing but the files. Any machine will do: pip install . in a checkout brings the checker, "
        "without Ray and without a database."
    )


def _bounds(columns: tuple[Column, ...]) -> str:
    return ", ".join(f"{column.name} 0 to {column.upper}" for column in columns)


if __name__ == "__main__":
    typer.run(main)
