"""The audit of a ledger: read once from the first entry on, it tells whatever cannot have come about by the rules.

Of each tenant's history: that it is whole (numbered without gaps, each entry on the hash of the one before), and that
each entry says what follows from those before it (`accounting.ledger.rederive`). Of the log: that its positions have no
gap, and that its Merkle root was at each size what the signed head of that size says.

Pure and streaming: entries of any number of tenants may come interleaved, as they stand in the log.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from accounting.ledger.books import Books
from accounting.ledger.canonical import GENESIS_HASH, sha256
from accounting.ledger.entry import Entry, entry_from_body
from accounting.ledger.merkle import GrowingTree, leaf_hash
from accounting.ledger.rederive import Statement, faults, first_faults

CLOCKS_DIFFER = timedelta(minutes=1)
"""Owners know database time within moments; an entry that is earlier than the one before it by more is no accident."""
MOST_FINDINGS = 1_000
"""After so many only their number counts: a ledger that is wrong everywhere must not fill the auditor's memory."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong.

    Attributes:
        tenant_id: Whose history; empty where it is about the log.
        seq: At which entry; 0 where it is about none.
        sentence: What, as a sentence whose subject is the entry or the log.
    """

    tenant_id: str
    seq: int
    sentence: str


def unchecked(statement: str, tenant_id: str, allocation_id: str) -> str | None:
    """Takes every operator's statement for granted: a `Statement` for auditors without the operators' keys."""
    return None


class Audit:
    """Takes entries in the order of the log and keeps what is wrong.

    Attributes:
        entries: How many were read.
        found: How many findings there are.
        findings: The first `MOST_FINDINGS` of them.
    """

    def __init__(self, *, statement: Statement = unchecked, roots: Mapping[int, bytes] | None = None) -> None:
        """Begins with the first entry of the log, or of the one tenant whose entries are read.

        Args:
            statement: Checks operators' signed statements.
            roots: By size, the roots that the log has to have, from signed heads; None where only one tenant's entries
                are read, which are no tree and have positions of others between theirs.
        """
        self.entries = 0
        self.found = 0
        self.findings: list[Finding] = []
        self._statement = statement
        self._roots = roots
        self._tree = GrowingTree()
        self._next = 0
        self._books: dict[str, Books] = {}
        self._lost: set[str] = set()

    @property
    def tenants(self) -> int:
        """How many tenants' entries were read."""
        return len(self._books)

    def last(self, tenant_id: str) -> Entry | None:
        """The last entry of a tenant that was read."""
        books = self._books.get(tenant_id)
        return None if books is None else books.head

    def take(self, position: int, body: str) -> None:
        """Reads the next entry.

        Args:
            position: Where the log has it.
            body: Its text, as it is hashed.
        """
        self.entries += 1
        for sentence in self._place(position, body):
            self._tell("", 0, sentence)
        try:
            entry = entry_from_body(body)
            if type(entry.tenant_id) is not str or type(entry.seq) is not int:
                raise TypeError("tenant_id is not a text or seq not a whole number")
            # Whatever this release would leave out or write otherwise is not what it has audited.
            whole = entry.body == body
        except _UNREADABLE as error:
            self._tell("", 0, f"the entry at position {position} cannot be read: {error!r}")
            return
        if not whole:
            self._tell(entry.tenant_id, entry.seq, "has members that this release does not know, or is not canonical")
        if entry.tenant_id not in self._lost:
            self._follow(entry)

    def finish(self) -> None:
        """Says that nothing follows: the log is to reach as far as its heads."""
        beyond = [size for size in self._roots or {} if size > self._tree.size]
        if beyond:
            self._tell("", 0, f"the log ends after {self._tree.size} entries; a signed head has {max(beyond)}")

    def _place(self, position: int, body: str) -> Iterator[str]:
        if position != self._next and (self._roots is not None or position < self._next):
            yield f"position {position} comes where {self._next} belongs"
        self._next = position + 1
        if self._roots is None:
            return
        self._tree.add(leaf_hash(sha256(body)))
        root = self._roots.get(self._tree.size)
        if root is not None and root != self._tree.root():
            yield f"the first {self._tree.size} entries are not those of the signed head of that size"
            # Nor those of any later head.
            self._roots = {}

    def _follow(self, entry: Entry) -> None:
        tenant, books = entry.tenant_id, self._books.get(entry.tenant_id)
        try:
            head = None if books is None else books.head
            wrong = [*_breaks(head, entry)]
            # After a gap nothing follows from anything; what comes next is held against what comes now.
            if not wrong:
                wrong += first_faults(entry) if books is None else faults(books, entry, self._statement)
            wrong += [] if head is None else _oddities(head, entry)
            for sentence in wrong:
                self._tell(tenant, entry.seq, sentence)
            if books is None:
                books = self._books[tenant] = Books(entry)
            books.adopt(entry)
        except _UNREADABLE as error:
            self._tell(tenant, entry.seq, f"cannot be followed, nor what comes after it: {error!r}")
            self._lost.add(tenant)

    def _tell(self, tenant_id: str, seq: int, sentence: str) -> None:
        self.found += 1
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(Finding(tenant_id, seq, sentence))


_UNREADABLE = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, AssertionError, RecursionError)
"""What code that expects a well-formed entry raises on one that is not."""


def _breaks(head: Entry | None, entry: Entry) -> Iterator[str]:
    """Where an entry does not take the next place in its tenant's chain."""
    seq, prev_hash = (0, GENESIS_HASH) if head is None else (head.seq, head.hash)
    if entry.seq != seq + 1:
        yield f"comes where entry {seq + 1} belongs"
    elif entry.prev_hash != prev_hash:
        yield "does not name the hash of the entry before it"


def _oddities(head: Entry, entry: Entry) -> Iterator[str]:
    """What no two neighbours in a chain are like."""
    if entry.version < head.version:
        yield f"is of version {entry.version}, after one of version {head.version}"
    if entry.at < head.at - CLOCKS_DIFFER:
        yield f"is of {entry.at}, long before the entry before it"
