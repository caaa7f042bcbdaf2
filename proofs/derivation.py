"""From an event and what was charged for it to the steps that show the charge to be enough.

Each step that a member filter rests on states what the ledger charged; the steps below it state what their own events
cost. The prover finds the steps, the checker derives their numbers again: nothing here is trusted.
"""

from collections.abc import Mapping
from decimal import ROUND_CEILING, Context, Decimal
from fractions import Fraction
from functools import lru_cache

from accounting.charges import Cost, Currency, own_cost
from accounting.conversion import PricingDisagreementError, best_order_for_epsilon, mu_to_epsilon, renyi_to_epsilon
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
    parts_of,
)
from accounting.pure import pure_epsilon
from accounting.renyi import rho_of
from accounting.values import InvalidValueError, PrivacyLoss, decimal_text, round_up
from proofs.certificate import EPSILON, MU_SQUARED, RENYI, RHO, RULES, Node, node

_ORDERS = (2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 64, 80, 96, 128, 192, 256)
"""Renyi orders that are tried, and, first, only each of so many of them."""
_STRIDE = 4
_UNBOUNDED = Fraction(10**30)
_UP = Context(prec=60, rounding=ROUND_CEILING)
_NAMES = {Currency.RENYI: RENYI, Currency.RHO: RHO, Currency.MU_SQUARED: MU_SQUARED}
_BY_PURE = {Currency.RENYI: "pure_to_renyi", Currency.RHO: "pure_to_rho", Currency.MU_SQUARED: "pure_to_mu"}


@lru_cache(maxsize=4096)
def priced(event: Event, loss: PrivacyLoss) -> Node:
    """The step that shows that the event is private with the given (epsilon, delta).

    It holds if the loss is at least the event's price; otherwise the checker refuses it. A composition is derived where
    a closed theorem gives a price within the loss. Where none does it is taken on the accountants' word, and what can
    be derived, a larger cost, stands beside it.
    """
    cost = Cost(loss.epsilon, loss.delta)
    match event:
        case GaussianEvent():
            return _step("mu_to_epsilon", EPSILON, cost, [_exact(event, MU_SQUARED)], _converted(cost))
        case DiscreteGaussianEvent() | ZCdpEvent():
            return _by_rho(cost, _exact(event, RHO), _rho(event), cost.delta)
        case (
            PoissonGaussianEvent() | FixedSizeGaussianEvent() | SelfComposedEvent() | ComposedEvent() | ParallelEvent()
        ):
            derived = _summed(event, cost) or _by_gaussians(event, cost) or _by_rhos(event, cost)
            return derived or _by_renyi(event, cost)
        case _:
            return _step(event.kind, EPSILON, cost, [], _stated(event))


@lru_cache(maxsize=4096)
def counted(event: Event, loss: PrivacyLoss, currency: Currency, order: int | None, charged: Cost) -> Node:
    """The step that shows that the event costs no more in a currency than was charged; see `accounting.charges.cost`.

    Args:
        event: Any event.
        loss: The (epsilon, delta) that was charged.
        currency: What the filter counts; not epsilon.
        order: Of the Renyi divergence; None for the others.
        charged: What the filter counted for the event.
    """
    own = _own(event, currency, order)
    if own is None:
        own = _step(_BY_PURE[currency], _NAMES[currency], charged, [priced(event, loss)], order=order)
    return node(own.rule, own.currency, {**own.numbers, **_cost_numbers(own.currency, charged)}, *own.premises)


def _own(event: Event, currency: Currency, order: int | None) -> Node | None:
    """What the event costs in the currency by what is proven of it, None where nothing is."""
    cost = own_cost(event, currency, order)
    if cost is None:
        return None
    name = _NAMES[currency]
    match event, currency:
        case ((SelfComposedEvent() | ComposedEvent() | ParallelEvent()), _):
            premises = [_own(part, currency, order) for part in parts_of(event)]
            known = [premise for premise in premises if premise is not None]
            return _step(event.kind, name, cost, known, _stated(event), order)
        case GaussianEvent(), Currency.MU_SQUARED:
            return _step(event.kind, name, cost, [], _stated(event))
        case ((GaussianEvent() | DiscreteGaussianEvent() | ZCdpEvent()), Currency.RHO):
            return _step(event.kind, name, cost, [], _stated(event))
        case ExponentialEvent(form=SelectionForm.GUMBEL), Currency.RHO:
            return _step(event.kind, name, cost, [], _stated(event))
        case ((GaussianEvent() | DiscreteGaussianEvent() | ZCdpEvent()), _):
            return _step("rho_to_renyi", name, cost, [_exact(event, RHO)], order=order)
        case ExponentialEvent(form=SelectionForm.GUMBEL), Currency.RENYI if Fraction(cost.amount) >= _known(
            order
        ) * _rho(event):
            return _step("rho_to_renyi", name, cost, [_exact(event, RHO)], order=order)
        case (
            (LaplaceEvent() | DiscreteLaplaceEvent() | PoissonGaussianEvent() | FixedSizeGaussianEvent()),
            (Currency.RENYI),
        ):
            return _step(event.kind, name, cost, [], _stated(event), order)
    delta = event.delta if isinstance(event, ClaimEvent) else Decimal(0)
    pure = priced(event, PrivacyLoss(pure_epsilon(event), delta))
    return _step(_BY_PURE[currency], name, cost, [pure], order=order)


def _summed(event: Event, cost: Cost) -> Node | None:
    """A composition of purely private operations and claims, by basic composition, if that is within the cost."""
    found = _basic(event)
    if found is None or not _cost_of(found).within(cost):
        return None
    return node(found.rule, found.currency, {**found.numbers, **_cost_numbers(EPSILON, cost)}, *found.premises)


def _basic(event: Event) -> Node | None:
    match event:
        case ClaimEvent():
            return priced(event, PrivacyLoss(event.epsilon, event.delta))
        case (
            LaplaceEvent()
            | DiscreteLaplaceEvent()
            | ExponentialEvent()
            | RandomizedResponseEvent()
            | PoissonLaplaceEvent()
        ):
            return priced(event, PrivacyLoss(pure_epsilon(event), Decimal(0)))
        case SelfComposedEvent() | ComposedEvent() | ParallelEvent():
            premises = []
            for part in parts_of(event):
                premise = _basic(part)
                if premise is None:
                    return None
                premises.append(premise)
            return _step(
                event.kind, EPSILON, _total(event, [_cost_of(step) for step in premises]), premises, _stated(event)
            )
        case _:
            return None


def _total(event: Event, costs: list[Cost]) -> Cost:
    if isinstance(event, SelfComposedEvent):
        return costs[0].times(event.count)
    if isinstance(event, ParallelEvent):
        amounts = sorted((cost.amount for cost in costs), reverse=True)[: _counted(event)]
        deltas = sorted((cost.delta for cost in costs), reverse=True)[: _counted(event)]
        costs = [Cost(amount, delta) for amount, delta in zip(amounts, deltas, strict=True)]
    total = costs[0]
    for cost in costs[1:]:
        total = total.plus(cost)
    return total


def _by_gaussians(event: Event, cost: Cost) -> Node | None:
    """A composition that is Gaussian differentially private, by the exact formula, if that is within the cost."""
    premise = _own(event, Currency.MU_SQUARED, None)
    if premise is None:
        return None
    own = _cost_of(premise)
    converted = cost.delta - own.delta
    if not (0 < converted < 1 and own.amount > 0):
        return None
    try:
        least = mu_to_epsilon(Fraction(_UP.sqrt(own.amount)), converted)
    except PricingDisagreementError:
        return None
    if least > cost.amount:
        return None
    return _step("mu_to_epsilon", EPSILON, cost, [premise], _converted(Cost(cost.amount, converted)))


def _by_rhos(event: Event, cost: Cost) -> Node | None:
    """A composition that has a rho, by the best Renyi order, if that is within the cost."""
    premise = _own(event, Currency.RHO, None)
    if premise is None:
        return None
    own = _cost_of(premise)
    converted = cost.delta - own.delta
    if not 0 < converted < 1:
        return None
    order = best_order_for_epsilon(float(own.amount), float(converted))
    if renyi_to_epsilon(Fraction(order) * Fraction(own.amount), order, converted) > cost.amount:
        return None
    return _by_rho(cost, premise, Fraction(own.amount), converted)


def _by_rho(cost: Cost, premise: Node, rho: Fraction, converted: Decimal) -> Node:
    order = best_order_for_epsilon(float(rho), float(converted))
    at_order = {"order": decimal_text(order)}
    delta = premise.numbers["delta"]
    renyi = node("rho_to_renyi", RENYI, {**at_order, RENYI: str(Fraction(order) * rho), "delta": delta}, premise)
    numbers = {**at_order, **_converted(Cost(cost.amount, converted))}
    return _step("renyi_to_epsilon", EPSILON, cost, [renyi], numbers)


def _by_renyi(event: Event, cost: Cost) -> Node:
    """What the Renyi divergence gives at the best of some orders; above it the accountants' word, if that is less."""
    bounds = {order: _bound(event, order, cost.delta) for order in _ORDERS[::_STRIDE]}
    if all(bound is None for bound in bounds.values()):
        return _step("accountant", EPSILON, cost, [])

    def epsilon(order: int) -> Fraction:
        found = bounds[order] if order in bounds else bounds.setdefault(order, _bound(event, order, cost.delta))
        return _UNBOUNDED if found is None else found

    # The bound falls, then rises with the order: look from afar, then closely.
    near = _ORDERS.index(min(_ORDERS[::_STRIDE], key=epsilon))
    order = min(_ORDERS[max(near - _STRIDE + 1, 0) : near + _STRIDE], key=epsilon)
    premise = _own(event, Currency.RENYI, order)
    assert premise is not None
    converted = cost.delta - Decimal(premise.numbers["delta"])
    numbers = {"order": str(order), **_converted(Cost(cost.amount, converted))}
    if epsilon(order) <= Fraction(cost.amount):
        return _step("renyi_to_epsilon", EPSILON, cost, [premise], numbers)
    derived = _step("renyi_to_epsilon", EPSILON, Cost(round_up(epsilon(order)), cost.delta), [premise], numbers)
    return _step("accountant_bounded", EPSILON, cost, [derived])


def _bound(event: Event, order: int, delta: Decimal) -> Fraction | None:
    """The epsilon that the Renyi divergence of that order gives at delta; None where there is none."""
    try:
        own = own_cost(event, Currency.RENYI, order)
    except (PricingDisagreementError, InvalidValueError):
        return None
    if own is None or not 0 < delta - own.delta < 1:
        return None
    return Fraction(renyi_to_epsilon(Fraction(own.amount), Decimal(order), delta - own.delta))


def _exact(event: Event, currency: str) -> Node:
    """The step of a single operation whose rho or squared mu is stated as the fraction that it is."""
    rho = _rho(event)
    amount = 2 * rho if currency == MU_SQUARED else rho
    return node(event.kind, currency, {**_stated(event), currency: str(amount), "delta": "0"})


def _rho(event: Event) -> Fraction:
    rho = rho_of(event)
    assert rho is not None
    return rho


def _known(order: int | None) -> int:
    assert order is not None
    return order


def _step(
    rule: str,
    currency: str,
    cost: Cost,
    premises: list[Node],
    numbers: Mapping[str, str] | None = None,
    order: int | None = None,
) -> Node:
    at_order = {} if order is None or currency != RENYI else {"order": str(order)}
    return node(rule, currency, {**(numbers or {}), **at_order, **_cost_numbers(currency, cost)}, *premises)


def _stated(event: Event) -> dict[str, str]:
    """What a rule repeats of the event that it prices."""
    if isinstance(event, ParallelEvent):
        return {"counted": str(_counted(event))}
    if isinstance(event, ExponentialEvent):
        factor = {"factor": "1" if event.monotonic else "2"}
        return {"sensitivity": decimal_text(event.sensitivity), "scale": decimal_text(event.scale), **factor}
    return {name: decimal_text(Decimal(getattr(event, name))) for name in RULES[event.kind].numbers}


def _counted(event: ParallelEvent) -> int:
    # Of a single part the two largest are that one.
    return 1 if event.adjacency is Adjacency.ADD_REMOVE else 2


def _converted(cost: Cost) -> dict[str, str]:
    return {"conversion_delta": decimal_text(cost.delta)}


def _cost_numbers(currency: str, cost: Cost) -> dict[str, str]:
    return {currency: decimal_text(cost.amount), "delta": decimal_text(cost.delta)}


def _cost_of(step: Node) -> Cost:
    return Cost(Decimal(step.numbers[step.currency]), Decimal(step.numbers["delta"]))
