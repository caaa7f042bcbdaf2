"""Operators: people whose signature, beside an administrator's token, may take a charge back.

A token is what a service carries; anybody who steals one could say that nothing was released. So an adjustment needs a
statement signed with a key that no service holds. The public halves are in a file that an operator puts there: a JWK
set (RFC 7517) whose keys are named by their thumbprints, as ``privacy-engine operator-key new`` prints it.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from proofs.certificate import MalformedError, parse_json
from proofs.checker.signature import check_signature, thumbprint
from serve_app.problems import Code, Problem, invalid

log = structlog.get_logger()

MEMBERS = ("tenant_id", "allocation_id", "reason", "evidence", "at")
"""What a statement says, each a text. Nothing else that an operator may sign has these members and no others."""
MAX_STATEMENT = 8_192


class OperatorKeys:
    """The operators' public keys, read from their file each time: to add or to remove one takes no restart."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def check_adjustment(self, statement: str, tenant_id: str, allocation_id: str) -> None:
        """Accepts an operator's statement that nothing of that allocation was released.

        Args:
            statement: A compact JWS over JSON.
            tenant_id: Whose allocation.
            allocation_id: Which.

        Raises:
            Problem: `Code.FORBIDDEN` if there are no operators or none of them signed it; `Code.INVALID_REQUEST` if it
                says something else.
        """
        keys = self._keys()
        if len(statement) > MAX_STATEMENT:
            raise invalid("statement", f"must be at most {MAX_STATEMENT} characters")
        _check_claims(_signed(statement, keys), tenant_id, allocation_id)

    def _keys(self) -> Sequence[Mapping[str, Any]]:
        try:
            keys = _key_set(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            keys = []
        except (OSError, UnicodeDecodeError, MalformedError) as error:
            log.error("operator_keys_unreadable", path=str(self._path), error=str(error))
            detail = "The file of operators' public keys is no JWK set of Ed25519 keys; the service's log says more."
            raise Problem(Code.FORBIDDEN, detail) from None
        if not keys:
            detail = (
                "This service has no operators, so nothing is adjusted. Make a key with `privacy-engine operator-key "
                "new` and put its public half where AUMOS_PRIVACY_OPERATOR_KEYS says."
            )
            raise Problem(Code.FORBIDDEN, detail)
        return keys


def _key_set(text: str) -> list[dict[str, Any]]:
    data = parse_json(text)
    keys = data.get("keys") if isinstance(data, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise MalformedError("not a JWK set: an object with a list under keys")
    for key in keys:
        thumbprint(key)
    return keys


def _signed(statement: str, keys: Sequence[Mapping[str, Any]]) -> bytes:
    """What an operator has signed."""
    header, _, rest = statement.partition(".")
    content, _, signature = rest.partition(".")
    try:
        payload = base64.b64decode(content + "=" * (-len(content) % 4), altchars=b"-_", validate=True)
        if base64.urlsafe_b64encode(payload).rstrip(b"=").decode() != content:
            raise MalformedError("its content is not base64url text in its one spelling")
        check_signature(f"{header}..{signature}", payload, keys)
    except (MalformedError, binascii.Error, ValueError) as error:
        raise Problem(Code.FORBIDDEN, f"No operator has signed this statement: {error}.") from None
    return payload


def _check_claims(payload: bytes, tenant_id: str, allocation_id: str) -> None:
    try:
        claims = parse_json(payload.decode("utf-8", errors="replace"))
    except MalformedError as error:
        raise invalid("statement", f"must sign JSON: {error}") from None
    if not isinstance(claims, dict) or claims.keys() != set(MEMBERS):
        raise invalid("statement", f"must have exactly the members {', '.join(MEMBERS)}")
    if not all(isinstance(value, str) for value in claims.values()):
        raise invalid("statement", "must have texts as members")
    if claims["tenant_id"] != tenant_id or claims["allocation_id"] != allocation_id:
        raise invalid("statement", "is about another allocation")
    if not claims["reason"].strip():
        raise invalid("statement", "must give a reason")
    if not _is_moment(claims["at"]):
        raise invalid("statement", "must say in 'at' when it was made, as in 2026-11-21T04:37:00Z")


def _is_moment(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
