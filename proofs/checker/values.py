"""What the checker counts with: exact fractions, and what it reads of a ledger's budget."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from proofs.certificate import EPSILON, MU_SQUARED, RENYI, RHO

MEMBERS: Mapping[str, str] = {"basic": EPSILON, "renyi": RENYI, "zcdp": RHO, "gdp": MU_SQUARED}
"""What each member filter counts, by its name in the ledger."""


number = lru_cache(maxsize=16_384)(Fraction)
"""The number that a checked text stands for. Texts repeat throughout a document, and reading one takes microseconds."""


class Cost(NamedTuple):
    """An amount in some currency and the deltas beside it, exact."""

    amount: Fraction
    delta: Fraction

    def plus(self, other: "Cost") -> "Cost":
        """The sum of both."""
        return Cost(self.amount + other.amount, self.delta + other.delta)

    def minus(self, other: "Cost") -> "Cost":
        """The difference of both."""
        return Cost(self.amount - other.amount, self.delta - other.delta)

    def times(self, count: Fraction) -> "Cost":
        """The sum of that many."""
        return Cost(self.amount * count, self.delta * count)

    def within(self, cap: "Cost") -> bool:
        """Whether neither part exceeds the cap's."""
        return self.amount <= cap.amount and self.delta <= cap.delta


NOTHING = Cost(Fraction(0), Fraction(0))
Costs = Mapping[str, Cost]
"""What was counted, by member."""


@dataclass(frozen=True, slots=True)
class Member:
    """A member filter of a budget, as the ledger has it.

    Attributes:
        cap: What may be spent.
        conversion_delta: What the conversion of the amount costs; 0 where nothing is converted.
        order: The Renyi order that the member is committed to, None for other members.
    """

    cap: Cost
    conversion_delta: Fraction
    order: int | None


@dataclass(frozen=True, slots=True)
class Budget:
    """A promise and the members that keep it.

    Attributes:
        promise: The promised (epsilon, delta).
        members: By name, in the order of `MEMBERS`; basic at least.
    """

    promise: Cost
    members: Mapping[str, Member]

    def kept(self) -> list[tuple[str, int | None]]:
        """What never changes as a budget is raised."""
        return [(name, member.order) for name, member in self.members.items()]

    def nothing(self) -> Costs:
        """The sums over an empty history."""
        return dict.fromkeys(self.members, NOTHING)

    def covers(self, other: "Budget") -> bool:
        """Whether no promise, cap or share is lower than the other's, which has the same members."""
        return other.promise.within(self.promise) and all(
            theirs.cap.within(ours.cap) and theirs.conversion_delta <= ours.conversion_delta
            for ours, theirs in zip(self.members.values(), other.members.values(), strict=True)
        )


def total(costs: Iterable[Cost]) -> Cost:
    """The sum of all."""
    found = NOTHING
    for cost in costs:
        found = found.plus(cost)
    return found


def sum_of(earlier: Costs, later: Costs) -> Costs:
    """The sums, member by member. Both have the same members."""
    return {name: cost.plus(later[name]) for name, cost in earlier.items()}


def difference_of(earlier: Costs, later: Costs) -> Costs:
    """The differences, member by member. Both have the same members."""
    return {name: cost.minus(later[name]) for name, cost in earlier.items()}
