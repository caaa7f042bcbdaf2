"""What a tenant's ledger, proofs and log show of a period: the facts of an evidence report, and their JSON.

Everything is read from the ledger or computed anew when the report is made; nothing is taken over from what a report
said before. A report is bounded: it follows at most so many entries and lists at most so many operations, and says so.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise

from accounting.datasets import DatasetState
from accounting.filters import largest_claim
from accounting.ledger.audit import Audit
from accounting.ledger.canonical import GENESIS_HASH
from accounting.ledger.entry import OPENING_KINDS, Entry, EntryKind, timestamp_text
from accounting.ledger.readings import Charged, KeptReleases
from accounting.values import EXACT, ZERO
from deployments.analytics.burn import Share, by_engine

MAX_LISTED = 50
"""Operations, and events of each other kind, that a report lists: the latest so many."""
NO_ENGINE, NO_DATASET = "no engine named", "no data set"


class Framework(StrEnum):
    """For whose controls a report shows evidence."""

    GDPR = "gdpr"
    HIPAA = "hipaa"
    CCPA = "ccpa"
    SOC2 = "soc2"


@dataclass(frozen=True, slots=True)
class ChainCheck:
    """What came of following a history anew.

    Attributes:
        first: Position of the first entry that was followed.
        last: Of the last one.
        rederived: Whether each balance was computed anew too, which takes the whole history; else hashes alone.
        found: How many entries do not follow.
        findings: The first of them, as sentences.
    """

    first: int
    last: int
    rederived: bool
    found: int
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HeadCheck:
    """The log's latest signed head.

    Attributes:
        size: How many entries of all tenants it stands for.
        root: The Merkle root, in hexadecimal digits.
        at: When it was signed; None where the signature does not hold.
        signed: Whether one of the service's published keys signed it.
        recomputed: Whether the tree in the database has that root now.
    """

    size: int
    root: str
    at: datetime | None
    signed: bool
    recomputed: bool


@dataclass(frozen=True, slots=True)
class ProofCheck:
    """What the independent checker said of proofs made for this report.

    Attributes:
        operations: How many operations the period has, as far as they were read.
        checked: Of how many a proof was made and checked.
        reasons: Why some do not hold; empty where all do.
    """

    operations: int
    checked: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Period:
    """From when to when, in UTC; the end is not part of it."""

    since: datetime
    until: datetime

    def has(self, entry: Entry) -> bool:
        """Whether an entry is of the period."""
        return self.since <= entry.at < self.until


@dataclass(frozen=True, slots=True)
class Read:
    """What was read beside the entries.

    Attributes:
        made_at: Database time.
        head: The tenant's present entry.
        datasets: Its data sets.
        charged: What was charged in the period, by day and engine: of all entries, however many.
        refusals: Of the period, by name.
        releases: Stored results.
        log_head: The log's; None where none was published yet.
        proofs: What was checked.
    """

    made_at: datetime
    head: Entry
    datasets: tuple[DatasetState, ...]
    charged: tuple[Charged, ...]
    refusals: tuple[tuple[str, int], ...]
    releases: KeptReleases
    log_head: HeadCheck | None
    proofs: ProofCheck


@dataclass(frozen=True, slots=True)
class Evidence:
    """The facts of a report.

    Attributes:
        framework: Whose controls it is for.
        period: Of what time.
        read: What was read beside the entries.
        first_read: Position of the first entry that was read: tables of the period begin no earlier.
        kinds: How many entries of each kind the period has.
        mechanisms: What was charged by kind of event, the largest first.
        by_dataset: What was charged by data set, the largest first.
        listed: The latest entries of the period that are shown one by one, by kind.
        operations: The latest operations.
        chain: What came of following the history anew.
    """

    framework: Framework
    period: Period
    read: Read
    first_read: int
    kinds: tuple[tuple[EntryKind, int], ...]
    mechanisms: tuple[tuple[str, Share], ...]
    by_dataset: tuple[tuple[str, Share], ...]
    listed: tuple[Entry, ...]
    operations: tuple[Entry, ...]
    chain: ChainCheck

    @property
    def whole(self) -> bool:
        """Whether all entries were read."""
        return self.first_read == 1

    @property
    def engines(self) -> tuple[tuple[str, Share], ...]:
        """What was charged by engine, the largest first."""
        return tuple((engine or NO_ENGINE, share) for engine, share in by_engine(self.read.charged))

    @property
    def charged(self) -> Share:
        """All that was charged in the period, less what was taken back."""
        total = ZERO
        for _, share in self.engines:
            total = EXACT.add(total, share.epsilon)
        return Share(total, sum(share.operations for _, share in self.engines))

    def count(self, kind: EntryKind) -> int:
        """How many entries of a kind the period has."""
        return dict(self.kinds).get(kind, 0)

    def of(self, *kinds: EntryKind) -> tuple[Entry, ...]:
        """The listed entries of some kinds, the latest first."""
        return tuple(entry for entry in self.listed if entry.kind in kinds)


_LISTED = (
    EntryKind.EXPIRED_SPENT,
    EntryKind.ADJUSTED,
    EntryKind.RENEWED,
    EntryKind.RETENTION_LOCKED,
    EntryKind.RETENTION_RELEASED,
    EntryKind.BUDGET_SET,
    EntryKind.DATASET_SET,
)


def evidence(
    framework: Framework, period: Period, bodies: Sequence[str], entries: Sequence[Entry], read: Read
) -> Evidence:
    """Follows the entries and adds them up. Takes some tenths of a millisecond for each.

    Args:
        framework: Whose controls it is for.
        period: Of what time.
        bodies: The tenant's entries, as they are hashed: the whole history, or the end of it.
        entries: The same, read.
        read: What was read beside them.
    """
    own = [entry for entry in entries if period.has(entry)]
    openings = {entry.allocation_id: entry for entry in entries if entry.kind in OPENING_KINDS}
    listed: list[Entry] = []
    for kind in _LISTED:
        listed += [entry for entry in reversed(own) if entry.kind is kind][:MAX_LISTED]
    return Evidence(
        framework=framework,
        period=period,
        read=read,
        first_read=entries[0].seq if entries else 1,
        kinds=tuple(Counter(entry.kind for entry in own).items()),
        mechanisms=_shares((_kind(openings.get(entry.allocation_id)), entry) for entry in own),
        by_dataset=_shares((_dataset(openings.get(entry.allocation_id)), entry) for entry in own),
        listed=tuple(listed),
        operations=tuple([entry for entry in reversed(own) if entry.kind in OPENING_KINDS][:MAX_LISTED]),
        chain=follow(bodies, entries),
    )


def sample(entries: Sequence[Entry], period: Period, most: int) -> tuple[int, list[Entry]]:
    """How many operations the period has, and at most so many of them, spread evenly, first and last included.

    Args:
        entries: That were read.
        period: Of what time.
        most: At least 2.
    """
    openings = [entry for entry in entries if entry.kind in OPENING_KINDS and period.has(entry)]
    if len(openings) <= most:
        return len(openings), openings
    step = (len(openings) - 1) / (most - 1)
    return len(openings), [openings[round(at * step)] for at in range(most)]


def follow(bodies: Sequence[str], entries: Sequence[Entry]) -> ChainCheck:
    """Follows entries anew: whole histories with every balance, the end of one by its hashes."""
    if not entries:
        return ChainCheck(0, 0, rederived=True, found=0, findings=())
    if entries[0].seq == 1 and entries[0].prev_hash == GENESIS_HASH:
        audit = Audit()
        for position, body in enumerate(bodies):
            audit.take(position, body)
        audit.finish()
        findings = tuple(f"Entry {one.seq} {one.sentence}." for one in audit.findings[:MAX_LISTED])
        return ChainCheck(1, entries[-1].seq, rederived=True, found=audit.found, findings=findings)
    wrong = [
        after.seq
        for before, after in pairwise(entries)
        if after.seq != before.seq + 1 or after.prev_hash != before.hash
    ]
    findings = tuple(f"Entry {seq} does not name the hash of the entry before it." for seq in wrong[:MAX_LISTED])
    return ChainCheck(entries[0].seq, entries[-1].seq, rederived=False, found=len(wrong), findings=findings)


def _shares(entries: Iterable[tuple[str, Entry]]) -> tuple[tuple[str, Share], ...]:
    found: dict[str, Share] = {}
    for name, entry in entries:
        if entry.charge is not None:
            opening = entry.kind in OPENING_KINDS
            epsilon = entry.charge.basic.epsilon
            share = found.get(name, Share())
            total = EXACT.add(share.epsilon, epsilon) if opening else EXACT.subtract(share.epsilon, epsilon)
            found[name] = Share(total, share.operations + opening)
    return tuple(sorted(found.items(), key=lambda item: (-item[1].epsilon, item[0])))


def _kind(opening: Entry | None) -> str:
    # Of an entry whose opening was not read nothing is known here.
    return "earlier than what was read" if opening is None or opening.event is None else opening.event.kind


def _dataset(opening: Entry | None) -> str:
    return NO_DATASET if opening is None or opening.dataset is None else opening.dataset.dataset_id


def remaining(head: Entry) -> Decimal:
    """What a tenant's budget has left: the largest plain claim that would still be admitted."""
    return largest_claim(head.budget, head.spent)


def remaining_of(state: DatasetState) -> Decimal:
    """The same of a data set, for whoever in it was exposed most."""
    return largest_claim(state.budget, state.exposure())


def moment(at: datetime) -> str:
    """A moment for people, to the second."""
    return timestamp_text(at)[:19].replace("T", " ") + " UTC"
