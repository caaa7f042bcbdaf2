"""The audit of what a log gave out: its entries, the heads that it signed, and the proofs that bind one to the other.

What was fetched comes as lines, one JSON object each, in this order; a file of them can be audited without the service:

| line | what |
|---|---|
| ``{"log": 1, "tenant_id": null}`` | first: whether what follows is the whole log, or one tenant's part of it |
| ``{"keys": [...]}`` | the public keys that the service named; believed only if nobody gives better ones |
| ``{"head": "..."}`` | a signed head; smaller ones first |
| ``{"consistency": {...}}`` | of a part: that the log of the last head begins with that of a head that was kept |
| ``{"position": 0, "body": "..."}`` | an entry |
| ``{"inclusion": {...}}`` | of a part: that its last entry below the last head is in the log of that head |

Of the whole log every root is computed again, so it needs no proofs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from accounting.ledger.audit import MOST_FINDINGS, Audit, Finding, unchecked
from accounting.ledger.canonical import sha256
from accounting.ledger.rederive import Statement
from proofs.certificate import MalformedError
from proofs.checker.inclusion import check_consistency, check_inclusion
from proofs.heads import Head, read_head

Line = Mapping[str, Any]
FORMAT = 1


@dataclass(frozen=True)
class Report:
    """What an audit says.

    Attributes:
        entries: How many were read.
        tenants: Of how many tenants.
        heads: How many signed heads were checked.
        last_head: The last of them.
        uncovered: How many entries came after the last head: no signature binds them yet.
        found: How many findings there are.
        findings: The first of them.
        notes: What was taken for granted.
    """

    entries: int
    tenants: int
    heads: int
    last_head: Head | None
    uncovered: int
    found: int
    findings: list[Finding]
    notes: list[str]


@dataclass
class LogAudit:
    """Reads lines and keeps what is wrong.

    Attributes:
        keys: Public keys (JWKs) that are trusted; None to take those that come with the lines.
        kept: A head that was kept from an earlier audit: the log has to continue it.
        statement: Checks operators' signed statements; None to take them for granted.
    """

    keys: Sequence[Mapping[str, Any]] | None = None
    kept: Head | None = None
    statement: Statement | None = None
    _found: int = 0
    _wrong: list[Finding] = field(default_factory=list)
    _notes: list[str] = field(default_factory=list)
    _whole: bool = True
    _heads: int = 0
    _last: Head | None = None
    _roots: dict[int, bytes] = field(default_factory=dict)
    _audit: Audit | None = None
    _uncovered: int = 0
    _covered: tuple[int, str] | None = None
    """Position and hash of the last entry that the last head covers."""
    _continues: bool = False
    _included: bool = False

    def run(self, lines: Iterable[Line]) -> Report:
        """Reads all lines.

        Raises:
            MalformedError: If they are not what a log gives out, in its order.
        """
        rest = iter(lines)
        first = next(rest, None)
        if first is None or first.get("log") != FORMAT or "tenant_id" not in first:
            raise MalformedError(f"the first line does not say that a log of format {FORMAT} follows")
        self._whole = first["tenant_id"] is None
        readers = {
            "body": self._take_entry,
            "head": self._take_head,
            "keys": self._take_keys,
            "consistency": self._take_consistency,
            "inclusion": self._take_inclusion,
        }
        for line in rest:
            read = next((readers[name] for name in readers if name in line), None)
            if read is None:
                raise MalformedError("a line is none of those that a log gives out")
            read(line)
        return self._report()

    def _take_keys(self, line: Line) -> None:
        keys = line["keys"]
        if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
            raise MalformedError("the keys are not a list of JSON Web Keys")
        if self.keys is None:
            self.keys = keys
            self._notes.append(
                "heads were checked with the keys that the service names itself; with --keys, with those that you trust"
            )

    def _take_head(self, line: Line) -> None:
        if self._audit is not None:
            raise MalformedError("a head comes after entries")
        try:
            head = read_head(str(line["head"]), self.keys or [])
        except MalformedError as error:
            self._blame(f"a head cannot be believed: {error}")
            return
        last = self._last
        if last is not None and head.log_id != last.log_id:
            self._blame(f"the head of {head.size} entries is of another log than the one before it")
        elif last is not None and head.size <= last.size:
            self._blame(f"a head of {head.size} entries comes after one of {last.size}")
        else:
            self._heads, self._last = self._heads + 1, head
            self._roots[head.size] = bytes.fromhex(head.root)

    def _take_consistency(self, line: Line) -> None:
        if self._whole or self.kept is None or self._last is None:
            return
        last = self._last
        problems = check_consistency(self.kept.size, self.kept.root, last.size, last.root, _path(line["consistency"]))
        self._blame(*(f"the log does not continue the head that was kept: {problem}" for problem in problems))
        self._continues = True

    def _take_inclusion(self, line: Line) -> None:
        if self._whole or self._covered is None or self._last is None:
            return
        position, entry_hash = self._covered
        path = _path(line["inclusion"])
        problems = check_inclusion(entry_hash, position, self._last.size, path, self._last.root)
        self._blame(*(f"the entry at position {position} is not in the log: {problem}" for problem in problems))
        self._included = True

    def _take_entry(self, line: Line) -> None:
        position, body = line.get("position"), line["body"]
        if type(position) is not int or not isinstance(body, str):
            raise MalformedError("an entry has no position or no text")
        if self._audit is None:
            self._audit = self._begun()
        self._audit.take(position, body)
        if self._last is None or position >= self._last.size:
            self._uncovered += 1
        elif not self._whole:
            self._covered = (position, sha256(body).hex())

    def _blame(self, *sentences: str) -> None:
        self._found += len(sentences)
        if self._found <= MOST_FINDINGS:
            self._wrong += [Finding("", 0, sentence) for sentence in sentences]

    def _begun(self) -> Audit:
        kept = self.kept
        if kept is not None and self._roots.setdefault(kept.size, bytes.fromhex(kept.root)).hex() != kept.root:
            self._blame("the log's head is not the head of that size that was kept")
        return Audit(statement=self.statement or unchecked, roots=self._roots if self._whole else None)

    def _report(self) -> Report:
        audit, last = self._audit or self._begun(), self._last
        audit.finish()
        if last is None:
            self._notes.append("no head was signed: nothing shows that the log was not shortened or made anew")
        if self.kept is not None and (last is None or last.log_id != self.kept.log_id):
            self._blame("the log is not the one whose head was kept")
        elif self.kept is not None and not self._whole and not self._continues:
            self._blame("nothing shows that the log continues the head that was kept")
        if self._covered is not None and not self._included:
            self._blame("nothing shows that the tenant's entries are in the log")
        if self.statement is None:
            self._notes.append("operators' statements were taken for granted; with --operator-keys they are checked")
        return Report(
            entries=audit.entries,
            tenants=audit.tenants,
            heads=self._heads,
            last_head=last,
            uncovered=self._uncovered,
            found=self._found + audit.found,
            findings=self._wrong + audit.findings,
            notes=self._notes,
        )


def _path(proof: object) -> object:
    """The hashes of a proof as the log gives it out; the checker says what is wrong with them."""
    return proof.get("path") if isinstance(proof, dict) else None
