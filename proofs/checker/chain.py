"""The ledger's side of a proof: what an entry's body says, that its hash is right, how entries follow each other."""

import hashlib
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from itertools import pairwise

import rfc8785

from proofs.certificate import ChainEntry, MalformedError, checked_decimal, parse_json, quoted
from proofs.checker.events import Event, read_event
from proofs.checker.values import MEMBERS, NOTHING, Budget, Cost, Costs, Member, difference_of, sum_of

OPENINGS = ("consumed", "held")
_KINDS = (*OPENINGS, "committed", "voided", "budget_set")
VERSIONS = (1, 2)
"""The versions of entries that are read. Version 1 has the basic filter alone, whose cap is the promise."""
_NAMES = frozenset(
    "v tenant_id seq kind at budget spent charge event operations period_start allocation_id job_id source_engine "
    "idempotency_key request_hash details actor prev_hash".split()
)
_GENESIS = "0" * 64


@dataclass(frozen=True, slots=True)
class Body:
    """What the checker reads in an entry's body.

    Attributes:
        tenant_id: Whose history.
        seq: Position.
        kind: One of `_KINDS`.
        at: When, by the ledger's clock.
        job_id: The job, None for entries of no job.
        allocation_id: The allocation, None for entries of none.
        budget: The promise and the members after the entry.
        spent: The sum of charges after the entry, by member.
        charge: What an opening added or a void took out, by member; nothing otherwise.
        event: What an opening charged, None otherwise.
        operations: The number of allocations after the entry.
        ttl_seconds: For a hold, how long it may be voided; 0 where the body names no time.
        prev_hash: Hash of the entry before, hexadecimal.
        hash: Hash of this entry, hexadecimal, as computed here.
    """

    tenant_id: str
    seq: int
    kind: str
    at: datetime
    job_id: str | None
    allocation_id: str | None
    budget: Budget
    spent: Costs
    charge: Costs
    event: Event | None
    operations: int
    ttl_seconds: int
    prev_hash: str
    hash: str

    def moved(self) -> tuple[Costs, int]:
        """What the entry added to the spent sums, and to the number of allocations."""
        if self.kind in OPENINGS:
            return self.charge, 1
        nothing = dict.fromkeys(self.budget.members, NOTHING)
        if self.kind == "voided":
            return difference_of(nothing, self.charge), -1
        return nothing, 0


def read_body(entry: ChainEntry) -> Body:
    """The body of an entry, once its hash and its canonical form (RFC 8785) are checked.

    Raises:
        MalformedError: If the hash is wrong, the text is not canonical, or the body is not that of an entry.
    """
    computed = hashlib.sha256(entry.body.encode()).hexdigest()
    if computed != entry.hash:
        raise MalformedError("the hash is not that of the body")
    data = parse_json(entry.body)
    if not isinstance(data, dict) or data.keys() != _NAMES:
        raise MalformedError("the body does not have the members of a ledger entry")
    try:
        canonical = rfc8785.dumps(data)
    except (ValueError, RecursionError):
        raise MalformedError("the body has no canonical form") from None
    if canonical != entry.body.encode():
        raise MalformedError("the body is not in canonical form")
    if data["v"] not in VERSIONS or type(data["v"]) is not int:
        raise MalformedError(f"the body is of version {quoted(data['v'])}, this checker knows versions 1 and 2")
    kind = data["kind"]
    if kind not in _KINDS:
        raise MalformedError(f"the body's kind {quoted(kind)} is not known")
    if data["seq"] != entry.seq or type(data["seq"]) is not int:
        raise MalformedError(f"the body stands at position {quoted(data['seq'])}, the document says {entry.seq}")
    if not isinstance(data["tenant_id"], str):
        raise MalformedError("the body's tenant_id is not text")
    for name in ("job_id", "allocation_id"):
        if not isinstance(data[name], str | None):
            raise MalformedError(f"the body's {name} is not text")
    if type(data["operations"]) is not int:
        raise MalformedError("the body's operations is not a whole number")
    if not isinstance(data["prev_hash"], str):
        raise MalformedError("the body's prev_hash is not text")
    budget = _budget(data["budget"], data["v"])
    nothing = dict.fromkeys(budget.members, NOTHING)
    charge = nothing if data["charge"] is None else _costs(data["charge"], "charge", budget)
    moves = kind in OPENINGS or kind == "voided"
    if (moves and data["charge"] is None) or (not moves and charge != nothing):
        raise MalformedError(f"the body's charge is not that of a {kind} entry")
    if (data["event"] is not None) != (kind in OPENINGS):
        raise MalformedError("the body has an event though it opens no allocation, or the other way round")
    return Body(
        tenant_id=data["tenant_id"],
        seq=entry.seq,
        kind=kind,
        at=_moment(data["at"]),
        job_id=data["job_id"],
        allocation_id=data["allocation_id"],
        budget=budget,
        spent=_costs(data["spent"], "spent", budget),
        charge=charge,
        event=read_event(data["event"]) if kind in OPENINGS else None,
        operations=data["operations"],
        ttl_seconds=_ttl(data["details"]),
        prev_hash=data["prev_hash"],
        hash=computed,
    )


def check_links(bodies: Sequence[Body]) -> Iterator[str]:
    """Whether entries, in order of position, follow from each other where they are neighbours.

    Entries that are not neighbours cannot be linked without those between them, and are not faulted for it.
    """
    for body in bodies:
        if body.seq == 1 and body.prev_hash != _GENESIS:
            yield "position 1: the first entry must have 32 zero bytes as its previous hash"
        if body.seq == 1 and body.spent != body.moved()[0]:
            yield "position 1: the history does not start from a balance of 0"
    for earlier, later in pairwise(bodies):
        here = f"position {later.seq}"
        if later.seq == earlier.seq:
            yield f"{here}: stands in the document twice"
        if later.seq != earlier.seq + 1:
            continue
        moved, count = later.moved()
        if later.prev_hash != earlier.hash:
            yield f"{here}: its previous hash is not the hash of position {earlier.seq}"
        if later.budget.kept() != earlier.budget.kept():
            yield f"{here}: the member filters are not those of position {earlier.seq}"
        elif later.spent != sum_of(earlier.spent, moved):
            yield f"{here}: the balance does not follow from that of position {earlier.seq}"
        if later.operations != earlier.operations + count:
            yield f"{here}: the number of allocations does not follow from that of position {earlier.seq}"
        if later.budget != earlier.budget and later.kind != "budget_set":
            yield f"{here}: the budget differs from that of position {earlier.seq}, though no budget was set"


def linked(bodies: Sequence[Body]) -> int:
    """How many entries have the one before them in the document, or are the first of the history."""
    return sum(body.seq == 1 for body in bodies) + sum(b.seq == a.seq + 1 for a, b in pairwise(bodies))


def _moment(data: object) -> datetime:
    try:
        return datetime.strptime(str(data), "%Y-%m-%dT%H:%M:%S.%fZ")
    except ValueError:
        raise MalformedError("the body's at is not a moment in UTC") from None


def _ttl(details: object) -> int:
    if not isinstance(details, dict):
        raise MalformedError("the body's details are not an object")
    ttl = details.get("ttl_seconds", 0)
    if type(ttl) is not int or ttl < 0:
        raise MalformedError("the body's ttl_seconds is not a whole number from 0")
    return ttl


def _budget(data: object, version: int) -> Budget:
    named = {"promise"} if version > 1 else set()
    wanted = set(MEMBERS) if version > 1 else {"basic"}
    if not isinstance(data, dict) or not {"basic"} | named <= data.keys() <= wanted | named:
        raise MalformedError("the body's budget is not made of member filters that this checker knows")
    members = {name: _member(data[name], name) for name in MEMBERS if name in data}
    promise = _cost(data["promise"], "budget.promise", "basic") if version > 1 else members["basic"].cap
    return Budget(promise, members)


def _member(data: object, name: str) -> Member:
    where = f"budget.{name}"
    extra = {"renyi": {"conversion_delta", "order"}, "zcdp": {"conversion_delta"}, "gdp": {"conversion_delta"}}
    cap = _cost(data, where, name, extra.get(name, set()))
    assert isinstance(data, dict)
    order = data.get("order")
    if order is not None and (type(order) is not int or order < 2):
        raise MalformedError(f"the body's {where}.order is not a whole number from 2")
    delta = checked_decimal(data.get("conversion_delta", "0"), f"the body's {where}.conversion_delta")
    return Member(cap, Fraction(delta), order)


def _costs(data: object, name: str, budget: Budget) -> Costs:
    if not isinstance(data, dict) or data.keys() != budget.members.keys():
        raise MalformedError(f"the body's {name} does not stand under the budget's member filters")
    return {member: _cost(data[member], f"{name}.{member}", member) for member in budget.members}


def _cost(data: object, where: str, member: str, extra: AbstractSet[str] = frozenset()) -> Cost:
    names = (MEMBERS[member], "delta")
    if not isinstance(data, dict) or data.keys() != {*names, *extra}:
        raise MalformedError(f"the body's {where} is not {' and '.join(sorted({*names, *extra}))}")
    amount, delta = (checked_decimal(data[part], f"the body's {where}.{part}") for part in names)
    return Cost(Fraction(amount), Fraction(delta))
