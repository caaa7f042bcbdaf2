"""Every event under every member filter: what is true is accepted, and nothing less than what is true."""

import hashlib
import json
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.charges import Cost, price
from accounting.events import (
    ClaimEvent,
    ComposedEvent,
    DiscreteGaussianEvent,
    DiscreteLaplaceEvent,
    Event,
    ExponentialEvent,
    GaussianEvent,
    LaplaceEvent,
    ParallelEvent,
    PoissonGaussianEvent,
    PoissonLaplaceEvent,
    RandomizedResponseEvent,
    SelectionForm,
    SelfComposedEvent,
)
from accounting.filters import Budget, FilterKind, Member, Share, budget, standard_budget
from accounting.plans import price as plan_price
from accounting.values import PrivacyLoss, decimal_text
from proofs.certificate import EPSILON, MAX_DEPTH, RENYI, RULES, node
from proofs.checker import balls, verify_document
from proofs.checker.values import MEMBERS
from proofs.prover import prove_job
from tests.unit.proofs_helpers import (
    ALL_MEMBERS,
    CLAIM,
    COMPOSED,
    COMPUTED,
    DELTA,
    EVERY,
    GAUSSIAN,
    LAPLACE,
    SAMPLED,
    SIGNER,
    SINGLE,
    Ledger,
    accepted,
    refused,
    signed,
    with_body,
)

pytestmark = pytest.mark.untraced

TAKEN = ("training, tightest",)
"""Those whose (epsilon, delta) is taken on the accountants' word, and so cannot be refuted."""
GENEROUS = (
    "poisson_gaussian",
    "poisson_gaussian, all",
    "fixed_size_gaussian",
    "fixed_size_gaussian, all",
    "training",
    "mixed",
    "concentrated",
    "partitions, unstated",
)
"""Those that were charged more than is derived."""
KINDS = tuple(MEMBERS)


def proof(event: Event, loss: PrivacyLoss, held: Budget = ALL_MEMBERS) -> dict[str, Any]:
    """The proof of a job with one allocation, its budget entry beside it."""
    ledger = Ledger(held)
    ledger.allocate(event, loss=loss)
    return prove_job(ledger.job(), SIGNER, ledger.others())


def reword(step: dict[str, Any]) -> None:
    """Says in words what a changed step says in numbers."""
    step["statement"] = RULES[step["rule"]].statement(step["currency"], step["numbers"])


def charge_otherwise(document: dict[str, Any], kind: str, amount: str) -> None:
    """Changes what a member charged, everywhere: the ledger, its balance, the step below, and the total."""
    certificate, currency = document["certificates"][0], MEMBERS[kind]
    document["neighbours"] = []

    def change(body: dict[str, Any]) -> None:
        body["charge"][kind][currency] = body["spent"][kind][currency] = amount

    with_body(certificate["entry"], change)
    steps = certificate["derivation"]["premises"]
    balance = steps[KINDS.index(kind)] if len(steps) > 1 else steps[0]
    balance["numbers"].update({f"charge_{currency}": amount, f"after_{currency}": amount})
    changed = [balance, balance["premises"][0]]
    balance["premises"][0]["numbers"][currency] = amount
    if kind == "basic":
        total = document["total"]["derivation"]
        certificate["claim"]["epsilon"] = document["total"]["epsilon"] = amount
        total["numbers"]["epsilon"] = total["premises"][0]["numbers"]["epsilon"] = amount
        changed += [total, total["premises"][0]]
    for step in changed:
        reword(step)


def pricing_rules(document: dict[str, Any]) -> list[str]:
    """The rule that each member's charge follows from."""
    return [step["premises"][0]["rule"] for step in document["certificates"][0]["derivation"]["premises"]]


def lower(amount: Decimal, exact: bool) -> Decimal:
    """The next lower amount where rounding is all that lies between price and truth, else a part in 10^9 lower."""
    return amount - (Decimal("1e-12") if exact else amount * Decimal("1e-9") + Decimal("1e-12"))


# Each event in each currency.


@pytest.mark.parametrize("name", EVERY)
def test_every_event_is_proved_under_every_member(name: str) -> None:
    """What the service charges follows by the checker's own arithmetic."""
    event, loss = EVERY[name]
    document = proof(event, loss)
    accepted(document)
    assert len(document["certificates"][0]["derivation"]["premises"]) == 4


@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name in EVERY for kind in KINDS if kind != "basic" or name not in TAKEN]
)
def test_no_event_is_proved_at_a_lower_charge(name: str, kind: str) -> None:
    """A consistent liar, ledger included, is refused; only an accountant's word cannot be refuted here."""
    event, loss = EVERY[name]
    document = proof(event, loss)
    at = KINDS.index(kind)
    assert not pricing_rules(document)[at].startswith("accountant")
    charged = ALL_MEMBERS.charge(event, loss).costs[at].amount
    generous = kind == "basic" and name in GENEROUS
    exact = kind == "zcdp" or (kind == "basic" and name in SINGLE and name != "gaussian")
    below = Decimal("0.1") if generous else lower(charged, exact)
    charge_otherwise(document, kind, decimal_text(charged))
    accepted(document)
    charge_otherwise(document, kind, decimal_text(charged * Decimal("1.01")))
    accepted(document)
    charge_otherwise(document, kind, decimal_text(below))
    refused(document, f"{kind} filter: ")


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("claim", ["claim", "pure_to_renyi", "pure_to_rho", "pure_to_mu"]),
        ("zcdp", ["renyi_to_epsilon", "rho_to_renyi", "zcdp", "pure_to_mu"]),
        ("laplace", ["laplace", "laplace", "pure_to_rho", "pure_to_mu"]),
        ("discrete_laplace", ["discrete_laplace", "discrete_laplace", "pure_to_rho", "pure_to_mu"]),
        ("gaussian", ["mu_to_epsilon", "rho_to_renyi", "gaussian", "gaussian"]),
        ("discrete_gaussian", ["renyi_to_epsilon", "rho_to_renyi", "discrete_gaussian", "pure_to_mu"]),
        ("gumbel", ["exponential", "rho_to_renyi", "exponential", "pure_to_mu"]),
        ("gumbel, large", ["exponential", "pure_to_renyi", "exponential", "pure_to_mu"]),
        ("permute and flip", ["exponential", "pure_to_renyi", "pure_to_rho", "pure_to_mu"]),
        ("randomized_response", ["randomized_response", "pure_to_renyi", "pure_to_rho", "pure_to_mu"]),
        ("poisson_laplace", ["poisson_laplace", "pure_to_renyi", "pure_to_rho", "pure_to_mu"]),
        ("poisson_gaussian", ["renyi_to_epsilon", "poisson_gaussian", "pure_to_rho", "pure_to_mu"]),
        ("fixed_size_gaussian", ["renyi_to_epsilon", "fixed_size_gaussian", "pure_to_rho", "pure_to_mu"]),
        ("many Gaussians", ["mu_to_epsilon", "self_composed", "self_composed", "self_composed"]),
        ("training", ["renyi_to_epsilon", "self_composed", "pure_to_rho", "pure_to_mu"]),
        ("training, tightest", ["accountant_bounded", "self_composed", "pure_to_rho", "pure_to_mu"]),
        ("pure and claims", ["composed", "composed", "composed", "composed"]),
        ("concentrated", ["renyi_to_epsilon", "self_composed", "self_composed", "pure_to_mu"]),
        ("partitions", ["mu_to_epsilon", "parallel", "parallel", "parallel"]),
        ("nested", ["parallel", "parallel", "parallel", "parallel"]),
    ],
)
def test_each_charge_follows_from_the_closest_theorem(name: str, rules: list[str]) -> None:
    """An event's own theorem where it has one; its (epsilon, delta) where it has none; the accountants' word last."""
    event, loss = EVERY[name]
    assert pricing_rules(proof(event, loss)) == rules


scales = st.decimals(Decimal("0.05"), Decimal("500"), places=4)
_ones: list[st.SearchStrategy[Event]] = [
    st.builds(ClaimEvent, scales, st.just(DELTA)),
    st.builds(LaplaceEvent, scales, scales),
    st.builds(DiscreteLaplaceEvent, scales, st.integers(1, 1000).map(Decimal)),
    st.builds(ExponentialEvent, scales, scales, st.sampled_from(SelectionForm), st.booleans()),
    st.builds(RandomizedResponseEvent, st.decimals("0.51", "0.99", places=2), st.integers(2, 9)),
    st.builds(PoissonLaplaceEvent, scales, st.just(Decimal(1)), st.decimals("0.001", "1", places=3)),
    st.builds(GaussianEvent, st.decimals("1", "500", places=4), st.decimals("0.5", "5", places=2)),
    st.builds(DiscreteGaussianEvent, st.decimals("1", "500", places=4), st.decimals("0.5", "5", places=2)),
    st.builds(PoissonGaussianEvent, st.decimals("0.6", "9", places=2), st.just(Decimal(1)), st.just(Decimal("0.02"))),
]
events = st.recursive(
    st.one_of(_ones),
    lambda inner: st.one_of(
        st.builds(SelfComposedEvent, inner, st.integers(1, 50)),
        st.builds(ComposedEvent, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(
            ParallelEvent,
            st.lists(inner, min_size=1, max_size=3).map(
                lambda found: tuple((str(at), e) for at, e in enumerate(found))
            ),
        ),
    ),
    max_leaves=4,
)


@settings(max_examples=60, deadline=None)
@given(events, st.sampled_from([2, 3, 17, 64]))
def test_every_charge_of_every_member_is_accepted(event: Event, order: int) -> None:
    """Two independent derivations of each price agree, for events and compositions of any size."""
    shares = [Share(FilterKind.BASIC, DELTA), Share(FilterKind.RENYI, DELTA, DELTA, order)]
    more = [Share(FilterKind.ZCDP, DELTA, DELTA), Share(FilterKind.GDP, DELTA, DELTA)]
    small = budget(PrivacyLoss(Decimal(50), Decimal("0.001")), [*shares, *more])
    # What is admitted is not the question here: a cap far above any charge, which converts to a vast promise.
    loss = PrivacyLoss(Decimal(1_000_000), Decimal("0.0009"))
    if not isinstance(event, ComposedEvent | SelfComposedEvent | ParallelEvent | PoissonGaussianEvent):
        loss = price(event, DELTA if event.kind in ("gaussian", "discrete_gaussian") else Decimal(0))
    basic = Member(FilterKind.BASIC, Cost(Decimal(10**12), Decimal("0.0009")))
    held = Budget(PrivacyLoss(Decimal(10**12), Decimal("0.001")), (basic, *small.members[1:]))
    document = proof(event, loss, held)
    accepted(document)


@pytest.mark.parametrize("name", [*COMPOSED, "poisson_gaussian", "fixed_size_gaussian"])
def test_what_the_service_asks_for_a_plan_is_proved(name: str) -> None:
    """Plans are priced under the tightest theorem; what is charged for them is accepted under every member."""
    event, _ = EVERY[name]
    accepted(proof(event, plan_price(event, Decimal("1e-5"))))


def test_what_has_a_derivation_is_not_taken_on_the_services_word() -> None:
    """The accountants' rule is for what is not derived here, and for nothing else."""
    document = proof(LAPLACE, price(LAPLACE))
    for step in (document["certificates"][0]["derivation"]["premises"][0], document["total"]["derivation"]):
        numbers = {name: step["premises"][0]["numbers"][name] for name in ("epsilon", "delta")}
        step["premises"] = [node("accountant", EPSILON, numbers).to_wire()]
    refused(document, "the cost of a laplace event is derived, not taken on the service's word")


def test_the_report_counts_what_rests_on_accountants() -> None:
    """And the document says so in plain words."""
    document = proof(*EVERY["training, tightest"])
    report = verify_document(signed(document))
    fact = "taken on the service's word and not derived in this document: 1 of them"
    assert any(fact in found for found in report.facts), report.facts
    statement = document["certificates"][0]["derivation"]["premises"][0]["premises"][0]["statement"]
    assert "taken on the service's word; what is derived in this document is the larger cost" in statement
    assert not any("accountants" in fact for fact in verify_document(signed(proof(*EVERY["many Gaussians"]))).facts)


@pytest.mark.parametrize("form", ["monotonic", "form", "adjacency", "count", "events"])
def test_what_a_ledger_says_of_an_event_decides_its_rule(form: str) -> None:
    """A cheaper reading of the event than the ledger's is refused."""
    cases: dict[str, tuple[str, Callable[[dict[str, Any]], None], str]] = {
        "monotonic": ("gumbel, monotonic", lambda event: event.update(monotonic=False), "the factor must be 2"),
        "form": ("gumbel", lambda event: event.update(form="permute_and_flip"), "only selection by Gumbel noise"),
        "adjacency": ("partitions", lambda event: event.pop("adjacency"), "2 partitions count"),
        "count": ("many Gaussians", lambda event: event.update(count=101), "the ledger recorded count 101"),
        "events": ("pure and claims", lambda event: event["events"].pop(), "recorded 2 parts of a composed event"),
    }
    name, change, reason = cases[form]
    document = proof(*EVERY[name])
    document["neighbours"] = []
    with_body(document["certificates"][0]["entry"], lambda body: change(body["event"]))
    refused(document, reason)


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("laplace", {"scale": "0"}, "is not greater than 0"),
        ("randomized_response", {"probability": "0.5"}, "is out of range"),
        ("randomized_response", {"categories": True}, "is not a whole number from 1"),
        ("discrete_laplace", {"sensitivity": "0.5"}, "is out of range"),
        ("poisson_gaussian", {"sampling_probability": "1.5"}, "is out of range"),
        ("poisson_gaussian", {"adjacency": "replace_one"}, "the adjacency that its theorem needs"),
        ("fixed_size_gaussian", {"population": 49}, "is out of range"),
        ("gumbel", {"form": "other"}, "says something that this checker does not know"),
        ("gumbel", {"monotonic": 1}, "says something that this checker does not know"),
        ("laplace", {"unit": 7}, "is not text"),
        ("many Gaussians", {"count": 0}, "is not a whole number from 1"),
        ("mixed", {"adjacency": "add_remove"}, "do not speak of the same neighbours"),
        ("mixed", {"events": []}, "an empty one"),
        ("partitions", {"parts": [["north"]]}, "no pair"),
    ],
)
def test_an_event_that_no_ledger_holds_is_refused(name: str, change: dict[str, Any], reason: str) -> None:
    """Events are read strictly; a theorem is not applied outside its conditions."""
    if name == "mixed":
        event = ComposedEvent((GAUSSIAN, SAMPLED, CLAIM))
        document = proof(event, COMPUTED)
    else:
        document = proof(*EVERY[name])
    with_body(document["certificates"][0]["entry"], lambda body: body["event"].update(change))
    refused(document, reason)


def test_a_partition_that_is_named_twice_is_refused() -> None:
    """Events on one partition are composed, not parallel."""
    document = proof(*EVERY["partitions"])

    def twice(body: dict[str, Any]) -> None:
        body["event"]["parts"][1][0] = "north"

    with_body(document["certificates"][0]["entry"], twice)
    refused(document, "names a partition twice")


# The composed filter.


def change_budget(document: dict[str, Any], kind: str, part: str, value: str) -> None:
    """Changes a member's cap in the ledger and in the derivation."""
    certificate = document["certificates"][0]
    document["neighbours"] = []
    with_body(certificate["entry"], lambda body: body["budget"][kind].update({part: value}))
    step = certificate["derivation"]["premises"][KINDS.index(kind)]
    step["numbers"][f"cap_{part}"] = value
    reword(step)


@pytest.mark.parametrize("promise", [("0.3", "1e-9"), ("1", "1e-5"), ("8", "0.001")])
@pytest.mark.parametrize("kind", KINDS)
def test_a_cap_that_is_a_hair_too_large_is_refused(kind: str, promise: tuple[str, str]) -> None:
    """Each member's cap must convert to the promised epsilon at the delta of its conversion."""
    epsilon, delta = (Decimal(text) for text in promise)
    part = delta / 10
    shares = [Share(member, part, Decimal(0) if member is FilterKind.BASIC else part) for member in FilterKind]
    held = budget(PrivacyLoss(epsilon, delta), shares)
    document = proof(LaplaceEvent(Decimal(1000), Decimal(1)), price(LaplaceEvent(Decimal(1000), Decimal(1))), held)
    accepted(document)
    member = held.members[[member.kind.value for member in held.members].index(kind)]
    hair = member.cap.amount * Decimal("1e-10") if kind == "gdp" else Decimal("2e-15")
    change_budget(document, kind, MEMBERS[kind], decimal_text(member.cap.amount + hair))
    reason = "is not the promised epsilon" if kind == "basic" else "the cap does not keep the promised epsilon"
    refused(document, reason)


def test_shares_that_sum_to_more_than_the_promised_delta_are_refused() -> None:
    """By however little."""
    document = proof(LAPLACE, price(LAPLACE))
    change_budget(document, "basic", "delta", "0.004000000000000000000000000001")
    refused(document, "the members' shares of delta sum to more than the promised delta")


def test_a_charge_that_no_member_admits_is_refused() -> None:
    """Also where the ledger itself says so: an entry that should never have been admitted proves nothing."""
    held = standard_budget(PrivacyLoss(Decimal("0.1"), DELTA))
    refused(proof(LAPLACE, price(LAPLACE), held), "the balance exceeds the cap of every member filter")
    alone = budget(PrivacyLoss(Decimal("0.1"), DELTA), [Share(FilterKind.BASIC, DELTA)])
    refused(proof(LAPLACE, price(LAPLACE), alone), "the balance exceeds the cap of every member filter")


def test_one_member_that_holds_is_enough_and_its_absence_is_noticed() -> None:
    """Hundreds of Gaussians are beyond basic composition and within Renyi's; the steps say how many hold."""
    ledger = Ledger(standard_budget(PrivacyLoss(Decimal(1), Decimal("1e-6"))))
    noise = GaussianEvent(Decimal(60), Decimal(1))
    for _ in range(40):
        ledger.allocate(noise, Decimal("1e-8"))
    document = prove_job(ledger.job(), SIGNER, ledger.others())
    accepted(document)
    last = document["certificates"][-1]["derivation"]
    assert last["numbers"]["holding"] == "1"
    last["numbers"]["holding"] = "2"
    reword(last)
    refused(document, "says that 2 filters hold, not 1")


def test_a_delta_beyond_its_cap_is_beyond_the_member() -> None:
    """A claim's delta counts beside the amount in every member."""
    held = budget(PrivacyLoss(Decimal(10), DELTA), [Share(FilterKind.BASIC, DELTA / 2)])
    refused(proof(CLAIM, price(CLAIM), held), "the balance exceeds the cap of every member filter")


def test_another_promise_than_the_ledgers_is_refused() -> None:
    """The admission speaks of the tenant's own budget."""
    document = proof(LAPLACE, price(LAPLACE))
    step = document["certificates"][0]["derivation"]
    step["numbers"]["promise_epsilon"] = "1"
    reword(step)
    refused(document, "the admission step's promise is not the ledger's")


def test_a_member_that_is_left_out_or_moved_is_refused() -> None:
    """Every member of the budget has its step, in the ledger's order."""
    for pick in ([0, 1, 2], [0, 2, 1, 3], [0, 1, 2, 3, 3]):
        document = proof(LAPLACE, price(LAPLACE))
        derivation = document["certificates"][0]["derivation"]
        derivation["premises"] = [derivation["premises"][at] for at in pick]
        refused(document, "the admission does not rest on the budget's member filters")


# Links between entries.


@pytest.mark.parametrize("kind", KINDS)
def test_each_members_balance_follows_from_the_entry_before(kind: str) -> None:
    """In every currency, not in epsilon alone."""
    ledger = Ledger(ALL_MEMBERS)
    ledger.allocate(LAPLACE, job_id="another")
    ledger.allocate(CLAIM)
    document = prove_job(ledger.job(), SIGNER, ledger.others())

    def less(body: dict[str, Any]) -> None:
        body["spent"][kind][MEMBERS[kind]] = "0.000001"

    with_body(document["neighbours"][1], less)
    refused(document, "position 3: the balance does not follow from that of position 2")


def test_a_price_of_an_earlier_release_stays_provable() -> None:
    """By a Renyi conversion, which is dearer than the exact formula of today."""
    ledger = Ledger(
        budget(PrivacyLoss(Decimal(9), Decimal("0.1")), [Share(FilterKind.BASIC, Decimal("0.1"))]), version=1
    )
    ledger.allocate(GAUSSIAN, loss=PrivacyLoss(Decimal("1.279876846877"), DELTA))
    accepted(ledger.proof())
    document = ledger.proof()
    with_body(document["neighbours"][0], lambda body: body.update(budget={"basic": {}, "renyi": {}}))
    refused(document, "is not made of member filters")


# Documents that would be slow, or break a reader.


def test_a_derivation_that_is_nested_too_deep_is_refused() -> None:
    """Before anything in it is looked at."""
    document = proof(LAPLACE, price(LAPLACE))
    step = document["certificates"][0]["derivation"]["premises"][0]
    for _ in range(MAX_DEPTH):
        step["premises"] = [node("self_composed", EPSILON, {"count": "1", "epsilon": "1", "delta": "0"}).to_wire()]
        step = step["premises"][0]
    refused(document, f"is nested more than {MAX_DEPTH} deep")


def test_an_event_that_is_nested_too_deep_is_refused() -> None:
    """In the ledger's body."""
    document = proof(*EVERY["training"])

    def nest(body: dict[str, Any]) -> None:
        for _ in range(200):
            body["event"] = {"kind": "self_composed", "version": 1, "count": 1, "event": body["event"]}

    with_body(document["certificates"][0]["entry"], nest)
    refused(document, "is nested more than 5 deep")
    entry = document["certificates"][0]["entry"]
    entry["body"] = (
        entry["body"].replace('"event":{', '"event":' + '{"event":' * 990 + "{").replace("},", "}" * 991 + ",", 1)
    )
    entry["hash"] = hashlib.sha256(entry["body"].encode()).hexdigest()
    refused(document, "")


@pytest.mark.parametrize(
    ("order", "reason"),
    [("1025", "is derived here at such an order"), ("2.5", "at such an order"), ("9" * 900, "too long to check")],
)
@pytest.mark.parametrize("name", ["poisson_gaussian", "fixed_size_gaussian"])
def test_a_series_at_a_huge_or_broken_order_is_not_summed(name: str, order: str, reason: str) -> None:
    """Orders are whole and bounded."""
    document = proof(*EVERY[name])
    step = document["certificates"][0]["derivation"]["premises"][1]["premises"][0]
    step["numbers"]["order"] = order
    reword(step)
    refused(document, reason)


def test_more_series_than_can_be_summed_in_seconds_are_refused() -> None:
    """However many steps a hostile document holds, checking it ends."""
    document = proof(*EVERY["mixed"])
    step = document["certificates"][0]["derivation"]["premises"][1]["premises"][0]
    numbers = {"sensitivity": "1", "sample_size": "1", "population": "9", "renyi": "1", "order": "256", "delta": "0"}
    step["premises"] = [
        node("fixed_size_gaussian", RENYI, {**numbers, "sigma": str(at)}).to_wire() for at in range(1, 3000)
    ]
    refused(document, "takes too long to check")


@pytest.mark.parametrize("number", ["9" * 999, "0." + "0" * 900 + "1"])
def test_numbers_of_a_thousand_digits_are_refused_and_not_feared(number: str) -> None:
    """In every number of every step: a reason, never an exception."""
    for name in ("gaussian", "zcdp", "laplace", "poisson_laplace", "training"):
        for member in range(4):
            document = proof(*EVERY[name])
            step = document["certificates"][0]["derivation"]["premises"][member]["premises"][0]
            for named in step["numbers"]:
                changed = json.loads(json.dumps(document))
                found = changed["certificates"][0]["derivation"]["premises"][member]["premises"][0]
                found["numbers"][named] = number
                reword(found)
                refused(changed, "")


# The bounds themselves.


def test_the_exact_formula_of_the_gaussian_is_the_published_one() -> None:
    """For mu = 1 and epsilon = 1 delta is 0.126936737506643945..., with certainty on either side of it."""
    published = Fraction("0.126936737506643945")
    assert balls.mu_is_converted(Fraction(1), published + Fraction(1, 10**17), Fraction(1))
    assert not balls.mu_is_converted(Fraction(1), published - Fraction(1, 10**17), Fraction(1))


def test_the_bounds_of_sampled_gaussians_begin_as_published() -> None:
    """At order 2 both series have one term: q^2 (exp(1 / sigma^2) - 1), and for a sample of fixed size at most four
    times it."""
    rate, multiplier = Fraction(1, 10), Fraction(2)
    growth = Fraction("0.284025416687741484073420568062")  # exp(1/4) - 1
    for series, factor in ((balls.poisson_gaussian, 1), (balls.fixed_size_gaussian, 4)):
        bound = series(2, multiplier, rate)
        # ln(1 + x) lies between x - x^2 / 2 and x.
        x = factor * rate**2 * growth
        assert balls.covers(x, bound)
        assert not balls.covers(x - x**2 / 2, bound)


@pytest.mark.parametrize("order", [3, 8, 33, 120])
@pytest.mark.parametrize("multiplier", [Fraction(7, 10), Fraction(3), Fraction(1000)])
def test_the_moments_are_those_of_the_likelihood_ratio(order: int, multiplier: Fraction) -> None:
    """The fourth and second moments in closed form; all of them positive, and certain to many digits."""
    moments = balls._moments(multiplier, order)
    assert set(moments) == set(range(2, order + 2, 2))
    assert all(moment > 0 and moment.rel_accuracy_bits() > 100 for moment in moments.values())
    x = balls._ball(1 / (2 * multiplier**2))
    assert moments[2].overlaps((2 * x).exp() - 1)
    assert moments[4].overlaps((12 * x).exp() - 4 * (6 * x).exp() + 6 * (2 * x).exp() - 3)
