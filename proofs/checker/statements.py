"""Operators' signed statements: what takes a charge back that had ended."""

from collections.abc import Mapping, Sequence
from typing import Any

from proofs.certificate import MalformedError, parse_json
from proofs.checker.body import Body
from proofs.checker.signature import open_signed

_MEMBERS = frozenset({"tenant_id", "allocation_id", "reason", "evidence", "at"})


def check_statement(adjustment: Body, keys: Sequence[Mapping[str, Any]]) -> str:
    """The kid of the operator among `keys` who signed that nothing of an adjusted allocation was released.

    Raises:
        MalformedError: If none of them did. The message says why.
    """
    payload, kid = open_signed(adjustment.statement or "", keys)
    data = parse_json(payload.decode("utf-8", errors="replace"))
    if not isinstance(data, dict) or data.keys() != _MEMBERS:
        raise MalformedError("the operator's statement does not have the members of one")
    if (data["tenant_id"], data["allocation_id"]) != (adjustment.tenant_id, adjustment.allocation_id):
        raise MalformedError("the operator's statement is about another allocation")
    return kid
