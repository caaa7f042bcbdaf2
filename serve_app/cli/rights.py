"""``privacy-engine whoami`` and ``roles``: what the token at hand allows, and what any role does."""

from collections.abc import Mapping
from typing import Any

from serve_app.cli.asking import Asking, Place
from serve_app.cli.connection import Connection, service_url
from serve_app.cli.options import AsJson
from serve_app.cli.output import minute, or_none, show_fields, show_table, tell


def whoami(place: Place, as_json: AsJson = False) -> None:
    """Say what the token at hand allows.

    It is the one given by --token or AUMOS_PRIVACY_TOKEN; without one, that which a command would make.
    """
    from serve_app.client import calls

    tell(_anybody(place).send(calls.me()).text, as_json, _show_me)


def roles(place: Place, as_json: AsJson = False) -> None:
    """List what each role may do."""
    from serve_app.client import calls

    tell(_anybody(place).send(calls.roles()).text, as_json, _show_roles)


def _anybody(place: Place) -> Connection:
    """Whoever the token speaks for, even where it names no single tenant."""
    if place.token is not None:
        return Connection(service_url(place.url, place.home), place.token, "")
    return Asking(place.url, None, place.home).connect("viewer")


def _show_me(answer: Mapping[str, Any]) -> None:
    show_fields(
        {
            "subject": answer["subject"],
            "tenant": answer["tenant_id"],
            "roles": ", ".join(answer["roles"]),
            "engine": or_none(answer["engine"]),
            "valid to": f"{minute(answer['expires_at'])} UTC",
            "may": ", ".join(answer["may"]),
        }
    )


def _show_roles(answer: Mapping[str, Any]) -> None:
    heads = ("action", *answer["roles"])
    rows = [
        (action, *("yes" if action in allowed else "" for allowed in answer["roles"].values()))
        for action in answer["actions"]
    ]
    show_table(heads, rows)
