"""Rate limits: a bucket gives no more than it is filled with, and who is refused has lost nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.auth import limits
from serve_app.auth.limits import Bucket, Rate, RateLimits, taken
from serve_app.auth.policy import Role
from serve_app.auth.principal import ANY_TENANT, TASK_KEEPER, Principal
from serve_app.problems import Code, Problem

pauses = st.floats(min_value=0, max_value=100, allow_nan=False)
rates = st.builds(Rate, st.floats(min_value=0.01, max_value=1_000), st.floats(min_value=1, max_value=1_000))


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def asker(tenant: str = "t", token: str = "a", subject: str = "s", role: Role = Role.ENGINE) -> Principal:
    """Somebody with a token."""
    return Principal(subject, tenant, frozenset({role}), None, float("inf"), token)


def refused(limited: RateLimits, asking: Principal, cost: int = 1) -> Problem:
    """The refusal of a request."""
    with pytest.raises(Problem) as problem:
        limited.take(asking, cost)
    assert problem.value.code is Code.RATE_LIMITED
    return problem.value


@given(rates, st.lists(st.tuples(pauses, st.integers(min_value=0, max_value=50)), max_size=50))
def test_no_more_passes_than_the_burst_and_what_flowed_in(rate: Rate, asked: list[tuple[float, int]]) -> None:
    """Over any time, admitted single requests are at most the burst and the rate times the time; a larger one waits."""
    bucket, now, admitted, largest = Bucket(rate.burst, 0.0), 0.0, 0, 0
    for pause, cost in asked:
        now += pause
        bucket, wait = taken(bucket, rate, cost, now)
        if wait == 0:
            admitted, largest = admitted + cost, max(largest, cost)
    # A batch above the burst goes into debt by what is above it, and once at most.
    assert admitted <= (rate.burst + rate.per_second * now) * (1 + 1e-9) + max(largest - rate.burst, 0) + 1e-6


@given(rates, st.integers(min_value=1, max_value=2_000), st.floats(min_value=-500, max_value=500))
def test_whoever_waits_as_long_as_told_is_admitted(rate: Rate, cost: int, level: float) -> None:
    """The wait is enough, for a batch of any size, and a refusal takes nothing."""
    before = Bucket(min(level, rate.burst), 0.0)
    after, wait = taken(before, rate, cost, 0.0)
    if wait > 0:
        assert after == before
        _, wait = taken(after, rate, cost, wait * (1 + 1e-9) + 1e-9)
    assert wait == 0


def test_without_a_limit_nothing_is_counted() -> None:
    """An operator who sets none has none, and no memory is used."""
    limited = RateLimits()
    for _ in range(1_000):
        limited.take(asker())
    assert limited._tenants is None
    assert limited._tokens is None


def test_all_tokens_of_a_tenant_share_its_limit_and_no_others_do() -> None:
    """The limit of a tenant is not evaded by a second token, and another tenant is not slowed down."""
    limited = RateLimits(per_tenant=Rate(1, 2), clock=Clock())
    limited.take(asker(token="a"))
    limited.take(asker(token="b"))
    assert refused(limited, asker(token="c")).headers["Retry-After"] == "1"
    limited.take(asker(tenant="other"))


def test_a_tokens_limit_is_its_own() -> None:
    """Two tokens of one tenant do not slow each other down."""
    limited = RateLimits(per_token=Rate(1, 1), clock=Clock())
    limited.take(asker(token="a"))
    refused(limited, asker(token="a"))
    limited.take(asker(token="b"))


def test_what_one_limit_refuses_counts_for_neither() -> None:
    """A token that is too fast does not use up what its tenant's others may send."""
    limited = RateLimits(Rate(1, 2), Rate(1, 1), clock=Clock())
    limited.take(asker(token="a"))
    for _ in range(10):
        refused(limited, asker(token="a"))
    limited.take(asker(token="b"))


def test_a_batch_counts_as_what_is_in_it() -> None:
    """A batch above the burst is admitted with a full bucket, and paid for by the wait after it."""
    clock = Clock()
    limited = RateLimits(per_tenant=Rate(10, 20), clock=clock)
    limited.take(asker(), 100)
    assert refused(limited, asker()).headers["Retry-After"] == "9"
    assert refused(limited, asker(), 0).headers["Retry-After"] == "8"
    clock.now = 8.2
    limited.take(asker())


def test_a_token_for_any_tenant_counts_for_itself_alone() -> None:
    """It speaks for many tenants and is none of them."""
    limited = RateLimits(Rate(1, 1), Rate(1, 3), clock=Clock())
    for _ in range(3):
        limited.take(asker(tenant=ANY_TENANT))
    refused(limited, asker(tenant=ANY_TENANT))


@pytest.mark.parametrize("own", [asker(subject=TASK_KEEPER), asker(role=Role.TASK)], ids=["keeper", "task"])
def test_the_services_own_requests_are_not_limited(own: Principal) -> None:
    """What ends holds must not wait for what a tenant has sent."""
    limited = RateLimits(Rate(1, 1), Rate(1, 1), clock=Clock())
    for _ in range(10):
        limited.take(own)


def test_only_so_many_buckets_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that asked last; memory is bounded whatever comes."""
    monkeypatch.setattr(limits, "REMEMBERED", 3)
    limited = RateLimits(per_token=Rate(1, 1), clock=Clock())
    for token in "abcde":
        limited.take(asker(token=token))
    refused(limited, asker(token="e"))
    limited.take(asker(token="a"))
    assert limited._tokens is not None
    assert len(limited._tokens._kept) == 3
