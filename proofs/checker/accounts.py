"""How the entries of a data set follow each other, where those between them are all at hand.

A data set has an account for the whole of it and one for each partition. An entry carries the sum on the account that
it touches, and the exposure that it was admitted on. Where the history is there from its beginning every account is
known, and the exposure is derived; where it is not, the known accounts are a bound that it cannot be below.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from fractions import Fraction

from proofs.checker.datasets import Account, Registration
from proofs.checker.values import Budget, Cost, Costs, difference_of, sum_of, total


class Accounts:
    """The accounts of a run of entries as they are read, one after the other. What is not known is not faulted."""

    def __init__(self, whole_history: bool) -> None:
        """Before any entry.

        Args:
            whole_history: Whether the next entry is a history's first, so that nothing was before.
        """
        self._whole_history = whole_history
        self._registered: dict[str, tuple[Budget, Registration]] = {}
        self._spent: dict[tuple[str, str | None], Costs] = {}
        self._rankings: dict[tuple[str, str], _Ranking] = {}

    def check(self, account: Account, sign: int) -> Iterator[str]:
        """Whether the entry's account follows from what is known, which it then adds to.

        Args:
            account: What the entry says.
            sign: 1 if its charge was added, -1 if it was taken out, 0 if it registers.
        """
        known = self._registered.get(account.dataset_id)
        if known is None and self._whole_history and account.registration is None:
            yield "it charges a data set that was never registered"
        if known is not None and account.budget.kept() != known[0].kept():
            yield "the data set's member filters are not those that it was registered with"
            return
        if known is not None:
            yield from _check_registered(account, *known)
        before = self._spent.get(account.name, account.budget.nothing() if self._whole_history else None)
        if before is not None and before.keys() == account.spent.keys():
            charge = account.charge or account.budget.nothing()
            if account.spent != (difference_of(before, charge) if sign < 0 else sum_of(before, charge)):
                yield "the sum on the data set does not follow from the entries before"
        self._remember(account)
        if account.exposed is not None:
            yield from self._check_exposure(account, account.exposed, known)

    def _remember(self, account: Account) -> None:
        before = self._spent.get(account.name)
        self._spent[account.name] = account.spent
        if account.partition is not None:
            for member, cost in account.spent.items():
                ranking = self._rankings.setdefault((account.dataset_id, member), _Ranking())
                ranking.replace(None if before is None else before.get(member), cost)
        if account.registration is not None:
            self._registered[account.dataset_id] = account.budget, account.registration

    def _check_exposure(
        self, account: Account, exposed: Costs, known: tuple[Budget, Registration] | None
    ) -> Iterator[str]:
        partitions = 2 if known is not None and known[1].adjacency == "replace_one" else 1
        whole = self._spent.get((account.dataset_id, None), {})
        for member, stated in exposed.items():
            costs = [whole[member]] if member in whole else []
            ranking = self._rankings.get((account.dataset_id, member), _Ranking())
            if account.partition is None:
                costs.append(ranking.largest(partitions))
            else:
                own = account.spent[member]
                costs += [own, ranking.largest(partitions - 1, without=own)]
            least = total(costs)
            if not least.within(stated) or (self._whole_history and least != stated):
                yield f"the exposure that the data set's {member} filter counts does not follow from the sums on it"


def _check_registered(account: Account, budget: Budget, registration: Registration) -> Iterator[str]:
    if account.registration is None and account.budget != budget:
        yield "the data set's budget is not the one that was registered"
    if account.registration is not None and not account.budget.covers(budget):
        yield "the data set's budget was lowered"
    if account.registration is not None and not account.registration.extends(registration):
        yield "the data set was registered anew with another unit, adjacency or partitions"
    if account.partition is not None and account.partition not in registration.partitions:
        yield "it charges a partition that was never registered"


class _Ranking:
    """The sums on a data set's partitions, in order, so that the largest is found at once however many there are."""

    def __init__(self) -> None:
        self._amounts: list[Fraction] = []
        self._deltas: list[Fraction] = []

    def replace(self, before: Cost | None, after: Cost) -> None:
        """Counts a partition's new sum instead of its old one; None for a partition that is new."""
        for ranked, place in ((self._amounts, 0), (self._deltas, 1)):
            if before is not None:
                del ranked[bisect_left(ranked, before[place])]
            insort(ranked, after[place])

    def largest(self, count: int, without: Cost | None = None) -> Cost:
        """The sum of so many largest amounts, and of so many largest deltas, each taken by themselves.

        Args:
            count: How many.
            without: The sum on a partition that is not meant; None if all are.
        """
        return Cost(
            _largest(self._amounts, count, None if without is None else without.amount),
            _largest(self._deltas, count, None if without is None else without.delta),
        )


def _largest(ranked: list[Fraction], count: int, without: Fraction | None) -> Fraction:
    top = ranked[-(count + 1) :]
    if without is not None:
        # One that is not among the largest stands for the smallest of them, which is not needed then.
        top.remove(without if without in top else top[0])
    return sum(top[len(top) - count :] if len(top) > count else top, Fraction(0)) if count else Fraction(0)
