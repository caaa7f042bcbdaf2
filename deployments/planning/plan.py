"""A plan of k operations: what engines describe as steps, as one event that the accountants price.

A plan is fixed before its first step runs: which mechanisms, with which parameters, in what number. The questions may
still depend on earlier answers; the parameters may not. `accounting.plans` prices it whole, under every theorem.
"""

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Literal, get_args

from accounting.calibration import discrete_gaussian_for, exponential_for, laplace_for
from accounting.events import (
    LARGEST_PARAMETER,
    MAX_LEAVES,
    ClaimEvent,
    ComposedEvent,
    Composition,
    Event,
    SelectionForm,
    SelfComposedEvent,
)
from accounting.values import (
    EXACT,
    ZERO,
    InvalidValueError,
    checked_delta,
    checked_epsilon,
    checked_positive,
)

StepMechanism = Literal["laplace", "gaussian", "exponential", "subsampled"]

MAX_STEPS = MAX_LEAVES
MAX_TEXT = 1000
"""Characters that a name or a description may have."""


@dataclass(frozen=True, slots=True)
class Step:
    """One operation of a plan. `Plan` checks it.

    Attributes:
        step_name: For people.
        mechanism: "laplace" and "exponential" are purely epsilon-private, so their delta is 0; "gaussian" and
            "subsampled" need a delta above 0. "gaussian" is the noise that ``mechanism/apply`` would draw for
            (epsilon, delta). "exponential" is the exponential mechanism, as Gumbel noise samples it. "subsampled" is a
            claim of (epsilon, delta), as the caller's own analysis gives it; who knows sigma and the sampling
            probability plans an event instead, and pays less.
        epsilon: Greater than 0.
        delta: In [0, 1).
        sensitivity: In (0, 1e18]. The noise grows with it.
        data_description: For people.
    """

    step_name: str
    mechanism: StepMechanism
    epsilon: Decimal
    delta: Decimal
    sensitivity: Decimal = Decimal(1)
    data_description: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps fixed in advance.

    Attributes:
        name: For people.
        steps: 1 to `MAX_STEPS` of them.

    Raises:
        InvalidValueError: If anything is out of range; `field` names it as in ``steps[3].epsilon``.
    """

    name: str
    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        check_text(self.name, "name")
        if not self.steps:
            raise InvalidValueError("steps", "must hold at least one step")
        if len(self.steps) > MAX_STEPS:
            raise InvalidValueError("steps", f"must hold at most {MAX_STEPS} steps, not {len(self.steps)}")
        for index, step in enumerate(self.steps):
            _check_step(step, f"steps[{index}]")

    def delta(self) -> Decimal:
        """The sum of the steps' deltas, exact. May reach 1 and more, which promises nothing."""
        total = ZERO
        for step in self.steps:
            total = EXACT.add(total, step.delta)
        return total


def plan_event(plan: Plan) -> ComposedEvent:
    """The plan as one event. Steps that are alike stand in it once, with their number.

    Takes about 6 ms for each Gaussian step unlike the others, less for all else.

    Raises:
        InvalidValueError: If no noise in range serves a step; `field` names it as in ``steps[3].epsilon``.
    """
    events = [_event_of(step, f"steps[{index}].epsilon") for index, step in enumerate(plan.steps)]
    alike = Counter(events).items()
    return ComposedEvent(tuple(event if count == 1 else SelfComposedEvent(event, count) for event, count in alike))


def composed(event: Event) -> Composition:
    """The event as a composition, which alone has a price under every theorem; of one part if it is not one yet."""
    return event if isinstance(event, Composition) else ComposedEvent((event,))


def _event_of(step: Step, field: str) -> Event:
    try:
        return step_event(step.mechanism, step.epsilon, step.delta, step.sensitivity)
    except InvalidValueError as error:
        raise InvalidValueError(field, f"has no noise in range: {error.reason}") from None


@lru_cache(maxsize=4096)
def step_event(mechanism: StepMechanism, epsilon: Decimal, delta: Decimal, sensitivity: Decimal) -> Event:
    """What a step does: the least noise of its kind whose price is at most (epsilon, delta), or the plain claim.

    Raises:
        InvalidValueError: If no noise in range has that price.
    """
    match mechanism:
        case "laplace":
            return laplace_for(epsilon, sensitivity)
        case "gaussian":
            return discrete_gaussian_for(epsilon, delta, sensitivity)
        case "exponential":
            return exponential_for(epsilon, sensitivity, SelectionForm.GUMBEL, monotonic=False)
        case "subsampled":
            return ClaimEvent(epsilon, delta)


def _check_step(step: Step, field: str) -> None:
    check_text(step.step_name, f"{field}.step_name")
    check_text(step.data_description, f"{field}.data_description")
    if step.mechanism not in get_args(StepMechanism):
        raise InvalidValueError(f"{field}.mechanism", f"must be one of {', '.join(get_args(StepMechanism))}")
    checked_epsilon(step.epsilon, f"{field}.epsilon")
    checked_delta(step.delta, f"{field}.delta")
    pure = step.mechanism in ("laplace", "exponential")
    if pure and step.delta != 0:
        raise InvalidValueError(f"{field}.delta", f"must be 0 for {step.mechanism}")
    if not pure and step.delta == 0:
        raise InvalidValueError(f"{field}.delta", f"must be greater than 0 for {step.mechanism}")
    checked_positive(step.sensitivity, f"{field}.sensitivity", LARGEST_PARAMETER)


def check_text(text: str, field: str) -> None:
    """Accepts a name or a description.

    Raises:
        InvalidValueError: If it is longer than `MAX_TEXT`.
    """
    if len(text) > MAX_TEXT:
        raise InvalidValueError(field, f"must have at most {MAX_TEXT} characters")
