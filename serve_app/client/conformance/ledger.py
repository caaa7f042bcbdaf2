"""A ledger in memory that answers as the service does, in the members that an adapter relies on. For tests alone."""

import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal, InvalidOperation
from typing import Any

_EXACT = Context(prec=200)
_SPELLINGS = ("epsilon", "epsilon_requested", "requested_epsilon")
_DELTAS = ("delta", "delta_requested", "requested_delta")


@dataclass
class Charge:
    """What was charged for one key."""

    key: str
    job_id: str
    epsilon: Decimal
    delta: Decimal
    state: str
    answer: dict[str, Any]
    ended: dict[str, Any] | None = None


Reply = tuple[int, dict[str, Any], bool]
"""HTTP status, document, and whether it is a replay."""


class TinyLedger:
    """One tenant's budget under plain addition, with one charge for each key."""

    def __init__(self, epsilon: str = "10", delta: str = "0.001") -> None:
        self.epsilon, self.delta = Decimal(epsilon), Decimal(delta)
        self._charges: dict[str, Charge] = {}
        self._lock = threading.Lock()

    def charges(self, job_id: str | None = None) -> list[Charge]:
        """What was charged, for one job if one is named."""
        with self._lock:
            return [charge for charge in self._charges.values() if job_id in (None, charge.job_id)]

    def allocate(self, body: Mapping[str, Any], header_key: str | None) -> Reply:
        """Spends or holds, once for each key."""
        job_id, mode = str(body.get("job_id", "")), body.get("mode", "consume")
        epsilon, delta = _amount(body, _SPELLINGS), _amount(body, _DELTAS) or Decimal(0)
        if not job_id:
            return problem(422, "invalid_request", "job_id: is missing", field="job_id")
        if epsilon is None or epsilon <= 0:
            return problem(422, "invalid_request", "epsilon: must be above 0", field="epsilon")
        key = header_key or str(body.get("operation_id") or job_id)
        with self._lock:
            known = self._charges.get(key)
            if known is not None:
                if (known.job_id, known.epsilon, known.delta) == (job_id, epsilon, delta):
                    return 200, known.answer, True
                return problem(422, "idempotency_mismatch", "This key was used for another request.")
            left_epsilon, left_delta = self._left()
            if epsilon > left_epsilon or delta > left_delta:
                largest = {"epsilon": text(left_epsilon), "delta": text(delta)}
                return problem(
                    402,
                    "budget_exhausted",
                    "The tenant lifetime budget does not hold this charge.",
                    remaining_budget=float(left_epsilon),
                    scope="tenant lifetime",
                    filter="basic",
                    largest_charge=largest,
                )
            charge = Charge(key, job_id, epsilon, delta, "held" if mode == "reserve" else "consumed", {})
            self._charges[key] = charge
            charge.answer = self._answer(charge, str(uuid.uuid4()))
            return 200, charge.answer, False

    def settle(self, allocation_id: str, end: str) -> Reply:
        """Commits or voids."""
        state = {"commit": "committed", "void": "voided"}[end]
        with self._lock:
            charge = next((one for one in self._charges.values() if one.answer["allocation_id"] == allocation_id), None)
            if charge is None:
                return problem(404, "not_found", "The tenant has no allocation of that id.")
            if charge.state == state or (charge.state == "consumed" and end == "commit"):
                return 200, charge.ended or charge.answer, True
            if charge.state != "held":
                return problem(409, "conflict", "The allocation has ended in another way already.")
            charge.state = state
            charge.ended = self._answer(charge, allocation_id)
            return 200, charge.ended, False

    def _left(self) -> tuple[Decimal, Decimal]:
        counted = [charge for charge in self._charges.values() if charge.state != "voided"]
        epsilon, delta = self.epsilon, self.delta
        for charge in counted:
            epsilon, delta = _EXACT.subtract(epsilon, charge.epsilon), _EXACT.subtract(delta, charge.delta)
        return epsilon, delta

    def _answer(self, charge: Charge, allocation_id: str) -> dict[str, Any]:
        left_epsilon, left_delta = self._left()
        used_epsilon, used_delta = (
            _EXACT.subtract(self.epsilon, left_epsilon),
            _EXACT.subtract(self.delta, left_delta),
        )
        if not left_epsilon:
            left_delta = Decimal(0)  # no charge would fit, whatever its delta
        exact = {
            "allocated_epsilon": text(charge.epsilon),
            "allocated_delta": text(charge.delta),
            "total_epsilon": text(self.epsilon),
            "used_epsilon": text(used_epsilon),
            "remaining_epsilon": text(left_epsilon),
            "total_delta": text(self.delta),
            "used_delta": text(used_delta),
            "remaining_delta": text(left_delta),
            "lifetime_epsilon": text(used_epsilon),
            "lifetime_delta": text(used_delta),
        }
        return {
            "allocation_id": allocation_id,
            "job_id": charge.job_id,
            "tenant_id": "conformance",
            "status": "approved",
            "allocation_status": "approved",
            "state": charge.state,
            "allocated_epsilon": float(charge.epsilon),
            "epsilon_allocated": float(charge.epsilon),
            "delta_allocated": float(charge.delta),
            "remaining_budget": float(left_epsilon),
            "total_epsilon": float(self.epsilon),
            "used_epsilon": float(used_epsilon),
            "remaining_epsilon": float(left_epsilon),
            "ledger_seq": len(self._charges),
            "exact": exact,
        }


def problem(status: int, code: str, detail: str, **extra: Any) -> Reply:  # noqa: ANN401 - JSON
    """A problem document (RFC 9457)."""
    return (
        status,
        {
            "type": f"urn:privacy-engine:problem:{code}",
            "title": detail,
            "status": status,
            "detail": detail,
            "code": code,
            "error_code": code.upper(),
            **extra,
        },
        False,
    )


def text(number: Decimal) -> str:
    """A decimal without an exponent and without zeros at its end, as the service writes it."""
    plain = f"{number:f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def _amount(body: Mapping[str, Any], names: tuple[str, ...]) -> Decimal | None:
    stated = next((body[name] for name in names if body.get(name) is not None), None)
    try:
        return None if stated is None else Decimal(stated)
    except (InvalidOperation, TypeError, ValueError):
        return None
