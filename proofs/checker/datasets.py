"""What an entry says of the data set that it touches, read strictly."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from proofs.certificate import ADJACENCIES, MalformedError
from proofs.checker.amounts import read_budget, read_costs
from proofs.checker.events import Event
from proofs.checker.values import Budget, Costs


@dataclass(frozen=True, slots=True)
class Registration:
    """What is registered of a data set.

    Attributes:
        unit: The privacy unit.
        adjacency: One of `ADJACENCIES`.
        partitions: Names of its parts, in the order in which they were registered.
        basis: How units are assigned to them, in words; empty without partitions.
    """

    unit: str
    adjacency: str
    partitions: tuple[str, ...]
    basis: str

    def extends(self, other: "Registration") -> bool:
        """Whether this is the other one with at most partitions added."""
        return (
            (self.unit, self.adjacency) == (other.unit, other.adjacency)
            and (not other.partitions or self.basis == other.basis)
            and self.partitions[: len(other.partitions)] == other.partitions
        )

    def refuses(self, event: Event, partition: str | None) -> bool:
        """Whether the event, or a part of it, is meant for other neighbours, another unit, or more than a partition.

        A sample of fixed size needs the size of what it is drawn from to be known, which that of a partition is not.
        """
        return (
            event.adjacency not in (None, self.adjacency)
            or event.unit not in (None, self.unit)
            or (event.kind == "fixed_size_gaussian" and partition is not None)
            or any(self.refuses(part, partition) for part in event.parts)
        )


@dataclass(frozen=True, slots=True)
class Account:
    """What an entry says of the data set that it touches: of the whole of it, or of one registered partition.

    Attributes:
        dataset_id: Which.
        partition: The partition touched, None for the whole.
        budget: The data set's budget after the entry.
        spent: The sum of the charges on this partition, or on the whole, after the entry.
        charge: What the entry added or took out, None where it moves nothing.
        exposed: The most that anyone concerned was exposed to after the entry: the charges on the whole, those on the
            person's own partition, and under replace-one the largest on another. None where the entry moves nothing.
        registration: What a registration says, None in other entries.
    """

    dataset_id: str
    partition: str | None
    budget: Budget
    spent: Costs
    charge: Costs | None
    exposed: Costs | None
    registration: Registration | None

    @property
    def name(self) -> tuple[str, str | None]:
        """The account."""
        return self.dataset_id, self.partition


_ALWAYS = frozenset({"dataset_id", "budget", "spent"})
_OF_CHARGES = frozenset({"charge", "exposed"})
_OF_REGISTRATIONS = frozenset({"unit", "adjacency"})
_PARTED = frozenset({"partitions", "basis"})


def read_account(data: object, version: int, registers: bool) -> Account:
    """The member ``dataset`` of a body.

    Args:
        data: Parsed JSON.
        version: The entry's.
        registers: Whether the entry is one that registers.

    Raises:
        MalformedError: If it is anything else.
    """
    needed = _ALWAYS | (_OF_REGISTRATIONS if registers else _OF_CHARGES)
    possible = _PARTED if registers else frozenset({"partition"})
    if not isinstance(data, dict) or data.keys() not in (needed, needed | possible):
        raise MalformedError("the body's dataset does not have the members that belong to its kind of entry")
    budget = read_budget(data["budget"], version, "dataset.budget")
    return Account(
        dataset_id=_name(data["dataset_id"], "dataset_id"),
        partition=_name(data["partition"], "partition") if "partition" in data else None,
        budget=budget,
        spent=read_costs(data["spent"], "dataset.spent", budget),
        charge=None if registers else read_costs(data["charge"], "dataset.charge", budget),
        exposed=None if registers else read_costs(data["exposed"], "dataset.exposed", budget),
        registration=_registration(data) if registers else None,
    )


def _registration(data: Mapping[str, Any]) -> Registration:
    if data["adjacency"] not in ADJACENCIES:
        raise MalformedError("the body's dataset.adjacency is none that this checker knows")
    partitions = data.get("partitions", ())
    if "partitions" in data and (not isinstance(partitions, list) or not partitions):
        raise MalformedError("the body's dataset.partitions are no list, or an empty one")
    names = tuple([_name(name, "partitions") for name in partitions])
    if len(set(names)) < len(names):
        raise MalformedError("the body's dataset names a partition twice")
    return Registration(
        unit=_name(data["unit"], "unit"),
        adjacency=data["adjacency"],
        partitions=names,
        basis=_name(data["basis"], "basis") if names else "",
    )


def _name(data: object, member: str) -> str:
    if not isinstance(data, str) or not data:
        raise MalformedError(f"the body's dataset.{member} is not text")
    return data
