"""The theorems of advanced and optimal composition, against published values, and as laws."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting import composition
from accounting.composition import (
    MAX_OPTIMAL_COUNT,
    MAX_OPTIMAL_LOGARITHM,
    advanced_composition,
    optimal_composition,
    optimal_delta,
    slack_within,
)
from accounting.conversion import PricingDisagreementError
from accounting.values import ZERO, InvalidValueError, PrivacyLoss

losses = st.builds(
    PrivacyLoss,
    st.sampled_from([Decimal(text) for text in ("0", "0.001", "0.1", "0.5", "3")]),
    st.sampled_from([Decimal(text) for text in ("0", "0.000001", "0.001")]),
)
counted = st.lists(st.tuples(losses, st.integers(1, 40)), min_size=1, max_size=5)
slacks = st.sampled_from([Decimal(text) for text in ("0.0005", "0.000001", "0.1", "1e-30")])


def loss(epsilon: str, delta: str = "0") -> PrivacyLoss:
    """A loss from text."""
    return PrivacyLoss(Decimal(epsilon), Decimal(delta))


def test_the_published_value_of_the_closed_form() -> None:
    """SmartNoise's test of Theorem 3.5: 300 times (0.1, 0.001), slack 0.0005; and the delta it should have stated."""
    together = advanced_composition([(loss("0.1", "0.001"), 300)], Decimal("0.0005"))
    assert float(together.epsilon) == pytest.approx(8.2519, rel=1e-5)
    assert together.delta >= 1 - (1 - Fraction("0.0005")) * (1 - Fraction("0.001")) ** 300
    assert float(together.delta) == pytest.approx(0.25966, abs=1e-5)


def test_the_published_value_of_the_optimum() -> None:
    """dp-accounting's test of Theorem 3.3: 30 times (1, 0.001) within a delta of 0.1 is an epsilon of 20."""
    assert optimal_composition(loss("1", "0.001"), 30, Decimal("0.1")) == 20


@given(counted, slacks)
def test_the_closed_form_is_never_above_the_plain_sum(parts: list[tuple[PrivacyLoss, int]], slack: Decimal) -> None:
    """Its first term is the sum, to which it is rounded up; its delta is at most the sum of all deltas."""
    together = advanced_composition(parts, slack)
    assert together.epsilon <= sum(part.epsilon * count for part, count in parts)
    assert together.delta <= slack + sum(part.delta * count for part, count in parts) + Decimal("1e-30")


@given(counted, slacks, st.randoms())
def test_order_and_grouping_change_nothing(
    parts: list[tuple[PrivacyLoss, int]], slack: Decimal, random: object
) -> None:
    """A count is that many listed, in any order."""
    listed = [(part, 1) for part, count in parts for _ in range(count)]
    random.shuffle(listed)  # type: ignore[attr-defined]
    apart, together = advanced_composition(listed, slack), advanced_composition(parts, slack)
    assert abs(apart.epsilon - together.epsilon) <= Decimal("1e-12")
    assert abs(apart.delta - together.delta) <= Decimal("1e-29")


@given(counted, losses, slacks)
def test_one_more_operation_never_costs_less(
    parts: list[tuple[PrivacyLoss, int]], more: PrivacyLoss, slack: Decimal
) -> None:
    """Neither part of the closed form falls when an operation is added."""
    before, after = advanced_composition(parts, slack), advanced_composition([*parts, (more, 1)], slack)
    assert after.epsilon >= before.epsilon
    assert after.delta >= before.delta


@given(counted, st.sampled_from([Decimal("0.01"), Decimal("0.2"), Decimal("0.00001")]))
def test_the_slack_within_a_delta_uses_it_up_and_no_more(parts: list[tuple[PrivacyLoss, int]], delta: Decimal) -> None:
    """What is composed with that slack keeps the delta, and where there is a slack, hardly any of it is left."""
    slack = slack_within(parts, delta)
    if slack > 0:
        used = advanced_composition(parts, slack).delta
        assert delta - Decimal("1e-28") <= used <= delta
    else:
        assert advanced_composition(parts, Decimal("1e-30")).delta >= delta


def test_without_slack_only_the_sum_remains() -> None:
    """The two closed forms need a delta of their own."""
    assert advanced_composition([(loss("0.1"), 100)], ZERO) == loss("10.0")


@pytest.mark.parametrize("trap", ["NaN", "-1", "1", "Infinity"])
def test_a_slack_that_is_no_probability_is_refused(trap: str) -> None:
    """The error names the slack."""
    with pytest.raises(InvalidValueError, match=r"^slack: "):
        advanced_composition([(loss("1"), 1)], Decimal(trap))


@given(st.sampled_from(["0.01", "0.1", "1", "2"]), st.integers(1, 60), st.sampled_from(["0.1", "0.00001", "1e-9"]))
def test_the_optimum_is_never_above_the_closed_form(epsilon: str, count: int, delta: str) -> None:
    """Nothing is better than the best, up to the steps of two epsilons in which the theorem states it."""
    single, target = loss(epsilon), Decimal(delta)
    best = optimal_composition(single, count, target)
    assert (
        best
        <= advanced_composition([(single, count)], slack_within([(single, count)], target)).epsilon + 2 * single.epsilon
    )


@given(st.sampled_from(["0.1", "1"]), st.integers(2, 60))
def test_the_delta_of_the_optimum_grows_as_epsilon_falls(epsilon: str, count: int) -> None:
    """From 0 at the plain sum upwards."""
    deltas = [optimal_delta(loss(epsilon), count, steps) for steps in range(count // 2 + 1)]
    assert deltas[0] == 0
    assert deltas == sorted(deltas)


def test_a_loss_that_is_all_but_certain_has_a_delta_of_one() -> None:
    """Where doubles cannot tell it from 1: two operations of epsilon 40, at an epsilon of 0."""
    assert optimal_delta(loss("40"), 2, 1) == 1
    assert optimal_composition(loss("40"), 2, Decimal("0.1")) == 80


def test_one_operation_has_its_own_epsilon() -> None:
    """There is nothing to compose."""
    assert optimal_composition(loss("0.7", "0.001"), 1, Decimal("0.0011")) == Decimal("0.7")


def test_the_optimum_of_too_many_is_refused() -> None:
    """The bound is in the message."""
    with pytest.raises(InvalidValueError, match=str(MAX_OPTIMAL_COUNT)):
        optimal_composition(loss("0.1"), MAX_OPTIMAL_COUNT + 1, Decimal("0.1"))


@pytest.mark.parametrize("epsilon", ["1.2", "5"])
def test_the_optimum_of_too_large_epsilons_is_refused(epsilon: str) -> None:
    """Before a power of dp-accounting's leaves the doubles."""
    with pytest.raises(InvalidValueError, match=str(MAX_OPTIMAL_LOGARITHM)):
        optimal_composition(loss(epsilon), MAX_OPTIMAL_COUNT, Decimal("0.1"))


def test_deltas_that_exceed_the_target_have_no_optimum() -> None:
    """No epsilon helps where the deltas alone come to more."""
    with pytest.raises(InvalidValueError, match=r"^delta: "):
        optimal_composition(loss("0.1", "0.01"), 30, Decimal("0.1"))


def test_a_wrong_optimum_is_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the two accountants of the theorem see different deltas, nothing is priced."""
    right = optimal_delta
    monkeypatch.setattr(composition, "optimal_delta", lambda *parts: 2 * right(*parts))
    with pytest.raises(PricingDisagreementError):
        optimal_composition(loss("1", "0.001"), 30, Decimal("0.06"))
