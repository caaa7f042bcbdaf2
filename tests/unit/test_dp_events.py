"""Events as dp-accounting's own: another process with that library alone loads them and comes to our prices."""

import json
import subprocess
import sys
from decimal import Decimal

import pytest
from dp_accounting import dp_event as theirs

from accounting.dp_events import PLD, RDP, RELATIONS, NoDpEventError, dp_event
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
)
from accounting.plans import ORDERS, Theorem, price_under
from deployments.analytics.export import LOADER

pytestmark = pytest.mark.untraced

DELTA = Decimal("1e-6")
AR, RO = Adjacency.ADD_REMOVE, Adjacency.REPLACE_ONE
STRANGER = (
    LOADER
    + """
import json, sys
from dp_accounting import NeighboringRelation
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant

told = []
for case in json.load(sys.stdin):
    relation = NeighboringRelation[case["relation"]]
    event = load(case["event"])
    found = {}
    for name, accountant in (("rdp", RdpAccountant(case["orders"], relation)), ("pld", PLDAccountant(relation))):
        if accountant.supports(event):
            found[name] = accountant.compose(event).get_epsilon(case["delta"])
    told.append(found)
assert not any(name.split(".")[0] in ("accounting", "deployments", "proofs", "serve_app") for name in sys.modules)
json.dump(told, sys.stdout)
"""
)


def d(text: str) -> Decimal:
    """A decimal."""
    return Decimal(text)


SGD = PoissonGaussianEvent(d("1.1"), d("1"), d("0.01"))
CASES: list[tuple[Event, Adjacency]] = [
    (GaussianEvent(d("4"), d("2")), AR),
    (GaussianEvent(d("4"), d("2")), RO),
    (LaplaceEvent(d("3"), d("2")), AR),
    (LaplaceEvent(d("3"), d("2")), RO),
    (DiscreteLaplaceEvent(d("2.5"), d("1")), AR),
    (SelfComposedEvent(SGD, 200), AR),
    (SelfComposedEvent(GaussianEvent(d("5"), d("1")), 7), AR),
    (ComposedEvent((GaussianEvent(d("5"), d("1")),) * 7), AR),
    (FixedSizeGaussianEvent(d("6"), d("2"), 10, 1000), RO),
    (RandomizedResponseEvent(d("0.6"), 4), RO),
    (RandomizedResponseEvent(d("0.7"), 2), RO),
    (ZCdpEvent(d("0.03")), AR),
    (DiscreteGaussianEvent(d("7"), d("1")), AR),
    (PoissonLaplaceEvent(d("2"), d("1"), d("0.1")), AR),
    (ComposedEvent((LaplaceEvent(d("10"), d("1")), SelfComposedEvent(SGD, 20))), AR),
]
BOUNDED: list[tuple[Event, Adjacency]] = [
    (ClaimEvent(d("0.4"), d("0")), AR),
    (ExponentialEvent(d("4"), d("1"), SelectionForm.GUMBEL, False), AR),
    (ExponentialEvent(d("4"), d("1"), SelectionForm.PERMUTE_AND_FLIP, False), AR),
    (RandomizedResponseEvent(d("0.6"), 4), AR),
    (DiscreteLaplaceEvent(d("2.5"), d("1")), RO),
]
"""Those for which dp-accounting has no type of its own: what it has is dearer, or as dear."""


@pytest.fixture(scope="module")
def strangers() -> list[dict[str, float]]:
    """What a process that has dp-accounting and nothing of ours makes of all cases."""
    cases = [
        {
            "event": dp_event(event, adjacency).members,
            "relation": RELATIONS[adjacency],
            "orders": ORDERS,
            "delta": float(DELTA),
        }
        for event, adjacency in CASES + BOUNDED
    ]
    done = subprocess.run(
        [sys.executable, "-I", "-c", STRANGER], input=json.dumps(cases), capture_output=True, text=True, check=True
    )
    told: list[dict[str, float]] = json.loads(done.stdout)
    return told


def test_a_stranger_comes_to_our_prices(strangers: list[dict[str, float]]) -> None:
    """By Renyi divergences to one part in a million, by distributions to one in a thousand: the grids differ.

    A randomized response among many is counted here by its pure epsilon, which is a little dearer.
    """
    for (event, adjacency), told in zip(CASES, strangers, strict=False):
        said = dp_event(event, adjacency).accountants
        for accountant, theorem, within in ((RDP, Theorem.RENYI, 1e-6), (PLD, Theorem.PLD, 1e-3)):
            ours = price_under(theorem, event, DELTA).loss
            if accountant in said:
                assert ours is not None
                if isinstance(event, RandomizedResponseEvent):
                    within = 1e-3
                assert told[accountant] == pytest.approx(float(ours.epsilon), rel=within), (event, accountant)


def test_it_says_which_accountants_take_an_event(strangers: list[dict[str, float]]) -> None:
    """What is said to be taken is taken, of every kind; only what would be read otherwise is left out."""
    for (event, adjacency), told in zip(CASES + BOUNDED, strangers, strict=True):
        said = dp_event(event, adjacency).accountants
        assert said
        assert said <= told.keys(), event
        # Their PLD accountant would take it, and read the multiplier as that of half the sensitivity.
        assert told.keys() - said == ({PLD} if (event, adjacency) == CASES[1] else set()), event


def test_what_has_no_type_is_never_cheaper(strangers: list[dict[str, float]]) -> None:
    """An upper bound, with a note that says so."""
    for (event, adjacency), told in zip(BOUNDED, strangers[len(CASES) :], strict=True):
        ours = price_under(Theorem.RENYI, event, DELTA).loss
        assert ours is not None
        assert told[RDP] >= float(ours.epsilon) * (1 - 1e-9), event
        assert dp_event(event, adjacency).notes


def test_repetitions_are_as_many_single_ones(strangers: list[dict[str, float]]) -> None:
    """A count of seven is seven: the price of the repeated event is that of seven single ones."""
    repeated, single = CASES[6][0], CASES[7][0]
    assert isinstance(repeated, SelfComposedEvent)
    assert single == ComposedEvent((repeated.event,) * 7)
    assert strangers[6] == pytest.approx(strangers[7], rel=1e-6)


@pytest.mark.parametrize(("event", "adjacency"), CASES + BOUNDED)
def test_members_are_those_of_the_librarys_own_form(event: Event, adjacency: Adjacency) -> None:
    """Loaded, an event's `to_named_tuple` has the members that were exported, and no other."""
    names: dict[str, object] = {}
    exec(LOADER, names)
    members = dp_event(event, adjacency).members
    loaded = names["load"](members)  # type: ignore[operator]
    assert isinstance(loaded, theirs.DpEvent)
    assert _plain(loaded.to_named_tuple()) == json.loads(json.dumps(members))


@pytest.mark.parametrize(
    "event",
    [
        ClaimEvent(d("0.4"), d("1e-9")),
        SelfComposedEvent(ClaimEvent(d("0.4"), d("1e-9")), 3),
        ParallelEvent((("north", LaplaceEvent(d("3"), d("1"))), ("south", LaplaceEvent(d("3"), d("1"))))),
    ],
)
def test_what_cannot_be_told_is_refused_with_a_reason(event: Event) -> None:
    """Nothing is dropped and nothing is made cheaper: there is an error that says why."""
    with pytest.raises(NoDpEventError, match="dp-accounting has no event"):
        dp_event(event, AR)


def _plain(value: object) -> object:
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: _plain(inner) for name, inner in value._asdict().items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value
