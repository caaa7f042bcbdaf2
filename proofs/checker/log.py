"""A document's entries in the log of all entries: the signed head, and the proof of each entry's place under it."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from proofs.certificate import LARGEST_INTEGER, ChainEntry, Log, MalformedError, parse_json
from proofs.checker.inclusion import check_inclusion
from proofs.checker.signature import open_signed

_FORMAT, _VERSION = "privacy-engine-head", 1
_LOG_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
_MEMBERS = frozenset({"format", "version", "log_id", "size", "root", "at"})


class Head(NamedTuple):
    """What a signed head says.

    Attributes:
        log_id: The log's name.
        size: How many entries it had.
        root: The root of the Merkle tree over them (RFC 6962), 64 hexadecimal digits.
        at: When, as it is written there.
        kid: The key that signed it.
    """

    log_id: str
    size: int
    root: str
    at: str
    kid: str


def read_head(log: Log) -> Head:
    """The head of a document, once its signature is checked with the key that it brings.

    Raises:
        MalformedError: If it is not a head signed with that key. The message says why.
    """
    payload, kid = open_signed(log.head, [log.key])
    data: Any = parse_json(payload.decode("utf-8", errors="replace"))
    if not isinstance(data, dict) or data.keys() != _MEMBERS:
        raise MalformedError("what was signed does not have the members of a head")
    if (data["format"], data["version"]) != (_FORMAT, _VERSION) or type(data["version"]) is not int:
        raise MalformedError(f"what was signed is no {_FORMAT} of version {_VERSION}")
    if type(data["size"]) is not int or not 0 <= data["size"] <= LARGEST_INTEGER:
        raise MalformedError("the head's size is not a whole number from 0")
    for name, form in (("log_id", _LOG_ID), ("at", _MOMENT)):
        if not isinstance(data[name], str) or not form.fullmatch(data[name]):
            raise MalformedError(f"the head's {name} is not one")
    return Head(data["log_id"], data["size"], data["root"], data["at"], kid)


def check_places(head: Head | None, entries: Sequence[ChainEntry]) -> Iterator[str]:
    """Whether every entry that names a place in the log stands there, and no two in one place."""
    taken: dict[int, int] = {}
    for entry in entries:
        if entry.inclusion is None:
            continue
        where, place = f"entry at position {entry.seq}", entry.inclusion
        if head is None:
            yield f"{where}: names a place in a log whose head is not in the document"
            continue
        for reason in check_inclusion(entry.hash, place.position, head.size, place.hashes, head.root):
            yield f"{where}: {reason}"
        if taken.setdefault(place.position, entry.seq) != entry.seq:
            yield f"{where}: stands in the log where position {taken[place.position]} stands"


def place_facts(head: Head | None, publisher: str, entries: Sequence[ChainEntry]) -> Iterator[str]:
    """What was checked of the log, in words.

    Args:
        head: The head, None where the document has none.
        publisher: Whose key signed the head, in words.
        entries: The entries of the certificates, in order of position.
    """
    if head is None:
        yield "no head of the log is in the document: that the entries stay in the ledger rests on the signature"
        return
    places = [str(entry.inclusion.position) for entry in entries if entry.inclusion is not None]
    missing = [str(entry.seq) for entry in entries if entry.inclusion is None]
    if places:
        yield f"in the log of {head.size} entries at position {_listed(places)}, head signed by {publisher}"
    if missing:
        yield (
            f"not in the log of {head.size} entries yet, head signed by {publisher}: that they stay in the ledger "
            f"rests on the signature, for the entries at position {_listed(missing)} of the tenant's history"
        )


def _listed(items: Sequence[str]) -> str:
    return ", ".join(items[:5]) + (f" and {len(items) - 5} more" if len(items) > 5 else "")
