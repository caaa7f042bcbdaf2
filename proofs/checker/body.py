"""What an entry's body says, read strictly: nothing that no ledger writes is taken for an entry."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from proofs.certificate import ChainEntry, MalformedError, parse_json, quoted
from proofs.checker.amounts import read_budget, read_costs
from proofs.checker.canonical import canonical_json
from proofs.checker.datasets import Account, read_account
from proofs.checker.events import Event, read_event
from proofs.checker.values import Budget, Costs

OPENINGS = ("consumed", "held")
ENDINGS = ("committed", "voided", "expired_spent")
VERSIONS = (1, 2, 3)
"""The versions of entries that are read. Version 1 has the basic filter alone, whose cap is the promise. Versions 1 and
2 write out as null what is absent, and know neither windows nor data sets; version 3 leaves it out."""

_UNTIL_VERSION_2 = frozenset(
    "v tenant_id seq kind at budget spent charge event operations period_start allocation_id job_id source_engine "
    "idempotency_key request_hash details actor prev_hash".split()
)
_KINDS_UNTIL_VERSION_2 = (*OPENINGS, "committed", "voided", "budget_set")
_ALWAYS = frozenset("v tenant_id seq kind at budget spent operations period_start actor prev_hash".split())
_ANYWHERE = frozenset("held lifetime renewal_days legal_hold".split())
_OPENING = "charge event allocation_id job_id idempotency_key request_hash"
_OF_KIND: Mapping[str, tuple[str, str]] = {
    "budget_set": ("", "due_at"),
    "consumed": (_OPENING, "source_engine details dataset crossed"),
    "held": (f"{_OPENING} due_at", "source_engine details dataset crossed"),
    "committed": ("allocation_id job_id", "source_engine details charge dataset"),
    "voided": ("allocation_id job_id charge", "source_engine dataset"),
    "expired_spent": ("allocation_id job_id", "source_engine"),
    "adjusted": ("allocation_id job_id charge details", "source_engine dataset"),
    "renewed": ("renewal_days due_at", ""),
    "dataset_set": ("dataset", ""),
    "retention_locked": ("legal_hold", "details"),
    "retention_released": ("", "details"),
}
"""For each kind of version 3: the members that it has beside `_ALWAYS`, and those that it may have."""
_TEXTS = ("job_id", "allocation_id", "source_engine", "idempotency_key", "request_hash", "actor")


@dataclass(frozen=True, slots=True)
class Body:
    """What the checker reads in an entry's body.

    Attributes:
        version: Of the body's form.
        tenant_id: Whose history.
        seq: Position.
        kind: One of `_OF_KIND`.
        at: When, by the ledger's clock.
        job_id: The job, None for entries of no job.
        allocation_id: The allocation, None for entries of none.
        budget: The promise and the members after the entry.
        spent: The sum of charges of this window after the entry, by member.
        held: The part of it that open holds make up. Before version 3 nobody counted them, and all may be held.
        lifetime: The sum over all windows.
        charge: What the entry added to the sums or took out of them, None where nothing moved.
        event: What an opening charged, None otherwise.
        operations: The number of allocations after the entry.
        period_start: When the window began.
        renewal_days: How long it is, None for a budget for all time.
        period_end: When it ends, None likewise.
        due_at: When a hold's time has passed, or a window's; None for other entries.
        account: The data set that the entry touches, None where it touches none.
        legal_hold: Whether a legal hold is in force.
        crossed: Scopes of which less than a tenth remained with this entry.
        steps: For a commit of some repetitions only: how many were run.
        statement: For an adjustment: what the operator signed.
        prev_hash: Hash of the entry before, hexadecimal.
        hash: Hash of this entry, hexadecimal, as computed here.
    """

    version: int
    tenant_id: str
    seq: int
    kind: str
    at: datetime
    job_id: str | None
    allocation_id: str | None
    budget: Budget
    spent: Costs
    held: Costs
    lifetime: Costs
    charge: Costs | None
    event: Event | None
    operations: int
    period_start: datetime
    renewal_days: int | None
    period_end: datetime | None
    due_at: datetime | None
    account: Account | None
    legal_hold: bool
    crossed: tuple[str, ...]
    steps: int | None
    statement: str | None
    prev_hash: str
    hash: str

    @property
    def sign(self) -> int:
        """1 if the entry adds its charge to the sums, -1 if it takes it out, 0 if it has none."""
        if self.charge is None:
            return 0
        return 1 if self.kind in OPENINGS else -1


def moment_text(moment: datetime) -> str:
    """A moment in UTC as the ledger writes it."""
    return f"{moment.isoformat(timespec='microseconds')}Z"


def read_body(entry: ChainEntry) -> Body:
    """The body of an entry, once its hash and its canonical form (RFC 8785) are checked.

    Raises:
        MalformedError: If the hash is wrong, the text is not canonical, or the body is not that of an entry.
    """
    computed = hashlib.sha256(entry.body.encode()).hexdigest()
    if computed != entry.hash:
        raise MalformedError("the hash is not that of the body")
    data = parse_json(entry.body)
    if not isinstance(data, dict) or not data.keys() >= {"v", "kind"}:
        raise MalformedError("the body does not have the members of a ledger entry")
    try:
        canonical = canonical_json(data)
    except (ValueError, RecursionError):
        raise MalformedError("the body has no canonical form") from None
    if canonical != entry.body.encode():
        raise MalformedError("the body is not in canonical form")
    if data["v"] not in VERSIONS or type(data["v"]) is not int:
        raise MalformedError(f"the body is of version {quoted(data['v'])}, this checker knows versions 1 to 3")
    _check_members(data)
    if data["seq"] != entry.seq or type(data["seq"]) is not int:
        raise MalformedError(f"the body stands at position {quoted(data['seq'])}, the document says {entry.seq}")
    for name in ("tenant_id", "prev_hash"):
        if not isinstance(data[name], str):
            raise MalformedError(f"the body's {name} is not text")
    for name in _TEXTS:
        if not isinstance(data.get(name), str | None):
            raise MalformedError(f"the body's {name} is not text")
    if type(data["operations"]) is not int:
        raise MalformedError("the body's operations is not a whole number")
    return _read(data, computed)


def _check_members(data: Mapping[str, Any]) -> None:
    """Whether the body has the members that belong to its kind, and no others."""
    kind = data["kind"]
    if not isinstance(kind, str) or kind not in (_KINDS_UNTIL_VERSION_2 if data["v"] < 3 else _OF_KIND):
        raise MalformedError(f"the body's kind {quoted(kind)} is not known")
    if data["v"] < 3:
        if data.keys() != _UNTIL_VERSION_2:
            raise MalformedError("the body does not have the members of a ledger entry")
        return
    needed, possible = (frozenset(names.split()) for names in _OF_KIND[kind])
    if not _ALWAYS | needed <= data.keys():
        raise MalformedError(f"the body does not have all members of a {kind} entry")
    strange = data.keys() - _ALWAYS - _ANYWHERE - needed - possible
    if strange:
        raise MalformedError(f"the body has a member that a {kind} entry does not have: {quoted(min(strange))}")
    if any(value is None or value in ({}, []) for value in data.values()):
        raise MalformedError("the body writes out what is absent, which version 3 leaves out")


def _read(data: Mapping[str, Any], computed: str) -> Body:
    version, kind = data["v"], data["kind"]
    budget = read_budget(data["budget"], version)
    spent = read_costs(data["spent"], "spent", budget)
    details = _details(data.get("details"), version)
    at, period_start = _moment(data["at"], "at"), _moment(data["period_start"], "period_start")
    days = _renewal_days(data.get("renewal_days"))
    body = Body(
        version=version,
        tenant_id=data["tenant_id"],
        seq=data["seq"],
        kind=kind,
        at=at,
        job_id=data.get("job_id"),
        allocation_id=data.get("allocation_id"),
        budget=budget,
        spent=spent,
        held=_sums(data, "held", budget, budget.nothing()) if version > 2 else spent,
        lifetime=_sums(data, "lifetime", budget, spent),
        charge=_charge(data, budget),
        event=read_event(data["event"]) if kind in OPENINGS and data["event"] is not None else None,
        operations=data["operations"],
        period_start=period_start,
        renewal_days=days,
        period_end=None if days is None else _later(period_start, days * 86_400, "renewal_days"),
        due_at=_due_at(data, at, details),
        account=read_account(data["dataset"], version, kind == "dataset_set") if "dataset" in data else None,
        legal_hold=_legal_hold(data),
        crossed=_crossed(data.get("crossed", [])),
        steps=_steps(details) if version > 2 and kind == "committed" else None,
        statement=_statement(details) if kind == "adjusted" else None,
        prev_hash=data["prev_hash"],
        hash=computed,
    )
    _check_whole(body, data)
    return body


def _check_whole(body: Body, data: Mapping[str, Any]) -> None:
    """Whether the members of a body fit each other."""
    kind = body.kind
    if (data.get("event") is not None) != (kind in OPENINGS):
        raise MalformedError("the body has an event though it opens no allocation, or the other way round")
    if body.version < 3:
        return
    if (body.steps is not None) != (body.charge is not None) and kind == "committed":
        raise MalformedError("the body gives something back without saying how many steps were run, or the other way")
    if kind == "committed" and body.account is not None and body.charge is None:
        raise MalformedError("the body gives something back to a data set alone")
    if kind == "retention_released" and body.legal_hold:
        raise MalformedError("the body lifts a legal hold that is still in force after it")
    if kind in ("budget_set", "renewed") and body.due_at != body.period_end:
        raise MalformedError("the body's due_at is not the end of its window")
    scopes = ["tenant lifetime" if body.renewal_days is None else "tenant window"]
    if body.account is not None:
        name, partition = body.account.name
        scopes.append(f"data set {name}" + ("" if partition is None else f", partition {partition}"))
    if any(scope not in scopes for scope in body.crossed) or list(body.crossed) != sorted(
        set(body.crossed), key=scopes.index
    ):
        raise MalformedError("the body's crossed names other scopes than the entry charges")


def _charge(data: Mapping[str, Any], budget: Budget) -> Costs | None:
    stated = data.get("charge")
    charge = None if stated is None else read_costs(stated, "charge", budget)
    if data["v"] < 3:
        moves = data["kind"] in (*OPENINGS, "voided")
        if moves != (charge is not None) and (moves or charge != budget.nothing()):
            raise MalformedError(f"the body's charge is not that of a {data['kind']} entry")
        return charge if moves else None
    return charge


def _sums(data: Mapping[str, Any], name: str, budget: Budget, if_absent: Costs) -> Costs:
    if name not in data:
        return if_absent
    sums = read_costs(data[name], name, budget)
    if sums == if_absent:
        raise MalformedError(f"the body writes out {name} though it says nothing new")
    return sums


def _details(data: object, version: int) -> Mapping[str, Any]:
    if data is None and version > 2:
        return {}
    if not isinstance(data, dict):
        raise MalformedError("the body's details are not an object")
    if any(not isinstance(value, str) and type(value) is not int for value in data.values()):
        raise MalformedError("the body's details are not text and whole numbers")
    if version < 3 and (type(data.get("ttl_seconds", 0)) is not int or data.get("ttl_seconds", 0) < 0):
        raise MalformedError("the body's ttl_seconds is not a whole number from 0")
    return data


def _steps(details: Mapping[str, Any]) -> int | None:
    if not details:
        return None
    steps = details.get("steps")
    if details.keys() != {"steps"} or type(steps) is not int or steps < 0:
        raise MalformedError("the body's details are not those of a commit: steps, a whole number from 0")
    return steps


def _statement(details: Mapping[str, Any]) -> str:
    statement = details.get("statement")
    if details.keys() != {"statement"} or not isinstance(statement, str):
        raise MalformedError("the body's details are not those of an adjustment: a signed statement")
    return statement


def _due_at(data: Mapping[str, Any], at: datetime, details: Mapping[str, Any]) -> datetime | None:
    if "due_at" in data:
        return _moment(data["due_at"], "due_at")
    if data["v"] > 2 or data["kind"] != "held":
        return None
    return _later(at, details.get("ttl_seconds", 0), "ttl_seconds")


def _renewal_days(data: object) -> int | None:
    if data is not None and (type(data) is not int or data < 1):
        raise MalformedError("the body's renewal_days is not a whole number from 1")
    return data


def _legal_hold(data: Mapping[str, Any]) -> bool:
    if data.get("legal_hold", True) is not True:
        raise MalformedError("the body's legal_hold is not true, which is all that it can be")
    return "legal_hold" in data


def _crossed(data: object) -> tuple[str, ...]:
    if not isinstance(data, list) or not all(isinstance(scope, str) for scope in data):
        raise MalformedError("the body's crossed is not a list of scopes")
    return tuple(data)


def _moment(data: object, name: str) -> datetime:
    try:
        moment = datetime.strptime(str(data), "%Y-%m-%dT%H:%M:%S.%fZ")
    except ValueError:
        moment = None
    if moment is None or moment_text(moment) != data:
        raise MalformedError(f"the body's {name} is not a moment in UTC with microseconds")
    return moment


def _later(moment: datetime, seconds: int, name: str) -> datetime:
    try:
        return moment + timedelta(seconds=seconds)
    except OverflowError:
        raise MalformedError(f"the body's {name} leads out of the calendar") from None
