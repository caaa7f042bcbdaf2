"""Reads the service's server-sent events, over lost connections and expired tokens."""

import json
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from serve_app.cli.connection import Connection
from serve_app.cli.output import answer_in

if TYPE_CHECKING:
    from serve_app.client.calls import Call

ATTEMPTS = 5
"""How often in a row nothing may come before the service is taken not to answer."""
PAUSE_SECONDS = 1.0
UNAVAILABLE = 503
SILENCE_SECONDS = 60.0
"""Without even a heartbeat."""

Event = tuple[str, dict[str, Any]]
"""An event's id and its data."""


def events(
    connect: Callable[[], Connection], stream: Callable[[Connection], "Call"], after: str | None = None
) -> Iterator[Event]:
    """The events of a stream, each once, for as long as they are asked for.

    Args:
        connect: Makes a connection anew: a token that was minted here does not live as long as a stream may.
        stream: What to ask a connection for.
        after: The last id that was seen; None for what the stream begins with.

    Raises:
        RefusedError: If the service refuses, such as a token that has expired.
        ServiceUnreachableError: If it does not answer, after retries.
    """
    import httpx

    from serve_app.client.errors import RefusedError, ServiceUnreachableError

    silent = 0
    while True:
        try:
            connection = connect()
            for number, data in _one_connection(connection, stream(connection), after):
                after, silent = number, 0
                if data is not None:
                    yield number, data
        except httpx.TransportError as error:
            if silent >= ATTEMPTS:
                raise ServiceUnreachableError(str(error) or type(error).__name__) from error
        except RefusedError as error:
            if error.status != UNAVAILABLE or silent >= ATTEMPTS:
                raise
        # It was lost, or its token has expired: go on after what was seen.
        silent += 1
        time.sleep(PAUSE_SECONDS)


def _one_connection(
    connection: Connection, call: "Call", after: str | None
) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Ids and data, as far as one connection brings them; a heartbeat has an id and no data."""
    import httpx

    from serve_app.client.errors import refused

    headers = {"Authorization": f"Bearer {connection.token}"}
    if after is not None:
        headers["Last-Event-ID"] = after
    with (
        httpx.Client(base_url=connection.url, headers=headers, timeout=SILENCE_SECONDS) as http,
        http.stream(call.method, call.path, params=dict(call.params)) as response,
    ):
        if not response.is_success:
            raise refused(response.status_code, answer_in(response.read().decode(errors="replace")))
        number, data = after, None
        for line in response.iter_lines():
            field, _, value = line.partition(": ")
            if field == "id":
                number = value
            elif field == "data":
                data = json.loads(value)
            elif not line and number is not None and (data is not None or number != after):
                yield number, data
                data = None
