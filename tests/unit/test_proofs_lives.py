"""What becomes of an allocation: it ends once, gives back what it may, and the total counts what is left."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from accounting.events import ComposedEvent, Event, SelfComposedEvent
from accounting.ledger.entry import Entry, EntryKind
from accounting.plans import price as plan_price
from accounting.values import PrivacyLoss, decimal_text
from proofs.certificate import RULES
from tests.unit.proofs_helpers import (
    ALL_MEMBERS,
    CLAIM,
    DELTA,
    EVERY,
    GAUSSIAN,
    LAPLACE,
    MANY_GAUSSIANS,
    MANY_LAPLACES,
    OPERATOR,
    PATIENTS,
    SIGNER,
    STRANGER,
    TEN_LAPLACES,
    VISITS,
    WIDE,
    Ledger,
    accepted,
    entries_of,
    lie,
    refused,
    sample,
    with_body,
)

Change = Callable[[dict[str, Any]], None]
COMMITTED, VOIDED = 3, 4
"""Where the certificates of `sample` stand."""


def ended(*ends: str, event: Event = LAPLACE, loss: PrivacyLoss | None = None, steps: int | None = None) -> Ledger:
    """A history of one hold and what became of it."""
    ledger = Ledger(WIDE)
    hold = ledger.allocate(event, loss=loss, ttl_seconds=3_600)
    for end in ends:
        if end == "commit":
            ledger.commit(hold, steps)
        else:
            {"void": ledger.void, "expire": ledger.expire, "adjust": ledger.adjust}[end](hold)
    return ledger


def divided(steps: int, event: Event = MANY_LAPLACES, loss: PrivacyLoss = TEN_LAPLACES) -> Ledger:
    """A hold of many repetitions of which some were run."""
    return ended("commit", event=event, loss=loss, steps=steps)


def standing(ledger: Ledger) -> tuple[str, Decimal]:
    """What the one certificate says of its standing, and the total."""
    document = ledger.proof()
    report = accepted(document)
    (certificate,) = document["certificates"]
    return certificate["standing"], Decimal(report.epsilon or "-1")


ONCE = Decimal("0.333333333334")
"""What one Laplace operation costs here."""
NONE = Decimal(0)


# What is true is accepted, and counts for what is left.


@pytest.mark.parametrize(
    ("ledger", "expected"),
    [
        (ended(), ("stands", ONCE)),
        (ended("commit"), ("stands", ONCE)),
        (ended("expire"), ("stands", ONCE)),
        (ended("void"), ("voided", NONE)),
        (ended("commit", "adjust"), ("adjusted", NONE)),
        (ended("expire", "adjust"), ("adjusted", NONE)),
        (divided(10), ("stands", 10 * ONCE)),
        (divided(4), ("divided", 4 * ONCE)),
        (divided(0), ("divided", NONE)),
        (ended("commit", "adjust", event=MANY_LAPLACES, loss=TEN_LAPLACES, steps=4), ("adjusted", NONE)),
    ],
)
def test_every_way_to_end_is_accepted_and_counted(ledger: Ledger, expected: tuple[str, Decimal]) -> None:
    """Silence counts as spent, a void and an adjustment as nothing, a part for the part."""
    assert standing(ledger) == expected


def test_what_was_spent_at_once_may_be_adjusted() -> None:
    """By the operator's statement alone."""
    ledger = Ledger(WIDE)
    ledger.adjust(ledger.allocate(CLAIM))
    assert standing(ledger) == ("adjusted", NONE)


def test_the_report_says_on_whose_word_a_charge_was_taken_back() -> None:
    """The engine's for a void and for a part, the operator's for an adjustment."""
    facts = {end: "\n".join(accepted(ended(*end.split()).proof()).facts) for end in ("void", "commit adjust")}
    assert "voided on the engine's statement that no data was read" in facts["void"]
    assert "on an operator's statement that nothing was released" in facts["commit adjust"]
    assert "on the engine's statement of how many were run" in "\n".join(accepted(divided(4).proof()).facts)


# A part.


@pytest.mark.parametrize(
    ("event", "loss", "back"),
    [
        (MANY_LAPLACES, TEN_LAPLACES, [True, True, True]),
        # A price of the whole plan is not given back, however many repetitions were run.
        (MANY_LAPLACES, PrivacyLoss(3 * ONCE, Decimal("1e-6")), [False, True, True]),
        (MANY_GAUSSIANS, EVERY["many Gaussians"][1], [False, True, True]),
        (SelfComposedEvent(CLAIM, 10), PrivacyLoss(10 * CLAIM.epsilon, 10 * CLAIM.delta), [True, True, True]),
        (
            SelfComposedEvent(ComposedEvent((LAPLACE, GAUSSIAN)), 10),
            PrivacyLoss(Decimal(9), DELTA),
            [False, True, True],
        ),
        (SelfComposedEvent(MANY_LAPLACES, 2), PrivacyLoss(20 * ONCE, Decimal(0)), [False, True, True]),
        (EVERY["training"][0], EVERY["training"][1], [False, True, False]),
    ],
)
def test_each_member_gives_back_what_it_charged_one_by_one(event: Event, loss: PrivacyLoss, back: list[bool]) -> None:
    """And nothing else; what the service decides is accepted in every case."""
    ledger = divided(1, event, loss)
    charge = ledger.entries[-1].charge
    assert charge is not None
    assert [cost.amount > 0 for cost in charge.costs] == back
    accepted(ledger.proof())


@pytest.mark.parametrize("steps", [1, 7])
def test_a_plan_at_the_tightest_price_is_accepted_when_it_stops_early(steps: int) -> None:
    """Whichever theorem priced it."""
    accepted(divided(steps, MANY_LAPLACES, plan_price(MANY_LAPLACES, Decimal("1e-6"))).proof())


def change_back(member: str, currency: str, amount: Decimal) -> dict[str, Any]:
    """A document in which a member gave back another amount, and the balances follow."""

    def change(body: dict[str, Any]) -> None:
        less = amount - Decimal(body["charge"][member][currency])
        body["charge"][member][currency] = decimal_text(amount)
        body["spent"][member][currency] = decimal_text(Decimal(body["spent"][member][currency]) - less)

    return lie(divided(4).proof(), 3, change)


@pytest.mark.parametrize(("member", "currency"), [("basic", "epsilon"), ("renyi", "renyi"), ("zcdp", "rho")])
def test_no_member_gives_back_more_or_less_than_what_was_not_run(member: str, currency: str) -> None:
    """Exactly the repetitions that were not run, or nothing."""
    given = {cost["member"]: cost["amount"] for cost in given_back(divided(4).entries[-1])}[member]
    for amount in (given + Decimal("1e-12"), given - Decimal("1e-12"), given / 6 * 7):
        refused(change_back(member, currency, amount), f"the tenant's {member} filter gave back another cost than that")


def given_back(entry: Entry) -> list[dict[str, Any]]:
    """What each member gave back."""
    assert entry.charge is not None
    return [
        {"member": member.kind.value, "amount": cost.amount}
        for member, cost in zip(entry.budget.members, entry.charge.costs, strict=True)
    ]


def test_a_price_of_the_whole_is_not_given_back_in_parts() -> None:
    """An epsilon that holds for the plan as a whole holds for nothing else."""
    loss = PrivacyLoss(3 * ONCE, Decimal("1e-6"))

    def change(body: dict[str, Any]) -> None:
        body["charge"]["basic"] = {"epsilon": decimal_text(ONCE), "delta": "0"}
        body["spent"]["basic"]["epsilon"] = decimal_text(2 * ONCE)

    document = lie(divided(4, loss=loss).proof(), 3, change)
    refused(document, "the tenant's basic filter gave back another cost than that of the repetitions that were not run")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda body: body.update(details={"steps": 11}), "does not consist of so many repetitions"),
        (lambda body: body.update(details={"steps": 5}), "gave back another cost than that of the repetitions"),
        (lambda body: body.update(at="2026-01-02T05:04:05.000678Z"), "after the hold's time had passed"),
    ],
)
def test_a_part_that_no_ledger_gives_back_is_refused(change: Change, reason: str) -> None:
    """More steps than there were, other steps than were charged, too late."""
    refused(lie(divided(4).proof(), 3, change), reason)


def test_a_part_of_what_does_not_repeat_is_refused() -> None:
    """Only repetitions can be counted."""
    document = ended("commit").proof()
    nothing = {name: {"delta": "0", currency: "0"} for name, currency in CURRENCIES.items()}
    refused(
        lie(document, 3, lambda body: body.update(details={"steps": 1}, charge=nothing)),
        "steps were committed of an operation that does not consist of so many repetitions",
    )


CURRENCIES = {"basic": "epsilon", "renyi": "renyi", "zcdp": "rho"}


def test_the_total_counts_what_is_left_and_nothing_less() -> None:
    """The step of the total says how many were run, and rests on the price of one."""
    document = divided(4).proof()
    (step,) = document["total"]["derivation"]["premises"]
    assert step["statement"] == (
        "Of 10 repetitions, each of which was charged by itself, 4 were run. What was run is (1.333333333336, "
        "0)-differentially private."
    )
    for numbers in ({"steps": "3"}, {"count": "9"}, {"epsilon": "1"}, {"delta": "1"}):
        document = divided(4).proof()
        (step,) = document["total"]["derivation"]["premises"]
        step["numbers"].update(numbers)
        step["statement"] = RULES["divided"].statement("epsilon", step["numbers"])
        refused(document, "the total does not rest on exactly the certificates that stand")


def test_what_is_whole_is_not_counted_as_a_part() -> None:
    """The total of what stands whole rests on its price, not on a part of it."""
    document = divided(10).proof()
    document["total"] = divided(4).proof()["total"]
    refused(document, "the total does not rest on exactly the certificates that stand")


def test_a_part_that_is_counted_whole_is_refused() -> None:
    """Also where that is the larger number: the total says what the entries come to."""
    document = divided(4).proof()
    document["total"] = divided(10).proof()["total"]
    refused(document, "the total does not rest on exactly the certificates that stand")


# Voids.


def test_a_voided_allocation_counts_as_zero() -> None:
    """A job whose one hold was voided costs nothing."""
    report = accepted(ended("void").proof())
    assert (report.epsilon, report.delta) == ("0", "0")


def test_a_void_that_is_not_shown_is_refused() -> None:
    """An allocation counts as zero only with the ledger entry that voided it."""
    document = sample()
    document["certificates"][VOIDED]["later"] = []
    refused(document, "it says that the allocation is voided, which is not what its entries come to")


@pytest.mark.parametrize(
    ("ledger", "said"), [(ended("void"), "stands"), (ended("void"), "adjusted"), (divided(4), "stands")]
)
def test_a_certificate_says_what_its_entries_come_to(ledger: Ledger, said: str) -> None:
    """Neither more nor less than what they show."""
    document = ledger.proof()
    document["certificates"][0]["standing"] = said
    refused(document, f"it says that the allocation is {said}, which is not what its entries come to")


def test_a_void_after_the_hold_ran_out_is_refused() -> None:
    """From then on a hold counts as spent for good."""
    document = lie(ended("void").proof(), 3, lambda body: body.update(at="2026-01-02T04:04:06.000678Z"))
    refused(document, "the hold was voided after its time had passed, when it counted as spent for good")


def test_a_void_of_what_was_spent_at_once_is_refused() -> None:
    """Only a hold can be voided."""

    def consumed(body: dict[str, Any]) -> None:
        body.update(kind="consumed")
        body.pop("due_at")

    refused(lie(ended("void").proof(), 2, consumed), "only a hold can be voided")


def test_a_void_of_another_amount_is_refused() -> None:
    """A void takes out what the hold put in."""

    def more(body: dict[str, Any]) -> None:
        body["charge"]["basic"]["epsilon"] = "2"

    refused(lie(ended("void").proof(), 3, more), "the void takes out another charge than the allocation put in")


# Expiry.


def test_a_hold_that_expires_early_is_refused() -> None:
    """Its time must have passed."""
    document = lie(ended("expire").proof(), 3, lambda body: body.update(at="2026-01-02T04:04:04.000678Z"))
    refused(document, "the hold expired before its time had passed")


def test_a_commit_needs_no_time() -> None:
    """It costs nothing more, so it may come late; but only a hold is committed."""
    accepted(lie(ended("commit").proof(), 3, lambda body: body.update(at="2027-01-02T04:04:04.000678Z")))
    ledger = Ledger(WIDE)
    ledger.allocate(LAPLACE)
    head = ledger.entries[-1]
    without = dict.fromkeys(("charge", "event", "idempotency_key", "request_hash", "details"))
    ledger.append(replace(head, seq=3, kind=EntryKind.COMMITTED, prev_hash=head.hash, **without))  # type: ignore[arg-type]
    refused(ledger.proof(), "only a hold can be committed")


# Adjustments.


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda body: body["charge"]["basic"].update(epsilon="3.3"), "the adjustment takes out another charge than"),
        (lambda body: body["charge"]["zcdp"].update(rho="0.1"), "the adjustment takes out another charge than"),
    ],
)
def test_an_adjustment_takes_back_what_is_left(change: Change, reason: str) -> None:
    """All that was not given back before, and nothing else."""
    ledger = ended("commit", "adjust", event=MANY_LAPLACES, loss=TEN_LAPLACES, steps=4)
    accepted(ledger.proof())
    refused(lie(ledger.proof(), 4, change), reason)


def made_of(ledger: Ledger, kinds: list[EntryKind]) -> dict[str, Any]:
    """The proof of a history whose later entries come in another order, or more than once."""
    opening, *later = ledger.entries[1:]
    found = {entry.kind: entry for entry in later}
    shuffled = Ledger(WIDE)
    shuffled.append(opening)
    for kind in kinds:
        head = shuffled.entries[-1]
        shuffled.append(replace(found[kind], seq=head.seq + 1, prev_hash=head.hash))
    return shuffled.proof()


@pytest.mark.parametrize(
    ("ends", "kinds", "reason"),
    [
        (("commit", "adjust"), ["adjusted"], "a hold was adjusted while it was open"),
        (("commit", "adjust"), ["adjusted", "committed"], "or is adjusted before it has ended"),
        (("commit", "adjust"), ["committed", "committed"], "an allocation ends at most once"),
        (("commit", "adjust"), ["committed", "adjusted", "adjusted"], "and is adjusted at most once"),
    ],
)
def test_an_allocation_ends_once_and_is_adjusted_after_that(
    ends: tuple[str, ...], kinds: list[str], reason: str
) -> None:
    """One end, one adjustment, in this order."""
    refused(made_of(ended(*ends), [EntryKind(kind) for kind in kinds]), reason)


def test_what_was_voided_is_not_adjusted() -> None:
    """Nothing is left to take back."""
    voided, adjusted = ended("void"), ended("commit", "adjust")
    voided.append(replace(adjusted.entries[-1], prev_hash=voided.entries[-1].hash))
    refused(voided.proof(), "what was voided was adjusted as well")


def test_an_end_that_is_no_end_is_refused() -> None:
    """An opening does not settle another allocation."""
    document = sample()
    document["certificates"][COMMITTED]["later"] = [document["certificates"][0]["entry"]]
    refused(document, "a consumed entry ends no allocation")
    refused(document, "belongs to another allocation")


def test_an_end_before_the_opening_is_refused() -> None:
    """By their positions."""
    document = ended("commit").proof(alone=True)
    with_body(document["certificates"][0]["later"][0], lambda body: body.update(seq=1))
    document["certificates"][0]["later"][0]["seq"] = 1
    refused(document, "the allocation ends before it is opened")


# The operator's statement.


def test_an_operators_signature_is_checked_where_the_key_is_given() -> None:
    """Otherwise the report says that it was not."""
    document = ended("commit", "adjust").proof()
    assert any("whose signature was not checked" in fact for fact in accepted(document).facts)
    report = accepted(document, operator_keys=[STRANGER.public_jwk, OPERATOR.public_jwk])
    assert any(f"whose signature was checked ({OPERATOR.kid})" in fact for fact in report.facts)
    for keys in ([STRANGER.public_jwk], [SIGNER.public_jwk], []):
        refused(document, "entry at position 4: ", operator_keys=list(keys))


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"allocation_id": "another"}, "the operator's statement is about another allocation"),
        ({"tenant_id": "another"}, "the operator's statement is about another allocation"),
        ({"surplus": "x"}, "the operator's statement does not have the members of one"),
    ],
)
def test_an_operators_statement_about_something_else_is_refused(claims: dict[str, str], reason: str) -> None:
    """It is about this allocation of this tenant, and in the form of a statement."""
    ledger = Ledger(WIDE)
    ledger.adjust(ledger.allocate(CLAIM), OPERATOR, **claims)
    accepted(ledger.proof())
    refused(ledger.proof(), reason, operator_keys=[OPERATOR.public_jwk])


@pytest.mark.parametrize("statement", ["", "a.b", "..", "e30.e30.e30", OPERATOR.sign(b"[]"), OPERATOR.sign(b"\xff")])
def test_what_is_no_statement_is_refused(statement: str) -> None:
    """With a reason, never an exception."""
    ledger = Ledger(WIDE)
    ledger.adjust(ledger.allocate(CLAIM))
    document = lie(ledger.proof(), 3, lambda body: body.update(details={"statement": statement}))
    refused(document, "entry at position 3: ", operator_keys=[OPERATOR.public_jwk])


# On data sets.


def on_datasets() -> Ledger:
    """A void, a part and an adjustment, each of a charge on a data set."""
    ledger = Ledger(WIDE)
    ledger.register(PATIENTS, ALL_MEMBERS)
    ledger.register(VISITS, WIDE)
    holds = [
        ledger.allocate(MANY_LAPLACES, loss=TEN_LAPLACES, ttl_seconds=3_600, on=place)
        for place in (("patients", "north"), ("visits", None), ("visits", "2024"))
    ]
    ledger.void(holds[0])
    ledger.commit(holds[1], steps=4)
    ledger.commit(holds[2], steps=5)
    ledger.adjust(holds[2])
    return ledger


def test_what_is_taken_back_is_taken_back_everywhere() -> None:
    """From the tenant's budget and from the data set's, each by its own members."""
    accepted(on_datasets().proof())


@pytest.mark.parametrize(
    ("seq", "change", "reason"),
    [
        (7, lambda body: body.pop("dataset"), "the void takes out another charge than the allocation put in on its"),
        (7, lambda body: body["dataset"].update(partition="south"), "the void takes out another charge than the"),
        (7, lambda body: body["dataset"]["charge"]["gdp"].update(delta="1"), "the void takes out another charge than"),
        (8, lambda body: body.pop("dataset"), "the commit gives back something on another data set than was charged"),
        (8, lambda body: body["dataset"].update(partition="2024"), "gives back something on another data set than"),
        (8, lambda body: body["dataset"]["charge"]["zcdp"].update(rho="0.3"), "the data set's zcdp filter gave back"),
        (10, lambda body: body.pop("dataset"), "the adjustment takes out another charge than the allocation put in on"),
        (10, lambda body: body["dataset"]["charge"]["zcdp"].update(rho="0.3"), "the adjustment takes out another"),
    ],
)
def test_what_is_taken_back_elsewhere_is_refused(seq: int, change: Change, reason: str) -> None:
    """On no other data set, on no other part, and no other amount."""
    refused(lie(on_datasets().proof(), seq, change), reason)


def test_an_end_under_other_member_filters_is_refused() -> None:
    """What it takes out cannot be compared."""
    document = ended("void").proof(alone=True)

    def fewer(body: dict[str, Any]) -> None:
        for name in ("budget", "spent", "charge"):
            body[name].pop("zcdp")

    with_body(entries_of(document)[-1], fewer)
    refused(document, "the entry at position 3 has other member filters than the charge")
