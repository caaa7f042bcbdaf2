"""Frequent values are named; a value that one unit alone has is named as rarely as is charged."""

import math
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.events import ClaimEvent
from accounting.values import InvalidValueError
from deployments.mechanisms.threshold import FrequentValues


def releasing(epsilon: str, delta: str) -> FrequentValues:
    """A release at that price."""
    return FrequentValues(ClaimEvent(Decimal(epsilon), Decimal(delta)))


def chance_of_one(made: FrequentValues) -> float:
    """That discrete Laplace noise lifts a count of 1 to the threshold, by the distribution's own formula."""
    decay = math.exp(-1 / made.scale)
    return decay ** (made.threshold - 1) / (1 + decay)


@settings(max_examples=50)
@given(st.decimals("0.01", 20, places=2), st.decimals("1e-12", "0.3", places=12))
def test_a_single_units_value_is_named_with_at_most_delta(epsilon: Decimal, delta: Decimal) -> None:
    """Whatever OpenDP says of it; the noise is what epsilon asks for, and the threshold not far above the least."""
    made = FrequentValues(ClaimEvent(epsilon, delta))
    assert chance_of_one(made) <= float(delta)
    assert 1 / made.scale <= float(epsilon) <= (1 + 1e-6) / made.scale
    assert made.threshold <= 4 + made.scale * math.log(1 / float(delta))


def test_single_units_values_are_named_as_rarely_as_charged() -> None:
    """Of 5,000 such values at most delta's share and six standard errors. OpenDP's own delta lets 0.88 through."""
    made = releasing("2", "0.12")
    named = made.release({f"value {at}": 1 for at in range(5000)})
    assert 0.12 * 5000 / 2 < len(named) < 0.12 * 5000 + 6 * math.sqrt(5000 * 0.12 * 0.88)


def test_frequent_values_are_named_in_the_order_of_the_alphabet() -> None:
    """The order of the rows does not show; rare values are not there."""
    assert releasing("1", "0.000001").release({"b": 1000, "rare": 1, "a": 900}) == ["a", "b"]


def test_no_values_at_all_name_none() -> None:
    """An empty column is no fault."""
    assert releasing("1", "0.000001").release({}) == []


def test_a_delta_of_nothing_is_refused() -> None:
    """To name a value is to tell that somebody has it."""
    with pytest.raises(InvalidValueError) as refused:
        releasing("1", "0")
    assert refused.value.field == "delta"
