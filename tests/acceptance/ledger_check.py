"""What must hold of the ledger after a load, whatever was killed meanwhile; derived from its rows alone."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import asyncpg

from accounting.events import ClaimEvent, Event
from accounting.ledger.canonical import sha256
from accounting.ledger.entry import OPENING_KINDS, Entry, entry_from_body
from accounting.values import PrivacyLoss
from tests.acceptance.conftest import LiveService
from tests.acceptance.load import EPSILON, Ask, Load, Told
from tests.simulation.fold import Balance, TenantFold
from tests.simulation.sums import caps, charge_of, plus, within
from tests.simulation.violation import require

REPEATED = 200
"""How many of the acknowledged requests are sent once more at the end."""


Denials = Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]
"""Refusals in the audit log, by tenant and key."""


async def check(service: LiveService, load: Load) -> None:
    """Checks everything that the engines of a load were told against the ledger.

    Raises:
        ViolationError: If a promise was broken.
    """
    require(not load.waited_for_ever, "requests got no answer at all:", load.waited_for_ever[:3])
    require(not load.wrong, "answers that nothing explains:", load.wrong[:3])
    folds, denials = await read(service, load.name)
    verify(list(load.told.values()), folds, denials)
    await _check_repeats(load)
    entries = sum(len(fold.entries) for fold in folds.values())
    require(await _count(service, load.name) == entries, "a repeated request was charged again")


def verify(told: Sequence[Told], folds: Mapping[str, TenantFold], denials: Denials) -> None:
    """Compares what engines were told with the ledger. Errors as for `check`."""
    granted = [one for one in told if one.status == 200]
    _check_keys(granted, folds)
    _check_ends(granted, folds)
    for one in granted:
        _check_acknowledged(one, folds[one.ask.tenant])
    for tenant, fold in folds.items():
        theirs = [one for one in granted if one.ask.tenant == tenant]
        _check_order(theirs)
        known_at = _known_at(theirs)
        for one in told:
            if one.status != 200 and one.ask.tenant == tenant:
                _check_refused(one, known_at, fold, denials[tenant, one.ask.key])


async def _count(service: LiveService, name: str) -> int:
    connection = await asyncpg.connect(service.ledger_url)
    try:
        found: int = await connection.fetchval("SELECT count(*) FROM prv_ledger WHERE starts_with(tenant_id, $1)", name)
        return found
    finally:
        await connection.close()


async def read(service: LiveService, name: str) -> tuple[dict[str, TenantFold], Denials]:
    """Each tenant's history, derived entry by entry (chain, sums, caps in all scopes at every prefix); the denials."""
    connection = await asyncpg.connect(service.ledger_url)
    try:
        rows = await connection.fetch(
            "SELECT tenant_id, body, hash FROM prv_ledger WHERE starts_with(tenant_id, $1) ORDER BY tenant_id, seq",
            name,
        )
        refused = await connection.fetch("SELECT * FROM prv_denial WHERE starts_with(tenant_id, $1)", name)
    finally:
        await connection.close()
    folds: dict[str, TenantFold] = defaultdict(lambda: TenantFold(_loss))
    for tenant, body, stored_hash in rows:
        entry = entry_from_body(body)
        require(entry.tenant_id == tenant, "a row stands under another tenant:", tenant)
        require(entry.body == body and sha256(body) == stored_hash, "a row is not what was hashed:", body)
        folds[tenant].add(entry)
    denials: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for row in refused:
        denials[row["tenant_id"], row["idempotency_key"]].append(row)
    return folds, denials


def _loss(event: Event) -> PrivacyLoss:
    assert isinstance(event, ClaimEvent)
    return PrivacyLoss(event.epsilon, event.delta)


def _check_keys(granted: Sequence[Told], folds: Mapping[str, TenantFold]) -> None:
    """What is in the ledger is what was acknowledged: no key is missing, none is there that nobody was told of."""
    charged = {key for fold in folds.values() for key in fold.keys}
    keys = {told.ask.key for told in granted if _opens(told)}
    require(keys <= charged, "acknowledged, but not in the ledger:", sorted(keys - charged)[:3])
    require(charged <= keys, "in the ledger, but nobody was told:", sorted(charged - keys)[:3])


def _check_ends(granted: Sequence[Told], folds: Mapping[str, TenantFold]) -> None:
    """Each hold has the one end that its engine chose; nothing else has one."""
    kinds = {"commit": "committed", "void": "voided"}
    chosen = {
        (told.ask.tenant, told.document["allocation_id"]): kinds[told.ask.ends_as]
        for told in granted
        if told.ask.ends_as is not None
    }
    ended = {
        (tenant, allocation): entry.kind.value
        for tenant, fold in folds.items()
        for allocation, entry in fold.ends.items()
    }
    require(ended == chosen, "holds ended otherwise than they were told to")


def _check_acknowledged(told: Told, fold: TenantFold) -> None:
    """The answer is the ledger's entry of that key, or of that end."""
    entry = _entry(told, fold)
    require(told.document["ledger_hash"] == entry.hash.hex(), "an answer tells of an entry that is not there:", told)
    require(told.document["exact"]["allocated_epsilon"] == EPSILON, "another amount was allocated:", told)
    if _opens(told):
        require(entry.idempotency_key == told.ask.key, "an answer tells of another request's entry:", told)


def _check_refused(
    told: Told, known_at: Callable[[float], int], fold: TenantFold, denials: Sequence[Mapping[str, Any]]
) -> None:
    """A refusal is in the audit log, and was right at a moment between the request and the answer."""
    require(bool(denials), "a refusal is not in the audit log:", told)
    for denial in denials:
        event = ClaimEvent(denial["epsilon"], denial["delta"])
        since = max(known_at(told.first_sent), 1)
        meanwhile = fold.balances[since - 1 : denial["seq"]]
        right = any(not _fits(balance, event, told.ask) for balance in meanwhile)
        require(right, "a request was refused that would have fitted:", told)
    last = max(denial["seq"] for denial in denials)
    require(last >= known_at(told.sent), "a refusal was decided on an old balance:", told)


def _fits(balance: Balance, event: ClaimEvent, ask: Ask) -> bool:
    """Whether all budgets that a request touches would hold its charge."""
    loss = _loss(event)
    fits = within(plus(balance.spent, charge_of(balance.budget, event, loss)), caps(balance.budget))
    if "dataset_id" in ask.body:
        dataset = balance.datasets[ask.body["dataset_id"]]
        exposed = plus(dataset.exposure(ask.body["partition"]), charge_of(dataset.budget, event, loss))
        fits = fits and within(exposed, caps(dataset.budget))
    return fits


def _known_at(granted: Sequence[Told]) -> Callable[[float], int]:
    """The last position of a tenant that an engine had been told of at a time."""
    told = sorted((told.answered, _seq(told)) for told in granted)
    times = [answered for answered, _ in told]
    highest = list(accumulate((seq for _, seq in told), max))
    return lambda time: highest[at - 1] if (at := bisect_left(times, time)) else 0


def _check_order(granted: Sequence[Told]) -> None:
    """What a tenant was acknowledged before something else was asked for stands before it in the ledger."""
    earliest_answer_after = float("inf")
    for told in sorted(granted, key=_seq, reverse=True):
        require(told.first_sent <= earliest_answer_after, "an entry stands before one that was there first:", told)
        earliest_answer_after = min(earliest_answer_after, told.answered)


async def _check_repeats(load: Load) -> None:
    """A repeated request gets the first answer again, word for word, and says so."""
    granted = [told for told in load.told.values() if told.status == 200]
    step = max(1, len(granted) // REPEATED)
    some = granted[::step]
    for told, again in zip(some, await load.repeated(some), strict=True):
        require(again.status == 200 and again.replayed, "a repeated request was no replay:", again)
        require(again.document == told.document, "a replay had another answer:", told, again)


def _opens(told: Told) -> bool:
    return told.ask.path.endswith("/allocate")


def _seq(told: Told) -> int:
    return int(told.document["ledger_seq"])


def _entry(told: Told, fold: TenantFold) -> Entry:
    entry = fold.entries[_seq(told) - 1]
    require((entry.kind in OPENING_KINDS) is _opens(told), "an answer tells of another kind of entry:", told)
    require(entry.allocation_id == told.document["allocation_id"], "an answer tells of another allocation:", told)
    return entry
