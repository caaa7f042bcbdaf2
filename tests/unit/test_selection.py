"""A choice costs what is charged for it, by two accountants, and is made with the probabilities that were promised."""

import math
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from itertools import permutations
from typing import Any

import opendp.prelude as dp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from accounting.charges import Currency, PricingDisagreementError, own_cost
from accounting.events import ExponentialEvent, LaplaceEvent, SelectionForm, SelfComposedEvent
from accounting.plans import price
from accounting.values import ZERO, InvalidValueError
from deployments.mechanisms import selection as room
from deployments.mechanisms.query import LARGEST_VALUE
from deployments.mechanisms.selection import MAX_CANDIDATES, MAX_WORK, Choice, Scores, Selector, selector_for

ONE = Decimal(1)
FALSE_ALARM = 1e-9
"""How often a test of probabilities fails though nothing is wrong."""
DRAWS = 8_000

epsilons = st.decimals("0.0001", 50, places=6)
scales = st.decimals("0.01", 100_000, places=5)
sensitivities = st.decimals("0.001", 10_000, places=5)
counts = st.integers(1, 50)


def chosen_with(scale: str, count: int = 1) -> Selector:
    """Choices with that scale at sensitivity 1."""
    return selector_for(Choice(None, ONE, count, scale=Decimal(scale)))


def peeling(scores: tuple[float, ...], scale: float, count: int) -> dict[tuple[int, ...], float]:
    """The probability of every ordered choice of so many candidates by the exponential mechanism, one after another."""
    weights = [math.exp(score / scale) for score in scores]
    found: dict[tuple[int, ...], float] = {}
    for places in permutations(range(len(scores)), count):
        left, probability = sum(weights), 1.0
        for place in places:
            probability *= weights[place] / left
            left -= weights[place]
        found[places] = probability
    return found


def improbability(seen: Counter[tuple[int, ...]], expected: Mapping[tuple[int, ...], float]) -> float:
    """Pearson's chi-square test: how probable it is that counts are at least so far from those expected."""
    total = seen.total()
    assert min(expected.values()) * total >= 20
    distance = sum((seen[case] - share * total) ** 2 / (share * total) for case, share in expected.items())
    return float(chi2.sf(distance, len(expected) - 1))


def assert_covered(selector: Selector) -> None:
    """The laws that hold for every selector."""
    event = selector.event
    once, count = (event.event, event.count) if isinstance(event, SelfComposedEvent) else (event, 1)
    assert isinstance(once, ExponentialEvent)
    assert once.form is SelectionForm.GUMBEL
    assert selector.charge == price(event)
    assert selector.charge.delta == ZERO
    stated = Fraction(once.scale)
    assert stated <= Fraction(selector.scale) <= stated * (1 + Fraction(4, 10**9))
    # OpenDP's own map of what runs, and of the same choice by the form that it proves in epsilon.
    domain = dp.vector_domain(dp.atom_domain(T="f64", nan=False))
    metric = dp.linf_distance(T="f64", monotonic=once.monotonic)
    pure = dp.m.make_noisy_top_k(domain, metric, dp.max_divergence(), count, selector.scale)
    theirs, their_rho = room.opendp_losses(pure, selector.measurement, once)
    assert Fraction(theirs) <= Fraction(selector.charge.epsilon)
    rho = own_cost(event, Currency.RHO)
    assert rho is not None
    assert Fraction(their_rho) <= Fraction(rho.amount)


@settings(max_examples=100)
@given(epsilons, sensitivities, counts, st.booleans())
def test_a_choice_never_costs_more_than_granted_by_either_accountant(
    epsilon: Decimal, sensitivity: Decimal, count: int, monotonic: bool
) -> None:
    """All choices together stay within the request by our price and by OpenDP's map, and no more than a hair below."""
    selector = selector_for(Choice(epsilon, sensitivity, count, monotonic))
    assert_covered(selector)
    assert epsilon * (1 - Decimal("1e-6")) <= selector.charge.epsilon <= epsilon


@settings(max_examples=100)
@given(scales, st.decimals("0.001", 100, places=5), counts, st.booleans())
def test_a_choice_of_given_noise_is_charged_what_that_noise_costs(
    scale: Decimal, sensitivity: Decimal, count: int, monotonic: bool
) -> None:
    """The event has the scale that was given, and OpenDP proves no more of it than is charged."""
    selector = selector_for(Choice(None, sensitivity, count, monotonic, scale))
    assert_covered(selector)
    once = ExponentialEvent(scale, sensitivity, SelectionForm.GUMBEL, monotonic)
    assert selector.event == (once if count == 1 else SelfComposedEvent(once, count))


def test_the_price_is_the_textbook_one() -> None:
    """scale = 2 sensitivity / epsilon; half of it where all scores move in one direction; k choices cost k times."""
    selector = selector_for(Choice(Decimal("0.5"), Decimal(3)))
    assert selector.scale == pytest.approx(12)
    assert selector_for(Choice(Decimal("0.5"), Decimal(3), monotonic=True)).scale == pytest.approx(6)
    assert chosen_with("4").charge.epsilon == Decimal("0.5")
    assert chosen_with("4", 3).charge.epsilon == Decimal("1.5")


def test_choices_by_gumbel_noise_cost_a_quarter_of_permute_and_flip_in_rho() -> None:
    """Why this form was chosen: rho = epsilon^2 / 8, and of k choices k times that."""
    selector = chosen_with("4", 3)
    assert own_cost(selector.event, Currency.RHO) == own_cost(
        SelfComposedEvent(ExponentialEvent(Decimal(4), ONE, SelectionForm.GUMBEL, monotonic=False), 3), Currency.RHO
    )
    rho = own_cost(selector.event, Currency.RHO)
    flip = own_cost(
        SelfComposedEvent(ExponentialEvent(Decimal(4), ONE, SelectionForm.PERMUTE_AND_FLIP, monotonic=False), 3),
        Currency.RHO,
    )
    assert rho is not None
    assert flip is not None
    assert flip.amount == 4 * rho.amount == Decimal("0.375")


SCORES = (0.0, 1.0, 2.5, 3.0)


def test_a_candidate_is_chosen_with_probability_proportional_to_the_exponential_of_its_score() -> None:
    """exp(score / scale) over the sum: chi-square on 8,000 choices; a right sampler fails once in 1e9 runs."""
    selector, scores = chosen_with("1.5"), Scores(SCORES)
    seen = Counter(tuple(selector.select(scores)) for _ in range(DRAWS))
    assert improbability(seen, peeling(SCORES, 1.5, 1)) > FALSE_ALARM


def test_the_best_two_are_chosen_one_after_the_other_by_the_same_rule() -> None:
    """Each of the twelve ordered pairs as often as two exponential mechanisms in a row choose it; the rate as above."""
    selector, scores = chosen_with("1.5", 2), Scores(SCORES)
    seen = Counter(tuple(selector.select(scores)) for _ in range(DRAWS))
    assert improbability(seen, peeling(SCORES, 1.5, 2)) > FALSE_ALARM


def test_the_test_of_probabilities_tells_another_mechanism_apart() -> None:
    """Permute-and-flip with the same scale and price is not taken for the exponential mechanism."""
    domain = dp.vector_domain(dp.atom_domain(T="f64", nan=False))
    other = dp.m.make_noisy_top_k(domain, dp.linf_distance(T="f64"), dp.max_divergence(), 1, 1.5)
    seen = Counter(tuple(other(list(SCORES))) for _ in range(DRAWS))
    assert improbability(seen, peeling(SCORES, 1.5, 1)) < FALSE_ALARM


def test_no_candidate_is_chosen_twice() -> None:
    """As many different places as were asked for; all of them where all were."""
    selector = chosen_with("100", 7)
    assert sorted(selector.select(Scores((0.0,) * 7))) == list(range(7))
    assert len(set(selector.select(Scores((0.0,) * 20)))) == 7


def test_a_candidate_far_above_all_others_comes_first() -> None:
    """By 1,000 scales, at either end of what a score may be: it fails with a probability of exp(-1000)."""
    for low, high in ((0.0, 1000.0), (-LARGEST_VALUE, LARGEST_VALUE)):
        assert chosen_with("1").select(Scores((low, low, high, low))) == [2]


def test_a_chosen_score_is_within_the_gap_as_often_as_stated() -> None:
    """Of 5,000 choices at least 80 % but for six standard errors: once in 5e8 runs."""
    scores, draws, confidence = tuple(float(place) for place in range(50)), 5_000, Decimal("0.8")
    selector = chosen_with("3")
    gap = selector.score_gap(confidence, len(scores))
    assert gap == pytest.approx(3 * math.log(50 / 0.2))
    inside = sum(scores[selector.select(Scores(scores))[0]] >= max(scores) - gap for _ in range(draws)) / draws
    assert inside > 0.8 - 6 * math.sqrt(0.8 * 0.2 / draws)


def test_equal_wishes_share_a_selector() -> None:
    """Calibration and constructors run once for all choices of one price."""
    assert selector_for(Choice(ONE, ONE, 2)) is selector_for(Choice(Decimal("1.0"), ONE, 2))


@pytest.mark.parametrize("excess", [(1 + 1e-6, 1.0), (1.0, 1 + 1e-6), (math.nan, 1.0), (1.0, math.inf)])
def test_nothing_is_chosen_when_the_second_accountant_disagrees(
    monkeypatch: pytest.MonkeyPatch, excess: tuple[float, float]
) -> None:
    """In either currency: an error, before any score is looked at."""
    monkeypatch.setattr(room, "opendp_losses", lambda *_: (0.5 * excess[0], 0.03125 * excess[1]))
    with pytest.raises(PricingDisagreementError):
        Selector(ExponentialEvent(Decimal(4), ONE, SelectionForm.GUMBEL, monotonic=False))


@pytest.mark.parametrize(
    ("event", "field"),
    [
        (ExponentialEvent(Decimal(4), ONE, SelectionForm.PERMUTE_AND_FLIP, monotonic=False), "form"),
        (SelfComposedEvent(LaplaceEvent(Decimal(4), ONE), 2), "event"),
    ],
)
def test_an_event_that_is_not_what_is_drawn_is_refused(event: room.SelectionEvent, field: str) -> None:
    """What is charged and what is done cannot drift apart."""
    with pytest.raises(InvalidValueError) as caught:
        Selector(event)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"epsilon": None}, "epsilon"),
        ({"scale": ONE}, "scale"),
        ({"epsilon": ZERO}, "epsilon"),
        ({"epsilon": Decimal("NaN")}, "epsilon"),
        ({"epsilon": Decimal("1e-11"), "count": 11}, "epsilon"),
        ({"epsilon": Decimal("1e-9"), "sensitivity": Decimal(10) ** 18}, "epsilon"),
        ({"epsilon": None, "scale": ZERO}, "scale"),
        ({"epsilon": None, "scale": Decimal("-Infinity")}, "scale"),
        ({"epsilon": None, "scale": Decimal("1e-7")}, "scale"),
        ({"epsilon": None, "scale": Decimal("4e-6"), "count": 3}, "scale"),
        ({"sensitivity": ZERO}, "sensitivity"),
        ({"sensitivity": Decimal(-1)}, "sensitivity"),
        ({"sensitivity": Decimal("Infinity")}, "sensitivity"),
        ({"count": 0}, "k"),
        ({"count": -1}, "k"),
        ({"count": MAX_CANDIDATES + 1}, "k"),
    ],
)
def test_a_choice_that_cannot_be_made_is_refused_by_name(changes: dict[str, Any], field: str) -> None:
    """With the field at fault, as the caller knows it."""
    arguments: dict[str, Any] = {"epsilon": ONE, "sensitivity": ONE}
    with pytest.raises(InvalidValueError) as caught:
        selector_for(Choice(**(arguments | changes)))
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ((), "scores"),
        ((1.0, math.nan), "scores[1]"),
        ((math.inf,), "scores[0]"),
        ((0.0, -math.inf), "scores[1]"),
        ((LARGEST_VALUE + 1,), "scores[0]"),
        ((10**400,), "scores[0]"),
        ((True,), "scores[0]"),
        (("1",), "scores[0]"),
        ((0.0,) * (MAX_CANDIDATES + 1), "scores"),
    ],
    ids=["none", "NaN", "infinite", "minus infinite", "too large", "beyond doubles", "bool", "text", "too many"],
)
def test_scores_that_are_no_finite_numbers_are_refused(values: Any, field: str) -> None:  # noqa: ANN401
    """OpenDP itself would take infinities and clamp them."""
    with pytest.raises(InvalidValueError) as caught:
        Scores(values)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("count", "candidates", "field"),
    [(1, 0, "scores"), (1, MAX_CANDIDATES + 1, "scores"), (4, 3, "k"), (MAX_WORK // 1000 + 1, 1000, "k")],
)
def test_more_choices_than_candidates_or_time_allow_are_refused(count: int, candidates: int, field: str) -> None:
    """OpenDP itself would choose fewer, and say nothing."""
    with pytest.raises(InvalidValueError) as caught:
        Choice(ONE, ONE, count).check_candidates(candidates, "scores")
    assert caught.value.field == field


def test_as_many_choices_as_candidates_are_accepted() -> None:
    """The limits are inclusive."""
    Choice(ONE, ONE, 3).check_candidates(3, "scores")
    Choice(ONE, ONE, MAX_WORK // 1000).check_candidates(1000, "scores")


def test_no_score_is_ever_written_out() -> None:
    """Neither a repr nor a refusal, both of which end up in logs, repeats one."""
    assert "31337" not in repr(Scores((31337.0,)))
    with pytest.raises(InvalidValueError) as caught:
        Scores((31337 * 10**15,))
    assert "31337" not in str(caught.value)
