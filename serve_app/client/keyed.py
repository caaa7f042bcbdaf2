"""One thing asked of the service: the call, its key, and how the answer is read. No network here."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import httpx

from serve_app.client import answers, calls
from serve_app.client.answers import Allocation, Release, understood
from serve_app.client.calls import Call
from serve_app.client.client import json_of
from serve_app.client.errors import PrivacyEngineError, RefusedError
from serve_app.client.journal import Journal
from serve_app.client.requests import Apply, Select, Spend

T = TypeVar("T")


@dataclass(frozen=True)
class Keyed(Generic[T]):
    """A call that changes the ledger at most once for its key, however often it is sent.

    Attributes:
        key: What tells it from others, in the header ``Idempotency-Key`` or in its path.
        call: What is sent.
        read: What makes a typed answer of the JSON and of whether it is a replay.
    """

    key: str
    call: Call
    read: Callable[[Mapping[str, Any], bool], T]


def spend(request: Spend, key: str | None) -> Keyed[Allocation]:
    """Spends."""
    key = _new(key)
    return Keyed(key, calls.allocate(request.body(), key), answers.allocation)


def hold(request: Spend, ttl_seconds: int | None, key: str | None) -> Keyed[Allocation]:
    """Holds, for that long."""
    key = _new(key)
    wish = {"mode": "reserve"} | ({} if ttl_seconds is None else {"ttl_seconds": ttl_seconds})
    return Keyed(key, calls.allocate(request.body() | wish, key), answers.allocation)


def apply(request: Apply, key: str | None) -> Keyed[Release]:
    """Releases a statistic."""
    key = _new(key)
    return Keyed(key, calls.apply(request.body(), key), answers.release)


def select(request: Select, key: str | None) -> Keyed[Release]:
    """Chooses candidates."""
    key = _new(key)
    return Keyed(key, calls.select(request.body(), key), answers.release)


def commit(allocation_id: str, steps: int | None, tenant_id: str | None) -> Keyed[Allocation]:
    """Commits; the allocation is the key."""
    return _settling(calls.commit(allocation_id, steps, tenant_id))


def void(allocation_id: str, tenant_id: str | None) -> Keyed[Allocation]:
    """Takes back; the allocation is the key."""
    return _settling(calls.void(allocation_id, tenant_id))


def ended_as(error: BaseException | None) -> str | None:
    """What a journal says about an outcome; None while it is not known."""
    if error is None:
        return "answered"
    if isinstance(error, RefusedError) and not error.passing and error.status != 401:
        return error.code
    return None


def split_results(
    asked: list[Keyed[Allocation]], results: list[Mapping[str, Any]]
) -> list[Allocation | PrivacyEngineError]:
    """The outcomes of a batch, in its order."""
    if len(results) != len(asked):
        raise ValueError(f"{len(results)} results for {len(asked)} allocations")
    return [_outcome(one, result) for one, result in zip(asked, results, strict=True)]


def typed(asked: Keyed[T], response: httpx.Response) -> T:
    """The typed answer in a response.

    Raises:
        ServiceUnreachableError: If the response is not the service's.
    """
    document = json_of(response)
    replayed = response.headers.get("idempotency-replayed") == "true"
    return understood(lambda: asked.read(document, replayed))


def read_by(document: Any, read: Callable[[Mapping[str, Any]], T]) -> T:  # noqa: ANN401 - JSON
    """The typed answer to what charges nothing. Errors as for `typed`."""
    return understood(lambda: read(document))


def end(journal: Journal | None, ended: Sequence[tuple[str, BaseException | None]]) -> None:
    """Writes down the outcomes that are known."""
    if journal is not None:
        said = [(key, ended_as(error)) for key, error in ended]
        journal.end([(key, outcome) for key, outcome in said if outcome is not None])


def ends(
    asked: Sequence[Keyed[Allocation]], results: Sequence[Allocation | PrivacyEngineError]
) -> list[tuple[str, BaseException | None]]:
    """The keys with the errors that they met, if any."""
    return [
        (one.key, result if isinstance(result, PrivacyEngineError) else None)
        for one, result in zip(asked, results, strict=True)
    ]


def _outcome(asked: Keyed[Allocation], result: Mapping[str, Any]) -> Allocation | PrivacyEngineError:
    if "problem" in result:
        return calls.refused(int(result["status_code"]), result["problem"])
    return asked.read(result["allocation"], bool(result["replayed"]))


def _settling(call: Call) -> Keyed[Allocation]:
    # Sent with its own path as the key, so that a journal can tell it from others; the service needs none.
    keyed = replace(call, headers={"Idempotency-Key": call.path.rpartition("/allocations/")[2]})
    return Keyed(keyed.headers["Idempotency-Key"], keyed, answers.allocation)


def _new(key: str | None) -> str:
    return str(uuid.uuid4()) if key is None else key
