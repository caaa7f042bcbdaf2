"""How many requests a tenant and a token may send: token buckets, in this process alone.

Nothing is limited unless an operator says so: what is too much depends on the machines and on what tenants were
promised. What is refused has charged nothing.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from serve_app.auth.policy import Role
from serve_app.auth.principal import ANY_TENANT, OWN_SUBJECTS, Principal
from serve_app.observing import catalogue
from serve_app.observing.process import count
from serve_app.problems import rate_limited

REMEMBERED = 20_000
"""Tenants, and tokens, whose buckets are kept: those that asked last. Whoever is forgotten begins with a full one."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What a bucket is filled with.

    Attributes:
        per_second: Requests.
        burst: Requests that a full bucket holds, at least one.
    """

    per_second: float
    burst: float


class Bucket(NamedTuple):
    """What is left. One is made for every request, so it is of the kind that is made fastest.

    Attributes:
        level: Requests; less than none after a batch that was larger than the burst.
        at: When, in seconds of a monotonic clock.
    """

    level: float
    at: float


def taken(bucket: Bucket, rate: Rate, cost: int, now: float) -> tuple[Bucket, float]:
    """The bucket after a request, and the seconds to wait where it is refused; 0.0 where it is not.

    A cost above the burst needs a full bucket and leaves it in debt, so that a large batch waits longer than a small
    one but is never refused for good. A cost of nothing needs a bucket without debt.

    Args:
        bucket: As it was left.
        rate: How it fills.
        cost: Requests that this one counts as.
        now: Not before `bucket.at`.
    """
    level = min(rate.burst, bucket.level + (now - bucket.at) * rate.per_second)
    needed = cost if cost < rate.burst else rate.burst
    if level >= needed:
        return Bucket(level - cost, now), 0.0
    return Bucket(level, now), (needed - level) / rate.per_second


class RateLimits:
    """The buckets of the tenants and tokens that this process hears of."""

    def __init__(
        self, per_tenant: Rate | None = None, per_token: Rate | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tenants = None if per_tenant is None else _Buckets(per_tenant)
        self._tokens = None if per_token is None else _Buckets(per_token)
        self._clock = clock
        self._off = per_tenant is None and per_token is None

    def take(self, principal: Principal, cost: int = 1) -> None:
        """Counts a request, unless it is the service's own.

        A token for any tenant counts for itself alone: it speaks for many tenants and is none of them.

        Raises:
            Problem: `Code.RATE_LIMITED`, with the seconds to wait. Nothing is counted then.
        """
        if self._off or principal.subject in OWN_SUBJECTS or Role.TASK in principal.roles:
            return
        now = self._clock()
        tenants = None if principal.tenant_id == ANY_TENANT else self._tenants
        # Both are asked before either counts.
        of_tenant = None if tenants is None else tenants.after(principal.tenant_id, cost, now)
        if self._tokens is not None:
            self._tokens.keep(principal.token_id, self._tokens.after(principal.token_id, cost, now))
        if tenants is not None and of_tenant is not None:
            tenants.keep(principal.tenant_id, of_tenant)


class _Buckets:
    """The buckets of one kind, by name."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._kept: OrderedDict[str, Bucket] = OrderedDict()

    def after(self, key: str, cost: int, now: float) -> Bucket:
        """The bucket as it would be after a request.

        Raises:
            Problem: If the request has to wait.
        """
        bucket, wait = taken(self._kept.get(key) or Bucket(self._rate.burst, now), self._rate, cost, now)
        if wait > 0:
            count(catalogue.RATE_LIMITED)
            raise rate_limited(math.ceil(wait))
        return bucket

    def keep(self, key: str, bucket: Bucket) -> None:
        """Keeps it, and forgets the one that was used longest ago where there are too many."""
        kept = self._kept
        kept[key] = bucket
        kept.move_to_end(key)
        if len(kept) > REMEMBERED:
            kept.popitem(last=False)
