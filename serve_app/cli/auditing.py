"""``privacy-engine audit-mechanism``: whether a mechanism's own outputs speak against its claim. Offline."""

import json
import time
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serve_app.cli.exit_codes import REFUSED, USAGE
from serve_app.cli.options import AsJson, Epsilon, decimal_option
from serve_app.cli.output import CommandError, console, not_installed
from serve_app.cli.progress import waiting

if TYPE_CHECKING:
    from accounting.values import PrivacyLoss
    from deployments.auditing.audit import Finding, Pair
    from deployments.mechanisms.query import MechanismName

CONSISTENT = (
    "The bound is not above the claim, so these outputs are consistent with it. That is no proof of it: rarer events,"
    " other events or other inputs may show more. What proves the claim is the mathematics in a certificate."
)
VIOLATED = (
    "The bound is above the claim. A mechanism that keeps its claim ends so with a probability of at most {beta:.3g}."
    " Repeat it with a higher --confidence and more --samples; if it stays, the claim is false."
)


class Audited(StrEnum):
    """What can be audited."""

    LAPLACE = "laplace"
    GAUSSIAN = "gaussian"
    EXPONENTIAL = "exponential"


def audit_mechanism(
    mechanism: Annotated[Audited, typer.Argument(metavar="MECHANISM", help="Which mechanism.")],
    epsilon: Epsilon,
    delta: Annotated[str, typer.Option(callback=decimal_option, help="Delta, above 0 for gaussian only.")] = "0",
    sensitivity: Annotated[str, typer.Option(callback=decimal_option, help="Sensitivity, as an exact decimal.")] = "1",
    integers: Annotated[bool, typer.Option("--integers", help="Noise on whole numbers. (default: on floats)")] = False,
    coordinates: Annotated[
        int | None, typer.Option(min=2, max=100, help="Spread the change over so many. (default: in one)")
    ] = None,
    length: Annotated[
        int | None, typer.Option(min=1, help="Noise as a statistic of this length gets it. (default: 1)")
    ] = None,
    candidates: Annotated[int | None, typer.Option(min=2, help="To choose from. (default: 20)")] = None,
    k: Annotated[int | None, typer.Option("--k", min=1, help="How many to choose. (default: 1)")] = None,
    monotonic: Annotated[bool, typer.Option("--monotonic", help="All scores move in one direction.")] = False,
    samples: Annotated[int, typer.Option(min=100, max=100_000_000, help="Draws on each of the two inputs.")] = 100_000,
    confidence: Annotated[str, typer.Option(callback=decimal_option, help="Of the bound, below 1.")] = "0.99",
    as_json: AsJson = False,
) -> None:
    """Test a mechanism's outputs against its claim. Offline.

    It draws on two adjacent inputs and bounds epsilon from below. Exit status 1: above the claim.
    """
    noise = {"--integers": integers, "--coordinates": coordinates, "--length": length}
    choice = {"--candidates": candidates, "--k": k, "--monotonic": monotonic}
    chooses = mechanism is Audited.EXPONENTIAL
    try:
        from accounting.charges import PricingDisagreementError
        from accounting.values import InvalidValueError
        from deployments.auditing.audit import audit
    except ModuleNotFoundError as error:
        raise not_installed(error) from None
    foreign = [name for name, value in (noise if chooses else choice).items() if value]
    if foreign:
        raise CommandError(f"{foreign[0]} does not go with {mechanism.value}", USAGE)
    beta = 1 - Decimal(confidence)
    if not 0 < beta < 1:
        raise CommandError("confidence: must be greater than 0 and less than 1", USAGE)
    loss = Decimal(epsilon), Decimal(delta), Decimal(sensitivity)
    try:
        if chooses:
            claim, pair = _choice(*loss, candidates or 20, k or 1, monotonic)
        else:
            claim, pair = _noise(mechanism, *loss, integers, coordinates, length or 1)
        began = time.perf_counter()
        with waiting(f"drawing {samples:,} times on each of two inputs"):
            finding = audit(pair, samples, float(claim.delta), float(beta))
    except InvalidValueError as error:
        raise CommandError(str(error), USAGE) from None
    except PricingDisagreementError as error:
        raise CommandError(str(error), REFUSED) from None
    report = _report(mechanism, claim, pair, finding, confidence, time.perf_counter() - began)
    if as_json:
        typer.echo(json.dumps(report))
    else:
        _print(report)
    if report["violated"]:
        raise typer.Exit(REFUSED)


def _noise(
    mechanism: Audited,
    epsilon: Decimal,
    delta: Decimal,
    sensitivity: Decimal,
    integers: bool,
    coordinates: int | None,
    length: int,
) -> "tuple[PrivacyLoss, Pair]":
    """What is charged for noise, and the inputs to try it on."""
    from deployments.auditing.pairs import shifted, spread
    from deployments.mechanisms.mechanism import mechanism_for
    from deployments.mechanisms.query import Noise, check_length

    check_length(length)
    name: MechanismName = "gaussian" if mechanism is Audited.GAUSSIAN else "laplace"
    wanted = Noise(name, epsilon, delta, sensitivity, "integer" if integers else "float")
    if coordinates is not None and length != 1:
        raise CommandError("--coordinates and --length do not go together", USAGE)
    if coordinates is not None:
        check_length(coordinates)
    audited = mechanism_for(wanted, coordinates or length)
    return audited.charge, shifted(audited) if coordinates is None else spread(audited, coordinates)


def _choice(
    epsilon: Decimal, delta: Decimal, sensitivity: Decimal, candidates: int, k: int, monotonic: bool
) -> "tuple[PrivacyLoss, Pair]":
    """What is charged for choices, and the scores to try them on."""
    from deployments.auditing.pairs import raised
    from deployments.mechanisms.selection import Choice, selector_for

    if delta != 0:
        raise CommandError("delta: must be 0 for exponential, which is purely epsilon-differentially private", USAGE)
    wanted = Choice(epsilon, sensitivity, k, monotonic)
    wanted.check_candidates(candidates, "candidates")
    audited = selector_for(wanted)
    return audited.charge, raised(audited, candidates)


def _report(
    mechanism: Audited, claim: "PrivacyLoss", pair: "Pair", finding: "Finding", confidence: str, seconds: float
) -> dict[str, Any]:
    """The finding beside the claim. That is what is charged, which is at most what was asked for."""
    likelier, other = pair.first_input, pair.second_input
    if not finding.event.likelier_on_first:
        likelier, other = other, likelier
    violated = finding.epsilon > claim.epsilon
    return {
        "mechanism": mechanism.value,
        "claimed_epsilon": format(claim.epsilon.normalize(), "f"),
        "claimed_delta": format(claim.delta.normalize(), "f"),
        "epsilon_lower_bound": finding.epsilon,
        "confidence": confidence,
        "event": str(finding.event),
        "likelier_input": likelier,
        "hits": finding.counts.hits,
        "draws": finding.counts.draws,
        "other_input": other,
        "other_hits": finding.counts.other_hits,
        "other_draws": finding.counts.other_draws,
        "seconds": round(seconds, 2),
        "violated": violated,
        "meaning": VIOLATED.format(beta=finding.beta) if violated else CONSISTENT,
    }


def _print(report: dict[str, Any]) -> None:
    """A report for people."""
    out = console()
    out.print("claim  epsilon {claimed_epsilon} at delta {claimed_delta}, by {mechanism}".format(**report))
    out.print("bound  epsilon at least {epsilon_lower_bound:.4f}, with confidence {confidence}".format(**report))
    out.print("event  {event}".format(**report))
    out.print("seen   {hits:,} times in {draws:,} draws where the input is {likelier_input}".format(**report))
    out.print("       {other_hits:,} times in {other_draws:,} draws where the input is {other_input}".format(**report))
    out.print("took   {seconds} s".format(**report))
    out.print(report["meaning"])
