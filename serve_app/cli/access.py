"""``privacy-engine token``."""

import json
from typing import Annotated, Literal

import typer

from serve_app.cli.connection import ANY_TENANT, RoleName, mint
from serve_app.cli.options import AsJson, Home, lifetime_seconds

EngineName = Literal["tabular", "text", "image", "audio", "video", "healthcare"]


def token(
    tenant: Annotated[
        str,
        typer.Option(
            metavar="TENANT",
            help="For which tenant; * for a platform engine that speaks for many, and an auditor of all.",
        ),
    ],
    role: Annotated[RoleName, typer.Option(help="What the token allows.")],
    engine: Annotated[EngineName | None, typer.Option(help="Which engine the token belongs to.")] = None,
    lifetime: Annotated[str, typer.Option(metavar="TIME", help="How long it is valid: 90s, 30m, 24h, 7d.")] = "24h",
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Make a token with the key in the data folder, and print it.

    Whoever has it can do what it allows until it expires: there is no way to take it back.
    """
    from serve_app.identifiers import NAME_RULE, valid_name

    if tenant == ANY_TENANT and role not in ("engine", "auditor"):
        reason = "only a token with --role engine or auditor may be for every tenant"
        raise typer.BadParameter(reason, param_hint="--tenant")
    if tenant != ANY_TENANT and not valid_name(tenant):
        raise typer.BadParameter(NAME_RULE, param_hint="--tenant")
    seconds = lifetime_seconds(lifetime)
    made = mint(home, tenant, role, engine=engine, lifetime_seconds=seconds)
    if as_json:
        typer.echo(json.dumps({"token": made, "tenant_id": tenant, "role": role, "valid_seconds": seconds}))
    else:
        typer.echo(made)
