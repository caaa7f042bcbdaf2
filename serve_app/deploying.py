"""Puts the service on a cluster that runs: the database first, then what Ray Serve is to run, by its REST interface."""

import os
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import asyncpg
import httpx

from accounting.storage.migrate import UnsafeRoleError, WrongDatabaseError
from serve_app.cluster_service import leave_urls
from serve_app.config import Settings
from serve_app.node import TOKEN_FILE
from serve_app.preparing import prepared_service
from serve_app.runner import checked_keys

Say = Callable[[str], None]
_PATH = "/api/serve/applications/"
_PERIOD_SECONDS = 0.5


class DeployError(RuntimeError):
    """The service was not deployed. The message says what to do."""


def check_agrees(config: Mapping[str, Any], settings: Settings) -> None:
    """Refuses a config that the service's own parts would not find each other by.

    Raises:
        DeployError: If the ports differ.
    """
    port = config.get("http_options", {}).get("port", 8000)
    if port != settings.port:
        raise DeployError(
            f"http_options.port is {port} and AUMOS_PRIVACY_PORT is {settings.port}: make them one, on every node"
        )


def prepare(settings: Settings) -> None:
    """Makes keys, brings the database to this release, and leaves its addresses for the nodes.

    Only expanding: releases that run go on meanwhile.

    Raises:
        DeployError: If no database is named, or it is not as it has to be.
        StartError: If a key cannot be used.
    """
    if settings.database_url is None:
        raise DeployError(
            "AUMOS_PRIVACY_DATABASE_URL names no database: a cluster needs a PostgreSQL that all nodes reach"
        )
    settings.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    keys = checked_keys(settings)
    try:
        service = prepared_service(settings, settings.database_url.get_secret_value(), keys)
    except (OSError, asyncpg.PostgresError, UnsafeRoleError, WrongDatabaseError) as error:
        raise DeployError(f"the databases of AUMOS_PRIVACY_DATABASE_URL and MORE_DATABASES: {error}") from None
    leave_urls(service)


def deploy(settings: Settings, config: Mapping[str, Any], dashboard: str, patience: float, say: Say) -> None:
    """Hands the config to Ray Serve and waits until all of it runs.

    Args:
        settings: The operator's.
        config: As `serve_app.serve_config` has checked it.
        dashboard: Ray's dashboard, as a URL.
        patience: Seconds to wait.
        say: Takes a line for each application that has become ready.

    Raises:
        DeployError: If Ray refuses it, or it does not run in time.
    """
    headers = {"Authorization": f"Bearer {_token(settings)}"}
    deadline = time.monotonic() + patience
    with httpx.Client(base_url=dashboard, headers=headers, timeout=60) as client:
        _put(client, config, deadline)
        names = {application["name"] for application in config["applications"]}
        while names:
            states = _states(client)
            running = {name for name in names if states.get(name, {}).get("status") == "RUNNING"}
            for name in sorted(running):
                say(f"{name} runs")
            names -= running
            _check(names, states, deadline)
            time.sleep(_PERIOD_SECONDS)


def _put(client: httpx.Client, config: Mapping[str, Any], deadline: float) -> None:
    """Hands it over, once Ray answers: the head may have been started a moment ago."""
    while True:
        try:
            answer = client.put(_PATH, json=config)
        except httpx.TransportError as error:
            fault = str(error)
        else:
            if answer.status_code == 200:
                return
            fault = f"status {answer.status_code}: {answer.text.strip()[-2_000:]}"
            if answer.status_code < 500:
                raise DeployError(f"Ray refuses it with {fault}")
        if time.monotonic() > deadline:
            raise DeployError(
                f"Ray's dashboard at {client.base_url} did not take it ({fault}): run this on the head, or "
                "name it with --dashboard"
            )
        time.sleep(_PERIOD_SECONDS)


def _states(client: httpx.Client) -> Mapping[str, Mapping[str, Any]]:
    """The applications as Ray Serve tells of them; none while it does not."""
    try:
        answer = client.get(_PATH)
    except httpx.TransportError:
        return {}
    found: Mapping[str, Mapping[str, Any]] = answer.json()["applications"] if answer.status_code == 200 else {}
    return found


def _check(names: Collection[str], states: Mapping[str, Mapping[str, Any]], deadline: float) -> None:
    """Refuses to wait on for what has failed, or too long."""
    for name in names:
        if states.get(name, {}).get("status") == "DEPLOY_FAILED":
            raise DeployError(f"{name} failed: {states[name].get('message', '').strip()[-2_000:]}")
    if names and time.monotonic() > deadline:
        left = ", ".join(f"{name} ({states.get(name, {}).get('status', 'unknown')})" for name in sorted(names))
        raise DeployError(
            f"not all of it runs yet: {left}. Ray goes on with it; a replica that finds no node with room "
            "(max_replicas_per_node, GPUs) waits for one"
        )


def _token(settings: Settings) -> str:
    given = os.environ.get("RAY_AUTH_TOKEN")
    if given:
        return given
    path = settings.folder / TOKEN_FILE
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise DeployError(
            f"{path} cannot be read ({error.strerror}): AUMOS_PRIVACY_HOME must be the folder that the head has, or "
            "RAY_AUTH_TOKEN its token"
        ) from None
