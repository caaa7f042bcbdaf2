"""Burn and projection: sums that add up whatever the order, and dates that move the right way."""

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.ledger.readings import Charged
from accounting.values import ZERO
from deployments.analytics.burn import MAX_DAYS, Days, burn, by_engine
from deployments.analytics.projection import FARTHEST, Projection, projection

NOW = datetime(2026, 11, 21, 4, 37, tzinfo=UTC)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
WEEK = Days(NOW, 7, LONG_AGO)
amounts = st.decimals(min_value=-50, max_value=50, places=12)
charges = st.decimals(min_value=0, max_value=10**6, places=18)
shares = st.builds(
    Charged,
    st.sampled_from(WEEK.dates),
    st.sampled_from([None, "tabular", "text", "image"]),
    amounts,
    st.integers(0, 10**6),
)
budgets = st.decimals(min_value=0, max_value=10**6, places=18)


@given(st.lists(shares, max_size=30))
def test_days_and_engines_add_up_to_the_whole(charged: list[Charged]) -> None:
    """Exactly, to the last digit: nothing is lost and nothing counted twice."""
    found = burn(charged, WEEK)
    whole = sum((Fraction(one.epsilon) for one in charged), Fraction(0))
    assert Fraction(found.total.epsilon) == whole
    assert sum((Fraction(share.epsilon) for share in found.daily), Fraction(0)) == whole
    assert sum((Fraction(share.epsilon) for _, share in found.by_engine), Fraction(0)) == whole
    assert sum(share.operations for _, share in found.by_engine) == sum(one.operations for one in charged)
    assert found.per_day(found.total.epsilon) * 7 == whole


@given(st.lists(shares, max_size=12), st.randoms(use_true_random=False))
def test_the_order_of_what_is_read_changes_nothing(charged: list[Charged], random: Random) -> None:
    """Sums are sums."""
    mixed = list(charged)
    random.shuffle(mixed)
    assert burn(mixed, WEEK) == burn(charged, WEEK)
    assert by_engine(mixed) == by_engine(charged)


def test_a_charge_of_another_day_is_refused() -> None:
    """A sum over seven days has no eighth in it."""
    with pytest.raises(ValueError, match="not one of the days"):
        burn([Charged(date(2026, 11, 14), None, Decimal(1), 1)], WEEK)


@pytest.mark.parametrize("count", [0, MAX_DAYS + 1])
def test_the_number_of_days_is_bounded(count: int) -> None:
    """From one to ninety."""
    with pytest.raises(ValueError, match="days are looked at"):
        Days(NOW, count, LONG_AGO)


def test_days_before_the_history_are_not_counted_in_the_mean() -> None:
    """A history of three days, in a week, is divided by three; its days end at midnight in UTC, today now."""
    days = Days(NOW, 7, NOW - timedelta(days=2))
    found = burn([Charged(date(2026, 11, 20), "text", Decimal("1.5"), 3)], days)
    assert found.per_day(found.total.epsilon) == Fraction(1, 2)
    assert found.known_daily == (ZERO, Decimal("1.5"), ZERO)
    assert (days.ends[-2], days.ends[-1]) == (datetime(2026, 11, 21, tzinfo=UTC), NOW)
    assert days.since == datetime(2026, 11, 15, tzinfo=UTC)


def test_a_projection_can_be_reckoned_by_hand() -> None:
    """Ten left at one a day on average: ten days; five at the dearer half's two, and never at the cheaper's none."""
    found = projection(Decimal(10), [Decimal(2), Decimal(0), Decimal(2), Decimal(0)], NOW)
    assert found.exhausted_at == NOW + timedelta(days=10)
    assert found.days_left == 10
    assert (found.earliest, found.latest) == (NOW + timedelta(days=5), None)
    assert "every day costs 1, the mean of 4 days" in found.basis


@given(budgets, st.lists(charges, min_size=2, max_size=90))
def test_a_range_holds_its_point(remaining: Decimal, daily: list[Decimal]) -> None:
    """Earliest, then the estimate, then latest; and nothing that is no number."""
    found = projection(remaining, daily, NOW)
    if found.exhausted_at is None:
        assert (found.earliest, found.latest, found.days_left) == (None, None, None)
        return
    assert found.earliest is not None
    assert NOW <= found.earliest <= found.exhausted_at <= (found.latest or NOW + FARTHEST)
    assert found.days_left is not None
    assert math.isfinite(float(found.days_left))


@given(budgets, st.lists(charges, min_size=2, max_size=20), st.data())
def test_more_burn_never_ends_later(remaining: Decimal, daily: list[Decimal], data: st.DataObject) -> None:
    """Whichever day is raised, no date moves back; None is later than every date."""
    at = data.draw(st.integers(0, len(daily) - 1))
    more = [*daily[:at], daily[at] + data.draw(charges), *daily[at + 1 :]]
    dates = _dates(projection(remaining, daily, NOW))
    assert all(after <= before for before, after in zip(dates, _dates(projection(remaining, more, NOW)), strict=True))


@given(budgets, budgets, st.lists(charges, min_size=2, max_size=20))
def test_less_left_never_ends_later(one: Decimal, other: Decimal, daily: list[Decimal]) -> None:
    """Of two budgets the smaller is used up no later."""
    less, more = sorted((one, other))
    dates = _dates(projection(more, daily, NOW))
    assert all(after <= before for before, after in zip(dates, _dates(projection(less, daily, NOW)), strict=True))


@pytest.mark.parametrize("daily", [[], [Decimal(3)], [ZERO, ZERO], [Decimal(1), Decimal(-1)], [Decimal("1e-18")] * 2])
def test_where_nothing_can_be_said_nothing_is(daily: list[Decimal]) -> None:
    """Without two days, without burn, or beyond a century there is no date, and the reason is told."""
    found = projection(Decimal(10), daily, NOW, NOW + timedelta(days=3))
    assert (found.exhausted_at, found.days_left, found.earliest, found.latest) == (None,) * 4
    assert found.renews_before is True
    assert found.basis.endswith(".")


@pytest.mark.parametrize(("days", "before"), [(9, True), (10, True), (11, False)])
def test_a_renewal_is_told_beside_the_end(days: int, before: bool) -> None:
    """Whether the next window begins before this one is used up."""
    renews_at = NOW + timedelta(days=days)
    found = projection(Decimal(10), [Decimal(1)] * 3, NOW, renews_at)
    assert (found.renews_at, found.renews_before) == (renews_at, before)


def test_nothing_left_is_used_up_now() -> None:
    """An exhausted budget that is still asked for has no days left."""
    assert projection(ZERO, [Decimal(1)] * 3, NOW).exhausted_at == NOW


def _dates(found: Projection) -> list[datetime]:
    later = NOW + 2 * FARTHEST
    return [found.exhausted_at or later, found.earliest or later, found.latest or later]
