"""Budgets and sums as an entry's body has them, read strictly."""

from collections.abc import Set as AbstractSet

from proofs.certificate import MalformedError, checked_decimal
from proofs.checker.values import MEMBERS, Budget, Cost, Costs, Member, number

_BESIDE_THE_CAP: dict[str, AbstractSet[str]] = {
    "renyi": {"conversion_delta", "order"},
    "zcdp": {"conversion_delta"},
    "gdp": {"conversion_delta"},
}


def read_budget(data: object, version: int, where: str = "budget") -> Budget:
    """A promise and the member filters that keep it.

    Args:
        data: Parsed JSON.
        version: The entry's. Version 1 has the basic filter alone, whose cap is the promise.
        where: The member's name, for messages.

    Raises:
        MalformedError: If it is anything else.
    """
    named = {"promise"} if version > 1 else set()
    wanted = set(MEMBERS) if version > 1 else {"basic"}
    if not isinstance(data, dict) or not {"basic"} | named <= data.keys() <= wanted | named:
        raise MalformedError(f"the body's {where} is not made of member filters that this checker knows")
    members = {name: _member(data[name], f"{where}.{name}", name) for name in MEMBERS if name in data}
    promise = _cost(data["promise"], f"{where}.promise", "basic") if version > 1 else members["basic"].cap
    return Budget(promise, members)


def read_costs(data: object, where: str, budget: Budget) -> Costs:
    """What each member of a budget counted.

    Raises:
        MalformedError: If it is anything else.
    """
    if not isinstance(data, dict) or data.keys() != budget.members.keys():
        raise MalformedError(f"the body's {where} does not stand under the budget's member filters")
    return {member: _cost(data[member], f"{where}.{member}", member) for member in budget.members}


def _member(data: object, where: str, name: str) -> Member:
    cap = _cost(data, where, name, _BESIDE_THE_CAP.get(name, frozenset()))
    assert isinstance(data, dict)
    order = data.get("order")
    if order is not None and (type(order) is not int or order < 2):
        raise MalformedError(f"the body's {where}.order is not a whole number from 2")
    delta = checked_decimal(data.get("conversion_delta", "0"), f"the body's {where}.conversion_delta")
    return Member(cap, number(delta), order)


def _cost(data: object, where: str, member: str, extra: AbstractSet[str] = frozenset()) -> Cost:
    names = (MEMBERS[member], "delta")
    if not isinstance(data, dict) or data.keys() != {*names, *extra}:
        raise MalformedError(f"the body's {where} is not {' and '.join(sorted({*names, *extra}))}")
    amount, delta = (checked_decimal(data[part], f"the body's {where}.{part}") for part in names)
    return Cost(number(amount), number(delta))
