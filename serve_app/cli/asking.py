"""Who asks, and where: the options that nearly every command has, said once.

A command takes them as one parameter, a `Place` or an `Asking`; `unfolded` puts the options in its place, so that typer
knows them.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import Any

from serve_app.cli.connection import (
    ANY_TENANT,
    SHORT_LIFETIME_SECONDS,
    Connection,
    RoleName,
    connect,
    mint,
    service_url,
)
from serve_app.cli.options import Home, Tenant, Token, Url
from serve_app.cli.output import errors_reported


@dataclass(frozen=True)
class Place:
    """Where the service is, and what is shown there."""

    url: Url = None
    token: Token = None
    home: Home = None

    def everywhere(self, role: RoleName, lifetime_seconds: int = SHORT_LIFETIME_SECONDS) -> Connection:
        """A connection that is about all tenants at once. Raises `CommandError` as `connect` does."""
        address = service_url(self.url, self.home)
        token = self.token or mint(self.home, ANY_TENANT, role, lifetime_seconds=lifetime_seconds)
        return Connection(address, token, ANY_TENANT)


@dataclass(frozen=True)
class Asking(Place):
    """Where the service is, what is shown there, and which tenant it is about."""

    tenant: Tenant = None

    def connect(self, role: RoleName) -> Connection:
        """A connection; a token that is minted for it has that role. Raises `CommandError` as `connect` does."""
        return connect(self.url, self.token, self.tenant, self.home, role)


def unfolded(command: Callable[..., None]) -> Callable[..., None]:
    """The command as typer takes it: single options, and every error told as `errors_reported` tells it."""
    signature = inspect.signature(command)
    folded: dict[str, type[Place]] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        kind = parameter.annotation
        if isinstance(kind, type) and issubclass(kind, Place):
            folded[parameter.name] = kind
            options = [(field.name, field.type, field.default) for field in fields(kind)]
        else:
            options = [(parameter.name, kind, parameter.default)]
        for name, annotation, default in options:
            keyword = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
            parameters.append(keyword)

    @wraps(command)
    def run(**given: Any) -> None:  # noqa: ANN401 - whatever the command takes
        for name, kind in folded.items():
            given[name] = kind(**{field.name: given.pop(field.name) for field in fields(kind)})
        with errors_reported():
            command(**given)

    del run.__wrapped__  # typer would look there
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run
