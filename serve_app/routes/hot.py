"""The hot path: allocate and allocate:batch as plain ASGI endpoints, without FastAPI's machinery around them.

FastAPI's dependency resolution and validation cost more than the whole decision; see docs/decisions/0003.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import structlog
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from accounting.admission import Allocate, Outcome, Verdict
from accounting.conversion import PricingDisagreementError
from accounting.filters import Budget, basic_budget
from accounting.ledger.canonical import GENESIS_HASH
from accounting.ledger.entry import Entry, EntryKind
from accounting.ledger.store import StoreUnavailableError
from accounting.values import InvalidValueError, PrivacyLoss
from deployments.budget.owner import BudgetOwner, HaltedError, OverloadedError
from serve_app.auth.principal import Principal
from serve_app.auth.tokens import TokenVerifier
from serve_app.problems import Code, Problem, halted, invalid, overloaded, problem_response, unavailable
from serve_app.requests import MAX_BODY, MAX_BULK_BODY, decode, decoder_of, read_asgi_body
from serve_app.routes.allocation_request import Unpriced, read_allocation
from serve_app.routes.answers import allocation_answer
from serve_app.routes.refusals import refusal, unpriced
from serve_app.schemas import AllocateBatchBody, AllocateBody

log = structlog.get_logger()

MAX_BATCH = 1_000
PRICED_AT_ONCE = 2
"""Heavy events that are priced at the same time; more would only wait for the interpreter, and the loop with them."""
_JSON = (b"content-type", b"application/json")
_REPLAYED = (b"idempotency-replayed", b"true")
_encode = msgspec.json.Encoder().encode
_allocate_decoder = decoder_of(AllocateBody)
_batch_decoder = decoder_of(AllocateBatchBody)

Answer = tuple[bytes, bool]
"""A JSON body, and whether it is a replay."""


class Headers:
    """The few headers that matter here, by name."""

    __slots__ = ("_raw",)

    def __init__(self, scope: Scope) -> None:
        self._raw: dict[bytes, bytes] = dict(scope["headers"])

    def get(self, name: bytes) -> str | None:
        """The header's text, if it was sent."""
        value = self._raw.get(name)
        return None if value is None else value.decode("latin-1")


class HotEndpoint:
    """An ASGI app around one handler: authenticates, reads the body, answers, and turns problems into documents."""

    def __init__(
        self,
        verifier: TokenVerifier,
        limit: int,
        handle: Callable[[Principal, Headers, bytes], Awaitable[Answer]],
    ) -> None:
        self._verifier = verifier
        self._limit = limit
        self._handle = handle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope)
        try:
            principal = self._verifier.verify(headers.get(b"authorization"))
            body = await read_asgi_body(receive, self._limit)
            answer, replayed = await self._handle(principal, headers, body)
        except Problem as problem:
            await problem_response(problem, headers.get(b"accept") or "")(scope, receive, send)
            return
        except OverloadedError:
            await problem_response(overloaded())(scope, receive, send)
            return
        except HaltedError as error:
            await problem_response(halted(str(error)))(scope, receive, send)
            return
        except StoreUnavailableError:
            await problem_response(unavailable("The ledger did not answer"))(scope, receive, send)
            return
        except Exception:
            log.exception("unhandled_error", path=scope.get("path"))
            bug = Problem(Code.INTERNAL, "Nothing was acknowledged. The service's log says more.")
            await problem_response(bug)(scope, receive, send)
            return
        sent = [_JSON, (b"content-length", str(len(answer)).encode())]
        if replayed:
            sent.append(_REPLAYED)
        await send({"type": "http.response.start", "status": 200, "headers": sent})
        await send({"type": "http.response.body", "body": answer})


class HotFirst:
    """An ASGI app that answers the hot paths itself and leaves everything else to the app behind it.

    The hot paths so skip the middleware that every FastAPI app puts around its routes. On Ray they skip more than that:
    `serve_app.direct`.
    """

    def __init__(self, hot: Mapping[str, ASGIApp], app: FastAPI) -> None:
        self.hot = hot
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            await self.hot.get(path, self.app)(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def hot_endpoints(verifier: TokenVerifier, owner: Callable[[], BudgetOwner], *, noop: bool) -> dict[str, ASGIApp]:
    """The endpoints ``/allocate`` and ``/allocate:batch``, and for benchmarks ``/noop``, by path.

    Args:
        verifier: Of tokens.
        owner: Gives the replica's owner, which exists once the app has started.
        noop: Whether to serve a route that authenticates, reads and answers the same, but decides and records nothing.
    """
    # A pool of its own: what a caller who hung up has left running still counts.
    pricing = ThreadPoolExecutor(PRICED_AT_ONCE, thread_name_prefix="pricing")

    async def priced_aside(asked: Unpriced) -> Allocate:
        """The command, priced in a thread: in epsilon and delta, and in what the filters of tenant and data set count.

        The owner decides on its loop, for all tenants; there it then finds the costs computed already.
        """
        loop = asyncio.get_running_loop()
        command = await loop.run_in_executor(pricing, asked.priced)
        budgets = await owner().budgets(command.tenant_id, command.actor, command.dataset_id)
        await loop.run_in_executor(pricing, _warm, budgets, command)
        return command

    async def allocate(principal: Principal, headers: Headers, body: bytes) -> Answer:
        asked = _asked(principal, headers, decode(_allocate_decoder, body))
        command = asked.priced() if asked.light else await priced_aside(asked)
        return _answered(await owner().submit(command))

    async def allocate_batch(principal: Principal, headers: Headers, body: bytes) -> Answer:
        items = decode(_batch_decoder, body).allocations
        if not 1 <= len(items) <= MAX_BATCH:
            raise invalid("allocations", f"must be a list of 1 to {MAX_BATCH}")
        waiting: list[Problem | Awaitable[Verdict]] = []
        for index, item in enumerate(items):
            try:
                asked = _asked(principal, headers, item, index)
                command = asked.priced() if asked.light else await priced_aside(asked)
                waiting.append(owner().enqueue(command))
            except Problem as problem:
                waiting.append(problem)
            except OverloadedError:
                waiting.append(overloaded())
            except HaltedError as error:
                waiting.append(halted(str(error)))
        return b'{"results":[' + b",".join([await _batch_item(item) for item in waiting]) + b"]}", False

    async def do_nothing(principal: Principal, headers: Headers, body: bytes) -> Answer:
        _asked(principal, headers, decode(_allocate_decoder, body)).priced()
        return _encode(allocation_answer(_NOTHING)), False

    endpoints: dict[str, ASGIApp] = {
        "/allocate": HotEndpoint(verifier, MAX_BODY, allocate),
        "/allocate:batch": HotEndpoint(verifier, MAX_BULK_BODY, allocate_batch),
    }
    if noop:
        endpoints["/noop"] = HotEndpoint(verifier, MAX_BODY, do_nothing)
    return endpoints


_NO_BUDGET = basic_budget(PrivacyLoss(Decimal(10), Decimal("0.00001")))
_NOTHING = Entry(
    # What the no-op route answers with.
    tenant_id="-",
    seq=1,
    kind=EntryKind.CONSUMED,
    at=datetime.min.replace(tzinfo=UTC),
    budget=_NO_BUDGET,
    spent=_NO_BUDGET.nothing(),
    held=_NO_BUDGET.nothing(),
    lifetime=_NO_BUDGET.nothing(),
    operations=0,
    period_start=datetime.min.replace(tzinfo=UTC),
    prev_hash=GENESIS_HASH,
)


def _asked(principal: Principal, headers: Headers, body: AllocateBody, index: int | None = None) -> Unpriced:
    key = headers.get(b"idempotency-key")
    if key is not None and index is not None:
        key = f"{key}:{index}"
    return read_allocation(body, principal, key, headers.get(b"x-service-name"))


def _warm(budgets: Sequence[Budget], command: Allocate) -> None:
    """Computes what the budgets' members will count; they remember it.

    Raises:
        Problem: If one has no price for the event.
    """
    try:
        for budget in budgets:
            budget.charge(command.event, command.loss)
    except (InvalidValueError, PricingDisagreementError) as error:
        # Nothing is remembered of a failure, so it must not wait for the owner to meet it.
        raise unpriced(str(error)) from None


def _answered(verdict: Verdict) -> Answer:
    if verdict.outcome is Outcome.ADMITTED and verdict.answer is not None:
        return _encode(allocation_answer(verdict.answer)), False
    if verdict.outcome is Outcome.REPLAYED and verdict.answer is not None:
        return _encode(allocation_answer(verdict.answer)), True
    raise refusal(verdict)


async def _batch_item(item: Problem | Awaitable[Verdict]) -> bytes:
    """One result of a batch: ``status_code`` beside what the single call would have answered."""
    if isinstance(item, Problem):
        problem = item
    else:
        try:
            answer, replayed = _answered(await item)
            flag = b"true" if replayed else b"false"
            return b'{"status_code":200,"replayed":' + flag + b',"allocation":' + answer + b"}"
        except Problem as refused:
            problem = refused
        except StoreUnavailableError:
            problem = unavailable("The ledger did not answer")
        except OverloadedError:
            problem = overloaded()
        except HaltedError as error:
            problem = halted(str(error))
    return json.dumps({"status_code": problem.status, "replayed": False, "problem": problem.document()}).encode()
