"""One id for each request: the caller's, if it is a plain short name, else one made here.

It is in every line of the log, in every answer, and in every call that the service makes to itself for that request.
"""

import itertools
import re
import secrets
from collections.abc import Iterable

from starlette.types import Message, Scope, Send

HEADER = b"x-request-id"
# No @: an address would be somebody's name in the log.
_PLAIN = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}\Z")
_process = secrets.token_hex(6)
_numbers = itertools.count(1)


def request_id(given: bytes | None) -> bytes:
    """The id of a request.

    Args:
        given: What the caller sent as ``X-Request-ID``, if anything.

    Returns:
        That, if it is 1 to 64 letters, digits or ``. _ : -`` and begins with a letter or digit; else a new one.
    """
    if given is not None and _PLAIN.match(given):
        return given
    return f"{_process}-{next(_numbers):x}".encode()


def header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """The first header of that name, in lower case, if it was sent."""
    return next((value for key, value in headers if key == name), None)


def checked(scope: Scope) -> Scope:
    """The request with an id that may be shown: Ray Serve would take any other over into its log as well."""
    given = header(scope["headers"], HEADER)
    named = request_id(given)
    if given == named:
        return scope
    others = [(key, value) for key, value in scope["headers"] if key != HEADER]
    return {**scope, "headers": [*others, (HEADER, named)]}


def said_once(send: Send) -> Send:
    """Sends on, with one id in the answer: Ray Serve adds it to an answer that has it already."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            first = header(message.get("headers", ()), HEADER)
            others = [(key, value) for key, value in message.get("headers", ()) if key.lower() != HEADER]
            message = {**message, "headers": others if first is None else [*others, (HEADER, first)]}
        await send(message)

    return sending
