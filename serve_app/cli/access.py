"""``privacy-engine status`` and ``token``."""

import json
from typing import Annotated, Literal

import typer

from serve_app.cli.connection import ANY_TENANT, RoleName, local_service, mint, service_url
from serve_app.cli.options import AsJson, Home, Url, lifetime_seconds
from serve_app.cli.output import UNREACHABLE, complain, console, errors_reported

EngineName = Literal["tabular", "text", "image", "audio", "video", "healthcare"]

_PROBE_SECONDS = 5.0


def status(url: Url = None, home: Home = None, as_json: AsJson = False) -> None:
    """Say whether the service is up and ready, and where."""
    with errors_reported():
        address = service_url(url, home)
    local = local_service(home)
    here = local if local is not None and local.url == address else None
    state = _state(address)
    if as_json:
        dashboard, pid = (None, None) if here is None else (here.dashboard_url, here.pid)
        typer.echo(json.dumps({"url": address, "state": state, "dashboard_url": dashboard, "pid": pid}))
    elif state == "down":
        complain(f"error: nothing answers at {address}: start the service with `privacy-engine up`")
    else:
        out = console()
        out.print(f"service    {state} at {address}")
        if here is not None:
            out.print(f"dashboard  {here.dashboard_url or 'none'}")
            out.print(f"process    {here.pid}")
    if state != "ready":
        raise typer.Exit(UNREACHABLE)


def token(
    tenant: Annotated[str, typer.Option(help="For which tenant; * for a platform engine that speaks for many.")],
    role: Annotated[RoleName, typer.Option(help="What the token allows.")],
    engine: Annotated[EngineName | None, typer.Option(help="Which engine the token belongs to.")] = None,
    lifetime: Annotated[str, typer.Option(help="How long it is valid: 90s, 30m, 24h, 7d.")] = "24h",
    home: Home = None,
) -> None:
    """Make a token with the key in the data folder, and print nothing else."""
    from serve_app.identifiers import NAME_RULE, valid_name

    if tenant == ANY_TENANT and role != "engine":
        raise typer.BadParameter("only a token with --role engine may speak for every tenant", param_hint="--tenant")
    if tenant != ANY_TENANT and not valid_name(tenant):
        raise typer.BadParameter(NAME_RULE, param_hint="--tenant")
    seconds = lifetime_seconds(lifetime)
    with errors_reported():
        typer.echo(mint(home, tenant, role, engine=engine, lifetime_seconds=seconds))


def _state(address: str) -> Literal["ready", "not ready", "down"]:
    import httpx

    try:
        answer = httpx.get(f"{address}/health/ready", timeout=_PROBE_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL):
        return "down"
    return "ready" if answer.is_success else "not ready"
