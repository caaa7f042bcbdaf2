"""Data sets: whose data a budget protects, and how charges on parts of it add up.

A tenant's budget is a cap on what the tenant spends. A data set's budget is the guarantee to the people in it: it has a
privacy unit, an adjacency, and filters of its own that every allocation on the data set passes. A data set never
renews: what was learnt about a person last month is still known.

Registered partitions are disjoint parts of the privacy units, assigned without looking at the data that is protected
(by hospital, by year of birth). A person is in at most one of them, so what is done to another partition tells nothing
about that person: under add/remove each person's loss is what was charged on the whole data set plus what was charged
on the person's own partition, and the filter of that sum is the guarantee, however adaptively the partitions were
interleaved (parallel composition, McSherry 2009, Theorem 4; here with a filter for each person). Under replace-one a
neighbour may move one unit from a partition to another, so the two largest add. See proofs/statements/datasets.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import nlargest

from accounting.charges import Cost
from accounting.events import MAX_NAME, Adjacency, Event, FixedSizeGaussianEvent, leaves
from accounting.filters import Budget, Charge
from accounting.values import InvalidValueError

MAX_PARTITIONS = 1_000


@dataclass(frozen=True, slots=True)
class Dataset:
    """What is registered of a data set.

    Attributes:
        dataset_id: Its name, unique within the tenant.
        unit: The privacy unit: whose data is protected, such as ``patient``.
        adjacency: What neighbouring data sets are.
        partitions: Names of disjoint parts of the units; none where it has no parts.
        basis: How a unit's partition follows from something that does not depend on the protected data, in words; empty
            where there are no partitions.
    """

    dataset_id: str
    unit: str
    adjacency: Adjacency
    partitions: tuple[str, ...] = ()
    basis: str = ""

    def __post_init__(self) -> None:
        _check_name("dataset_id", self.dataset_id)
        _check_name("privacy_unit", self.unit)
        if len(self.partitions) > MAX_PARTITIONS:
            raise InvalidValueError("partitions", f"must be at most {MAX_PARTITIONS}")
        if len(set(self.partitions)) < len(self.partitions):
            raise InvalidValueError("partitions", "must have different names")
        for name in self.partitions:
            _check_name("partitions", name)
        if self.partitions and not self.basis.strip():
            reason = "is missing: say how a unit's partition follows from something other than the protected data"
            raise InvalidValueError("partition_basis", reason)
        if self.basis and not self.partitions:
            raise InvalidValueError("partition_basis", "belongs to partitions: name them, or leave it out")

    def extends(self, other: "Dataset") -> bool:
        """Whether this is the other data set, with at most partitions added: nothing else of a data set can change."""
        return (
            (self.dataset_id, self.unit, self.adjacency) == (other.dataset_id, other.unit, other.adjacency)
            and (not other.partitions or self.basis == other.basis)
            and self.partitions[: len(other.partitions)] == other.partitions
        )

    def refuses(self, event: Event, partition: str | None = None) -> str | None:
        """Why an event cannot be charged here: it is meant for other neighbours, or for another unit. None if it can.

        A sampled operation knows its adjacency; an event that says nothing takes over the data set's. A sample of fixed
        size needs a population that all neighbours share, which a partition has not: a unit may move into it.

        Args:
            event: What will be done.
            partition: To which partition alone; None for the whole data set.
        """
        for part in (event, *(leaf for leaf, _ in leaves(event))):
            if partition is not None and isinstance(part, FixedSizeGaussianEvent):
                return f"samples a fixed size, which only the whole of data set {self.dataset_id} has"
            if part.adjacency is not None and part.adjacency is not self.adjacency:
                return f"is meant for {part.adjacency} neighbours; data set {self.dataset_id} has {self.adjacency}"
            if part.unit is not None and part.unit != self.unit:
                return f"protects a {part.unit}; the privacy unit of data set {self.dataset_id} is a {self.unit}"
        return None


@dataclass(frozen=True, slots=True)
class DatasetState:
    """A data set and what was charged on it so far.

    Attributes:
        dataset: Its registration.
        budget: The guarantee to the people in it.
        whole: Sum of the charges on the whole data set, holds included.
        parts: Sums of the charges on partitions that have been charged.
    """

    dataset: Dataset
    budget: Budget
    whole: Charge
    parts: Mapping[str, Charge]

    def spent_on(self, partition: str | None) -> Charge:
        """The sum of the charges on a partition alone; without a name, on the whole data set."""
        return self.whole if partition is None else self.parts.get(partition, self.budget.nothing())

    def charged(self, partition: str | None, spent: Charge) -> "DatasetState":
        """The state with another sum for a partition, or for the whole data set."""
        if partition is None:
            return replace(self, whole=spent)
        return replace(self, parts={**self.parts, partition: spent})

    def exposure(self, partition: str | None = None) -> Charge:
        """The most that anyone in a partition (without a name: anyone at all) has been exposed to.

        Member by member, and amount and delta each by itself: nobody's exposure is larger in any of them, so a charge
        that is admitted on this sum is admitted for everybody.
        """
        counted = 1 if self.dataset.adjacency is Adjacency.ADD_REMOVE else 2
        if partition is None:
            return self.whole.plus(_largest(list(self.parts.values()), counted, self.budget.nothing()))
        own = self.whole.plus(self.spent_on(partition))
        if counted == 1:
            return own
        others = [spent for name, spent in self.parts.items() if name != partition]
        return own.plus(_largest(others, 1, self.budget.nothing()))

    def exposures(self) -> dict[str, Charge]:
        """The exposure of every partition. What the largest others add is looked for once, not once for each."""
        if self.dataset.adjacency is Adjacency.ADD_REMOVE:
            return {name: self.exposure(name) for name in self.dataset.partitions}
        # Where there are fewer than two, the largest others are nothing.
        spent = [self.budget.nothing(), self.budget.nothing(), *self.parts.values()]
        largest = [_two_largest(member) for member in zip(*(charge.costs for charge in spent), strict=True)]

        def exposed(own: Charge) -> Charge:
            others = [
                Cost(
                    second.amount if cost.amount == first.amount else first.amount,
                    second.delta if cost.delta == first.delta else first.delta,
                )
                for cost, (first, second) in zip(own.costs, largest, strict=True)
            ]
            return self.whole.plus(own).plus(Charge(tuple(others)))

        return {name: exposed(self.spent_on(name)) for name in self.dataset.partitions}


def _check_name(field: str, text: str) -> None:
    if not 1 <= len(text) <= MAX_NAME or not text.isprintable():
        raise InvalidValueError(field, f"must have 1 to {MAX_NAME} printable characters")


def _two_largest(costs: Sequence[Cost]) -> tuple[Cost, Cost]:
    """The largest and the second largest, amount and delta each by itself."""
    amounts = nlargest(2, [cost.amount for cost in costs])
    deltas = nlargest(2, [cost.delta for cost in costs])
    return Cost(amounts[0], deltas[0]), Cost(amounts[1], deltas[1])


def _largest(sums: list[Charge], count: int, nothing: Charge) -> Charge:
    """The sum of the `count` largest, member by member."""
    if not sums:
        return nothing
    costs = []
    for member in zip(*(spent.costs for spent in sums), strict=True):
        total = Cost(nothing.costs[0].amount)
        amounts = sorted((cost.amount for cost in member), reverse=True)[:count]
        deltas = sorted((cost.delta for cost in member), reverse=True)[:count]
        for amount, delta in zip(amounts, deltas, strict=True):
            total = total.plus(Cost(amount, delta))
        costs.append(total)
    return Charge(tuple(costs))
