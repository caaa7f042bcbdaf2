"""``privacy-engine audit-training``: whether canaries in the trainer speak against what it charges. Offline."""

import json
import time
from dataclasses import replace
from decimal import Decimal
from typing import Annotated, Any

import typer

from serve_app.cli.exit_codes import REFUSED, USAGE
from serve_app.cli.options import AsJson, decimal_option
from serve_app.cli.output import CommandError, console, not_installed
from serve_app.cli.progress import waiting

QUIET = "Neither bound is above the claim: this run does not speak against it. That is no proof; the mathematics is."
ALARM = (
    "A bound is above the claim. The first one assumes that the trainer loses no more than a Gaussian does and is an"
    " alarm; the second holds for every trainer. Repeat it; if it stays, something adds less noise than is charged."
)


def audit_training(
    epsilon: Annotated[str, typer.Option(callback=decimal_option, help="What the training is charged.")] = "3",
    delta: Annotated[str, typer.Option(callback=decimal_option, help="At which delta.")] = "0.00001",
    records: Annotated[int, typer.Option(min=500, max=1_000_000, help="Made-up rows, canaries included.")] = 5_400,
    batch: Annotated[int, typer.Option(min=1, help="Rows a step draws on average.")] = 600,
    steps: Annotated[int, typer.Option(min=1, max=100_000, help="Noisy steps.")] = 90,
    canaries: Annotated[int, typer.Option(min=200, max=20_000, help="Rows that may be in it or not.")] = 5_000,
    confidence: Annotated[str, typer.Option(callback=decimal_option, help="Of each bound, below 1.")] = "0.99",
    noise: Annotated[
        str, typer.Option(callback=decimal_option, help="Part of the noise to add: below 1 to see the alarm.")
    ] = "1",
    as_json: AsJson = False,
) -> None:
    """Test the trainer against what it charges. Offline.

    It hides canaries among made-up rows and bounds epsilon from below. Exit status 1: above the charge.
    """
    try:
        from torch import nn, optim

        from accounting.values import InvalidValueError
        from deployments.training.canary_audit import audit
        from deployments.training.private import Options, PrivateOptimisation
        from deployments.training.recipe import Recipe, recipe_for
    except ModuleNotFoundError as error:
        raise not_installed(error, "service,training") from None

    def weaker(module: nn.Module, optimizer: optim.Optimizer, recipe: Recipe, options: Options) -> Any:  # noqa: ANN401
        less = replace(recipe, multiplier=recipe.multiplier * Decimal(noise))
        return PrivateOptimisation(module, optimizer, less, options)

    try:
        recipe = recipe_for(records, batch, steps, Decimal(1), Decimal(epsilon), Decimal(delta))
        began = time.perf_counter()
        with waiting(f"training with {canaries:,} canaries among {records:,} rows, {steps} steps"):
            found = audit(
                recipe,
                float(epsilon),
                float(delta),
                canaries=canaries,
                confidence=float(confidence),
                optimise=weaker,
            )
    except InvalidValueError as error:
        raise CommandError(str(error), USAGE) from None
    report = {
        "claimed_epsilon": epsilon,
        "claimed_delta": delta,
        "noise_multiplier": str(recipe.multiplier),
        "part_of_the_noise_added": noise,
        "alarm_epsilon": found.alarm.epsilon,
        "proven_epsilon": found.proven,
        "confidence": confidence,
        "canaries": canaries,
        "seconds": round(time.perf_counter() - began, 2),
        "alarmed": found.alarmed,
        "meaning": ALARM if found.alarmed else QUIET,
    }
    if as_json:
        typer.echo(json.dumps(report))
    else:
        _print(report)
    if found.alarmed:
        raise typer.Exit(REFUSED)


def _print(report: dict[str, Any]) -> None:
    out = console()
    out.print("claim   epsilon {claimed_epsilon} at delta {claimed_delta}".format(**report))
    out.print("alarm   epsilon at least {alarm_epsilon:.3f}, if it loses no more than a Gaussian".format(**report))
    out.print("proven  epsilon at least {proven_epsilon:.3f}, whatever it does (Steinke et al. 2023)".format(**report))
    out.print("        each with confidence {confidence}, by {canaries:,} canaries in one run".format(**report))
    out.print("took    {seconds} s".format(**report))
    out.print(report["meaning"])
