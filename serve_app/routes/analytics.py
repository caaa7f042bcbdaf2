"""``analytics``: how budgets are used, how fast, by whom, and when they will be used up at that.

Whoever may look at a tenant's budget may ask; the list of all tenants is for an auditor with a token for any tenant.
"""

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from accounting.ledger.by_home import Analytics
from accounting.ledger.entry import Entry
from accounting.ledger.merkle import LARGEST_SIZE
from accounting.ledger.postgres_analytics import Snapshot
from deployments.analytics.burn import MAX_DAYS, Days, burn
from serve_app.auth.deeds import ASKED, Asked
from serve_app.auth.policy import Action
from serve_app.auth.principal import Principal
from serve_app.auth.tokens import TokenVerifier
from serve_app.identifiers import NAME_RULE, TEXT_RULE, valid_name, valid_text
from serve_app.problems import Code, Problem, invalid
from serve_app.routes.access import permission_by
from serve_app.routes.analytics_answers import (
    burn_answer,
    operation_answer,
    present,
    remaining,
    remaining_after,
    remaining_of,
    summary_answer,
    tenant_answer,
)

WEEK = 7
MAX_OPERATIONS, MAX_TENANTS = 1_000, 200
Window = Annotated[int, Query(ge=1, le=MAX_DAYS)]


def analytics_router(
    verifier: TokenVerifier, reader: Callable[[], Analytics], recorder: Callable[[], Analytics]
) -> APIRouter:
    """The routes below ``analytics``.

    Args:
        verifier: Of tokens.
        reader: Reads one tenant's ledger at a time, with a service's login.
        recorder: Lists all tenants, with a recorder's login.
    """
    router = APIRouter()
    may = permission_by(verifier)
    Asking = Annotated[Principal, may(Action.READ_ANALYTICS)]  # noqa: N806 - a type

    @router.get("/budget-summary", summary="What is used and left, by data set and by engine, and who was refused")
    async def budget_summary(asking: Asking, tenant_id: str | None = None) -> dict[str, Any]:
        async with reader().of(one_tenant(asking, tenant_id, Action.READ_ANALYTICS)) as found:
            head = await head_of(found)
            return summary_answer(
                head,
                await found.datasets(),
                await found.charged(head.period_start, found.now),
                # An open hold counts as spent, so there is nothing to look for where nothing is held.
                await found.open_holds() if head.held.is_something() else 0,
                await found.denied(found.now - timedelta(days=WEEK)),
                found.now,
            )

    @router.get("/burn-rate", summary="What each day and each engine cost, and when the budget is used up at that")
    async def burn_rate(
        asking: Asking, days: Window = WEEK, dataset_id: str | None = None, tenant_id: str | None = None
    ) -> dict[str, Any]:
        tenant = one_tenant(asking, tenant_id, Action.READ_ANALYTICS)
        if dataset_id is not None and not valid_text(dataset_id):
            raise invalid("dataset_id", TEXT_RULE)
        async with reader().of(tenant) as found:
            head = await head_of(found)
            window = Days(found.now, days, await found.known_since())
            # Until the end of what the snapshot sees, which may be a moment after its beginning.
            charged = await found.charged(window.since, found.now, dataset_id)
            if dataset_id is None:
                left = await left_each_day(found, window)
                left[window.today] = remaining(head)
                return burn_answer(tenant, None, burn(charged, window), left, remaining(head), head.period_end)
            state = next((one for one in await found.datasets() if one.dataset.dataset_id == dataset_id), None)
            if state is None:
                raise Problem(Code.NOT_FOUND, "The tenant has no data set of that id.", {"field": "dataset_id"})
            # With partitions, what was left for whoever was exposed most is no single entry's to say.
            left = {} if state.dataset.partitions else await left_each_day(found, window, dataset_id)
            left[window.today] = remaining_of(state)
            return burn_answer(tenant, dataset_id, burn(charged, window), left, remaining_of(state), None)

    @router.get("/operations", summary="Allocations and what became of them, the latest first")
    async def operations(
        asking: Asking,
        before: Annotated[int | None, Query(ge=1, le=LARGEST_SIZE)] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_OPERATIONS)] = 100,
        tenant_id: str | None = None,
    ) -> dict[str, Any]:
        async with reader().of(one_tenant(asking, tenant_id, Action.READ_ANALYTICS)) as found:
            page = await found.operations(LARGEST_SIZE if before is None else before, limit)
        following = page[-1].opening.seq if len(page) == limit else None
        return {"operations": [operation_answer(one) for one in page], "next": following}

    @router.get("/tenants", summary="All tenants by name, for an auditor with a token for any tenant")
    async def tenants(
        asking: Annotated[Principal, may(Action.READ_TENANTS)],
        after: str = "",
        limit: Annotated[int, Query(ge=1, le=MAX_TENANTS)] = 50,
    ) -> dict[str, Any]:
        if asking.tenant_or_all(None, Action.READ_TENANTS) is not None:
            raise Problem(Code.FORBIDDEN, "Only an auditor's token for any tenant lists the tenants.")
        if after and not valid_name(after):
            raise invalid("after", NAME_RULE)
        now = await recorder().now()
        days = Days(now, WEEK, now)
        page = await recorder().tenants(after, days.since, limit)
        following = page[-1].head.tenant_id if len(page) == limit else None
        return {"tenants": [tenant_answer(one, days) for one in page], "next": following}

    return router


def one_tenant(asking: Principal, named: str | None, action: Action) -> str:
    """The tenant that is asked about: the token's own, or for an auditor of all the one that is named.

    Raises:
        Problem: `Code.FORBIDDEN` if the token does not allow it; `Code.INVALID_REQUEST` if none is named.
    """
    if named is not None and not valid_name(named):
        raise invalid("tenant_id", NAME_RULE)
    return asking.tenant(named, action)


def tenant_in_body(asking: Principal, named: str | None, action: Action, request: Request) -> str:
    """As `one_tenant`, for a body; the audit log, which reads no bodies, is told whose tenant it was."""
    tenant = one_tenant(asking, named, action)
    asked: Asked | None = request.scope.get(ASKED)
    if asked is not None:
        asked.named = tenant
    return tenant


async def head_of(found: Snapshot) -> Entry:
    """The tenant's present entry.

    Raises:
        Problem: `Code.UNKNOWN_TENANT` if there is none.
    """
    head = await found.head()
    if head is None:
        raise Problem(Code.UNKNOWN_TENANT, "The tenant has no budget yet, so there is nothing to look back on.")
    return present(head, found.now)


async def left_each_day(found: Snapshot, window: Days, dataset_id: str | None = None) -> dict[date, Decimal | None]:
    """What was left at the end of each day that the history reaches."""
    closings = await found.closings(window.ends, dataset_id)
    told = zip(window.dates, window.ends, strict=True)
    return {
        day: remaining(present(closings[end], end)) if dataset_id is None else remaining_after(closings[end])
        for day, end in told
        if end in closings
    }
