"""Events, budgets and histories as hypothesis draws them."""

from decimal import Decimal

from hypothesis import strategies as st

from accounting.charges import price
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
    parts_of,
)
from accounting.filters import Budget, FilterKind, Share, budget
from accounting.values import EXACT, NO_LOSS, ZERO, InvalidValueError, PrivacyLoss

HUGE, TINY = Decimal(10) ** 18, Decimal("1e-11")
PRICED_AT = Decimal("1e-7")
"""The delta at which `loss_of` prices what has an epsilon at every delta."""

small_deltas = st.decimals("0.000000000001", "0.1", places=14)
claimed_epsilons = st.decimals("0.000001", 5, places=12)
claimed_deltas = st.one_of(st.just(ZERO), st.decimals(0, "0.00001", places=12))
claims = st.builds(ClaimEvent, claimed_epsilons, claimed_deltas)

_noises = st.decimals("0.5", 500, places=4)
_sensitivities = st.decimals("0.1", 3, places=3)
_rates = st.decimals("0.001", 1, places=3)
_forms = st.sampled_from(SelectionForm)


@st.composite
def _responses(draw: st.DrawFn) -> RandomizedResponseEvent:
    categories = draw(st.integers(2, 50))
    share = draw(st.decimals("0.001", "0.999", places=3))
    least = Decimal(1) / categories
    return RandomizedResponseEvent(round(least + share * (1 - least), 12), categories)


_sampled_gaussians = st.builds(
    PoissonGaussianEvent, st.decimals("0.3", 100, places=3), st.just(Decimal(1)), sampling_probability=_rates
)
# A tenth at most is drawn: for larger samples dp-accounting loses digits at high orders, and no price is agreed on.
_fixed_size_gaussians = st.builds(
    FixedSizeGaussianEvent,
    st.decimals("0.5", 30, places=3),
    st.just(Decimal(1)),
    sample_size=st.integers(1, 100),
    population=st.integers(1000, 10_000),
)
_unsampled = st.one_of(
    claims,
    st.builds(ZCdpEvent, st.decimals("0.000001", 10, places=9)),
    st.builds(LaplaceEvent, _noises, _sensitivities),
    st.builds(DiscreteLaplaceEvent, _noises, st.integers(1, 5).map(Decimal)),
    st.builds(GaussianEvent, _noises, _sensitivities),
    st.builds(DiscreteGaussianEvent, _noises, _sensitivities),
    st.builds(ExponentialEvent, _noises, _sensitivities, _forms, st.booleans()),
    _responses(),
)
_poisson = st.one_of(
    _sampled_gaussians, st.builds(PoissonLaplaceEvent, _noises, _sensitivities, sampling_probability=_rates)
)
operations: st.SearchStrategy[Event] = st.one_of(_unsampled, _poisson, _fixed_size_gaussians)
"""Single operations of every kind, in ranges that somebody would use."""

additive: st.SearchStrategy[Event] = st.one_of(_unsampled, _poisson)
"""Single operations that may be composed under add/remove."""

priced: st.SearchStrategy[Event] = st.one_of(
    _unsampled, st.builds(PoissonLaplaceEvent, _noises, _sensitivities, sampling_probability=_rates)
)
"""Single operations that `accounting.charges.price` prices."""


def composed_of(inner: st.SearchStrategy[Event], adjacency: Adjacency | None = None) -> st.SearchStrategy[Event]:
    """Compositions of such events, up to three deep."""
    names = st.text("abcdefg", min_size=1, max_size=3)

    def extend(children: st.SearchStrategy[Event]) -> st.SearchStrategy[Event]:
        return st.one_of(
            st.builds(SelfComposedEvent, children, st.integers(1, 20), adjacency=st.just(adjacency)),
            st.builds(
                ComposedEvent, st.lists(children, min_size=1, max_size=4).map(tuple), adjacency=st.just(adjacency)
            ),
            st.builds(
                ParallelEvent,
                st.dictionaries(names, children.filter(_may_be_parallel), min_size=1, max_size=4).map(_pairs),
                adjacency=st.just(adjacency),
            ),
        )

    return st.recursive(inner, extend, max_leaves=6).filter(lambda event: depth_of(event) <= 3)


def _may_be_parallel(event: Event) -> bool:
    return not any(isinstance(leaf, FixedSizeGaussianEvent) for leaf, _ in leaves(event))


def _pairs(named: dict[str, Event]) -> tuple[tuple[str, Event], ...]:
    return tuple(named.items())


def depth_of(event: Event) -> int:
    """How deep compositions are nested."""
    return max((1 + depth_of(part) for part in parts_of(event)), default=0)


events: st.SearchStrategy[Event] = st.one_of(
    composed_of(additive, Adjacency.ADD_REMOVE),
    composed_of(_unsampled),
    composed_of(st.one_of(_unsampled, _fixed_size_gaussians), Adjacency.REPLACE_ONE),
)
"""Events of every kind, compositions among them."""

# The whole range that an event accepts, for what must hold of every number: the wire form, and refusals of prices.
_any_positive = st.decimals(TINY, HUGE, places=11).filter(lambda value: value > 0)
_any_probability = st.decimals("1e-12", 1, places=12)
_any_unit = st.one_of(st.none(), st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=200))
_any_adjacency = st.one_of(st.none(), st.sampled_from(Adjacency))
extreme: st.SearchStrategy[Event] = st.one_of(
    st.builds(
        ClaimEvent,
        st.decimals("1e-30", "0.1", places=30),
        st.decimals(0, "0.999999999999999999999999999999", places=30),
        unit=_any_unit,
        adjacency=_any_adjacency,
    ),
    st.builds(ZCdpEvent, st.decimals("1e-20", 1_000_000, places=20), unit=_any_unit, adjacency=_any_adjacency),
    st.builds(LaplaceEvent, _any_positive, _any_positive, unit=_any_unit, adjacency=_any_adjacency),
    st.builds(DiscreteLaplaceEvent, _any_positive, st.integers(1, 10**18).map(Decimal), unit=_any_unit),
    st.builds(GaussianEvent, _any_positive, _any_positive, adjacency=_any_adjacency),
    st.builds(DiscreteGaussianEvent, _any_positive, _any_positive, adjacency=_any_adjacency),
    st.builds(ExponentialEvent, _any_positive, _any_positive, _forms, st.booleans(), unit=_any_unit),
    st.builds(
        RandomizedResponseEvent,
        st.decimals("0.500000000001", "0.999999999999999999999999999999", places=30),
        st.integers(2, 1_000_000),
        unit=_any_unit,
    ),
    st.builds(PoissonGaussianEvent, _any_positive, _any_positive, sampling_probability=_any_probability),
    st.builds(PoissonLaplaceEvent, _any_positive, _any_positive, sampling_probability=_any_probability),
    st.builds(
        FixedSizeGaussianEvent,
        _any_positive,
        _any_positive,
        sample_size=st.integers(1, 10**6),
        population=st.integers(10**6, 10**12),
    ),
)
"""Single operations at any values that their classes accept."""


def loss_of(event: Event) -> PrivacyLoss:
    """An (epsilon, delta) of any event by basic composition of its operations: sound, and enough for a test of filters.

    What has no price of its own is claimed at an epsilon of 3, which no test relies on.
    """
    match event:
        case SelfComposedEvent():
            once = loss_of(event.event)
            return PrivacyLoss(EXACT.multiply(once.epsilon, event.count), EXACT.multiply(once.delta, event.count))
        case ComposedEvent() | ParallelEvent():
            total = NO_LOSS
            for part in parts_of(event):
                total = total.plus(loss_of(part))
            return total
        case GaussianEvent() | DiscreteGaussianEvent() | ZCdpEvent():
            return price(event, PRICED_AT)
        case PoissonGaussianEvent() | FixedSizeGaussianEvent():
            return PrivacyLoss(Decimal(3), PRICED_AT)
        case _:
            return price(event)


@st.composite
def budgets(draw: st.DrawFn) -> Budget:
    """Budgets of basic and any of the other members, with shares that leave nothing over or something."""
    epsilon = draw(st.decimals("0.5", 10, places=3))
    delta = draw(st.sampled_from([Decimal("1e-6"), Decimal("1e-4"), Decimal("0.01"), Decimal("0.2")]))
    kinds = draw(st.lists(st.sampled_from([FilterKind.RENYI, FilterKind.ZCDP, FilterKind.GDP]), unique=True))
    part = EXACT.multiply(delta, Decimal("0.1"))
    shares = [Share(FilterKind.BASIC, EXACT.multiply(part, draw(st.integers(0, 4))))]
    orders = st.one_of(st.none(), st.integers(16, 32)) if delta < Decimal("0.01") else st.none()
    for kind in kinds:
        order = draw(orders) if kind is FilterKind.RENYI else None
        shares.append(Share(kind, EXACT.multiply(part, draw(st.integers(0, 1))), part, order))
    try:
        return budget(PrivacyLoss(epsilon, delta), shares)
    except InvalidValueError:
        # Some member would admit nothing at so small an epsilon or so low an order.
        return budget(PrivacyLoss(epsilon, delta), shares[:1])
