"""The options that commands share, and how their text is read. Epsilon and delta stay the text that was typed."""

import math
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any

import typer

_LIFETIME = re.compile(r"(?P<number>[0-9]{1,9})(?P<unit>[smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_WHOLE = re.compile(r"[+-]?[0-9]+")


def decimal_option(value: str | None) -> str | None:
    """Accepts the text of a finite decimal, as it is.

    Raises:
        typer.BadParameter: If it is not one.
    """
    if value is None:
        return None
    try:
        if Decimal(value).is_finite():
            return value
    except InvalidOperation:
        pass
    raise typer.BadParameter(f"{value!a} is not a decimal number such as 0.5 or 1e-6")


def lifetime_seconds(text: str) -> int:
    """The seconds of a time such as ``90s``, ``30m``, ``24h`` or ``7d``.

    Raises:
        typer.BadParameter: If it is no such time, or none at all.
    """
    match = _LIFETIME.fullmatch(text)
    seconds = int(match["number"]) * _SECONDS[match["unit"]] if match else 0
    if not seconds:
        raise typer.BadParameter(f"{text!a} is not a time such as 90s, 30m, 24h or 7d", param_hint="--lifetime")
    return seconds


def data_values(text: str) -> list[int | float]:
    """The numbers of a list such as ``1,2.5,3``; those written without a point are whole.

    Raises:
        typer.BadParameter: If one of them is not a finite number.
    """
    return [_number(part.strip()) for part in text.split(",")]


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that have a value, for a body that leaves out what was not said."""
    return {name: value for name, value in options.items() if value is not None}


def _number(text: str) -> int | float:
    try:
        value = int(text) if _WHOLE.fullmatch(text) else float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise typer.BadParameter(f"{text!a} is not a number", param_hint="--data")
    return value


CONNECTION = "Connection"
"""The heading under which help lists them."""
Url = Annotated[
    str | None,
    typer.Option(
        envvar="AUMOS_PRIVACY_URL",
        metavar="URL",
        rich_help_panel=CONNECTION,
        help="Address of the service. (default: the one running here)",
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        envvar="AUMOS_PRIVACY_TOKEN",
        metavar="TOKEN",
        rich_help_panel=CONNECTION,
        help="Bearer token. (default: one made with the local key)",
    ),
]
Tenant = Annotated[
    str | None,
    typer.Option(
        envvar="AUMOS_PRIVACY_TENANT",
        metavar="TENANT",
        rich_help_panel=CONNECTION,
        help="Tenant. (default: the token's own, or demo)",
    ),
]
Home = Annotated[
    Path | None,
    typer.Option(
        envvar="AUMOS_PRIVACY_HOME",
        metavar="FOLDER",
        rich_help_panel=CONNECTION,
        help="Data folder. (default: ~/.privacy-engine)",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the whole answer as JSON.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="File to write. (default: stdout)")]
Epsilon = Annotated[str, typer.Option(callback=decimal_option, metavar="DECIMAL", help="Epsilon, as an exact decimal.")]
Delta = Annotated[
    str | None,
    typer.Option(callback=decimal_option, metavar="DECIMAL", help="Delta, as an exact decimal. (default: 0)"),
]
Key = Annotated[str | None, typer.Option(help="Idempotency key. (default: a fresh one)")]
Job = Annotated[str | None, typer.Option(help="Job that the charge belongs to. (default: the key)")]
