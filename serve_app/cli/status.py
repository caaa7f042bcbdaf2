"""``privacy-engine status``: whether the service is well, what runs, and where to look."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from serve_app.cli.asking import Place
from serve_app.cli.connection import LocalService, data_folder, local_service, service_url
from serve_app.cli.exit_codes import UNREACHABLE
from serve_app.cli.options import AsJson
from serve_app.cli.output import complain, console

PROBE_SECONDS = 5.0
RAY_TOKEN = Path("keys", "ray-token")
RAY_APPLICATIONS = "/api/serve/applications/"


def status(place: Place, as_json: AsJson = False) -> None:
    """Say whether the service is well, what runs, and where to look.

    It needs no token. The replicas are told where the service was started with this data folder.
    """
    address = service_url(place.url, place.home)
    local = local_service(place.home)
    here = local if local is not None and local.url == address else None
    told = _state(address)
    folder = data_folder(place.home)
    told |= {
        "page_url": f"{address}/",
        "dashboard_url": None if here is None else here.dashboard_url,
        "pid": None if here is None else here.pid,
        "replicas": {} if here is None else _replicas(here, folder / RAY_TOKEN),
    }
    if as_json:
        typer.echo(json.dumps(told))
    elif told["state"] == "down":
        complain(f"error: nothing answers at {address}: start the service with `privacy-engine up`")
    else:
        _show(told, folder)
    if told["state"] != "ready":
        raise typer.Exit(UNREACHABLE)


def _state(address: str) -> dict[str, Any]:
    """What the service says of itself."""
    import httpx

    nothing: dict[str, Any] = {"url": address, "state": "down", "version": None, "checks": {}}
    try:
        answer = httpx.get(f"{address}/health/ready", timeout=PROBE_SECONDS)
        document = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return nothing
    if not isinstance(document, dict) or not isinstance(document.get("checks"), dict):
        return nothing
    state = "ready" if answer.is_success else "not ready"
    return nothing | {"state": state, "version": document.get("version"), "checks": document["checks"]}


def _replicas(here: LocalService, token_file: Path) -> dict[str, str]:
    """What Ray Serve says of each application that it runs; nothing where it cannot be asked."""
    import httpx

    if here.dashboard_url is None:
        return {}
    try:
        headers = {"Authorization": f"Bearer {token_file.read_text(encoding='utf-8').strip()}"}
        answer = httpx.get(f"{here.dashboard_url}{RAY_APPLICATIONS}", headers=headers, timeout=PROBE_SECONDS)
        return {name: _told(one) for name, one in sorted(answer.json()["applications"].items())}
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _told(application: Mapping[str, Any]) -> str:
    states = [replica["state"] for one in application["deployments"].values() for replica in one["replicas"]]
    running = states.count("RUNNING")
    return f"{running} of {len(states)} running" if running < len(states) else f"{running} running"


def _show(told: Mapping[str, Any], folder: Path) -> None:
    out = console()
    out.print(f"service    {told['state']} at {told['url']}")
    if told["version"] is not None:
        out.print(f"version    {told['version']}")
    out.print(f"page       {told['page_url']}")
    if told["pid"] is not None:
        where = f"{told['dashboard_url']}  (token in {folder / RAY_TOKEN})" if told["dashboard_url"] else "none"
        out.print(f"dashboard  {where}")
        out.print(f"process    {told['pid']}")
    for heading in ("checks", "replicas"):
        if told[heading]:
            out.print("")
            out.print(heading, style="bold")
            for name, said in told[heading].items():
                out.print(f"  {name:<11}{said}")
