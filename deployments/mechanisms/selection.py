"""The best of several candidates by a private score, or the best few: the exponential mechanism and noisy top-k.

A candidate is chosen with probability proportional to exp(score / scale), scale = 2 sensitivity / epsilon (McSherry and
Talwar 2007); its place is answered, its score never. The best k are k such choices, each among the candidates that are
left (peeling), and are charged as that: the same event k times. OpenDP draws them exactly, by rejection in exact
rationals, and its own map proves the same sum.

Two accountants must agree as in `mechanism`. Of the measurement that runs OpenDP proves rho. The epsilon is compared
with what it proves of the same choice by permute-and-flip, whose epsilon is that of the exponential mechanism (McKenna
and Sheldon 2020).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

from opendp import domains, measurements, measures, metrics
from opendp.mod import Measurement, enable_features

from accounting.calibration import exponential_for
from accounting.charges import Currency, own_cost
from accounting.events import LARGEST_PARAMETER, ExponentialEvent, SelectionForm, SelfComposedEvent
from accounting.plans import price
from accounting.pure import pure_epsilon
from accounting.values import (
    EXACT,
    MAX_EPSILON,
    PRICE_PLACES,
    InvalidValueError,
    PrivacyLoss,
    checked_positive,
    decimal_text,
    round_down,
)
from deployments.mechanisms.agreement import agreed, not_below
from deployments.mechanisms.query import check_privacy_or_noise, checked_numbers, tail_of

enable_features("contrib")

SelectionEvent = ExponentialEvent | SelfComposedEvent

MAX_CANDIDATES = 100_000
MAX_WORK = 1_000_000
"""Candidates times choices. In the worst case, one candidate far above all others, each choice tries every candidate
about once, at 10 us."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A choice that a caller wants, by what is public of it.

    Attributes:
        epsilon: What all choices together may cost, greater than 0; None where the scale is given.
        sensitivity: The most that one privacy unit can change any score. In (0, 1e18].
        count: How many candidates to choose, from 1.
        monotonic: Whether a privacy unit moves all scores in the same direction, as counts of records under
            add/remove; that halves the cost.
        scale: Of the Gumbel noise that each choice amounts to, in the scores' unit; None where epsilon is given.

    Raises:
        InvalidValueError: If anything is out of range; `field` names what.
    """

    epsilon: Decimal | None
    sensitivity: Decimal
    count: int = 1
    monotonic: bool = False
    scale: Decimal | None = None

    def __post_init__(self) -> None:
        check_privacy_or_noise(self.epsilon, self.scale)
        checked_positive(self.sensitivity, "sensitivity", LARGEST_PARAMETER)
        if not 1 <= self.count <= MAX_CANDIDATES:
            raise InvalidValueError("k", f"must be from 1 to {MAX_CANDIDATES}")

    def check_candidates(self, number: int, name: str) -> None:
        """Refuses to choose among so many candidates, where they are fewer than wanted or too many.

        Args:
            number: Of candidates.
            name: The field that says so, for messages.

        Raises:
            InvalidValueError: If this is so.
        """
        if not 1 <= number <= MAX_CANDIDATES:
            raise InvalidValueError(name, f"must be from 1 to {MAX_CANDIDATES} candidates")
        if self.count > number:
            raise InvalidValueError("k", f"must be at most the number of candidates, {number}")
        if self.count * number > MAX_WORK:
            reason = f"times the number of candidates must be at most {MAX_WORK}: choose fewer, or among fewer"
            raise InvalidValueError("k", reason)


@dataclass(frozen=True, slots=True)
class Scores:
    """The private scores of a choice.

    Attributes:
        values: One for each candidate, from 1 to `MAX_CANDIDATES`, finite and within `query.LARGEST_VALUE`. Their
            number is public.

    Raises:
        InvalidValueError: If one is out of range; no message repeats it.
    """

    values: tuple[float, ...] = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", checked_numbers(self.values, "scores", MAX_CANDIDATES))


@dataclass(frozen=True, slots=True)
class Selector:
    """A choice that can be made, and its price. Everything follows from the event, so nothing can drift apart.

    Attributes:
        event: An exponential event by Gumbel noise, or such an event composed with itself.
        charge: The event's price, purely an epsilon.
        scale: Of the Gumbel noise in effect. The event's own or, by less than 4e-9 of it, more.
        measurement: The OpenDP measurement, from scores to places. It cannot be pickled.

    Raises:
        InvalidValueError: If the event has no price, or is another one.
        PricingDisagreementError: If OpenDP's maps stay above the charge.
    """

    event: SelectionEvent
    charge: PrivacyLoss = field(init=False)
    scale: float = field(init=False)
    measurement: Measurement = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        charge = price(self.event)
        rho = own_cost(self.event, Currency.RHO)
        assert rho is not None
        once, _ = _once(self.event)
        if once.form is not SelectionForm.GUMBEL:
            raise InvalidValueError("form", f"must be {SelectionForm.GUMBEL}: no other is drawn here")

        def losses(made: tuple[Measurement, Measurement]) -> list[tuple[float, Decimal]]:
            epsilon, theirs = opendp_losses(*made, once)
            return [(epsilon, charge.epsilon), (theirs, rho.amount)]

        scale, (_, measurement) = agreed(self.event, once.scale, self._measurements, losses)
        object.__setattr__(self, "charge", charge)
        object.__setattr__(self, "scale", scale)
        object.__setattr__(self, "measurement", measurement)

    def select(self, scores: Scores) -> list[int]:
        """Chooses. Every call is one release: charge each of them.

        Returns:
            The places of the chosen candidates, from 0, in the order in which they were chosen; each at most once.
        """
        places: list[int] = self.measurement(list(scores.values))
        return places

    def score_gap(self, confidence: Decimal, candidates: int) -> float:
        """How far a chosen score is at most, with that confidence, below the best that was left to choose from.

        The candidates whose scores are further below than a gap g have less than candidates * exp(-g / scale) of the
        probability together (McSherry and Talwar 2007); by the union bound over all choices.

        Args:
            confidence: For all choices at once, in (0, 1).
            candidates: How many there are.

        Returns:
            The gap, in the scores' unit.

        Raises:
            InvalidValueError: If the confidence is out of range.
        """
        _, count = _once(self.event)
        return self.scale * (math.log(candidates * count) - math.log(tail_of(confidence)))

    def _measurements(self, scale: float) -> tuple[Measurement, Measurement]:
        """The same choices by permute-and-flip, proven in epsilon, and by Gumbel noise, proven in rho."""
        once, count = _once(self.event)
        domain = domains.vector_domain(domains.atom_domain(T="f64", nan=False))
        metric = metrics.linf_distance(T="f64", monotonic=once.monotonic)
        pure, concentrated = (
            measurements.make_noisy_top_k(domain, metric, measure, count, scale)
            for measure in (measures.max_divergence(), measures.zero_concentrated_divergence())
        )
        return pure, concentrated


@lru_cache(maxsize=1024)
def selector_for(choice: Choice) -> Selector:
    """The choice with the least noise whose price is at most epsilon, or with that very scale.

    Raises:
        InvalidValueError: If no noise in range has that price, or that noise has no price.
        PricingDisagreementError: If OpenDP's maps stay above the charge.
    """
    try:
        once = _event_for(choice)
        return Selector(once if choice.count == 1 else SelfComposedEvent(once, choice.count))
    except InvalidValueError as error:
        if error.field == "epsilon":
            raise
        if choice.scale is not None:
            raise InvalidValueError("scale", f"gives no price at this sensitivity: it {error.reason}") from None
        # The caller knows no scale, only the numbers that it comes from.
        reason = f"is out of range for this sensitivity: the noise would have a {error.field} that {error.reason}"
        raise InvalidValueError("epsilon", reason) from None


def opendp_losses(pure: Measurement, concentrated: Measurement, once: ExponentialEvent) -> tuple[float, float]:
    """What OpenDP proves of two measurements: the epsilon of one, the rho of the other, at the event's sensitivity."""
    losses: list[Callable[[float], float]] = [pure.map, concentrated.map]
    reach = not_below(once.sensitivity)
    epsilon, rho = (loss(reach) for loss in losses)
    return epsilon, rho


def _once(event: SelectionEvent) -> tuple[ExponentialEvent, int]:
    """One choice, and how many of it there are."""
    once, count = (event.event, event.count) if isinstance(event, SelfComposedEvent) else (event, 1)
    if not isinstance(once, ExponentialEvent):
        raise InvalidValueError("event", "must be a choice, or the same choice several times")
    return once, count


def _event_for(choice: Choice) -> ExponentialEvent:
    if choice.scale is not None:
        once = ExponentialEvent(choice.scale, choice.sensitivity, SelectionForm.GUMBEL, choice.monotonic)
        total = EXACT.multiply(pure_epsilon(once), choice.count)
        if total > MAX_EPSILON:
            raise InvalidValueError("event", f"costs an epsilon of {decimal_text(total)}, more than {MAX_EPSILON}")
        return once
    assert choice.epsilon is not None
    share = round_down(Fraction(choice.epsilon) / choice.count)
    if share == 0:
        raise InvalidValueError("epsilon", f"must be at least 1e-{PRICE_PLACES} for each choice")
    return exponential_for(share, choice.sensitivity, SelectionForm.GUMBEL, choice.monotonic)
