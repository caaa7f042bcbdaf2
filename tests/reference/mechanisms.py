"""What was done in a published case, as our events: the same mechanism under each of the names that others give it."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import TypeVar

from accounting.events import (
    ClaimEvent,
    ComposedEvent,
    DiscreteGaussianEvent,
    DiscreteLaplaceEvent,
    Event,
    ExponentialEvent,
    GaussianEvent,
    LaplaceEvent,
    PoissonGaussianEvent,
    PoissonLaplaceEvent,
    RandomizedResponseEvent,
    SelectionForm,
    SelfComposedEvent,
    ZCdpEvent,
)
from tests.reference.cases import Parameters, UnknownCaseError

ONE, ZERO = Decimal(1), Decimal(0)
_RATIO = Context(prec=20)
"""For rates such as batch / n, which have no decimal."""
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Plan:
    """Operations, each with how often it is done."""

    parts: tuple[tuple[Event, int], ...]

    @property
    def event(self) -> Event:
        """The whole plan as one event."""
        events = [event if count == 1 else SelfComposedEvent(event, count) for event, count in self.parts]
        return events[0] if len(events) == 1 else ComposedEvent(tuple(events))


def plan_of(mechanism: str, params: Parameters) -> Plan:
    """The operations that a case's mechanism and parameters describe.

    Raises:
        UnknownCaseError: If it describes none that is known here.
    """
    return known(_MECHANISMS, mechanism, "mechanism")(params)


def known(table: Mapping[str, _Value], name: str, what: str) -> _Value:
    """What the table holds under that name.

    Raises:
        UnknownCaseError: If it holds nothing.
    """
    if name not in table:
        raise UnknownCaseError(f"the {what} {name!r} is unknown; known are {', '.join(table)}")
    return table[name]


def _gaussian(params: Parameters) -> Plan:
    """Gaussian noise once or often, of one or of several multipliers, on a sample where a rate is given."""
    rate_name = params.first_of("sampling_probability", "sampling_prob", "sampling", "batch")
    rate = None if rate_name is None else _rate(params, rate_name)
    noises = params.numbers("noise_multipliers") if params.has("noise_multipliers") else [_noise(params)]
    count, sensitivity = count_of(params, rate), _sensitivity(params, sampled=rate is not None)
    if rate is None:
        return _grouped([GaussianEvent(sigma, sensitivity) for sigma in noises], count)
    return _grouped([PoissonGaussianEvent(sigma, sensitivity, rate) for sigma in noises], count)


def _dp_sgd_statement(params: Parameters) -> Plan:
    """TensorFlow Privacy's statement: with a rate, steps on Poisson samples; else each record is in one step a pass."""
    fraction = _RATIO.divide(params.number("batch"), params.number("n"))
    rate = params.number("sampling") if params.has("sampling") else None
    if rate is not None and rate != fraction:
        raise UnknownCaseError(f"sampling is {rate}, and batch / n is {fraction}")
    count, noise = count_of(params, rate), _noise(params)
    if rate is None:
        return Plan(((GaussianEvent(noise, ONE), count),))
    return Plan(((PoissonGaussianEvent(noise, ONE, rate), count),))


def _laplace(params: Parameters) -> Plan:
    sensitivity = params.number_or("sensitivity", ONE)
    return _grouped([LaplaceEvent(scale, sensitivity) for scale in _scales(params)], count_of(params))


def _discrete_laplace(params: Parameters) -> Plan:
    sensitivity = params.number_or("sensitivity", ONE)
    return _grouped([DiscreteLaplaceEvent(scale, sensitivity) for scale in _scales(params)], count_of(params))


def _sampled_laplace(params: Parameters) -> Plan:
    name = params.first_of("sampling_probability", "sampling_prob")
    rate, sensitivity = params.number(name or "sampling_probability"), params.number_or("sensitivity", ONE)
    _sensitivity(params, sampled=True)
    return _grouped([PoissonLaplaceEvent(scale, sensitivity, rate) for scale in _scales(params)], count_of(params))


def _discrete_gaussian(params: Parameters) -> Plan:
    """What OpenDP proves of its Gaussian: rho, and nothing more."""
    sensitivity = params.number_or("sensitivity", ONE)
    return _grouped([DiscreteGaussianEvent(scale, sensitivity) for scale in _scales(params)], count_of(params))


def _zcdp(params: Parameters) -> Plan:
    return Plan(((ZCdpEvent(params.number("rho")), count_of(params)),))


def _exponential(form: SelectionForm) -> Callable[[Parameters], Plan]:
    def describe(params: Parameters) -> Plan:
        name = params.first_of("linf_sensitivity", "sensitivity")
        sensitivity = params.number(name) if name else ONE
        event = ExponentialEvent(params.number("scale"), sensitivity, form, params.flag("monotonic"))
        return Plan(((event, count_of(params)),))

    return describe


def _randomized_response(params: Parameters) -> Plan:
    probability = params.number(params.first_of("probability", "prob") or "probability")
    categories = params.whole("categories") if params.has("categories") else 2
    return Plan(((RandomizedResponseEvent(probability, categories), count_of(params)),))


def _claims(params: Parameters) -> Plan:
    return Plan(((ClaimEvent(params.number("epsilon"), params.number_or("delta", ZERO)), count_of(params)),))


def _tree(params: Parameters) -> Plan:
    """A binary tree of noisy partial sums: a record is in one node of each level (Kairouz et al. 2021, Theorem 2.1)."""
    event = GaussianEvent(params.number("noise_multiplier"), _sensitivity(params))
    return Plan(((event, params.whole("steps").bit_length()),))


def _sample_amplified(params: Parameters) -> Plan:
    """A pure mechanism on a simple random sample: ln(1 + q (e^epsilon - 1)), the same as on a Poisson sample.

    Adjacency in the source is the size of the symmetric difference: 2 is one record replaced.
    """
    rate = _RATIO.divide(params.number("sample"), params.number("population"))
    if params.has("d_in") and params.whole("d_in") != 2:
        raise UnknownCaseError("only a d_in of 2, one record replaced, is known")
    return Plan(((PoissonLaplaceEvent(ONE, params.number("base_epsilon"), rate), 1),))


def _heterogeneous(params: Parameters) -> Plan:
    made: dict[str, tuple[int, Callable[..., Event]]] = {
        "psg": (2, lambda sigma, rate: PoissonGaussianEvent(sigma, ONE, rate)),
        "gaussian": (1, lambda sigma: GaussianEvent(sigma, ONE)),
        "laplace": (1, lambda scale: LaplaceEvent(scale, ONE)),
    }
    parts = []
    for component in params.items("components"):
        if not isinstance(component, list) or not component:
            raise UnknownCaseError(f"a component must be a list, not {component!r}")
        named, *numbers = component
        size, make = known(made, str(named), "component")
        values = Parameters({"numbers": numbers}).numbers("numbers")
        if len(values) != size + 1:
            raise UnknownCaseError(f"a component {named} has {size} parameters and a count, not {numbers}")
        parts.append((make(*values[:-1]), int(values[-1])))
    return Plan(tuple(parts))


_MECHANISMS: dict[str, Callable[[Parameters], Plan]] = {
    "gaussian": _gaussian,
    "poisson_subsampled_gaussian": _gaussian,
    "dp_sgd_poisson": _gaussian,
    "dp_sgd_statement": _dp_sgd_statement,
    "laplace": _laplace,
    "poisson_subsampled_laplace": _sampled_laplace,
    "discrete_laplace": _discrete_laplace,
    "gaussian_zcdp": _discrete_gaussian,
    "discrete_gaussian": _discrete_gaussian,
    "zcdp": _zcdp,
    "exponential_gumbel": _exponential(SelectionForm.GUMBEL),
    "exponential_permute_and_flip": _exponential(SelectionForm.PERMUTE_AND_FLIP),
    "randomized_response": _randomized_response,
    "approx_dp_optimal_composition": _claims,
    "approx_dp_advanced_composition": _claims,
    "tree_aggregation": _tree,
    "simple_random_sample_amplification": _sample_amplified,
    "heterogeneous_pld": _heterogeneous,
}


def _grouped(events: Sequence[Event], count: int) -> Plan:
    """Equal events counted together, in the order in which they first come."""
    return Plan(tuple((event, count * events.count(event)) for event in dict.fromkeys(events)))


def _rate(params: Parameters, name: str) -> Decimal:
    return _RATIO.divide(params.number("batch"), params.number("n")) if name == "batch" else params.number(name)


def _noise(params: Parameters) -> Decimal:
    """The noise multiplier; under microbatching a record moves the sum of clipped means twice as far."""
    stated = params.number("noise_multiplier")
    counted = stated / 2 if params.flag("microbatching") else stated
    if params.number_or("effective_noise_multiplier", counted) != counted:
        raise UnknownCaseError(f"the effective noise multiplier should be {counted}")
    return counted


def _scales(params: Parameters) -> list[Decimal]:
    """Scales of Laplace noise or standard deviations, by any of their names; a noise parameter is 1 / scale."""
    name = params.first_of(
        "scale", "scales", "noise_multiplier", "noise_multipliers", "noise_parameter", "noise_parameters"
    )
    if name is None:
        raise UnknownCaseError("no scale is stated")
    numbers = params.numbers(name) if name.endswith("s") else [params.number(name)]
    return [_RATIO.divide(ONE, number) for number in numbers] if "parameter" in name else numbers


def _sensitivity(params: Parameters, sampled: bool = False) -> Decimal:
    """1 where neighbours differ by one record's presence; 2 where one clipped record is replaced by another."""
    adjacency = params.text_or("adjacency", "add_remove")
    factors = {"add_remove": ONE, "replace_special": ONE} | ({} if sampled else {"replace_one": Decimal(2)})
    return params.number_or("sensitivity", ONE) * known(factors, adjacency, "adjacency of this mechanism")


def count_of(params: Parameters, rate: Decimal | None = None, floored: bool = False) -> int:
    """How often an operation is done: counted, or from passes over the data, which need 1 / rate steps each."""
    counted = params.first_of("steps", "compositions", "num_queries", "count", "k")
    passes = params.first_of("epochs", "num_epochs")
    if passes is None:
        return params.whole(counted) if counted else 1
    steps = _RATIO.divide(params.number(passes), rate or ONE)
    by_passes = math.floor(steps) if floored else math.ceil(steps)
    if counted and params.whole(counted) != by_passes:
        raise UnknownCaseError(f"{counted} is {params.whole(counted)}, and {passes} come to {by_passes}")
    return by_passes


def wire_event(said: object) -> dict[str, object]:
    """The event that a case describes in its own short way, as it comes over the wire: unchecked.

    ``Gaussian(1.0)x10``, ``ZCDp(nan)``; or a list of noise multiplier, sampling probability and steps.

    Raises:
        UnknownCaseError: If it describes no event.
    """
    if isinstance(said, list) and len(said) == 3:
        sigma, rate, steps = (str(number) for number in said)
        step = {"kind": "poisson_gaussian", "sigma": sigma, "sensitivity": "1", "sampling_probability": rate}
        return {"kind": "self_composed", "event": step, "count": steps}
    parts = re.fullmatch(r"(\w+?)(?:DpEvent)?\(([^()]*)\)(?:x(-?\d+))?", said) if isinstance(said, str) else None
    if parts is None:
        raise UnknownCaseError(f"{said!r} describes no event")
    name, number, count = parts.groups()
    kinds: dict[str, dict[str, object]] = {
        "Gaussian": {"kind": "gaussian", "sigma": number, "sensitivity": "1"},
        "Laplace": {"kind": "laplace", "scale": number, "sensitivity": "1"},
        "ZCDp": {"kind": "zcdp", "rho": number},
    }
    event = known(kinds, name, "event")
    return event if count is None else {"kind": "self_composed", "event": event, "count": count}
