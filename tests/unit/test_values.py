"""Numbers of privacy loss are exact, and what is not a plain number of reasonable size never gets in."""

from decimal import Decimal, Inexact
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.values import (
    MAX_EPSILON,
    NO_LOSS,
    PRICE_PLACES,
    InvalidValueError,
    PrivacyLoss,
    checked_delta,
    checked_epsilon,
    checked_positive,
    decimal_text,
    round_down,
    round_up,
)

amounts = st.decimals(0, 1_000_000, places=30)
losses = st.builds(PrivacyLoss, amounts, amounts)
fractions = st.fractions(min_value=-(10**6), max_value=10**6)

NOT_NUMBERS = ["NaN", "-NaN", "sNaN", "Infinity", "-Infinity"]
MISSHAPEN = ["1e999999", "1e-999999", "1e-31", "0e-31", "0.1234567890123456789012345678901", "1" * 40]


@pytest.mark.parametrize("text", [*NOT_NUMBERS, *MISSHAPEN, "-1", "0", "-0", "0.0", "-1e-30", "1000000.1", "1e30"])
def test_an_epsilon_that_promises_nothing_or_is_no_number_is_refused(text: str) -> None:
    """No accountant ever sees it: dp-accounting, for one, would answer 0 to a NaN."""
    with pytest.raises(InvalidValueError) as refused:
        checked_epsilon(Decimal(text), "epsilon_requested")
    assert refused.value.field == "epsilon_requested"
    assert refused.value.reason


@pytest.mark.parametrize("text", [*NOT_NUMBERS, *MISSHAPEN, "-1e-30", "1", "1.0", "2"])
def test_a_delta_outside_zero_to_one_is_refused(text: str) -> None:
    """One itself counts as outside, as do misshapen numbers, and the error names delta."""
    with pytest.raises(InvalidValueError, match=r"^delta: "):
        checked_delta(Decimal(text))


@pytest.mark.parametrize("text", [*NOT_NUMBERS, *MISSHAPEN, "0", "-3", "10.5"])
def test_a_parameter_that_is_not_positive_or_beyond_its_bound_is_refused(text: str) -> None:
    """Zero counts as not positive, and the error names the parameter it was given."""
    with pytest.raises(InvalidValueError, match=r"^sigma: "):
        checked_positive(Decimal(text), "sigma", Decimal(10))


@pytest.mark.parametrize("text", ["1e-30", "0.1", "1000000", "123456.123456789012345678901234", "1E+6"])
def test_the_extremes_of_what_is_documented_are_accepted(text: str) -> None:
    """The smallest, the largest and the longest epsilon pass with their value unchanged."""
    assert checked_epsilon(Decimal(text)) == Decimal(text)


def test_delta_may_be_zero_and_almost_one() -> None:
    """Zero and the last step before one are deltas, and a parameter may equal its bound."""
    assert checked_delta(Decimal(0)) == 0
    assert checked_delta(1 - Decimal("1e-28")) < 1
    assert checked_positive(MAX_EPSILON, "scale", MAX_EPSILON) == MAX_EPSILON


@given(losses, losses)
def test_sums_and_differences_are_exact(one: PrivacyLoss, other: PrivacyLoss) -> None:
    """Sums agree with rational arithmetic, commute, and are undone by subtraction."""
    total = one.plus(other)
    assert Fraction(total.epsilon) == Fraction(one.epsilon) + Fraction(other.epsilon)
    assert Fraction(total.delta) == Fraction(one.delta) + Fraction(other.delta)
    assert total.minus(other) == one
    assert total == other.plus(one)


@given(losses, losses, losses)
def test_sums_do_not_depend_on_their_order(one: PrivacyLoss, two: PrivacyLoss, three: PrivacyLoss) -> None:
    """Three losses add up to the same total in whichever order they come."""
    assert one.plus(two).plus(three) == three.plus(one).plus(two)


@given(losses, losses)
def test_a_loss_is_within_a_cap_when_both_parts_are(one: PrivacyLoss, cap: PrivacyLoss) -> None:
    """Neither part makes up for the other, and a loss is within itself."""
    assert one.within(cap) == (one.epsilon <= cap.epsilon and one.delta <= cap.delta)
    assert one.within(one)


def test_the_smallest_step_over_a_cap_is_seen() -> None:
    """An excess in the last digits of either part is not rounded away."""
    cap = PrivacyLoss(MAX_EPSILON, Decimal("0.5"))
    assert not PrivacyLoss(MAX_EPSILON + Decimal("1e-20"), Decimal(0)).within(cap)
    assert not NO_LOSS.plus(PrivacyLoss(Decimal(1), Decimal("0.5") + Decimal("1e-28"))).within(cap)


def test_ten_thousand_tenths_are_exactly_a_thousand() -> None:
    """No error builds up over many small charges, as it would with binary floats."""
    total = NO_LOSS
    for _ in range(10_000):
        total = total.plus(PrivacyLoss(Decimal("0.1"), Decimal("1e-7")))
    assert total == PrivacyLoss(Decimal(1000), Decimal("0.001"))


def test_arithmetic_that_would_round_is_an_error_instead() -> None:
    """A sum with too many digits to be held exactly raises, rather than lose some silently."""
    with pytest.raises(Inexact):
        PrivacyLoss(Decimal("1e70"), Decimal(0)).plus(PrivacyLoss(Decimal("1e-70"), Decimal(0)))


@given(st.decimals(-1_000_000, 1_000_000, places=30, allow_nan=False))
def test_a_decimals_text_is_plain_and_keeps_its_value(value: Decimal) -> None:
    """The text has no exponent, reads back as the same value, and is stable when written again."""
    text = decimal_text(value)
    assert Decimal(text) == value
    assert "E" not in text.upper()
    assert decimal_text(Decimal(text)) == text


@pytest.mark.parametrize(
    ("spellings", "text"),
    [
        (("0.1", "0.10", "1e-1", "1E-1"), "0.1"),
        (("10", "1E+1", "10.00"), "10"),
        (("0", "-0", "0.000", "0E-7", "0E+3"), "0"),
        (("1e-30",), "0." + "0" * 29 + "1"),
    ],
)
def test_equal_decimals_have_one_text(spellings: tuple[str, ...], text: str) -> None:
    """An entry's hash must not depend on how a caller wrote a number."""
    assert {decimal_text(Decimal(spelling)) for spelling in spellings} == {text}


@given(fractions, st.integers(0, 30))
def test_rounding_goes_outward_and_no_further_than_needed(value: Fraction, places: int) -> None:
    """Rounding up and down encloses the value, each less than one step away from it."""
    step = Fraction(1, 10**places)
    up, down = Fraction(round_up(value, places)), Fraction(round_down(value, places))
    assert down <= value <= up
    assert up - value < step
    assert value - down < step


@given(st.decimals(0, 1_000_000, places=PRICE_PLACES))
def test_what_is_on_the_grid_stays_where_it_is(value: Decimal) -> None:
    """A value with as many places as a price has is rounded neither up nor down."""
    assert round_up(Fraction(value)) == value == round_down(Fraction(value))
