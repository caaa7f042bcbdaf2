"""Follows a training to its end by its events, over lost connections and expired tokens."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from serve_app.cli.connection import Connection
from serve_app.cli.output import answer_in, console

ATTEMPTS = 5
"""How often in a row nothing may come before the service is taken not to answer."""
PAUSE_SECONDS = 1.0
UNAVAILABLE = 503
SILENCE_SECONDS = 60.0
"""Without even a heartbeat."""


def states(connect: Callable[[], Connection], job: str) -> Iterator[dict[str, Any]]:
    """A training's states from the first to the last, in which its hold is settled.

    Args:
        connect: Makes a connection anew: a token that was minted here does not live as long as a training may.
        job: Its id.

    Raises:
        RefusedError: If the service refuses, such as a token that has expired.
        ServiceUnreachableError: If it does not answer, after retries.
    """
    import httpx

    from serve_app.client.calls import RefusedError, ServiceUnreachableError

    last, silent = "0", 0
    while True:
        try:
            for number, state in _events(connect(), job, last):
                last, silent = number, 0
                yield state
                if state["settlement"] is not None:
                    return
        except httpx.TransportError as error:
            if silent >= ATTEMPTS:
                raise ServiceUnreachableError(str(error) or type(error).__name__) from error
        except RefusedError as error:
            if error.status != UNAVAILABLE or silent >= ATTEMPTS:
                raise
        # It was lost, or its token has expired: go on after what was seen.
        silent += 1
        time.sleep(PAUSE_SECONDS)


def followed(found: Iterator[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Shows states as a bar on stderr, and answers the last."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True)) as progress:
        bar = progress.add_task("waiting", total=None)
        for state in found:
            progress.update(bar, description=state["status"], total=state["steps"], completed=state["steps_done"])
    return state


def _events(connection: Connection, job: str, after: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Numbers and states, as far as one connection brings them."""
    import httpx

    from serve_app.client import calls

    path = f"{calls.training(job).path}/events"
    headers = {"Authorization": f"Bearer {connection.token}", "Last-Event-ID": after}
    with (
        httpx.Client(base_url=connection.url, headers=headers, timeout=SILENCE_SECONDS) as http,
        http.stream("GET", path, params={"tenant_id": connection.tenant_id}) as response,
    ):
        if not response.is_success:
            raise calls.refused(response.status_code, answer_in(response.read().decode(errors="replace")))
        number = after
        for line in response.iter_lines():
            field, _, value = line.partition(": ")
            if field == "id":
                number = value
            elif field == "data":
                yield number, json.loads(value)
