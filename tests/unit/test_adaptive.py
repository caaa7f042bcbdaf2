"""Against an adversary who chooses each operation after seeing the earlier answers, a budget keeps its promise.

Everything here is computed from outcome probabilities alone, as fractions: no theorem and no accountant. A mechanism is
a table of the probabilities of its outcomes on two neighbouring data sets. The whole interaction, cut off where the
budget refuses, has an exact hockey-stick divergence

    delta(epsilon) = sum over transcripts of max(0, P - exp(epsilon) Q)

which must not exceed the promised delta. `worst` finds the largest that any adversary can reach with some mechanisms:
before the k-th answer it asks, for every mechanism still admitted, what the rest could add; so no random search can
find more. exp(epsilon) is taken from below, which makes delta no smaller than it is.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context, Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.charges import price
from accounting.events import ClaimEvent, Event, RandomizedResponseEvent
from accounting.filters import (
    Budget,
    Charge,
    FilterKind,
    Share,
    basic_budget,
    budget,
    budget_for_claims,
    largest_claim,
    standard_budget,
)
from accounting.pure import pure_epsilon
from accounting.values import EXACT, ZERO, InvalidValueError, PrivacyLoss

pytestmark = pytest.mark.untraced

ONE, NOTHING = Fraction(1), Fraction(0)
EXCESS = Fraction(1, 10**45)
"""How far exp(epsilon) from below may make a delta too large."""


@dataclass(frozen=True)
class Mechanism:
    """An operation, and the probabilities of its outcomes on each of two neighbouring data sets."""

    event: Event
    outcomes: tuple[tuple[Fraction, Fraction], ...]

    @functools.cached_property
    def loss(self) -> PrivacyLoss:
        """Its honest price, by our own accountant."""
        return price(self.event)

    def then(self, other: "Mechanism") -> tuple[tuple[Fraction, Fraction], ...]:
        """The joint outcomes with another mechanism that follows in any case."""
        return tuple((p * a, q * b) for p, q in self.outcomes for a, b in other.outcomes)


def response(truth: Decimal) -> Mechanism:
    """Randomized response on the one bit in which the neighbours differ."""
    p = Fraction(truth)
    return Mechanism(RandomizedResponseEvent(truth, 2), ((p, 1 - p), (1 - p, p)))


def leak(delta: Decimal, truth: Decimal | None = None) -> Mechanism:
    """Tells all with probability delta, else answers by randomized response or not at all; claimed as what it is."""
    d = Fraction(delta)
    if truth is None:
        # A claim has an epsilon, if ever so little.
        rest: Sequence[tuple[Fraction, Fraction]] = ((ONE, ONE),)
        epsilon = Decimal("1e-12")
    else:
        rest, epsilon = response(truth).outcomes, pure_epsilon(RandomizedResponseEvent(truth, 2))
    kept = tuple(((1 - d) * p, (1 - d) * q) for p, q in rest)
    return Mechanism(ClaimEvent(epsilon, delta), ((d, NOTHING), (NOTHING, d), *kept))


def exp_below(epsilon: Decimal) -> Fraction:
    """The exponential, rounded down in the 60th digit."""
    near = Context(prec=70).exp(epsilon)
    return Fraction(Context(prec=60, rounding=ROUND_FLOOR).plus(near))


def hockey_stick(outcomes: Sequence[tuple[Fraction, Fraction]], epsilon: Decimal) -> Fraction:
    """What one distribution exceeds exp(epsilon) times the other by, in the direction in which that is more."""
    factor = exp_below(epsilon)
    forth = sum((max(NOTHING, p - factor * q) for p, q in outcomes), NOTHING)
    back = sum((max(NOTHING, q - factor * p) for p, q in outcomes), NOTHING)
    return max(forth, back)


def worst(held: Budget, menu: Sequence[Mechanism], rounds: int) -> Fraction:
    """The largest delta at the promised epsilon that any adaptive choice from the menu reaches.

    With Q / P of the transcript so far as the ratio, what remains can add to sum of max(0, P - factor Q)

        rest(spent, ratio) = max(1 - factor ratio, max over admitted M of the sum of p rest(spent + M, ratio q / p))

    for each unit of P. Every mechanism here has the opposite of each outcome, so one direction is as bad as the other.
    """
    charges = [held.charge(mechanism.event, mechanism.loss) for mechanism in menu]
    factor = exp_below(held.promise.epsilon)

    @functools.cache
    def rest(spent: Charge, ratio: Fraction, left: int) -> Fraction:
        best = max(NOTHING, 1 - factor * ratio)
        if ratio == 0 or left == 0:
            return best
        for mechanism, charge in zip(menu, charges, strict=True):
            after = spent.plus(charge)
            if held.admits(after):
                gained = (p * rest(after, ratio * q / p, left - 1) for p, q in mechanism.outcomes if p)
                best = max(best, sum(gained, NOTHING))
        return best

    return rest(held.nothing(), ONE, rounds)


# The counterexample to admission by the past's own PLD.

PROMISE = PrivacyLoss(Decimal(1), Decimal("0.000038745"))
FIRST = response(Decimal("0.622459331201854593"))
"""exp(0.5) / (1 + exp(0.5)): an epsilon of 0.5."""
ON_PLUS = response(Decimal("0.622482829900938590"))
"""An epsilon of 0.5001."""
ON_MINUS = leak(Decimal("0.000038745"))
TREE = tuple(
    (p * a, q * b) for (p, q), then in zip(FIRST.outcomes, (ON_PLUS, ON_MINUS), strict=True) for a, b in then.outcomes
)


def test_each_path_of_the_counterexample_looks_harmless_and_the_whole_is_not() -> None:
    """Both realised sequences have a delta of 3.8745e-5 at epsilon 1; the interaction has 5.337e-5, 1.38 times that."""
    for then in (ON_PLUS, ON_MINUS):
        path = hockey_stick(FIRST.then(then), Decimal(1))
        assert path <= Fraction(PROMISE.delta)
        assert float(path) == pytest.approx(3.8745e-5, rel=1e-4)
    whole = hockey_stick(TREE, Decimal(1))
    assert float(whole) == pytest.approx(5.337e-5, rel=1e-4)
    assert whole > Fraction(PROMISE.delta) * Fraction(137, 100)


def test_admission_by_the_losses_of_the_past_would_let_the_counterexample_through() -> None:
    """Such a filter looks at the sequence that came about; on either path that is within the budget."""
    admitted = [
        hockey_stick(FIRST.outcomes, PROMISE.epsilon) <= Fraction(PROMISE.delta),
        hockey_stick(FIRST.then(ON_PLUS), PROMISE.epsilon) <= Fraction(PROMISE.delta),
        hockey_stick(FIRST.then(ON_MINUS), PROMISE.epsilon) <= Fraction(PROMISE.delta),
    ]
    assert admitted == [True, True, True]


def cut_off(held: Budget, first: Mechanism, branches: Sequence[Mechanism]) -> tuple[list[bool], Fraction]:
    """Which branches the budget admits after the first answer, and the exact delta of what then happens."""
    spent = held.nothing().plus(held.charge(first.event, first.loss))
    assert held.admits(spent)
    admitted, outcomes = [], []
    for (p, q), then in zip(first.outcomes, branches, strict=True):
        fits = held.admits(spent.plus(held.charge(then.event, then.loss)))
        admitted.append(fits)
        outcomes += [(p * a, q * b) for a, b in (then.outcomes if fits else ((ONE, ONE),))]
    return admitted, hockey_stick(outcomes, held.promise.epsilon)


@pytest.mark.parametrize(
    "held",
    [
        basic_budget(PROMISE),
        standard_budget(PROMISE),
        budget(PROMISE, [Share(FilterKind.BASIC, ZERO), Share(FilterKind.ZCDP, Decimal("1e-5"), Decimal("2e-5"))]),
        budget(PROMISE, [Share(FilterKind.BASIC, ZERO), Share(FilterKind.GDP, Decimal("1e-5"), Decimal("2e-5"))]),
    ],
    ids=["basic", "standard", "zcdp", "gdp"],
)
def test_our_budgets_refuse_a_branch_of_the_counterexample(held: Budget) -> None:
    """What is admitted of it keeps the promise, exactly; and neither order of the branches helps."""
    assert held.promise == PROMISE
    for branches in ((ON_PLUS, ON_MINUS), (ON_MINUS, ON_PLUS)):
        admitted, whole = cut_off(held, FIRST, branches)
        assert not all(admitted)
        assert whole <= Fraction(PROMISE.delta)


def test_the_basic_filter_admits_the_branch_that_fits() -> None:
    """The refusal is no blanket one: with all of delta in basic composition the leak fits beside the first step."""
    admitted, whole = cut_off(basic_budget(PROMISE), FIRST, (ON_PLUS, ON_MINUS))
    assert admitted == [False, True]
    assert whole == Fraction(PROMISE.delta) * FIRST.outcomes[0][0]


# The strongest adversary.


def test_the_adversary_finds_the_counterexample_where_a_filter_lets_it_through() -> None:
    """The search has teeth: a budget that admits both branches is broken by as much as the tree has."""
    loose = Budget(PROMISE, basic_budget(PrivacyLoss(Decimal("1.01"), PROMISE.delta)).members)
    assert worst(loose, (FIRST, ON_PLUS, ON_MINUS), 2) >= hockey_stick(TREE, Decimal(1)) > Fraction(PROMISE.delta)


def test_the_adversary_finds_what_plain_composition_allows() -> None:
    """Non-adaptive claims that use the budget up reach exactly what it promises, and not more."""
    held = basic_budget(PrivacyLoss(Decimal(2), Decimal("0.3")))
    menu = (leak(Decimal("0.1")),)
    three = 1 - Fraction(9, 10) ** 3
    assert worst(held, menu, 5) == three <= Fraction(3, 10)
    sharp = leak(Decimal("0.3"), Decimal("0.880797077977882444"))
    assert Fraction(3, 10) <= worst(held, (sharp,), 2) <= Fraction(3, 10) + EXCESS


truths = st.decimals("0.51", "0.75", places=2)
leaks = st.builds(leak, st.decimals("0.0001", "0.05", places=4), st.one_of(st.none(), truths))
menus = st.lists(st.one_of(truths.map(response), leaks), min_size=1, max_size=3, unique_by=lambda m: m.event)


@st.composite
def promises(draw: st.DrawFn) -> Budget:
    """Budgets of every make, small enough for an adversary to reach their ends in a few rounds."""
    promise = PrivacyLoss(draw(st.decimals("0.2", 2, places=2)), draw(st.decimals("0.01", "0.4", places=3)))
    make = draw(st.sampled_from(["basic", "standard", "claims", "shares", "shares"]))
    if make == "basic":
        return basic_budget(promise)
    if make == "standard":
        return standard_budget(promise)
    if make == "claims":
        return budget_for_claims(promise.epsilon, promise.delta)
    kinds = draw(st.lists(st.sampled_from(list(FilterKind)[1:]), min_size=1, unique=True))
    weights = draw(st.lists(st.integers(0, 5), min_size=2 * len(kinds) + 1, max_size=2 * len(kinds) + 1))
    unit = EXACT.multiply(promise.delta, Decimal("0.02"))
    shares = [Share(FilterKind.BASIC, EXACT.multiply(unit, weights[0]))]
    for at, kind in enumerate(kinds):
        conversion = EXACT.multiply(unit, weights[2 * at + 1] + 5)
        shares.append(Share(kind, EXACT.multiply(unit, weights[2 * at + 2]), conversion))
    try:
        return budget(promise, shares)
    except InvalidValueError:
        return basic_budget(promise)


@settings(max_examples=300)
@given(promises(), menus, st.integers(2, 9))
def test_no_adversary_breaks_the_promise_with_a_menu(held: Budget, menu: list[Mechanism], rounds: int) -> None:
    """Whatever it asks next, depending on all answers: the exact delta of the whole is at most the promised one."""
    assert worst(held, menu, rounds) <= Fraction(held.promise.delta) + EXCESS


def test_no_adversary_breaks_the_promise_where_another_member_than_basic_admits() -> None:
    """Many small responses: only the other filters still admit, and the adversary uses all of what they do."""
    promise = PrivacyLoss(Decimal("0.5"), Decimal("0.2"))
    for kind in list(FilterKind)[1:]:
        held = budget(promise, [Share(FilterKind.BASIC, ZERO), Share(kind, Decimal("0.05"), Decimal("0.1"))])
        small, tiny_leak = response(Decimal("0.52")), leak(Decimal("0.025"))
        charge = held.charge(small.event, small.loss)
        count, spent = 0, held.nothing().plus(charge)
        while held.admits(spent):
            count, spent = count + 1, spent.plus(charge)
        assert count * small.loss.epsilon > promise.epsilon
        found = worst(held, (small, tiny_leak), count + 2)
        assert Fraction(49, 1000) < found <= Fraction(promise.delta)


# Adversaries whose parameters depend on what was answered, and on what is left.


def truth_of(epsilon: Decimal) -> Decimal:
    """The truthful probability of a response whose epsilon is a little less than this."""
    odds = Context(prec=40).exp(epsilon)
    return (odds / (1 + odds)).quantize(Decimal("1e-15"), rounding=ROUND_FLOOR)


def next_mechanism(held: Budget, spent: Charge, draw: Callable[[st.SearchStrategy[int]], int]) -> Mechanism | None:
    """A response, a leak or both, as large as the budget lets them be or a part of that."""
    delta = Decimal(draw(st.sampled_from([0, 0, 1, 3, 10]))) * Decimal("0.1") * held.promise.delta
    left = largest_claim(held, spent, delta)
    epsilon = left * draw(st.sampled_from([1, 2, 3, 10, 11])) / 10
    if epsilon < Decimal("0.001"):
        return leak(delta) if delta else None
    return leak(delta, truth_of(epsilon)) if delta else response(truth_of(epsilon))


@settings(max_examples=300)
@given(promises(), st.data())
def test_no_random_adaptive_interaction_breaks_the_promise(held: Budget, data: st.DataObject) -> None:
    """Three rounds, each mechanism fitted to the budget that its own branch has left, refused ones passed over."""

    def play(spent: Charge, p: Fraction, q: Fraction, left: int) -> list[tuple[Fraction, Fraction]]:
        mechanism = next_mechanism(held, spent, data.draw) if left and p + q else None
        if mechanism is None:
            return [(p, q)]
        after = spent.plus(held.charge(mechanism.event, mechanism.loss))
        if not held.admits(after):
            return [(p, q)]
        return [end for a, b in mechanism.outcomes for end in play(after, p * a, q * b, left - 1)]

    transcripts = play(held.nothing(), ONE, ONE, 3)
    assert sum(p for p, _ in transcripts) == sum(q for _, q in transcripts) == 1
    assert hockey_stick(transcripts, held.promise.epsilon) <= Fraction(held.promise.delta) + EXCESS
