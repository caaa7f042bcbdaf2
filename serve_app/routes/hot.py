"""The hot path: allocate and allocate:batch as plain ASGI endpoints, without FastAPI's machinery around them.

FastAPI's dependency resolution and validation cost more than the whole decision; see docs/decisions/0003.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

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
from deployments.budget.owner import HaltedError, OverloadedError
from deployments.budget.owners import Owner
from serve_app.auth.deeds import Asked, deed_of, kept, present_request_id
from serve_app.auth.policy import Action, Kept
from serve_app.auth.principal import Principal
from serve_app.auth.tokens import TokenVerifier
from serve_app.auth.trail import Trail
from serve_app.methods import not_allowed
from serve_app.observing.hot import HotWatch
from serve_app.observing.process import TALLIES
from serve_app.observing.request_ids import HEADER as REQUEST_ID_HEADER
from serve_app.observing.requests import about, begin
from serve_app.observing.traces import TRACEPARENT_HEADER
from serve_app.problems import Code, Problem, halted, invalid, overloaded, problem_response, unavailable
from serve_app.requests import MAX_BODY, MAX_BULK_BODY, decode, decoder_of, read_asgi_body
from serve_app.routes.allocation_request import Unpriced, check_batch_key, read_allocation
from serve_app.routes.answers import allocation_answer
from serve_app.routes.refusals import refusal, unpriced
from serve_app.schemas import AllocateBatchBody, AllocateBody
from serve_app.service import PREFIX

if TYPE_CHECKING:
    from serve_app.observing.spans import Tracing

log = structlog.get_logger()

MAX_BATCH = 1_000
BATCH = f"{PREFIX}/budget/allocate:batch"
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

    def raw(self, name: bytes) -> bytes | None:
        """The header's bytes, if it was sent."""
        return self._raw.get(name)


class HotEndpoint:
    """An ASGI app around one handler: authenticates, reads the body, answers, and turns problems into documents."""

    def __init__(
        self,
        verifier: TokenVerifier,
        limit: int,
        handle: Callable[[Principal, Headers, bytes], Awaitable[Answer]],
        cost: int = 1,
        tracing: "Tracing | None" = None,
        trail: Trail | None = None,
    ) -> None:
        self._trail = trail
        self._watch = HotWatch(TALLIES)
        self._tracing = tracing
        self._verifier = verifier
        self._limit = limit
        self._cost = cost
        self._handle = handle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope)
        named = begin(headers.raw(REQUEST_ID_HEADER))
        if self._tracing is None:
            await self._respond(headers, named, scope, receive, send)
            return
        with self._tracing.serving("POST allocate", headers.raw(TRACEPARENT_HEADER)):
            await self._respond(headers, named, scope, receive, send)

    async def _respond(self, headers: Headers, named: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        undecided: str | None = None
        principal: Principal | None = None
        try:
            given = headers.get(b"authorization")
            principal = self._verifier.known(given) or await self._verifier.verify(given)
            self._verifier.limits.take(principal, self._cost)
            principal.may(Action.ALLOCATE)
            body = await read_asgi_body(receive, self._limit)
            answer, replayed = await self._handle(principal, headers, body)
        except Problem as refused:
            problem = refused
        except OverloadedError:
            problem, undecided = overloaded(), "overloaded"
        except HaltedError as error:
            problem, undecided = halted(str(error)), "halted"
        except StoreUnavailableError:
            problem, undecided = unavailable("The ledger did not answer"), "unavailable"
        except Exception:
            log.exception("unhandled_error", route="allocate")
            problem = Problem(Code.INTERNAL, "Nothing was acknowledged. The service's log says more.")
            undecided = "failed"
        else:
            sent = [_JSON, (b"content-length", str(len(answer)).encode()), (REQUEST_ID_HEADER, named)]
            if replayed:
                sent.append(_REPLAYED)
            await send({"type": "http.response.start", "status": 200, "headers": sent})
            await send({"type": "http.response.body", "body": answer})
            self._watch.answered(time.perf_counter() - began)
            return
        note(self._trail, principal, scope["path"], problem)
        await problem_response(problem, headers.get(b"accept") or "")(scope, receive, send)
        about(tenant_id=None if principal is None else principal.tenant_id)
        self._watch.refused(time.perf_counter() - began, problem.code, undecided)


def note(trail: Trail | None, principal: Principal | None, path: str, problem: Problem) -> None:
    """Tells the audit log of a refusal."""
    asked = Asked(Action.ALLOCATE, principal)
    if trail is not None and kept(asked, problem.code) is not Kept.NO:
        trail.add(deed_of(asked, "POST", path, problem.code, problem.status), present_request_id())


class HotFirst:
    """An ASGI app that answers the hot paths itself and leaves everything else to the app behind it.

    The hot paths so skip the middleware that every FastAPI app puts around its routes. On Ray they skip more than that:
    `serve_app.direct`.
    """

    def __init__(self, hot: Mapping[str, ASGIApp], app: FastAPI) -> None:
        self.hot = hot
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hot = self.hot.get(scope["path"].removeprefix(scope.get("root_path", ""))) if scope["type"] == "http" else None
        if hot is None:
            await self.app(scope, receive, send)
        elif scope["method"] == "POST":
            await hot(scope, receive, send)
        else:
            begin(dict(scope["headers"]).get(REQUEST_ID_HEADER))
            await not_allowed(scope, frozenset({"POST"}))(scope, receive, send)


def hot_endpoints(
    verifier: TokenVerifier,
    owner: Callable[[], Owner],
    *,
    noop: bool,
    tracing: "Tracing | None" = None,
    trail: Trail | None = None,
) -> dict[str, ASGIApp]:
    """The endpoints ``/allocate`` and ``/allocate:batch``, and for benchmarks ``/noop``, by path.

    Args:
        verifier: Of tokens.
        owner: Gives the replica's owner, which exists once the app has started.
        noop: Whether to serve a route that authenticates, reads and answers the same, but decides and records nothing.
        tracing: Makes spans; None where nobody wants them.
        trail: Where refusals go; None where there is no audit log.
    """
    untraced = nullcontext()

    def part(name: str) -> AbstractContextManager[Any]:
        return untraced if tracing is None else tracing.part(name)

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
        with part("price"):
            command = asked.priced() if asked.light else await priced_aside(asked)
        with part("decide") as span:
            verdict = await owner().submit(command)
            if tracing is not None:
                told = {"outcome": verdict.outcome.value, "source_engine": command.source_engine or "none"}
                tracing.tell(span, told)
        return _answered(verdict)

    async def allocate_batch(principal: Principal, headers: Headers, body: bytes) -> Answer:
        items = decode(_batch_decoder, body).allocations
        if not 1 <= len(items) <= MAX_BATCH:
            raise invalid("allocations", f"must be a list of 1 to {MAX_BATCH}")
        check_batch_key(headers.get(b"idempotency-key"))
        verifier.limits.take(principal, len(items))
        waiting: list[Problem | Awaitable[Verdict]] = []
        for index, item in enumerate(items):
            try:
                asked = _asked(principal, headers, item, index)
                command = asked.priced() if asked.light else await priced_aside(asked)
                waiting.append(owner().enqueue(command))
            except Problem as problem:
                note(trail, principal, BATCH, problem)
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
        "/allocate": HotEndpoint(verifier, MAX_BODY, allocate, tracing=tracing, trail=trail),
        # Counted once it is known how many they are.
        "/allocate:batch": HotEndpoint(verifier, MAX_BULK_BODY, allocate_batch, cost=0, tracing=tracing, trail=trail),
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
