"""Merkle trees: published values, and laws that hold for every tree."""

import asyncio
import hashlib
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.ledger.merkle import (
    EMPTY_ROOT,
    FAN,
    LARGEST_SIZE,
    STEP,
    GrowingTree,
    MissingNodesError,
    NodeReader,
    Span,
    consistency_holds,
    consistency_proof,
    consistency_spans,
    inclusion_holds,
    inclusion_proof,
    inclusion_spans,
    leaf_hash,
    newly_complete,
    node_hash,
    root_at,
    roots_of,
    tree_root,
)
from tests import merkle_vectors as published

HASHES = [leaf_hash(number.to_bytes(8)) for number in range(1100)]
"""Leaves of a tree with more than four complete nodes on the first stored level."""


def reader(leaves: Sequence[bytes], reads: list[tuple[int, int, int]] | None = None) -> NodeReader:
    """Stored nodes of the tree over these leaves' hashes; what was read is noted."""

    async def nodes(level: int, start: int, stop: int) -> list[bytes]:
        if reads is not None:
            reads.append((level, start, stop))
        width = FAN**level
        stop = min(stop, len(leaves) // width)
        return [tree_root(leaves[node * width : (node + 1) * width]) for node in range(start, stop)]

    return nodes


def root_by_definition(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962, written as the RFC writes it."""
    if len(leaves) <= 1:
        return leaves[0] if leaves else hashlib.sha256().digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(root_by_definition(leaves[:split]), root_by_definition(leaves[split:]))


def included(index: int, size: int) -> list[bytes]:
    """The inclusion proof from all leaves."""
    return [root_by_definition(HASHES[span.start : span.stop]) for span in inclusion_spans(index, size)]


def consistent(first: int, second: int) -> list[bytes]:
    """The consistency proof from all leaves."""
    return [root_by_definition(HASHES[span.start : span.stop]) for span in consistency_spans(first, second)]


def flipped(data: bytes, bit: int) -> bytes:
    """The same bytes with one bit turned."""
    return (int.from_bytes(data) ^ (1 << bit)).to_bytes(len(data))


class Endless(Sequence[bytes]):
    """A hostile proof: it claims a length and must not be looked into."""

    def __len__(self) -> int:
        return 2**40

    def __getitem__(self, index: object) -> bytes:  # type: ignore[override]
        raise AssertionError("a proof of the wrong length was read")


class TestPublishedValues:
    """What others have computed."""

    @pytest.mark.parametrize("size", range(9))
    def test_roots_are_those_of_certificate_transparency(self, size: int) -> None:
        """The root over the first 0 to 8 reference leaves."""
        assert tree_root([leaf_hash(data) for data in published.LEAVES[:size]]).hex() == published.ROOTS[size]

    @pytest.mark.parametrize(("index", "size"), published.INCLUSION)
    async def test_inclusion_proofs_are_those_of_certificate_transparency(self, index: int, size: int) -> None:
        """Made and accepted."""
        leaves = [leaf_hash(data) for data in published.LEAVES]
        proof = await inclusion_proof(reader(leaves), index, size)
        assert [item.hex() for item in proof] == published.INCLUSION[index, size]
        assert inclusion_holds(leaves[index], index, size, proof, bytes.fromhex(published.ROOTS[size]))

    @pytest.mark.parametrize(("first", "second"), published.CONSISTENCY)
    async def test_consistency_proofs_are_those_of_certificate_transparency(self, first: int, second: int) -> None:
        """Made and accepted."""
        leaves = [leaf_hash(data) for data in published.LEAVES]
        proof = await consistency_proof(reader(leaves), first, second)
        assert [item.hex() for item in proof] == published.CONSISTENCY[first, second]
        roots = [bytes.fromhex(published.ROOTS[size]) for size in (first, second)]
        assert consistency_holds(first, roots[0], second, roots[1], proof)


class TestRoots:
    """The root over leaves, all of them or stored nodes."""

    @given(st.integers(0, 600))
    def test_pairing_level_by_level_is_the_rfcs_recursion(self, size: int) -> None:
        """Two ways to write down one tree."""
        assert tree_root(HASHES[:size]) == root_by_definition(HASHES[:size])

    @pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 511, 512, 700, 1024, 1100])
    async def test_the_root_from_stored_nodes_is_the_root_from_all_leaves(self, size: int) -> None:
        """At every edge of a stored node."""
        assert await root_at(reader(HASHES), size) == tree_root(HASHES[:size])

    def test_a_tree_that_grows_leaf_by_leaf_has_the_same_roots(self) -> None:
        """At every size, the empty one included."""
        tree = GrowingTree()
        for size in range(300):
            assert (tree.size, tree.root()) == (size, tree_root(HASHES[:size]))
            tree.add(HASHES[size])

    def test_a_leaf_is_never_a_node(self) -> None:
        """The same bytes hash differently as a leaf and as a node, or a tree could be passed off as another."""
        left, right = HASHES[:2]
        assert leaf_hash(left + right) != node_hash(left, right)

    async def test_a_tree_that_is_too_small_is_an_error_and_not_a_wrong_root(self) -> None:
        """A proof over leaves that are not stored cannot be made."""
        with pytest.raises(MissingNodesError):
            await root_at(reader(HASHES[:300]), 301)


class TestInclusion:
    """A leaf is in a tree."""

    @pytest.mark.parametrize("size", range(1, 34))
    def test_every_leaf_of_every_size_is_proven_at_its_index_alone(self, size: int) -> None:
        """With the tree's own size, and at no other index."""
        root = root_by_definition(HASHES[:size])
        for index in range(size):
            proof = included(index, size)
            held = [at for at in range(-1, size + 1) if inclusion_holds(HASHES[index], at, size, proof, root)]
            assert held == [index]

    @given(st.data())
    def test_any_turned_bit_is_noticed(self, data: st.DataObject) -> None:
        """In the leaf, in the root, in any hash of the proof."""
        size = data.draw(st.integers(1, 300))
        index = data.draw(st.integers(0, size - 1))
        proof, root = included(index, size), tree_root(HASHES[:size])
        parts = [HASHES[index], root, *proof]
        chosen = data.draw(st.integers(0, len(parts) - 1))
        parts[chosen] = flipped(parts[chosen], data.draw(st.integers(0, 255)))
        leaf, root, *proof = parts
        assert not inclusion_holds(leaf, index, size, proof, root)

    @given(st.data())
    def test_another_size_needs_another_proof_or_root(self, data: st.DataObject) -> None:
        """The root of a tree of another size never accepts the proof."""
        size, other = data.draw(st.lists(st.integers(1, 200), min_size=2, max_size=2, unique=True))
        index = data.draw(st.integers(0, min(size, other) - 1))
        proof = included(index, size)
        assert not inclusion_holds(HASHES[index], index, other, proof, tree_root(HASHES[:other]))

    @given(st.data())
    def test_hashes_cut_at_another_place_are_no_hashes(self, data: st.DataObject) -> None:
        """A byte moved from one hash to its neighbour leaves the hashed text the same, and is refused."""
        index = data.draw(st.sampled_from([1, 3, 5, 7]))
        sibling, *rest = included(index, 8)
        # The leaf stands right of its sibling: both together are hashed as one text.
        moved = [sibling + HASHES[index][:1], *rest]
        assert not inclusion_holds(HASHES[index][1:], index, 8, moved, tree_root(HASHES[:8]))

    @given(st.lists(st.binary(min_size=32, max_size=32), max_size=60), st.integers(), st.integers())
    def test_any_proof_gets_an_answer(self, proof: list[bytes], index: int, size: int) -> None:
        """Made-up proofs are refused, without an error."""
        assert not inclusion_holds(bytes(32), index, size, proof, bytes(32))

    @pytest.mark.parametrize(("index", "size"), [(0, 8), (2**52, LARGEST_SIZE), (0, 2**9_000), (5, 5), (-1, 5)])
    def test_a_hostile_proof_costs_nothing(self, index: int, size: int) -> None:
        """One of the wrong length is refused before a hash of it is looked at, whatever the sizes."""
        assert not inclusion_holds(bytes(32), index, size, Endless(), bytes(32))

    @pytest.mark.parametrize(("index", "size"), [(-1, 5), (5, 5), (0, 0), (0, LARGEST_SIZE + 1)])
    async def test_a_leaf_that_is_not_there_cannot_be_proven(self, index: int, size: int) -> None:
        """Asking for it is an error."""
        with pytest.raises(ValueError, match="has none of index"):
            await inclusion_proof(reader(HASHES), index, size)


class TestConsistency:
    """An earlier tree begins a later one."""

    @pytest.mark.parametrize("second", range(34))
    def test_every_pair_of_sizes_is_proven_by_its_own_proof_alone(self, second: int) -> None:
        """A proof for one earlier size fits no other earlier size's root."""
        roots = [root_by_definition(HASHES[:size]) for size in range(second + 1)]
        for first in range(second + 1):
            proof = consistent(first, second)
            assert consistency_holds(first, roots[first], second, roots[second], proof)
            for other in set(range(1, second)) - {first}:
                assert not consistency_holds(other, roots[first], second, roots[second], proof)

    @given(st.data())
    def test_any_turned_bit_is_noticed(self, data: st.DataObject) -> None:
        """In either root, in any hash of the proof."""
        first, second = sorted(data.draw(st.lists(st.integers(1, 300), min_size=2, max_size=2, unique=True)))
        parts = [tree_root(HASHES[:first]), tree_root(HASHES[:second]), *consistent(first, second)]
        chosen = data.draw(st.integers(0, len(parts) - 1))
        parts[chosen] = flipped(parts[chosen], data.draw(st.integers(0, 255)))
        earlier, later, *proof = parts
        assert not consistency_holds(first, earlier, second, later, proof)

    @given(st.data())
    def test_a_changed_history_has_no_proof(self, data: st.DataObject) -> None:
        """Where one leaf below the earlier size differs, the honest proof over the changed leaves does not hold."""
        first, second = sorted(data.draw(st.lists(st.integers(1, 120), min_size=2, max_size=2, unique=True)))
        changed = list(HASHES[:second])
        at = data.draw(st.integers(0, first - 1))
        changed[at] = flipped(changed[at], 0)
        proof = [tree_root(changed[span.start : span.stop]) for span in consistency_spans(first, second)]
        assert not consistency_holds(first, tree_root(HASHES[:first]), second, tree_root(changed), proof)

    @pytest.mark.parametrize(
        ("first", "first_root", "second", "second_root"),
        [
            (0, HASHES[0], 5, tree_root(HASHES[:5])),
            (0, EMPTY_ROOT, 0, HASHES[0]),
            (0, HASHES[0], 0, HASHES[0]),
            (5, tree_root(HASHES[:5]), 5, tree_root(HASHES[:4])),
            (5, tree_root(HASHES[:5]), 4, tree_root(HASHES[:4])),
        ],
    )
    def test_without_a_proof_only_the_same_or_an_empty_tree_is_consistent(
        self, first: int, first_root: bytes, second: int, second_root: bytes
    ) -> None:
        """An empty tree has the empty root, one size has one root, and a tree does not shrink."""
        assert not consistency_holds(first, first_root, second, second_root, [])

    @given(st.lists(st.binary(min_size=32, max_size=32), max_size=60), st.integers(), st.integers())
    def test_any_proof_gets_an_answer(self, proof: list[bytes], first: int, second: int) -> None:
        """Made-up proofs are refused, without an error."""
        assert not consistency_holds(first, bytes(32), second, bytes([1] * 32), proof)

    @pytest.mark.parametrize(("first", "second"), [(1, 8), (6, LARGEST_SIZE), (0, 2**9_000), (3, 3), (4, 3)])
    def test_a_hostile_proof_costs_nothing(self, first: int, second: int) -> None:
        """One of the wrong length is refused before a hash of it is looked at, whatever the sizes."""
        assert not consistency_holds(first, bytes(32), second, bytes(32), Endless())

    async def test_a_tree_cannot_shrink(self) -> None:
        """Asking for a proof of that is an error."""
        with pytest.raises(ValueError, match="does not come before"):
            await consistency_proof(reader(HASHES), 6, 5)


class TestStoredNodes:
    """Proofs that read few stored nodes instead of all leaves."""

    @given(st.data())
    def test_proofs_from_stored_nodes_are_those_from_all_leaves(self, data: st.DataObject) -> None:
        """For any leaf and any pair of sizes of a tree of three levels' edges."""
        size = data.draw(st.integers(1, len(HASHES)))
        index, first = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size))
        made = asyncio.run(inclusion_proof(reader(HASHES), index, size))
        assert made == [tree_root(HASHES[span.start : span.stop]) for span in inclusion_spans(index, size)]
        made = asyncio.run(consistency_proof(reader(HASHES), first, size))
        assert made == [tree_root(HASHES[span.start : span.stop]) for span in consistency_spans(first, size)]

    @given(st.integers(1, LARGEST_SIZE), st.data())
    def test_a_proof_reads_at_most_two_runs_of_256_a_level(self, size: int, data: st.DataObject) -> None:
        """However large the tree: here nodes are made up, since only what is read counts."""
        reads: list[tuple[int, int, int]] = []

        async def nodes(level: int, start: int, stop: int) -> list[bytes]:
            reads.append((level, start, stop))
            return [bytes(32)] * (stop - start)

        index, first = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size))
        for spans in (inclusion_spans(index, size), consistency_spans(first, size)):
            reads.clear()
            asyncio.run(roots_of(spans, nodes))
            levels = [level for level, _, _ in reads]
            assert all(levels.count(level) <= 2 for level in levels)
            assert all(stop - start <= FAN and stop << level * STEP <= size for level, start, stop in reads)

    @given(st.lists(st.integers(0, 2**20), min_size=1, max_size=8))
    def test_every_node_becomes_complete_once(self, sizes: list[int]) -> None:
        """However a tree grows, its nodes appear in order without a gap, as soon as all leaves below are there."""
        steps = pairwise([0, *sorted(sizes)])
        seen: dict[int, int] = {}
        for before, after in steps:
            for level, run in newly_complete(before, after):
                assert run.start == seen.get(level, 0)
                seen[level] = run.stop
            for level in range(1, 4):
                assert seen.get(level, 0) == after >> level * STEP

    def test_lower_nodes_become_complete_first(self) -> None:
        """A node is made from those below it, so they are listed before it."""
        assert list(newly_complete(0, 2**17)) == [(1, Span(0, 512)), (2, Span(0, 2))]
