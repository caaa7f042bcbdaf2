"""The rules that price an event. Each function says what is wrong with one step; saying nothing, it vouches for it.

All arithmetic is exact (`fractions.Fraction`) except where `proofs.checker.balls` decides with certainty. Every
rule may conclude more than it must: a larger cost is a weaker claim.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction

from proofs.certificate import EPSILON, MU_SQUARED, PRICING_RULES, RENYI, RHO, RULES, Node
from proofs.checker import balls
from proofs.checker.events import Event
from proofs.checker.values import Cost, number, total

_CONVERSIONS = frozenset(
    {
        "pure_to_renyi",
        "pure_to_rho",
        "pure_to_mu",
        "rho_to_renyi",
        "renyi_to_epsilon",
        "mu_to_epsilon",
        "accountant",
        "accountant_bounded",
    }
)
"""The pricing rules that speak of whatever event their premise speaks of; the others are named after their event."""
MAX_WORK = 1_000_000
"""How many terms of series a document may need. They are summed in seconds."""
_SHORT = Context(prec=12)
_SERIES = ("poisson_gaussian", "fixed_size_gaussian")


@dataclass(frozen=True, slots=True)
class Step:
    """A pricing step, with the event that it prices.

    Attributes:
        numbers: All numbers of the step.
        cost: What it concludes.
        currency: What that is counted in.
        event: What the ledger recorded.
        premises: What the steps that it rests on conclude.
    """

    numbers: Mapping[str, Fraction]
    cost: Cost
    currency: str
    event: Event
    premises: Sequence[Cost]

    @property
    def order(self) -> Fraction:
        """The Renyi order that the step speaks of."""
        return self.numbers["order"]

    def ratio(self, of: str, to: str) -> Fraction:
        """The quotient of two of the event's numbers."""
        return self.event.numbers[of] / self.event.numbers[to]


Reasons = Iterator[str]


def cost_in(node: Node) -> Cost:
    """The cost that a pricing step, or the total, concludes."""
    return Cost(number(node.numbers[node.currency]), number(node.numbers["delta"]))


def check_pricing(node: Node, event: Event) -> Reasons:
    """Whether the event costs at most what the step says, and everything that it rests on holds.

    Args:
        node: A step of one of the `proofs.certificate.PRICING_RULES`.
        event: What the ledger recorded.
    """
    if node.rule in _CONVERSIONS:
        parts: Sequence[Event] = [event] * len(node.premises)
    elif node.rule == event.kind:
        parts = event.parts
    else:
        yield f"the ledger recorded a {event.kind} event, the derivation prices a {node.rule} event"
        return
    if len(parts) != len(node.premises):
        yield f"the ledger recorded {len(parts)} parts of a {event.kind} event, the derivation prices another number"
        return
    numbers = {name: number(text) for name, text in node.numbers.items()}
    # What a claim states is compared in its rule, where a weaker conclusion is also right.
    for name in RULES[node.rule].numbers:
        if name in event.numbers and numbers[name] != event.numbers[name]:
            yield f"the ledger recorded {name} {_text(event.numbers[name])}, the derivation uses {_text(numbers[name])}"
    if any(
        premise.currency == RENYI and premise.numbers["order"] != node.numbers["order"] for premise in node.premises
    ):
        yield "the step and what it rests on speak of different Renyi orders"
    if node.currency == RENYI and numbers["order"] <= 1:
        yield "the Renyi order must be greater than 1"
    else:
        step = Step(numbers, cost_in(node), node.currency, event, [cost_in(premise) for premise in node.premises])
        yield from _CHECKS[node.rule](step)
    for premise, part in zip(node.premises, parts, strict=True):
        yield from check_pricing(premise, part)


def _claim(step: Step) -> Reasons:
    for name, charged in (("epsilon", step.cost.amount), ("delta", step.cost.delta)):
        if charged < step.event.numbers[name]:
            yield f"the engine stated {name} {_text(step.event.numbers[name])}, less was charged for it"


def _zcdp(step: Step) -> Reasons:
    if step.cost.amount < step.event.numbers["rho"]:
        yield f"the engine stated rho {_text(step.event.numbers['rho'])}, less was charged for it"


def _laplace(step: Step) -> Reasons:
    epsilon = step.ratio("sensitivity", "scale")
    if step.currency == EPSILON:
        if step.cost.amount < epsilon:
            yield "epsilon is less than sensitivity / scale"
    elif not balls.covers_laplace(step.cost.amount, step.order, epsilon):
        yield "the Renyi divergence is less than that of the Laplace noise"


def _discrete_laplace(step: Step) -> Reasons:
    epsilon = step.ratio("sensitivity", "scale")
    if step.currency == EPSILON:
        if step.cost.amount < epsilon:
            yield "epsilon is less than sensitivity / scale"
    elif not balls.covers_discrete_laplace(step.cost.amount, step.order, epsilon, step.event.numbers["sensitivity"]):
        yield "the Renyi divergence is less than that of the discrete Laplace noise"


def _gaussian(step: Step) -> Reasons:
    mu_squared = step.ratio("sensitivity", "sigma") ** 2
    if step.currency == MU_SQUARED and step.cost.amount < mu_squared:
        yield "mu^2 is less than (sensitivity / sigma)^2"
    if step.currency == RHO and step.cost.amount < mu_squared / 2:
        yield "rho is less than sensitivity^2 / (2 sigma^2)"


def _discrete_gaussian(step: Step) -> Reasons:
    if step.cost.amount < step.ratio("sensitivity", "sigma") ** 2 / 2:
        yield "rho is less than sensitivity^2 / (2 sigma^2)"


def _exponential(step: Step) -> Reasons:
    if step.numbers["factor"] != (1 if step.event.monotonic else 2):
        yield "the factor must be 2, or 1 where the ledger recorded that all scores move in one direction"
    epsilon = step.numbers["factor"] * step.ratio("sensitivity", "scale")
    if step.currency == EPSILON and step.cost.amount < epsilon:
        yield "epsilon is less than factor * sensitivity / scale"
    if step.currency == RHO and not step.event.gumbel:
        yield "only selection by Gumbel noise has a rho by its range"
    if step.currency == RHO and step.cost.amount < epsilon**2 / 8:
        yield "rho is less than (factor * sensitivity / scale)^2 / 8"


def _randomized_response(step: Step) -> Reasons:
    truth, others = step.event.numbers["probability"], step.event.numbers["categories"] - 1
    if not balls.covers_log_odds(step.cost.amount, truth * others / (1 - truth)):
        yield "epsilon is less than ln(probability (categories - 1) / (1 - probability))"


def _poisson_laplace(step: Step) -> Reasons:
    base, rate = step.ratio("sensitivity", "scale"), step.event.numbers["sampling_probability"]
    if not balls.covers_amplified(step.cost.amount, base, rate):
        yield "epsilon is less than ln(1 + sampling_probability (exp(sensitivity / scale) - 1))"


def _poisson_gaussian(step: Step) -> Reasons:
    order, multiplier = step.order, step.ratio("sigma", "sensitivity")
    rate = step.event.numbers["sampling_probability"]
    if not balls.in_series_range(order, multiplier):
        yield "no Renyi divergence is derived here at such an order, or for such noise"
    elif not balls.covers(step.cost.amount, balls.poisson_gaussian(int(order), multiplier, rate)):
        yield "the Renyi divergence is less than that of the sampled Gaussian"


def _fixed_size_gaussian(step: Step) -> Reasons:
    order, multiplier = step.order, step.ratio("sigma", "sensitivity")
    rate = step.ratio("sample_size", "population")
    if not balls.in_series_range(order, multiplier):
        yield "no Renyi divergence is derived here at such an order, or for such noise"
    elif not balls.covers(step.cost.amount, balls.fixed_size_gaussian(int(order), multiplier, rate)):
        yield "the Renyi divergence is less than that of the sampled Gaussian"


def _self_composed(step: Step) -> Reasons:
    if not step.premises[0].times(step.event.numbers["count"]).within(step.cost):
        yield "the cost is less than count times that of one operation"


def _composed(step: Step) -> Reasons:
    if not total(step.premises).within(step.cost):
        yield "the cost is less than the sum over all operations"


def _parallel(step: Step) -> Reasons:
    # Where nobody says what neighbours are, they may differ in two partitions.
    counted = 1 if step.event.adjacency == "add_remove" else 2
    if step.numbers["counted"] != counted:
        yield f"under the adjacency that the ledger recorded, {counted} partitions count"
    amounts = sorted([cost.amount for cost in step.premises], reverse=True)[:counted]
    deltas = sorted([cost.delta for cost in step.premises], reverse=True)[:counted]
    if not Cost(sum(amounts, Fraction(0)), sum(deltas, Fraction(0))).within(step.cost):
        yield "the cost is less than that of the partitions that count"


def _pure_to_renyi(step: Step) -> Reasons:
    yield from _delta_beside(step)
    if not balls.covers_pure(step.cost.amount, step.order, step.premises[0].amount):
        yield "the Renyi divergence is less than an operation of that epsilon may have"


def _pure_to_rho(step: Step) -> Reasons:
    yield from _delta_beside(step)
    if step.cost.amount < step.premises[0].amount ** 2 / 2:
        yield "rho is less than epsilon^2 / 2"


def _pure_to_mu(step: Step) -> Reasons:
    yield from _delta_beside(step)
    if not balls.mu_covers_pure(step.cost.amount, step.premises[0].amount):
        yield "mu^2 is less than an operation of that epsilon may have"


def _rho_to_renyi(step: Step) -> Reasons:
    yield from _delta_beside(step)
    if step.cost.amount < step.order * step.premises[0].amount:
        yield "the Renyi divergence is less than order * rho"


def _renyi_to_epsilon(step: Step) -> Reasons:
    yield from _delta_beside(step, step.numbers["conversion_delta"])
    if step.order <= 1:
        yield "the Renyi order must be greater than 1"
    elif not 0 < step.numbers["conversion_delta"] < 1:
        yield "a conversion needs a delta greater than 0 and less than 1"
    elif not balls.renyi_is_converted(
        step.premises[0].amount, step.order, step.numbers["conversion_delta"], step.cost.amount
    ):
        yield "epsilon is less than what this delta costs at the stated Renyi order"


def _mu_to_epsilon(step: Step) -> Reasons:
    yield from _delta_beside(step, step.numbers["conversion_delta"])
    if not balls.mu_is_converted(step.premises[0].amount, step.numbers["conversion_delta"], step.cost.amount):
        yield "epsilon is less than what this delta costs by the exact formula of the Gaussian"


def _accountant(step: Step) -> Reasons:
    # Taken on the service's word, as the step says itself. What can be derived must be.
    if step.event.kind not in (*_SERIES, "self_composed", "composed", "parallel"):
        yield f"the cost of a {step.event.kind} event is derived, not taken on the service's word"


def _delta_beside(step: Step, converted: Fraction = Fraction(0)) -> Reasons:
    if step.cost.delta < step.premises[0].delta + converted:
        yield "delta is less than that of what the step rests on, with that of the conversion"


_CHECKS: Mapping[str, Callable[[Step], Reasons]] = {
    "claim": _claim,
    "zcdp": _zcdp,
    "laplace": _laplace,
    "discrete_laplace": _discrete_laplace,
    "gaussian": _gaussian,
    "discrete_gaussian": _discrete_gaussian,
    "exponential": _exponential,
    "randomized_response": _randomized_response,
    "poisson_laplace": _poisson_laplace,
    "poisson_gaussian": _poisson_gaussian,
    "fixed_size_gaussian": _fixed_size_gaussian,
    "self_composed": _self_composed,
    "composed": _composed,
    "parallel": _parallel,
    "pure_to_renyi": _pure_to_renyi,
    "pure_to_rho": _pure_to_rho,
    "pure_to_mu": _pure_to_mu,
    "rho_to_renyi": _rho_to_renyi,
    "renyi_to_epsilon": _renyi_to_epsilon,
    "mu_to_epsilon": _mu_to_epsilon,
    "accountant": _accountant,
    "accountant_bounded": _accountant,
}
assert _CHECKS.keys() == PRICING_RULES


def check_work(roots: Sequence[Node]) -> Reasons:
    """Whether all series that the derivations need can be summed in seconds. Equal ones are summed once."""
    series = {
        tuple(sorted((name, text) for name, text in step.numbers.items() if name not in (RENYI, "delta"))): step
        for root in roots
        for step in root.steps()
        if step.rule in _SERIES
    }
    terms = [balls.series_terms(number(step.numbers["order"]), step.rule == _SERIES[1]) for step in series.values()]
    if sum(terms) > MAX_WORK:
        yield f"the derivations need series of more than {MAX_WORK} terms, which takes too long to check"


def _text(value: Fraction) -> str:
    """A number for a message, to twelve digits."""
    return str(_SHORT.divide(Decimal(value.numerator), Decimal(value.denominator)))
