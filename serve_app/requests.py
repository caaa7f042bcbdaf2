"""Bodies and headers of requests: read with a bound, decoded exactly, every fault told with the field it is in."""

import re
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, TypeVar

import msgspec
from fastapi import Request

from serve_app.problems import Code, Problem, invalid

MAX_BODY = 256 * 1024
"""Bytes of an ordinary body. An allocation may describe as many events as a composition may have."""
MAX_BULK_BODY = 4 * 1024 * 1024

S = TypeVar("S", bound=msgspec.Struct)
_AT = re.compile(r"^(?P<what>.*?) - at `\$(?P<path>[^`]*)`$")
_NAMED = re.compile(r"^Object (?P<what>contains unknown|missing required) field `(?P<name>[^`]*)`")


async def read_asgi_body(receive: Callable[[], Awaitable[Any]], limit: int) -> bytes:
    """The whole body of an ASGI request.

    Raises:
        Problem: `Code.TOO_LARGE` if it is longer than `limit` bytes.
    """
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body") and len(body) <= limit:
        return body
    parts, length = [body], len(body)
    while message.get("more_body") and length <= limit:
        message = await receive()
        part = message.get("body", b"")
        parts.append(part)
        length += len(part)
    if length > limit:
        raise Problem(Code.TOO_LARGE, f"The body may have at most {limit} bytes.")
    return b"".join(parts)


def decoder_of(struct: type[S]) -> msgspec.json.Decoder[S]:
    """Reads bodies as that struct. A number keeps the decimal text it was written as, inside an event too."""
    return msgspec.json.Decoder(struct, float_hook=_exact)


_number_encoder = msgspec.json.Encoder(decimal_format="number")


def plain(value: Any) -> Any:  # noqa: ANN401 - JSON
    """What was decoded without a type, with floats in place of decimals: for settings, never for privacy."""
    return msgspec.json.decode(_number_encoder.encode(value))


def _exact(text: str) -> Decimal:
    try:
        return Decimal(text)
    except ArithmeticError:
        # An exponent that no decimal has: refused with its place, as any other number that is not finite.
        return Decimal("NaN")


def decode(decoder: msgspec.json.Decoder[S], body: bytes) -> S:
    """The struct that the body describes.

    Raises:
        Problem: `Code.INVALID_REQUEST`, with the offending field.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _field_problem(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid("body", f"must be JSON: {error}") from None


def _field_problem(message: str) -> Problem:
    located = _AT.match(message)
    what, path = (located["what"], located["path"].lstrip(".")) if located else (message, "")
    named = _NAMED.match(what)
    if named:
        name = ".".join(part for part in (path, named["name"]) if part)
        return invalid(name, "is not known here" if "unknown" in named["what"] else "is missing")
    return invalid(path or "body", what[:1].lower() + what[1:])


def body_of(struct: type[S], limit: int = MAX_BODY, *, optional: bool = False) -> Callable[[Request], Awaitable[S]]:
    """A FastAPI dependency that reads the body as that struct; an empty body as its defaults where `optional`."""
    decoder = decoder_of(struct)

    async def read(request: Request) -> S:
        body = await read_asgi_body(request.receive, limit)
        return decode(decoder, body or b"{}" if optional else body)

    return read


def described(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """The ``openapi_extra`` of a route whose body is that struct."""
    schema = {"$ref": f"#/components/schemas/{struct.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
