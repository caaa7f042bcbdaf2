"""The noise costs what is charged for it, by two accountants, and it is the noise that was promised."""

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from accounting.charges import Currency, PricingDisagreementError, own_cost, price
from accounting.events import DiscreteGaussianEvent, DiscreteLaplaceEvent, LaplaceEvent
from accounting.values import ZERO, InvalidValueError
from deployments.mechanisms import mechanism as room
from deployments.mechanisms.mechanism import (
    FINE_VALUES,
    Mechanism,
    mechanism_for,
    opendp_epsilon,
    opendp_rho,
    stated_noise,
)
from deployments.mechanisms.query import LARGEST_VALUE, MAX_VALUES, DataType, MechanismName, Noise, Query
from deployments.mechanisms.release import prepare

ONE = Decimal(1)
TENTH = Decimal("0.1")
SMALL_DELTA = Decimal("0.00001")

epsilons = st.decimals("0.0001", 50, places=6)
deltas = st.decimals("0.000000000001", "0.4", places=12)
sensitivities = st.decimals("0.001", 10_000, places=5)
data_types: st.SearchStrategy[DataType] = st.sampled_from(("float", "integer"))
lengths = st.sampled_from((1, FINE_VALUES, FINE_VALUES + 1, MAX_VALUES))


def laplace(**changes: object) -> Query:
    """A Laplace query that is in order but for the changes."""
    arguments: dict[str, Any] = {
        "mechanism": "laplace", "epsilon": TENTH, "delta": ZERO, "sensitivity": ONE, "data": (10.0, 20.0),
    }  # fmt: skip
    return Query(**(arguments | changes))


def gaussian(**changes: object) -> Query:
    """A Gaussian query that is in order but for the changes."""
    return laplace(**({"mechanism": "gaussian", "delta": SMALL_DELTA} | changes))


def assert_covered(noise: Noise, length: int = 1) -> None:
    """The laws that hold for whatever noise `mechanism_for` gives."""
    mechanism = mechanism_for(noise, length)
    event, charge = mechanism.event, mechanism.charge
    assert charge == price(event, mechanism.delta)
    assert charge.epsilon <= (noise.epsilon or charge.epsilon)
    assert stated_noise(event) == (noise.scale or stated_noise(event))
    assert charge.delta == noise.delta
    theirs = opendp_epsilon(mechanism.measurement, event, mechanism.delta, noise.data_type)
    assert Fraction(theirs) <= Fraction(charge.epsilon)
    if isinstance(event, DiscreteGaussianEvent):
        rho = own_cost(event, Currency.RHO)
        assert rho is not None
        assert Fraction(opendp_rho(mechanism.measurement, event)) <= Fraction(rho.amount)
    stated = Fraction(stated_noise(event))
    assert stated <= Fraction(mechanism.scale) <= stated * (1 + Fraction(4, 10**9))
    assert event.sensitivity >= noise.sensitivity


@given(epsilons, sensitivities, data_types, lengths)
def test_laplace_never_costs_more_than_granted_by_either_accountant(
    epsilon: Decimal, sensitivity: Decimal, data_type: DataType, length: int
) -> None:
    """Our price and OpenDP's map both stay within the request, and the noise drawn is not below the event's."""
    assert_covered(Noise("laplace", epsilon, ZERO, sensitivity, data_type), length)


@settings(max_examples=50, deadline=None)
@given(epsilons, deltas, sensitivities, data_types, lengths)
def test_gaussian_never_costs_more_than_granted_by_either_accountant(
    epsilon: Decimal, delta: Decimal, sensitivity: Decimal, data_type: DataType, length: int
) -> None:
    """Our price at delta and OpenDP's conversion both stay within the request; so does its rho."""
    assert_covered(Noise("gaussian", epsilon, delta, sensitivity, data_type), length)


@given(st.decimals("0.1", 1000, places=4), st.decimals("0.01", 10, places=5), data_types, lengths, st.booleans())
def test_noise_of_a_given_scale_is_charged_what_it_costs_by_either_accountant(
    scale: Decimal, sensitivity: Decimal, data_type: DataType, length: int, gauss: bool
) -> None:
    """The event has that very scale, the price is computed from it, and OpenDP proves no more."""
    name: MechanismName = "gaussian" if gauss else "laplace"
    assert_covered(Noise(name, None, SMALL_DELTA if gauss else ZERO, sensitivity, data_type, scale), length)


@pytest.mark.parametrize("name", ["laplace", "gaussian"])
def test_the_noise_is_no_more_than_a_hair_above_the_least(name: MechanismName) -> None:
    """A part in a million less noise would cost more than was granted."""
    query = laplace() if name == "laplace" else gaussian()
    prepared = prepare(query)
    less = (stated_noise(prepared.event) * Decimal("0.999999")).normalize()
    make = LaplaceEvent if name == "laplace" else DiscreteGaussianEvent
    assert price(make(less, ONE), query.delta).epsilon > TENTH


def test_a_tenth_is_charged_as_a_tenth_though_no_double_is() -> None:
    """OpenDP's map of scale 10 is the double above one tenth, so the noise grows by a unit in the last place."""
    prepared = prepare(laplace())
    assert prepared.charge.epsilon == TENTH
    assert stated_noise(prepared.event) == 10
    assert prepared.noise_scale == math.nextafter(10, 11)


def test_whole_numbers_take_a_fractional_l1_sensitivity_up() -> None:
    """No smaller change than 1 exists among whole numbers; the event says what was done."""
    assert prepare(laplace(sensitivity=Decimal("1.5"), data=(1, 2), data_type="integer")).event.sensitivity == 2
    assert prepare(laplace(sensitivity=Decimal("1.5"), data=(1, 2))).event.sensitivity == Decimal("1.5")


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        (laplace(), LaplaceEvent),
        (laplace(data=(1,), data_type="integer"), DiscreteLaplaceEvent),
        (gaussian(), DiscreteGaussianEvent),
        (gaussian(data=(1,), data_type="integer"), DiscreteGaussianEvent),
    ],
    ids=["floats by Laplace", "whole numbers by Laplace", "floats by Gauss", "whole numbers by Gauss"],
)
def test_what_is_charged_is_what_the_sampler_is_proven_to_do(query: Query, kind: type) -> None:
    """OpenDP's Gaussians lie on a grid and are proven in rho alone, so none is charged as an exact Gaussian."""
    assert type(prepare(query).event) is kind


def test_equal_parameters_share_one_mechanism() -> None:
    """Calibration and constructors run once for all statistics of one price; long ones have one for each length."""
    assert prepare(laplace(data=(1.0,))).mechanism is prepare(laplace(data=(5.0, 6.0))).mechanism
    short, long = (mechanism_for(laplace().noise, length) for length in (FINE_VALUES, FINE_VALUES + 1))
    assert short is prepare(laplace()).mechanism
    assert long is not short
    assert long.event == short.event
    assert long.scale == short.scale


def test_nothing_is_released_when_the_second_accountant_disagrees(monkeypatch: pytest.MonkeyPatch) -> None:
    """A map that stays above the charge, or is not a number, ends in an error before any noise is drawn."""
    for answer in (0.1 + 1e-6, math.nan, math.inf):
        monkeypatch.setattr(room, "opendp_epsilon", lambda *_, answer=answer: answer)
        with pytest.raises(PricingDisagreementError):
            Mechanism(LaplaceEvent(Decimal(10), ONE), ZERO, "float")


def test_nothing_is_released_when_the_second_accountant_proves_a_larger_rho(monkeypatch: pytest.MonkeyPatch) -> None:
    """A budget may count rho, so that has to agree as well, not the epsilon alone."""
    for answer in (0.005 + 1e-9, math.nan, math.inf):
        monkeypatch.setattr(room, "opendp_rho", lambda *_, answer=answer: answer)
        with pytest.raises(PricingDisagreementError):
            Mechanism(DiscreteGaussianEvent(Decimal(10), ONE), SMALL_DELTA, "float")


@pytest.mark.parametrize("query", [laplace(), gaussian()], ids=["laplace", "gaussian"])
def test_floats_are_answered_with_floats(query: Query) -> None:
    """One for each coordinate, none left as it was."""
    answer = prepare(query).release()
    assert [type(value) for value in answer] == [float, float]
    assert not set(answer) & set(query.data)


@pytest.mark.parametrize("make", [laplace, gaussian])
def test_whole_numbers_are_answered_with_whole_numbers(make: Callable[..., Query]) -> None:
    """Up to 2^53 and below 0, which 32 bits would not hold."""
    answer = prepare(make(data=(LARGEST_VALUE, -LARGEST_VALUE, 0), data_type="integer")).release()
    assert [type(value) for value in answer] == [int, int, int]
    assert abs(answer[0] - LARGEST_VALUE) < 10_000


def test_the_kind_of_answer_does_not_follow_the_data() -> None:
    """A mean that happens to be whole is answered like any other: the kind of the answer is public."""
    assert laplace(data=(3, 4)).data == (3.0, 4.0)
    assert [type(value) for value in laplace(data=(3, 4.5)).data] == [float, float]
    assert all(type(value) is float for value in prepare(laplace(data=(3, 4))).release())


@pytest.mark.parametrize("data_type", ["float", "integer"])
def test_laplace_noise_has_the_promised_spread(data_type: DataType) -> None:
    """The mean absolute deviation of a Laplace is its scale, with standard error scale / sqrt(n); so is its bias 0.

    Six standard errors: a right sampler fails once in 5e8 runs.
    """
    count, scale = 20_000, 1000.0
    prepared = prepare(laplace(epsilon=Decimal("0.001"), data=(7,) * count, data_type=data_type))
    noise = [value - 7 for value in prepared.release()]
    assert abs(fmean(map(abs, noise)) - scale) < 6 * scale / math.sqrt(count)
    assert abs(fmean(noise)) < 6 * math.sqrt(2) * scale / math.sqrt(count)


@pytest.mark.parametrize("data_type", ["float", "integer"])
def test_gaussian_noise_has_the_promised_spread(data_type: DataType) -> None:
    """The mean square is sigma^2, with standard error sigma^2 sqrt(2 / n). Six of them, as above."""
    count = 20_000
    prepared = prepare(gaussian(epsilon=Decimal("0.01"), data=(7,) * count, data_type=data_type))
    variance = prepared.noise_scale**2
    noise = [value - 7 for value in prepared.release()]
    assert abs(fmean(value * value for value in noise) - variance) < 6 * variance * math.sqrt(2 / count)
    assert abs(fmean(noise)) < 6 * prepared.noise_scale / math.sqrt(count)


@pytest.mark.parametrize("make", [laplace, gaussian])
@pytest.mark.parametrize("data_type", ["float", "integer"])
def test_the_stated_share_of_coordinates_lies_within_the_accuracy(
    make: Callable[..., Query], data_type: DataType
) -> None:
    """At least 95 % but for six standard errors; for floats not much more either."""
    count = 10_000
    prepared = prepare(make(data=(0,) * count, data_type=data_type))
    width = prepared.mechanism.accuracy(Decimal("0.95"))
    inside = sum(abs(value) <= width for value in prepared.release()) / count
    error = math.sqrt(0.95 * 0.05 / count)
    assert inside > 0.95 - 6 * error
    if data_type == "float":
        assert inside < 0.95 + 6 * error


def test_accuracy_is_the_textbook_quantile() -> None:
    """scale ln(1 / alpha) for Laplace, 1.96 sigma for Gaussian; the next whole number for whole numbers."""
    assert prepare(laplace()).mechanism.accuracy(Decimal("0.95")) == pytest.approx(10 * math.log(20))
    prepared = prepare(gaussian())
    assert prepared.mechanism.accuracy(Decimal("0.95")) == pytest.approx(1.959963984540054 * prepared.noise_scale)
    assert prepare(laplace(data=(1,), data_type="integer")).mechanism.accuracy(Decimal("0.95")) == 30


def test_accuracy_of_whole_numbers_is_sound_where_the_noise_is_almost_none() -> None:
    """OpenDP's own discrete quantile answers minus infinity here."""
    prepared = prepare(laplace(epsilon=Decimal(1000), data=(1,), data_type="integer"))
    assert prepared.mechanism.accuracy(Decimal("0.95")) == 1


@pytest.mark.parametrize("make", [laplace, gaussian])
@pytest.mark.parametrize("data_type", ["float", "integer"])
def test_all_coordinates_lie_within_the_joint_accuracy(make: Callable[..., Query], data_type: DataType) -> None:
    """At a confidence of 1 - 1e-9 none of 10,000 strays: a right sampler fails once in 1e9 runs."""
    prepared = prepare(make(data=(0,) * 10_000, data_type=data_type))
    width = prepared.mechanism.accuracy(1 - Decimal("1e-9"), 10_000)
    assert all(abs(value) <= width for value in prepared.release())


def test_joint_accuracy_is_the_union_bound() -> None:
    """The half-width of one coordinate at a tail of 0.05 / n, also far beyond where OpenDP's quantile is infinite."""
    mechanism = prepare(laplace()).mechanism
    assert mechanism.accuracy(Decimal("0.95"), MAX_VALUES) == pytest.approx(10 * math.log(MAX_VALUES / 0.05))
    mechanism = prepare(gaussian()).mechanism
    tail = Decimal("1e-18")
    assert mechanism.accuracy(1 - tail, 10) == pytest.approx(norm.isf(5e-20) * mechanism.scale, rel=1e-9)
    assert mechanism.accuracy(Decimal("0.95"), 1) == mechanism.accuracy(Decimal("0.95"))


@pytest.mark.parametrize("confidence", ["0", "1", "-1", "NaN", "Infinity", "0.5000000000000000000000000000001"])
def test_a_confidence_outside_0_to_1_is_refused(confidence: str) -> None:
    """So is one that is not a number, or has more decimal places than are read."""
    with pytest.raises(InvalidValueError) as caught:
        prepare(laplace()).mechanism.accuracy(Decimal(confidence))
    assert caught.value.field == "confidence"


def test_the_longest_statistic_is_accepted() -> None:
    """The limit is inclusive."""
    assert len(laplace(data=(0.0,) * MAX_VALUES).data) == MAX_VALUES


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"mechanism": "exponential"}, "mechanism"),
        ({"mechanism": "subsampled"}, "mechanism"),
        ({"mechanism": ""}, "mechanism"),
        ({"epsilon": None}, "epsilon"),
        ({"scale": ONE}, "scale"),
        ({"epsilon": None, "scale": ZERO}, "scale"),
        ({"epsilon": None, "scale": Decimal("NaN")}, "scale"),
        ({"epsilon": ZERO}, "epsilon"),
        ({"epsilon": Decimal(-1)}, "epsilon"),
        ({"epsilon": Decimal("NaN")}, "epsilon"),
        ({"delta": SMALL_DELTA}, "delta"),
        ({"mechanism": "gaussian", "delta": ZERO}, "delta"),
        ({"mechanism": "gaussian", "delta": ONE}, "delta"),
        ({"sensitivity": ZERO}, "sensitivity"),
        ({"sensitivity": Decimal("Infinity")}, "sensitivity"),
        ({"data_type": "string"}, "data_type"),
        ({"data": ()}, "data"),
        ({"data": (0.0,) * (MAX_VALUES + 1)}, "data"),
        ({"data": (1.0, math.nan)}, "data[1]"),
        ({"data": (math.inf,)}, "data[0]"),
        ({"data": (1.0, 2.0, True)}, "data[2]"),
        ({"data": ("1",)}, "data[0]"),
        ({"data": (LARGEST_VALUE + 1,)}, "data[0]"),
        ({"data": (10**400,)}, "data[0]"),
        ({"data": (-1e16,)}, "data[0]"),
        ({"data": (1, 2.0), "data_type": "integer"}, "data[1]"),
    ],
)
def test_what_cannot_be_released_is_refused_by_name(changes: dict[str, Any], field: str) -> None:
    """Before anything is calibrated, with the field at fault."""
    with pytest.raises(InvalidValueError) as caught:
        laplace(**changes)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "query",
    [
        laplace(epsilon=Decimal("1e-13")),
        laplace(epsilon=Decimal("1e-9"), sensitivity=Decimal(10) ** 18),
        laplace(epsilon=Decimal(1000), sensitivity=Decimal("1e-30")),
        gaussian(epsilon=Decimal("1e-9"), delta=Decimal("1e-25")),
    ],
    ids=["below the grid", "scale too large", "scale too small", "sigma too large"],
)
def test_noise_out_of_range_is_blamed_on_what_the_caller_gave(query: Query) -> None:
    """The caller named no scale and no sigma, so no message is about those fields."""
    with pytest.raises(InvalidValueError) as caught:
        prepare(query)
    assert caught.value.field == "epsilon"


@pytest.mark.parametrize(
    "query",
    [
        laplace(epsilon=None, scale=Decimal("1e-7")),
        gaussian(epsilon=None, scale=Decimal("0.001")),
        gaussian(epsilon=None, scale=Decimal(10) ** 9),
    ],
    ids=["no privacy", "sigma too small", "sigma too large"],
)
def test_a_scale_out_of_range_is_blamed_on_the_scale(query: Query) -> None:
    """The caller named no epsilon and no sigma."""
    with pytest.raises(InvalidValueError) as caught:
        prepare(query)
    assert caught.value.field == "scale"
    assert "sigma" not in caught.value.reason or "sigma / sensitivity" in caught.value.reason


def test_no_value_of_the_statistic_is_ever_written_out() -> None:
    """Neither a repr nor a refusal, both of which end up in logs, repeats the data."""
    assert "31337" not in repr(prepare(laplace(data=(31337.0,))))
    with pytest.raises(InvalidValueError) as caught:
        laplace(data=(31337 * 10**15,))
    assert "31337" not in str(caught.value)
