"""Merkle trees as RFC 6962 (section 2.1) hashes them: roots, proofs that a leaf is in a tree, that one begins another.

A proof is a list of roots of *spans*, parts of the leaves that the tree's shape cuts out. Which spans those are depends
on sizes and positions alone; here the proving and the verifying side both follow that list. The independent checker
(`proofs.checker.inclusion`) counts bits instead, as RFC 9162 does.

A stored tree keeps the nodes whose height is a multiple of 8: each covers 256 of the level below. A proof then reads at
most two runs of up to 256 hashes a level, whatever the size of the tree.
"""

import hashlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import NamedTuple

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root over no leaves."""
LARGEST_SIZE = 2**53 - 1
"""Positions are JSON numbers that every reader keeps exact; no proof is longer than 54 hashes."""
STEP = 8
"""The stored levels: one in eight."""
FAN = 2**STEP
"""How many nodes of one stored level a node of the next one covers."""

NodeReader = Callable[[int, int, int], Awaitable[Sequence[bytes]]]
"""Stored nodes by level, start and stop: see `accounting.ledger.log.EntryLog.nodes`."""


class Span(NamedTuple):
    """The leaves from `start` to before `stop`."""

    start: int
    stop: int


class MissingNodesError(LookupError):
    """The stored tree does not reach as far as the proof that was asked for."""


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf with that data: 32 bytes, never equal to that of a node."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node over two hashes: 32 bytes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def tree_root(hashes: Sequence[bytes]) -> bytes:
    """The root over leaves' hashes, or over complete nodes of one height, in order."""
    if not hashes:
        return EMPTY_ROOT
    row = list(hashes)
    while len(row) > 1:
        paired = [node_hash(row[at], row[at + 1]) for at in range(0, len(row) - 1, 2)]
        # A last one without a partner stands for itself, which gives the same tree as the RFC's split.
        row = paired + row[len(paired) * 2 :]
    return row[0]


class GrowingTree:
    """The root of a Merkle tree whose leaves come one by one. Keeps one hash for each complete subtree: at most 53."""

    def __init__(self) -> None:
        self.size = 0
        self._subtrees: list[bytes] = []

    def add(self, leaf: bytes) -> None:
        """Adds a leaf's hash."""
        # As many complete subtrees end here as the size has ones at its end.
        node, rest = leaf, self.size
        while rest & 1:
            node, rest = node_hash(self._subtrees.pop(), node), rest >> 1
        self._subtrees.append(node)
        self.size += 1

    def root(self) -> bytes:
        """The root over all leaves so far."""
        if not self._subtrees:
            return EMPTY_ROOT
        node = self._subtrees[-1]
        for left in self._subtrees[-2::-1]:
            node = node_hash(left, node)
        return node


def inclusion_spans(index: int, size: int) -> list[Span]:
    """The spans whose roots prove that a leaf is in a tree, from the leaf up (RFC 6962, 2.1.1).

    Args:
        index: Of the leaf, from 0.
        size: Number of leaves, more than `index`.

    Raises:
        ValueError: If there is no such leaf.
    """
    if not 0 <= index < size <= LARGEST_SIZE:
        raise ValueError(f"a tree of {size} leaves has none of index {index}")
    spans = []
    start, stop = 0, size
    while stop - start > 1:
        middle = start + _split(stop - start)
        if index < middle:
            spans.append(Span(middle, stop))
            stop = middle
        else:
            spans.append(Span(start, middle))
            start = middle
    return spans[::-1]


def consistency_spans(first: int, second: int) -> list[Span]:
    """The spans whose roots prove that the tree of `first` leaves begins that of `second` (RFC 6962, 2.1.2).

    Args:
        first: Size of the earlier tree.
        second: Size of the later tree, at least `first`.

    Returns:
        The spans; none where the earlier tree is empty or the whole of the later one: then nothing needs proof.

    Raises:
        ValueError: If the sizes are not in order.
    """
    if not 0 <= first <= second <= LARGEST_SIZE:
        raise ValueError(f"a tree of {first} leaves does not come before one of {second}")
    if first in (0, second):
        return []
    spans = []
    start, stop = 0, second
    while stop != first:
        middle = start + _split(stop - start)
        if first <= middle:
            spans.append(Span(middle, stop))
            stop = middle
        else:
            spans.append(Span(start, middle))
            start = middle
    # The whole earlier tree needs no hash: whoever checks has its root.
    if start > 0:
        spans.append(Span(start, stop))
    return spans[::-1]


def inclusion_holds(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether the proof shows that the leaf's hash is at `index` in the tree of that size and root.

    Takes any proof, in time bounded by the proper proof's length.
    """
    if not 0 <= index < size <= LARGEST_SIZE:
        return False
    spans = inclusion_spans(index, size)
    if len(proof) != len(spans) or not _hashes(leaf, *proof):
        return False
    for span, sibling in zip(spans, proof, strict=True):
        leaf = node_hash(leaf, sibling) if span.start > index else node_hash(sibling, leaf)
    return leaf == root


def consistency_holds(first: int, first_root: bytes, second: int, second_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the proof shows that the tree of size `first` begins the tree of size `second`.

    Takes any proof, in time bounded by the proper proof's length.
    """
    if not 0 <= first <= second <= LARGEST_SIZE:
        return False
    spans = consistency_spans(first, second)
    if len(proof) != len(spans) or not _hashes(first_root, second_root, *proof):
        return False
    if first == second:
        return first_root == second_root and (first > 0 or first_root == EMPTY_ROOT)
    if first == 0:
        return first_root == EMPTY_ROOT
    # Where the earlier tree is no subtree of the later one, the proof begins with the last piece of it that is.
    pieces = 1 if spans[0].stop == first else 0
    earlier = later = proof[0] if pieces else first_root
    for span, sibling in zip(spans[pieces:], proof[pieces:], strict=True):
        if span.start < first:
            earlier, later = node_hash(sibling, earlier), node_hash(sibling, later)
        else:
            later = node_hash(later, sibling)
    return earlier == first_root and later == second_root


async def root_at(nodes: NodeReader, size: int) -> bytes:
    """The root of a stored tree's first `size` leaves.

    Raises:
        MissingNodesError: If the tree is smaller.
    """
    return (await roots_of([Span(0, size)], nodes))[0] if size else EMPTY_ROOT


async def inclusion_proof(nodes: NodeReader, index: int, size: int) -> list[bytes]:
    """Proves that a leaf is among the first `size` leaves of a stored tree. See `inclusion_spans`.

    Raises:
        ValueError: If there is no such leaf.
        MissingNodesError: If the tree is smaller than `size`.
    """
    return await roots_of(inclusion_spans(index, size), nodes)


async def consistency_proof(nodes: NodeReader, first: int, second: int) -> list[bytes]:
    """Proves that a stored tree's first `first` leaves begin its first `second` leaves. See `consistency_spans`.

    Raises:
        ValueError: If the sizes are not in order.
        MissingNodesError: If the tree is smaller than `second`.
    """
    return await roots_of(consistency_spans(first, second), nodes)


async def roots_of(spans: Sequence[Span], nodes: NodeReader) -> list[bytes]:
    """The root of each span, from stored nodes: one read for each 256 of a level that any of them touches.

    Args:
        spans: Spans that a tree's shape cuts out.
        nodes: Reads stored nodes.

    Raises:
        MissingNodesError: If nodes are missing.
    """
    runs = [[stored_run(*subtree) for subtree in complete_subtrees(span)] for span in spans]
    wanted: dict[tuple[int, int], Span] = {}
    for level, run in (item for row in runs for item in row):
        tile = (level, run.start // FAN)
        known = wanted.get(tile, run)
        wanted[tile] = Span(min(known.start, run.start), max(known.stop, run.stop))
    read: dict[tuple[int, int], Sequence[bytes]] = {}
    for (level, number), run in sorted(wanted.items()):
        found = await nodes(level, run.start, run.stop)
        if len(found) != run.stop - run.start:
            raise MissingNodesError(f"nodes {run.start} to {run.stop} of level {level} are not all stored")
        read[level, number] = found

    def root(level: int, run: Span) -> bytes:
        tile = (level, run.start // FAN)
        offset = wanted[tile].start
        return tree_root(read[tile][run.start - offset : run.stop - offset])

    return [_folded([root(level, run) for level, run in row]) for row in runs]


def complete_subtrees(span: Span) -> Iterator[tuple[int, int]]:
    """The complete subtrees that a span consists of, from the left, the larger first: their height and index."""
    start = span.start
    while start < span.stop:
        height = (span.stop - start).bit_length() - 1
        yield height, start >> height
        start += 1 << height


def stored_run(height: int, index: int) -> tuple[int, Span]:
    """The stored level nearest below a subtree, and its nodes there: at most 128, under one node of the next level."""
    level, rest = divmod(height, STEP)
    return level, Span(index << rest, (index + 1) << rest)


def newly_complete(before: int, after: int) -> Iterator[tuple[int, Span]]:
    """The stored nodes above the leaves that become complete as a tree grows: by level from 1, the lowest first.

    Args:
        before: The tree's size so far.
        after: Its new size.
    """
    level, shift = 1, STEP
    while after >> shift:
        if before >> shift < after >> shift:
            yield level, Span(before >> shift, after >> shift)
        level, shift = level + 1, shift + STEP


def parents(nodes: Sequence[bytes]) -> list[bytes]:
    """The nodes of the next stored level over whole groups of `FAN` nodes."""
    return [tree_root(nodes[start : start + FAN]) for start in range(0, len(nodes), FAN)]


def _hashes(*values: bytes) -> bool:
    """Whether all have a hash's length. Otherwise one pair could be hashed like another, cut at a different place."""
    return all(len(value) == HASH_BYTES for value in values)


def _split(size: int) -> int:
    """The largest power of two below a size of 2 or more: where the RFC cuts a tree in two."""
    return 1 << ((size - 1).bit_length() - 1)


def _folded(subtrees: Sequence[bytes]) -> bytes:
    """The root over complete subtrees of falling heights."""
    root = subtrees[-1]
    for left in subtrees[-2::-1]:
        root = node_hash(left, root)
    return root
