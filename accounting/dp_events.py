"""Events as those of Google's dp-accounting (0.6), in the members of its own ``DpEvent.to_named_tuple``, as JSON.

| event | dp-accounting | taken by |
|---|---|---|
| gaussian | GaussianDpEvent(sigma / sensitivity) | rdp; pld under add/remove |
| laplace | LaplaceDpEvent(scale / sensitivity) | rdp; pld under add/remove |
| discrete_laplace | DiscreteLaplaceDpEvent(1 / scale, sensitivity) under add/remove | pld |
| poisson_gaussian | PoissonSampledDpEvent(q, GaussianDpEvent) | rdp, pld |
| poisson_laplace | PoissonSampledDpEvent(q, LaplaceDpEvent) | pld |
| fixed_size_gaussian | SampledWithoutReplacementDpEvent(n, m, GaussianDpEvent) | rdp |
| randomized_response | RandomizedResponseDpEvent(k (1 - p) / (k - 1), k) under replace-one | rdp, pld |
| zcdp | ZCDpEvent(rho) | rdp |
| discrete_gaussian | ZCDpEvent: proven to be zero-concentrated like a Gaussian, not to be one | rdp |
| exponential, claim without delta, and whatever is purely private otherwise | ZCDpEvent of the pure epsilon | rdp |
| self_composed, composed | SelfComposedDpEvent, ComposedDpEvent | who takes all parts |
| claim with delta, parallel | none: dp-accounting has no such event | |

A multiplier is noise over sensitivity as the event states it, under its own adjacency. For that reason a Gaussian under
replace-one is not for their PLD accountant, which takes a multiplier to be over half of what it is to RDP.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

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
    SelfComposedEvent,
    ZCdpEvent,
)
from accounting.renyi import rho_of

MODULE = "dp_accounting.dp_event"
RELATIONS = {Adjacency.ADD_REMOVE: "ADD_OR_REMOVE_ONE", Adjacency.REPLACE_ONE: "REPLACE_ONE"}
"""What dp-accounting's ``NeighboringRelation`` calls them."""
RDP, PLD = "rdp", "pld"
_BOTH = frozenset({RDP, PLD})
_LIKE_GAUSSIAN = "as the zero-concentrated loss that it is proven to have: it is not proven to be a Gaussian"
_PURE = "as the zero-concentrated loss that its pure epsilon implies, an upper bound: there is no event for the epsilon"


class NoDpEventError(ValueError):
    """dp-accounting has no event for it. The message says why, as a sentence's end."""


@dataclass(frozen=True, slots=True)
class DpEvent:
    """An event as dp-accounting has it.

    Attributes:
        members: Those of its ``to_named_tuple``: module_name, class_name and its own, events within it likewise.
        accountants: Which of dp-accounting's take it under that adjacency: `RDP`, `PLD`.
        notes: Where it is only the most faithful that there is: how so.
    """

    members: dict[str, Any]
    accountants: frozenset[str]
    notes: tuple[str, ...] = ()


def dp_event(event: Event, adjacency: Adjacency) -> DpEvent:
    """The event as dp-accounting has it, never cheaper.

    Args:
        event: Any event.
        adjacency: Under which it was charged.

    Raises:
        NoDpEventError: If dp-accounting has none.
    """
    alone = adjacency is Adjacency.ADD_REMOVE
    either = _BOTH if alone else frozenset({RDP})
    match event:
        case GaussianEvent():
            return DpEvent(_gaussian(event), either)
        case LaplaceEvent():
            return DpEvent(_laplace(event), either)
        case DiscreteLaplaceEvent() if alone:
            members = _named(
                "DiscreteLaplaceDpEvent",
                noise_parameter=float(1 / Fraction(event.scale)),
                sensitivity=int(event.sensitivity),
            )
            return DpEvent(members, frozenset({PLD}))
        case PoissonGaussianEvent():
            return DpEvent(_sampled(event, _gaussian(event)), _BOTH)
        case PoissonLaplaceEvent():
            return DpEvent(_sampled(event, _laplace(event)), frozenset({PLD}))
        case FixedSizeGaussianEvent():
            members = _named(
                "SampledWithoutReplacementDpEvent",
                source_dataset_size=event.population,
                sample_size=event.sample_size,
                event=_gaussian(event),
            )
            return DpEvent(members, frozenset({RDP}))
        case RandomizedResponseEvent() if not alone:
            # Theirs may draw the truth too when it draws at random, ours not.
            random = (1 - Fraction(event.probability)) * event.categories / (event.categories - 1)
            members = _named("RandomizedResponseDpEvent", noise_parameter=float(random), num_buckets=event.categories)
            return DpEvent(members, _BOTH)
        case ZCdpEvent():
            return _zcdp(event)
        case DiscreteGaussianEvent():
            return _zcdp(event, _LIKE_GAUSSIAN)
        case ClaimEvent() if event.delta:
            raise NoDpEventError("a claim with a delta: dp-accounting has no event for an (epsilon, delta)")
        case ClaimEvent() | ExponentialEvent() | RandomizedResponseEvent() | DiscreteLaplaceEvent():
            return _zcdp(event, _PURE)
        case SelfComposedEvent():
            inner = dp_event(event.event, adjacency)
            members = _named("SelfComposedDpEvent", event=inner.members, count=event.count)
            return DpEvent(members, inner.accountants, inner.notes)
        case ComposedEvent():
            return _composed([dp_event(part, adjacency) for part in event.events])
        case ParallelEvent():
            raise NoDpEventError("a parallel composition: dp-accounting has no event for disjoint partitions")


def _gaussian(event: GaussianEvent | PoissonGaussianEvent | FixedSizeGaussianEvent) -> dict[str, Any]:
    return _named("GaussianDpEvent", noise_multiplier=float(Fraction(event.sigma) / Fraction(event.sensitivity)))


def _laplace(event: LaplaceEvent | PoissonLaplaceEvent) -> dict[str, Any]:
    return _named("LaplaceDpEvent", noise_multiplier=float(Fraction(event.scale) / Fraction(event.sensitivity)))


def _sampled(event: PoissonGaussianEvent | PoissonLaplaceEvent, inner: dict[str, Any]) -> dict[str, Any]:
    return _named("PoissonSampledDpEvent", sampling_probability=float(event.sampling_probability), event=inner)


def _zcdp(event: Event, *notes: str) -> DpEvent:
    rho = rho_of(event)
    assert rho is not None
    return DpEvent(_named("ZCDpEvent", rho=float(rho), xi=0.0), frozenset({RDP}), notes)


def _composed(parts: Sequence[DpEvent]) -> DpEvent:
    notes = tuple(dict.fromkeys(note for part in parts for note in part.notes))
    accountants = frozenset.intersection(*(part.accountants for part in parts))
    return DpEvent(_named("ComposedDpEvent", events=[part.members for part in parts]), accountants, notes)


def _named(name: str, **members: object) -> dict[str, Any]:
    return {"module_name": MODULE, "class_name": name, **members}
