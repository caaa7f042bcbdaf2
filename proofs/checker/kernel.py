"""The rules of inference. Each function says what is wrong with one step; saying nothing, it vouches for the step.

All arithmetic is exact (`fractions.Fraction`) except the logarithms of the Gaussian's conversion, which are enclosed in
balls (`flint.arb`, Johansson 2017): a comparison of balls is true only where it is true of every point in them.
"""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

import flint

from proofs.certificate import Node

_BITS = 512
"""Working precision of the balls. Too little precision can only refuse a true claim, never accept a false one."""


class Loss(NamedTuple):
    """A privacy loss (epsilon, delta), exact."""

    epsilon: Fraction
    delta: Fraction

    def plus(self, other: "Loss") -> "Loss":
        """The sum of both."""
        return Loss(self.epsilon + other.epsilon, self.delta + other.delta)

    def minus(self, other: "Loss") -> "Loss":
        """The difference of both."""
        return Loss(self.epsilon - other.epsilon, self.delta - other.delta)

    def within(self, cap: "Loss") -> bool:
        """Whether neither part exceeds the cap's."""
        return self.epsilon <= cap.epsilon and self.delta <= cap.delta


NO_LOSS = Loss(Fraction(0), Fraction(0))


def loss_in(node: Node, prefix: str = "") -> Loss:
    """The loss that a step's numbers name."""
    return Loss(Fraction(node.numbers[f"{prefix}epsilon"]), Fraction(node.numbers[f"{prefix}delta"]))


def check_pricing(node: Node, event: Mapping[str, str]) -> Iterator[str]:
    """Whether the event costs at most the step's (epsilon, delta).

    Args:
        node: A step of one of the `proofs.certificate.LEAF_RULES`.
        event: Kind and numbers of the event that the ledger recorded.
    """
    if event["kind"] != node.rule:
        yield f"the ledger recorded a {event['kind']} event, the derivation prices a {node.rule} event"
        return
    numbers = {name: Fraction(text) for name, text in node.numbers.items()}
    # A claim's epsilon and delta are compared in `_claim`, where a weaker conclusion is also right.
    for name, text in event.items():
        if name not in ("kind", "epsilon", "delta") and numbers[name] != Fraction(text):
            yield f"the ledger recorded {name} {text}, the derivation uses {node.numbers[name]}"
    match node.rule:
        case "claim":
            yield from _claim(numbers, event)
        case "laplace":
            yield from _laplace(numbers)
        case "gaussian":
            yield from _gaussian(numbers)


def _claim(numbers: Mapping[str, Fraction], event: Mapping[str, str]) -> Iterator[str]:
    for name in ("epsilon", "delta"):
        if numbers[name] < Fraction(event[name]):
            yield f"the engine stated {name} {event[name]}, less was charged for it"


def _laplace(numbers: Mapping[str, Fraction]) -> Iterator[str]:
    if numbers["scale"] == 0 or numbers["sensitivity"] == 0:
        yield "the scale and the sensitivity must be greater than 0"
    elif numbers["epsilon"] * numbers["scale"] < numbers["sensitivity"]:
        yield "epsilon is less than sensitivity / scale"


def _gaussian(numbers: Mapping[str, Fraction]) -> Iterator[str]:
    sensitivity, sigma, order, delta = (numbers[name] for name in ("sensitivity", "sigma", "order", "delta"))
    if sigma == 0 or sensitivity == 0:
        yield "sigma and the sensitivity must be greater than 0"
    elif numbers["rho"] != sensitivity**2 / (2 * sigma**2):
        yield "rho is not sensitivity^2 / (2 sigma^2)"
    elif order <= 1:
        yield "the Renyi order must be greater than 1"
    elif numbers["renyi"] != order * numbers["rho"]:
        yield "the Renyi divergence is not order * rho"
    elif not 0 < delta < 1:
        yield "a Gaussian needs a delta greater than 0 and less than 1"
    elif not _conversion_holds(numbers["renyi"], order, delta, numbers["epsilon"]):
        yield "epsilon is less than what this delta costs at the stated Renyi order"


def _conversion_holds(renyi: Fraction, order: Fraction, delta: Fraction, epsilon: Fraction) -> bool:
    """Whether epsilon >= renyi + ln(1 - 1/order) - (ln delta + ln order) / (order - 1), with certainty.

    Canonne, Kamath and Steinke 2020, Proposition 12 (v4). Every order above 1 gives a valid bound.
    """
    with flint.ctx.workprec(_BITS):
        gain = _ball((order - 1) / order).log()
        needed = _ball(renyi) + gain - (_ball(delta).log() + _ball(order).log()) / _ball(order - 1)
        return bool(_ball(epsilon) >= needed)


def _ball(value: Fraction) -> flint.arb:
    return flint.arb(flint.fmpq(value.numerator, value.denominator))


def check_filter(node: Node, charge: Loss, spent: Loss, cap: Loss) -> Iterator[str]:
    """Whether the step is an admission by the basic composition filter: before + charge = after <= cap.

    Args:
        node: A step of rule ``filter``.
        charge: What the ledger charged.
        spent: What had been spent after the charge, by the ledger.
        cap: The cap in force, by the ledger.
    """
    for name, by_ledger in (("charge", charge), ("after", spent), ("cap", cap)):
        if loss_in(node, f"{name}_") != by_ledger:
            yield f"the balance step's {name} is not the ledger's"
    if loss_in(node, "before_").plus(loss_in(node, "charge_")) != loss_in(node, "after_"):
        yield "the balance does not add up: before + charge is not after"
    if not loss_in(node, "after_").within(loss_in(node, "cap_")):
        yield "the balance exceeds the cap"
    if loss_in(node, "charge_") != loss_in(node.premises[0]):
        yield "the balance step charges another loss than its premise derives"


def check_composition(node: Node, standing: Sequence[Node]) -> Iterator[str]:
    """Whether the step sums exactly the given pricing steps (Dwork and Roth 2014, Theorem 3.16)."""
    if list(node.premises) != list(standing):
        yield "the total does not rest on exactly the certificates that stand"
        return
    total = NO_LOSS
    for premise in standing:
        total = total.plus(loss_in(premise))
    if loss_in(node) != total:
        yield "the total is not the sum over the certificates that stand"
