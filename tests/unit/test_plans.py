"""A plan's prices: against published values, as laws, and what has none."""

import math
from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting import charges, plans
from accounting.conversion import PricingDisagreementError
from accounting.events import (
    Adjacency,
    ClaimEvent,
    ComposedEvent,
    DiscreteGaussianEvent,
    DiscreteLaplaceEvent,
    Event,
    ExponentialEvent,
    FixedSizeGaussianEvent,
    GaussianEvent,
    LaplaceEvent,
    ParallelEvent,
    PoissonGaussianEvent,
    PoissonLaplaceEvent,
    RandomizedResponseEvent,
    SelectionForm,
    SelfComposedEvent,
    ZCdpEvent,
    leaves,
)
from accounting.plans import (
    MAX_DISTINCT_FIXED_SIZE,
    MAX_DISTINCT_SAMPLED,
    MAX_DISTINCT_SHARED,
    MAX_PARTS,
    Theorem,
    claimed_delta,
    price,
    price_plan,
)
from accounting.saddle_point import OutOfReachError, delta_at
from accounting.values import ZERO, InvalidValueError, PrivacyLoss

pytestmark = pytest.mark.untraced

ONE, DELTA = Decimal(1), Decimal("0.00001")
PURE: list[Event] = [
    LaplaceEvent(Decimal(2), ONE),
    DiscreteLaplaceEvent(Decimal(5), Decimal(2)),
    ExponentialEvent(Decimal(10), ONE, SelectionForm.GUMBEL, monotonic=False),
    RandomizedResponseEvent(Decimal("0.6"), 2),
    ClaimEvent(Decimal("0.3"), ZERO),
]
OTHERS: list[Event] = [
    ClaimEvent(Decimal("0.2"), Decimal("0.0000001")),
    GaussianEvent(Decimal(5), ONE),
    DiscreteGaussianEvent(Decimal(5), ONE),
    ZCdpEvent(Decimal("0.01")),
]
SAMPLED: list[Event] = [
    PoissonGaussianEvent(ONE, ONE, Decimal("0.01")),
    PoissonLaplaceEvent(ONE, ONE, Decimal("0.1")),
]
operations = st.sampled_from(PURE + OTHERS + SAMPLED)
pieces = st.lists(st.tuples(operations, st.integers(1, 5)), min_size=1, max_size=3)


def repeated(event: Event, count: int) -> Event:
    """The event that many times."""
    return SelfComposedEvent(event, count)


def plan_of(parts: list[tuple[Event, int]]) -> ComposedEvent:
    """Operations with their counts, as one plan."""
    return ComposedEvent(tuple(repeated(event, count) for event, count in parts))


def epsilon(event: Event, name: Theorem, delta: Decimal = DELTA) -> Decimal | None:
    """Its epsilon under one theorem, if it has one."""
    loss = price_plan(event, delta).price(name).loss
    return None if loss is None else loss.epsilon


def sgd(sigma: str, rate: str, steps: int) -> Event:
    """DP-SGD."""
    return repeated(PoissonGaussianEvent(Decimal(sigma), ONE, Decimal(rate)), steps)


DP_SGD = sgd("1", "0.01", 10_000)
CLAIMS = ClaimEvent(Decimal("0.1"), Decimal("0.001"))
CLAIMS_DELTA = str(1 - (1 - Decimal("0.0005")) * (1 - Decimal("0.001")) ** 300)[:30]
"""Of 300 of them with a slack of 0.0005."""


@pytest.mark.parametrize(
    ("event", "delta", "name", "expected", "tolerance"),
    [
        (DP_SGD, "0.00001", Theorem.PLD, 6.18774, 1e-5),
        (DP_SGD, "0.00001", Theorem.RENYI, 6.71274, 1e-5),
        (sgd("1.5", "0.04", 2250), "0.00001", Theorem.RENYI, 7.32911117143, 5e-8),
        (sgd("1", "0.001", 30_000), "1e-7", Theorem.RENYI, 1.41549885, 1e-6),
        (repeated(GaussianEvent(Decimal("0.7"), ONE), 2), "0.00001", Theorem.PLD, 10.1224946, 5e-8),
        (repeated(ClaimEvent(ONE, Decimal("0.001")), 30), "0.1", Theorem.OPTIMAL, 20, 5e-8),
        (repeated(CLAIMS, 300), CLAIMS_DELTA, Theorem.ADVANCED, 8.2519, 1e-4),
        (repeated(LaplaceEvent(Decimal("13.55"), ONE), 20), "0.0001", Theorem.PLD, 1, 1e-3),
    ],
    ids=["DP-SGD", "DP-SGD Renyi", "Opacus", "TFP", "TFP Gaussian", "optimal", "advanced", "Laplace"],
)
def test_published_values(event: Event, delta: str, name: Theorem, expected: float, tolerance: float) -> None:
    """What papers and libraries say."""
    found = epsilon(event, name, Decimal(delta))
    assert found is not None
    assert float(found) == pytest.approx(expected, abs=tolerance)


# Laws.


@settings(deadline=None, max_examples=25)
@given(pieces, operations)
def test_one_more_operation_never_costs_less(parts: list[tuple[Event, int]], more: Event) -> None:
    """Under no theorem, and no theorem applies to more than to less."""
    before, after = price_plan(plan_of(parts), DELTA), price_plan(plan_of([*parts, (more, 1)]), DELTA)
    for name in (Theorem.BASIC, Theorem.ADVANCED, Theorem.ZCDP, Theorem.RENYI, Theorem.PLD):
        less, greater = before.price(name).loss, after.price(name).loss
        if greater is not None and less is not None:
            # A sum over a grid may change in its last digits where the grid does.
            assert greater.epsilon >= less.epsilon * (1 - (Decimal("0.01") if name is Theorem.PLD else ZERO))
        assert name is Theorem.PLD or greater is None or less is not None


@settings(deadline=None, max_examples=25)
@given(pieces, st.randoms())
def test_order_grouping_and_counting_change_nothing(parts: list[tuple[Event, int]], random: object) -> None:
    """A plan listed one by one in any order, or split in two, costs what it costs counted."""
    listed = [event for event, count in parts for _ in range(count)]
    random.shuffle(listed)  # type: ignore[attr-defined]
    half = len(listed) // 2
    split = [ComposedEvent(tuple(side)) for side in (listed[:half], listed[half:]) if side]
    expected = price_plan(plan_of(parts), DELTA)
    for other in (ComposedEvent(tuple(listed)), ComposedEvent(tuple(split))):
        for name in Theorem:
            found, wanted = price_plan(other, DELTA).price(name).loss, expected.price(name).loss
            assert (found is None) == (wanted is None)
            assert found is None or wanted is None or abs(found.epsilon - wanted.epsilon) <= Decimal("1e-12")


@settings(deadline=None, max_examples=25)
@given(pieces, st.sampled_from([Decimal("0.01"), DELTA]))
def test_no_price_is_below_the_truth(parts: list[tuple[Event, int]], delta: Decimal) -> None:
    """Under every theorem the second path finds at most the delta that was promised."""
    # Of the others the second path knows no more than their rho or epsilon, which is not the truth.
    claimed = ZCdpEvent | DiscreteGaussianEvent | ExponentialEvent
    known: list[tuple[Event, int]] = [(event, count) for event, count in parts if not isinstance(event, claimed)]
    if not known:
        return
    for found in price_plan(plan_of(known), delta).prices:
        if found.loss is not None:
            try:
                true = delta_at(known, float(found.loss.epsilon))
            except OutOfReachError:
                continue
            assert found.loss.delta <= delta
            assert true <= float(found.loss.delta) * (1 + 1e-3) + 1e-15


@settings(deadline=None, max_examples=25)
@given(pieces, st.sampled_from([ZERO, Decimal("1e-9"), DELTA, Decimal("0.3")]))
def test_the_tightest_is_the_least_valid_price(parts: list[tuple[Event, int]], delta: Decimal) -> None:
    """It is named, keeps the delta, and every theorem says what it is or why not."""
    priced = price_plan(plan_of(parts), delta)
    assert [found.name for found in priced.prices] == list(Theorem)
    for found in priced.prices:
        assert found.valid == (found.loss is not None)
        assert found.note
        assert found.theorem
    valid = [found.loss for found in priced.prices if found.loss is not None]
    assert (priced.tightest is None) == (not valid)
    if valid:
        assert priced.loss.epsilon == min(loss.epsilon for loss in valid)
        assert priced.loss.delta <= delta


def test_with_a_delta_of_zero_only_purely_private_plans_have_a_price() -> None:
    """And it is the sum."""
    priced = price_plan(repeated(LaplaceEvent(Decimal(10), ONE), 7), ZERO)
    assert priced.tightest is Theorem.BASIC
    assert priced.loss == PrivacyLoss(Decimal("0.7"), ZERO)
    assert not any(found.valid for found in priced.prices[1:])
    assert price_plan(repeated(GaussianEvent(ONE, ONE), 2), ZERO).tightest is None


# Single theorems.


def test_basic_shares_the_delta_equally() -> None:
    """Four Gaussians beside a claim each have a quarter of what the claim leaves."""
    gaussian, claim = GaussianEvent(Decimal(5), ONE), ClaimEvent(ONE, Decimal("0.000002"))
    found = price_plan(ComposedEvent((claim, repeated(gaussian, 4))), DELTA).price(Theorem.BASIC).loss
    assert found == PrivacyLoss(1 + 4 * charges.price(gaussian, Decimal("0.000002")).epsilon, DELTA)


def test_basic_states_the_delta_of_claims_alone() -> None:
    """Where nothing else needs one, what is left of the delta is not charged."""
    loss = price_plan(repeated(ClaimEvent(ONE, Decimal("1e-7")), 3), DELTA).price(Theorem.BASIC).loss
    assert loss == PrivacyLoss(Decimal(3), Decimal("3e-7"))


@pytest.mark.parametrize("unsampled", ["0.5", "2"])
def test_a_sampled_gaussian_is_amplified(unsampled: str) -> None:
    """One step at a delta costs what amplification says, which is exact: the second path finds that very delta."""
    event = PoissonGaussianEvent(Decimal(unsampled), ONE, Decimal("0.1"))
    found = epsilon(event, Theorem.BASIC)
    assert found is not None
    assert delta_at([(event, 1)], float(found)) == pytest.approx(float(DELTA), rel=1e-3)
    certain = PoissonGaussianEvent(Decimal(unsampled), ONE, ONE)
    assert epsilon(certain, Theorem.BASIC) == charges.price(GaussianEvent(Decimal(unsampled), ONE), DELTA).epsilon


def test_a_sample_rarer_than_the_delta_costs_nothing() -> None:
    """Who is in no sample loses nothing."""
    rare = FixedSizeGaussianEvent(Decimal("0.5"), ONE, 1, 10**6)
    assert price(rare, DELTA) == PrivacyLoss(ZERO, DELTA)


def test_a_whole_sample_is_no_sample() -> None:
    """A fixed-size sample of everybody costs what the Gaussian costs."""
    whole = FixedSizeGaussianEvent(Decimal(3), ONE, 10, 10)
    assert epsilon(whole, Theorem.BASIC) == charges.price(GaussianEvent(Decimal(3), ONE), DELTA).epsilon


def test_claims_that_come_to_more_than_the_delta_have_no_basic_price() -> None:
    """Though the closed forms, which multiply, may still have one."""
    priced = price_plan(repeated(CLAIMS, 300), Decimal("0.27"))
    assert not priced.price(Theorem.BASIC).valid
    assert priced.price(Theorem.ADVANCED).valid
    assert priced.tightest is Theorem.PLD


@pytest.mark.parametrize(("adjacency", "counted"), [(Adjacency.ADD_REMOVE, 1), (Adjacency.REPLACE_ONE, 2), (None, 2)])
@pytest.mark.parametrize("name", list(Theorem))
def test_disjoint_partitions_cost_the_largest_or_the_two_largest(
    adjacency: Adjacency | None, counted: int, name: Theorem
) -> None:
    """Like parts cost what one costs, or two of them at half the delta; deltas of claims likewise."""
    part = ComposedEvent((repeated(LaplaceEvent(Decimal(4), ONE), 5), ClaimEvent(ONE, Decimal("1e-7"))))
    event = ParallelEvent(tuple((f"part {number}", part) for number in range(3)), adjacency=adjacency)
    found = price_plan(event, DELTA).price(name).loss
    assert found is not None
    assert claimed_delta(event) == counted * Decimal("1e-7")
    assert found.delta <= DELTA
    if name not in (Theorem.ZCDP, Theorem.RENYI):
        single = epsilon(part, name, DELTA / counted)
        assert single is not None
        assert found.epsilon == counted * single
    elif counted == 1:
        assert found.epsilon == epsilon(part, name)
    else:
        # Both are converted once, which is cheaper than twice.
        single = epsilon(part, name, DELTA / 2)
        assert single is not None
        assert found.epsilon <= 2 * single


def test_partitions_inside_a_composition_are_one_operation() -> None:
    """It has a basic price, and no distribution."""
    parallel = ParallelEvent(
        (("a", LaplaceEvent(ONE, ONE)), ("b", GaussianEvent(Decimal(8), ONE))), adjacency=Adjacency.ADD_REMOVE
    )
    priced = price_plan(repeated(parallel, 5), DELTA)
    assert priced.price(Theorem.BASIC).loss == PrivacyLoss(Decimal(5), DELTA)
    assert priced.price(Theorem.RENYI).valid
    assert "parallel" in priced.price(Theorem.PLD).note


# The price of any event.


@pytest.mark.parametrize("event", PURE, ids=lambda event: event.kind)
def test_single_operations_have_their_own_price(event: Event) -> None:
    """The same as without any plan."""
    assert price(event) == charges.price(event)


@pytest.mark.parametrize("event", [SAMPLED[0], repeated(PURE[0], 3), FixedSizeGaussianEvent(ONE, ONE, 10, 1000)])
def test_everything_else_has_its_tightest(event: Event) -> None:
    """By whichever theorem."""
    assert price(event, DELTA) == price_plan(event, DELTA).loss


@pytest.mark.parametrize("event", [DP_SGD, SAMPLED[0], repeated(GaussianEvent(ONE, ONE), 2)])
def test_without_a_delta_there_may_be_no_price(event: Event) -> None:
    """The error names the delta, and says why for each theorem."""
    with pytest.raises(InvalidValueError, match=r"^delta: .*basic: .*pld: "):
        price(event)


@pytest.mark.parametrize("trap", ["NaN", "-0.1", "1", "Infinity", "1e-31"])
def test_a_delta_that_is_none_is_refused(trap: str) -> None:
    """Before anything is priced."""
    with pytest.raises(InvalidValueError, match=r"^delta: "):
        price_plan(DP_SGD, Decimal(trap))


# Bounds and disagreement.


PARTITIONS = ParallelEvent(tuple((f"{n}", LaplaceEvent(Decimal(10 + n), ONE)) for n in range(MAX_PARTS + 1)))


def rare_sample(sigma: Decimal) -> Event:
    """A step on a Poisson sample."""
    return PoissonGaussianEvent(sigma, ONE, DELTA)


def fixed_sample(sigma: Decimal) -> Event:
    """A step on a sample of fixed size."""
    return FixedSizeGaussianEvent(sigma, ONE, 1, 9)


def unlike(make: Callable[[Decimal], Event], count: int) -> ComposedEvent:
    """A plan of that many operations, each with its own noise."""
    return ComposedEvent(tuple(make(Decimal(10) + number) for number in range(count)))


@pytest.mark.parametrize(
    ("event", "name", "bound"),
    [
        (unlike(lambda s: GaussianEvent(s, ONE), MAX_DISTINCT_SHARED + 1), Theorem.BASIC, MAX_DISTINCT_SHARED),
        (unlike(rare_sample, MAX_DISTINCT_SAMPLED + 1), Theorem.RENYI, MAX_DISTINCT_SAMPLED),
        (unlike(fixed_sample, MAX_DISTINCT_FIXED_SIZE + 1), Theorem.RENYI, MAX_DISTINCT_FIXED_SIZE),
        (PARTITIONS, Theorem.PLD, MAX_PARTS),
        (sgd("0.05", "0.01", 10**7), Theorem.PLD, 2_500_000),
    ],
    ids=["shared", "sampled", "fixed size", "parts", "points"],
)
def test_what_would_take_too_long_is_left_out(event: Event, name: Theorem, bound: int) -> None:
    """The note says the bound."""
    found = price_plan(event, DELTA).price(name)
    assert not found.valid
    assert str(bound) in found.note


@pytest.mark.parametrize(
    "event",
    [
        GaussianEvent(Decimal("1e-6"), ONE),
        PoissonGaussianEvent(Decimal("0.001"), ONE, Decimal("0.1")),
        FixedSizeGaussianEvent(Decimal("1e-18"), Decimal(10) ** 18, 1, 10),
    ],
    ids=lambda event: event.kind,
)
def test_noise_too_small_to_be_priced_is_refused(event: Event) -> None:
    """By every theorem that would have to price it alone."""
    assert not price_plan(repeated(event, 2), DELTA).price(Theorem.BASIC).valid
    assert not price_plan(repeated(event, 2), DELTA).price(Theorem.PLD).valid


def test_an_epsilon_that_promises_nothing_is_no_price() -> None:
    """Above the largest that is accepted anywhere."""
    huge = price_plan(repeated(LaplaceEvent(ONE, ONE), 10**7), ZERO)
    assert huge.tightest is None
    assert "above 1000000" in huge.price(Theorem.BASIC).note


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -1.0])
def test_a_disagreement_denies_the_whole_plan(wrong: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever theorem it concerns: nothing of such a plan is charged."""

    def broken(*_: object) -> Decimal:
        raise PricingDisagreementError(f"an epsilon of {wrong}")

    monkeypatch.setattr(plans, "pld_epsilon", broken)
    with pytest.raises(PricingDisagreementError):
        price_plan(repeated(LaplaceEvent(Decimal(77), ONE), 3), DELTA)


def test_the_leaves_of_a_plan_are_what_is_priced() -> None:
    """Nesting multiplies counts."""
    nested = repeated(ComposedEvent((repeated(PURE[0], 3), PURE[1])), 4)
    assert sorted(count for _, count in leaves(nested)) == [4, 12]
    assert price_plan(nested, DELTA).loss == price_plan(plan_of([(PURE[0], 12), (PURE[1], 4)]), DELTA).loss
