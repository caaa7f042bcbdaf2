"""Signed heads: what the log was at one moment, in one line that anyone can keep and hold against the service later.

A head names the log, how many entries it had, and the root of the Merkle tree over them (RFC 6962), so it stands for
every entry up to there and for their order. It is a compact JWS (RFC 7515) over canonical JSON (RFC 8785), signed with
a key that signs nothing else.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import rfc8785

from accounting.ledger.heads import Log
from accounting.ledger.merkle import root_at
from proofs.certificate import LARGEST_INTEGER, MalformedError, parse_json
from proofs.checker.signature import check_signature
from proofs.signing import SigningKey

HEAD, ACCEPTANCE = "privacy-engine-head", "privacy-engine-acceptance"
VERSION = 1
PURPOSE = "heads"
"""What the service's key set says of the key that signs heads."""
MAX_LENGTH = 16_384
"""Of what is read here, in characters: a head has about 450, an acceptance two heads and a reason."""
MAX_REASON = 1_000
_HASH = re.compile(r"[0-9a-f]{64}")
_LOG_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MOMENT = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(frozen=True, slots=True)
class Head:
    """What a log was at one moment.

    Attributes:
        log_id: The log's name, a UUID: another database is another log.
        size: How many entries it had.
        root: The root of the Merkle tree over them, 64 hexadecimal digits.
        at: When, in UTC.
    """

    log_id: str
    size: int
    root: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Acceptance:
    """An operator's word that the service goes on with a log that does not continue the witnessed one.

    Attributes:
        given_up: The head that the log no longer keeps to.
        accepted: The head that it goes on from.
        reason: Why, in the operator's words.
        at: When, in UTC.
    """

    given_up: Head
    accepted: Head
    reason: str
    at: datetime


async def head_of(log: Log, at: datetime) -> Head:
    """The head of a log as it is now; `at` is the moment that it names."""
    size = await log.size()
    return Head(await log.log_id(), size, (await root_at(log.nodes, size)).hex(), at)


async def consistent(earlier: Head, log: Log) -> bool:
    """Whether the log still holds everything that an earlier head stands for."""
    if await log.log_id() != earlier.log_id or await log.size() < earlier.size:
        return False
    return (await root_at(log.nodes, earlier.size)).hex() == earlier.root


def sign_head(head: Head, key: SigningKey) -> str:
    """The head as a compact JWS."""
    return key.sign(rfc8785.dumps({"format": HEAD} | _head_to_wire(head)))


def read_head(signed: str, keys: Sequence[Mapping[str, Any]]) -> Head:
    """The head in a compact JWS that one of the keys has signed.

    Args:
        signed: The JWS.
        keys: Trusted public keys (JWKs). Of those that name a purpose, only `PURPOSE` counts.

    Raises:
        MalformedError: If it is not a head, or not signed by one of the keys. The message says why.
    """
    return _head_from_wire(_opened(signed, keys, HEAD))


def sign_acceptance(acceptance: Acceptance, key: SigningKey) -> str:
    """The acceptance as a compact JWS.

    Raises:
        ValueError: If the reason is empty or longer than `MAX_REASON`.
    """
    if not 1 <= len(acceptance.reason.strip()) <= MAX_REASON:
        raise ValueError(f"a reason has 1 to {MAX_REASON} characters")
    wire: dict[str, Any] = {
        "given_up": _head_to_wire(acceptance.given_up),
        "accepted": _head_to_wire(acceptance.accepted),
        "reason": acceptance.reason,
        "at": _moment_text(acceptance.at),
    }
    return key.sign(rfc8785.dumps({"format": ACCEPTANCE} | wire))


def read_acceptance(signed: str, keys: Sequence[Mapping[str, Any]]) -> Acceptance:
    """The acceptance in a compact JWS that one of the keys has signed. See `read_head`.

    Raises:
        MalformedError: If it is not an acceptance, or not signed by one of the keys.
    """
    data = _opened(signed, keys, ACCEPTANCE)
    if data.keys() != {"given_up", "accepted", "reason", "at"} or not isinstance(data["reason"], str):
        raise MalformedError("the acceptance does not have the members of one")
    return Acceptance(
        _head_from_wire(data["given_up"]), _head_from_wire(data["accepted"]), data["reason"], _moment(data["at"])
    )


def _opened(signed: str, keys: Sequence[Mapping[str, Any]], wanted: str) -> dict[str, Any]:
    """What was signed, without its format."""
    parts = signed.split(".")
    if len(signed) > MAX_LENGTH or len(parts) != 3:
        raise MalformedError("not a compact JWS of a size that a head can have")
    try:
        payload = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
    except ValueError:
        raise MalformedError("the signed content is not base64url") from None
    if base64.urlsafe_b64encode(payload).rstrip(b"=").decode() != parts[1]:
        raise MalformedError("the signed content is not base64url in its one spelling")
    usable = [key for key in keys if key.get("purpose", PURPOSE) == PURPOSE]
    check_signature(f"{parts[0]}..{parts[2]}", payload, usable)
    data = parse_json(payload.decode("utf-8", errors="replace"))
    try:
        canonical = rfc8785.dumps(data)  # type: ignore[arg-type]
    except (ValueError, RecursionError):
        raise MalformedError("the signed content has no canonical form") from None
    if not isinstance(data, dict) or canonical != payload:
        raise MalformedError("the signed content is not canonical JSON of an object")
    if data.pop("format", None) != wanted:
        raise MalformedError(f"the signed content is no {wanted}")
    return data


def _head_to_wire(head: Head) -> dict[str, Any]:
    return {
        "version": VERSION,
        "log_id": head.log_id,
        "size": head.size,
        "root": head.root,
        "at": _moment_text(head.at),
    }


def _head_from_wire(data: object) -> Head:
    if not isinstance(data, dict) or data.keys() != {"version", "log_id", "size", "root", "at"}:
        raise MalformedError("the head does not have the members of one")
    if data["version"] != VERSION or type(data["version"]) is not int:
        raise MalformedError(f"the head is not of version {VERSION}")
    log_id, size, root = data["log_id"], data["size"], data["root"]
    if not isinstance(log_id, str) or not _LOG_ID.fullmatch(log_id):
        raise MalformedError("the head's log_id is not a UUID")
    if type(size) is not int or not 0 <= size <= LARGEST_INTEGER:
        raise MalformedError("the head's size is not a whole number from 0")
    if not isinstance(root, str) or not _HASH.fullmatch(root):
        raise MalformedError("the head's root is not a hash of 64 hexadecimal digits")
    return Head(log_id, size, root, _moment(data["at"]))


def _moment(data: object) -> datetime:
    try:
        return datetime.strptime(str(data), _MOMENT).replace(tzinfo=UTC)
    except ValueError:
        raise MalformedError("the moment is not one in UTC, such as 2026-11-21T04:37:00.000000Z") from None


def _moment_text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime(_MOMENT)
