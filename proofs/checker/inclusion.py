"""Whether an entry is in a log, and whether a log only grew: RFC 9162, sections 2.1.3.2 and 2.1.4.2.

Everything comes as a document has it, hashes as hexadecimal text, and nothing of it is trusted. What is wrong comes
back as sentences; none means that the proof holds. A proof of more hashes than any tree needs is refused unread.
"""

import hashlib
import re
from collections.abc import Sequence

from proofs.certificate import LARGEST_INTEGER

MAX_HASHES = 54
"""No proof about a tree of at most `LARGEST_INTEGER` leaves is longer."""
EMPTY_ROOT = hashlib.sha256(b"").hexdigest()
_HASH = re.compile(r"[0-9a-f]{64}")


def check_inclusion(entry_hash: object, index: object, size: object, path: object, root: object) -> list[str]:
    """What is wrong with a proof that an entry stands in a log.

    Args:
        entry_hash: The entry's hash, 64 hexadecimal digits: the data of its leaf.
        index: Its position in the log, from 0.
        size: How many entries the log has.
        path: The proof's hashes, from the leaf up.
        root: The log's root hash at that size.
    """
    problems = [*_not_hash(entry_hash, "the entry's hash"), *_not_hash(root, "the root")]
    problems += [*_not_count(index, "the position"), *_not_count(size, "the size"), *_not_path(path)]
    if problems:
        return problems
    assert isinstance(entry_hash, str)
    assert isinstance(index, int)
    assert isinstance(size, int)
    assert isinstance(path, Sequence)
    if index >= size:
        return [f"a log of {size} entries has none at position {index}"]
    node, last = index, size - 1
    computed = _sha256(b"\x00", entry_hash)
    for sibling in path:
        if last == 0:
            return ["the proof has more hashes than the tree is high"]
        if node & 1 or node == last:
            computed = _sha256(b"\x01", sibling, computed)
            # The last node of a level may have no sibling there: it rises until it is a right one.
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            computed = _sha256(b"\x01", computed, sibling)
        node, last = node >> 1, last >> 1
    if last != 0:
        return ["the proof has fewer hashes than the tree is high"]
    return [] if computed == root else [f"the entry is not at position {index} of the log with that root"]


def check_consistency(
    first: object, first_root: object, second: object, second_root: object, path: object
) -> list[str]:
    """What is wrong with a proof that a log only grew from an earlier size to a later one.

    Args:
        first: The earlier size.
        first_root: The root hash at that size, 64 hexadecimal digits.
        second: The later size.
        second_root: The root hash at that size.
        path: The proof's hashes.
    """
    problems = [*_not_hash(first_root, "the earlier root"), *_not_hash(second_root, "the later root")]
    problems += [*_not_count(first, "the earlier size"), *_not_count(second, "the later size"), *_not_path(path)]
    if problems:
        return problems
    assert isinstance(first_root, str)
    assert isinstance(first, int)
    assert isinstance(second, int)
    assert isinstance(path, Sequence)
    if first > second:
        return [f"a log of {first} entries cannot grow to {second}"]
    if (first == 0 and first_root != EMPTY_ROOT) or (second == 0 and second_root != EMPTY_ROOT):
        return ["the root of an empty log is not that of no entries"]
    if first in (0, second):
        if path:
            return ["the proof has hashes where none is needed"]
        return [] if first == 0 or first_root == second_root else ["two roots of one size differ"]
    hashes = list(path)
    if first & (first - 1) == 0:
        # The earlier log is one complete subtree of the later one: its root is where the proof starts.
        hashes.insert(0, first_root)
    if not hashes:
        return ["the proof has fewer hashes than the tree is high"]
    node, last = first - 1, second - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    earlier = later = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            return ["the proof has more hashes than the tree is high"]
        if node & 1 or node == last:
            earlier, later = _sha256(b"\x01", sibling, earlier), _sha256(b"\x01", sibling, later)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            later = _sha256(b"\x01", later, sibling)
        node, last = node >> 1, last >> 1
    if last != 0:
        return ["the proof has fewer hashes than the tree is high"]
    problems = [] if earlier == first_root else [f"the proof does not lead to the root at {first} entries"]
    return problems + ([] if later == second_root else [f"the proof does not lead to the root at {second} entries"])


def _sha256(prefix: bytes, *hashes: str) -> str:
    return hashlib.sha256(prefix + bytes.fromhex("".join(hashes))).hexdigest()


def _not_hash(data: object, what: str) -> list[str]:
    good = isinstance(data, str) and _HASH.fullmatch(data)
    return [] if good else [f"{what} is not a hash of 64 lower-case hexadecimal digits"]


def _not_count(data: object, what: str) -> list[str]:
    # A bool is an int to Python, but no number to JSON.
    good = isinstance(data, int) and not isinstance(data, bool) and 0 <= data <= LARGEST_INTEGER
    return [] if good else [f"{what} is not a whole number from 0 to 2^53 - 1"]


def _not_path(data: object) -> list[str]:
    if not isinstance(data, list | tuple):
        return ["the proof is not a list of hashes"]
    if len(data) > MAX_HASHES:
        return [f"the proof has more than {MAX_HASHES} hashes, which no tree needs"]
    return [problem for at, item in enumerate(data) for problem in _not_hash(item, f"hash {at} of the proof")]
