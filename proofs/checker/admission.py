"""The rules that admit a charge to a budget, and the one that adds up what a job's allocations cost."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

from proofs.certificate import FILTER_RULES, RENYI, Node
from proofs.checker import balls
from proofs.checker.events import Event
from proofs.checker.kernel import check_pricing, cost_in
from proofs.checker.values import Budget, Cost, Costs, Member, number, total

Reasons = Iterator[str]


class Division(NamedTuple):
    """An operation of which fewer repetitions were run than were charged, each by itself.

    Attributes:
        charged: How many were charged.
        run: How many were run.
        once: What each cost.
    """

    charged: Fraction
    run: Fraction
    once: Cost


def check_admission(node: Node, charge: Costs, spent: Costs, budget: Budget, event: Event) -> Reasons:
    """Whether the step is an admission by a set of filters, and its premises those of the budget's members.

    Args:
        node: A step of one of the `proofs.certificate.ADMISSION_RULES`.
        charge: What the ledger charged, by member.
        spent: What the budget, or the account of a data set, had counted after the charge, by the ledger.
        budget: The promise and caps in force, by the ledger.
        event: What was charged.
    """
    promise = Cost(number(node.numbers["promise_epsilon"]), number(node.numbers["promise_delta"]))
    if promise != budget.promise:
        yield "the admission step's promise is not the ledger's"
    if [step.rule for step in node.premises] != [FILTER_RULES[name] for name in budget.members]:
        yield "the admission does not rest on the budget's member filters, each once and in order"
        return
    if sum(member.cap.delta + member.conversion_delta for member in budget.members.values()) > promise.delta:
        yield "the members' shares of delta sum to more than the promised delta"
    if budget.members["basic"].cap.amount != promise.amount:
        yield "the basic filter's cap is not the promised epsilon"
    holding = sum(spent[name].within(member.cap) for name, member in budget.members.items())
    if holding == 0:
        yield "the balance exceeds the cap of every member filter"
    if number(node.numbers["holding"]) != holding:
        yield f"the admission step says that {node.numbers['holding']} filters hold, not {holding}"
    for step, (name, member) in zip(node.premises, budget.members.items(), strict=True):
        reasons = [*_filter(step, charge[name], spent[name], member), *_cap_keeps(step, member, promise.amount)]
        yield from (f"{name} filter: {reason}" for reason in (*reasons, *check_pricing(step.premises[0], event)))


def _filter(node: Node, charge: Cost, spent: Cost, member: Member) -> Reasons:
    """Whether the step adds the charge to the balance of one member: before + charge = after."""

    def part(name: str) -> Cost:
        return Cost(number(node.numbers[f"{name}_{node.currency}"]), number(node.numbers[f"{name}_delta"]))

    for name, by_ledger in (("charge", charge), ("after", spent), ("cap", member.cap)):
        if part(name) != by_ledger:
            yield f"the balance step's {name} is not the ledger's"
    if part("before").plus(part("charge")) != part("after"):
        yield "the balance does not add up: before + charge is not after"
    if part("charge") != cost_in(node.premises[0]):
        yield "the balance step charges another cost than its premise derives"
    if node.currency == RENYI and node.premises[0].numbers["order"] != node.numbers["order"]:
        yield "the charge is derived at another Renyi order than the filter's"


def _cap_keeps(node: Node, member: Member, promise: Fraction) -> Reasons:
    """Whether the member's cap, converted with the member's delta, keeps the promised epsilon."""
    if node.rule == FILTER_RULES["basic"]:
        return
    cap, delta, order = member.cap.amount, member.conversion_delta, number(node.numbers.get("order", "0"))
    if number(node.numbers["conversion_delta"]) != delta or number(node.numbers["promise_epsilon"]) != promise:
        yield "the balance step converts with another delta, or to another epsilon, than the ledger's"
    if node.currency == RENYI and order != member.order:
        yield "the balance step's order is not the one that the ledger's filter is committed to"
    match node.rule:
        case "renyi_filter":
            kept = balls.renyi_is_converted(cap, order, delta, promise)
        case "zcdp_filter":
            kept = balls.renyi_is_converted(order * cap, order, delta, promise)
        case _:
            kept = balls.mu_is_converted(cap, delta, promise)
    if not kept:
        yield "the cap does not keep the promised epsilon at the delta of the conversion"


def check_composition(node: Node, standing: Sequence[tuple[Node, Division | None]]) -> Reasons:
    """Whether the step sums exactly what stands (Dwork and Roth 2014, Theorem 3.16).

    Args:
        node: A step of rule ``basic_composition``.
        standing: For each certificate that stands the step that prices its event; and what is left of it where fewer
            repetitions were run.
    """
    if len(node.premises) != len(standing) or not all(
        premise == pricing if division is None else _divides(premise, pricing, division)
        for premise, (pricing, division) in zip(node.premises, standing, strict=True)
    ):
        yield "the total does not rest on exactly the certificates that stand"
    elif cost_in(node) != total([cost_in(premise) for premise in node.premises]):
        yield "the total is not the sum over the certificates that stand"


def _divides(node: Node, pricing: Node, division: Division) -> bool:
    if node.rule != "divided" or node.premises != (pricing,):
        return False
    stated = (number(node.numbers["count"]), number(node.numbers["steps"]), cost_in(node))
    return stated == (division.charged, division.run, division.once.times(division.run))
