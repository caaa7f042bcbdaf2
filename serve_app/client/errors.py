"""What the client raises. Every error says what to do; each of the service's codes has a class of its own."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar


class PrivacyEngineError(Exception):
    """Base of what the client raises.

    Attributes:
        key: The idempotency key of the operation, where it had one: repeat with it, so that it is charged once.
    """

    key: str | None = None


class ServiceUnreachableError(PrivacyEngineError):
    """The service did not answer, after all retries. Whether a charge happened is unknown: retry with the same key."""


class RefusedError(PrivacyEngineError):
    """The service refused, with a problem document (RFC 9457). Retrying the same call will not help.

    Attributes:
        status: HTTP status.
        code: The stable code, such as ``budget_exhausted``.
        detail: What was wrong and what to do, in the service's words.
        document: The whole problem document.
        advice: What a caller does about every error of this class.
    """

    advice: ClassVar[str] = "Nothing was charged."

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        self.status = status
        self.code = str(document.get("code", "unknown"))
        self.detail = str(document.get("detail", f"HTTP status {status}."))
        self.document = dict(document)
        super().__init__(f"{self.code}: {self.detail} {self.advice}")

    def __reduce__(self) -> tuple[Any, ...]:
        # So that it survives the way out of a process pool.
        return type(self), (self.status, self.document), {"key": self.key}

    @property
    def passing(self) -> bool:
        """Whether the cause may pass by itself, so that the call may be made again, later and with the same key."""
        return self.status == 429 or self.status >= 500


class BudgetExhaustedError(RefusedError):
    """The charge does not fit the budget (402). A final answer: it is never sent again."""

    advice = "Nothing was charged: read no data. Ask for at most what `largest` says, or for a larger budget."

    @property
    def remaining(self) -> float:
        """Epsilon that is left, as the service rounds it for show. `largest` is exact."""
        return float(self.document.get("remaining_budget", 0.0))

    @property
    def scope(self) -> str:
        """Which budget refused, such as ``tenant lifetime`` or ``data set trial-7``."""
        return str(self.document.get("scope", "unknown"))

    @property
    def largest(self) -> tuple[Decimal, Decimal] | None:
        """Epsilon and delta of the largest plain charge that would fit now, exact; None where the service says none."""
        said = self.document.get("largest_charge")
        if not isinstance(said, Mapping):
            return None
        try:
            return Decimal(str(said["epsilon"])), Decimal(str(said["delta"]))
        except (KeyError, InvalidOperation):
            return None


class OperationLimitError(RefusedError):
    """One operation may not cost that much, whatever the budget holds."""

    advice = "Nothing was charged. Add more noise, or make several smaller operations."

    @property
    def limit(self) -> Decimal | None:
        """The most epsilon that one operation may cost, exact."""
        exact = self.document.get("exact")
        return Decimal(str(exact["limit"])) if isinstance(exact, Mapping) and "limit" in exact else None


class InvalidRequestError(RefusedError):
    """The request is not valid; `field` says where."""

    advice = "Nothing was charged. Correct the request and send it with a new key."

    @property
    def field(self) -> str | None:
        """The member that was wrong."""
        found = self.document.get("field")
        return None if found is None else str(found)


class IdempotencyMismatchError(RefusedError):
    """The key was used for another request. What it was used for may have been charged."""

    advice = "This request was not charged. A new operation needs a new key; a repetition needs the very same body."


class UnauthenticatedError(RefusedError):
    """The token is missing, wrong or expired."""

    advice = "Nothing was charged. Give a valid token, then repeat with the same key."


class ForbiddenError(RefusedError):
    """The token does not allow this."""

    advice = "Nothing was charged. Use a token of that tenant with a role that may do it."


class NotFoundError(RefusedError):
    """There is no such thing."""

    advice = "Nothing was charged. Check the id, and the base URL."


class UnknownTenantError(NotFoundError):
    """The tenant has no budget yet."""

    advice = "Nothing was charged. An administrator creates the budget first."


class ConflictError(RefusedError):
    """The state of the allocation does not allow this: it has ended in another way, or not yet."""

    advice = "Nothing was changed by this call. Look at the allocation before you use or publish what it paid for."


class TooLargeError(RefusedError):
    """The request is too large."""

    advice = "Nothing was charged. Send less at once."


class RateLimitedError(RefusedError):
    """Too many requests, after all retries."""

    advice = "Nothing was charged. Wait, and repeat with the same key."


class UnavailableError(RefusedError):
    """The service could not answer, after all retries."""

    advice = "Take it as charged until you know: repeat with the same key, which charges once."


class HoldError(PrivacyEngineError):
    """A hold did not end as the block around it wished.

    Attributes:
        allocation_id: The hold.
    """

    def __init__(self, allocation_id: str, message: str, *cause: PrivacyEngineError) -> None:
        self.allocation_id = allocation_id
        self._made_of = (allocation_id, *cause)
        super().__init__(message)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._made_of


class CommitUnconfirmedError(HoldError):
    """Nobody confirmed the commit. The hold counts as spent in either case, so what it paid for may be used."""

    def __init__(self, allocation_id: str, cause: PrivacyEngineError) -> None:
        self.cause = cause
        message = (
            f"The commit of hold {allocation_id} was not confirmed ({cause}). It will count as spent in any case: it "
            f"is committed, or is spent when its time passes. To confirm it, commit {allocation_id} again before that."
        )
        super().__init__(allocation_id, message, cause)


class HoldLostError(HoldError):
    """The hold had ended before it could be committed: its time passed, or somebody else ended it."""

    def __init__(self, allocation_id: str, cause: RefusedError) -> None:
        self.cause = cause
        message = (
            f"The hold {allocation_id} had ended before it was committed: {cause.detail} If its time passed, it counts "
            "as spent in full; if somebody voided it, nothing was spent. Publish nothing that was computed under it "
            "until the ledger says which. Hold longer next time: ttl_seconds."
        )
        super().__init__(allocation_id, message, cause)


class HoldReplayedError(HoldError):
    """A hold by that key was made before, so it may have paid for another reading of the data, or have ended."""

    def __init__(self, allocation_id: str) -> None:
        message = (
            f"The hold {allocation_id} was made before by this key and may have been used or ended. Read no data under "
            f"it. To read again, hold again with a new key; what is left open of the old one counts as spent."
        )
        super().__init__(allocation_id, message)


_BY_CODE: dict[str, type[RefusedError]] = {
    "budget_exhausted": BudgetExhaustedError,
    "operation_limit": OperationLimitError,
    "invalid_request": InvalidRequestError,
    "idempotency_mismatch": IdempotencyMismatchError,
    "unauthenticated": UnauthenticatedError,
    "forbidden": ForbiddenError,
    "not_found": NotFoundError,
    "unknown_tenant": UnknownTenantError,
    "conflict": ConflictError,
    "too_large": TooLargeError,
    "rate_limited": RateLimitedError,
    "unavailable": UnavailableError,
    "internal": UnavailableError,
}
_BY_STATUS: dict[int, type[RefusedError]] = {
    401: UnauthenticatedError,
    402: BudgetExhaustedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    413: TooLargeError,
    422: InvalidRequestError,
    429: RateLimitedError,
}


def refused(status: int, document: Mapping[str, Any]) -> RefusedError:
    """The error that a problem document stands for: by its code, else by its status."""
    otherwise = UnavailableError if status >= 500 else RefusedError
    kind = _BY_CODE.get(str(document.get("code"))) or _BY_STATUS.get(status, otherwise)
    return kind(status, document)
