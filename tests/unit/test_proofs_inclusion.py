"""The checker's own reading of Merkle proofs: it agrees with the service's, and takes nothing else."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounting.ledger.canonical import sha256
from accounting.ledger.merkle import (
    consistency_holds,
    consistency_spans,
    inclusion_holds,
    inclusion_spans,
    leaf_hash,
    tree_root,
)
from proofs.checker.inclusion import MAX_HASHES, check_consistency, check_inclusion
from tests import merkle_vectors as published

ENTRIES = [sha256(f"entry {number}") for number in range(300)]
"""Hashes of entries, as a ledger has them."""
LEAVES = [leaf_hash(entry) for entry in ENTRIES]
GOOD = "00" * 32


def root(size: int) -> str:
    """The root over the first entries."""
    return tree_root(LEAVES[:size]).hex()


def included(index: int, size: int) -> list[str]:
    """A proof that an entry is among the first entries."""
    return [tree_root(LEAVES[span.start : span.stop]).hex() for span in inclusion_spans(index, size)]


def consistent(first: int, second: int) -> list[str]:
    """A proof that the first entries begin more of them."""
    return [tree_root(LEAVES[span.start : span.stop]).hex() for span in consistency_spans(first, second)]


def altered(text: str, digit: int) -> str:
    """The same hash with another digit at one place."""
    return text[:digit] + ("0" if text[digit] != "0" else "1") + text[digit + 1 :]


def variants(path: Sequence[str], data: st.DataObject) -> list[str]:
    """The proof altered in one way: a digit, a hash left out, doubled, added or two exchanged."""
    kinds = ["add"] if not path else ["digit", "drop", "double", "add"] + ["swap"] * (len(path) > 1)
    kind, at = data.draw(st.sampled_from(kinds)), data.draw(st.integers(0, max(len(path) - 1, 0)))
    if kind == "add":
        return [*path, GOOD]
    if kind == "digit":
        return [*path[:at], altered(path[at], data.draw(st.integers(0, 63))), *path[at + 1 :]]
    if kind == "drop":
        return [*path[:at], *path[at + 1 :]]
    if kind == "double":
        return [*path[:at], path[at], *path[at:]]
    return [*path[1:], path[0]]


@pytest.mark.parametrize(("first", "second"), published.CONSISTENCY)
def test_published_consistency_proofs_are_accepted(first: int, second: int) -> None:
    """Those of Certificate Transparency's reference tree."""
    roots = published.ROOTS
    assert check_consistency(first, roots[first], second, roots[second], published.CONSISTENCY[first, second]) == []


@pytest.mark.parametrize("size", range(1, 34))
def test_every_leaf_is_found_where_it_is_and_nowhere_else(size: int) -> None:
    """With the proof that the service makes, and as the service's own check says."""
    for index in range(size):
        path = included(index, size)
        for at in range(size):
            found = check_inclusion(ENTRIES[index].hex(), at, size, path, root(size)) == []
            proof = [bytes.fromhex(item) for item in path]
            assert found == inclusion_holds(LEAVES[index], at, size, proof, tree_root(LEAVES[:size])) == (at == index)


@pytest.mark.parametrize("second", range(34))
def test_every_pair_of_sizes_is_consistent_by_its_own_proof_alone(second: int) -> None:
    """With the proof that the service makes, and as the service's own check says."""
    for first in range(second + 1):
        path = consistent(first, second)
        proof = [bytes.fromhex(item) for item in path]
        for size in range(1, second + 1):
            accepted = check_consistency(size, root(first), second, root(second), path) == []
            roots = tree_root(LEAVES[:first]), tree_root(LEAVES[:second])
            assert accepted == consistency_holds(size, roots[0], second, roots[1], proof) == (size == first)


@given(st.data())
def test_an_altered_inclusion_proof_is_refused(data: st.DataObject) -> None:
    """Whatever part of it is altered."""
    size = data.draw(st.integers(1, len(ENTRIES)))
    index = data.draw(st.integers(0, size - 1))
    entry, path, head = ENTRIES[index].hex(), included(index, size), root(size)
    assert check_inclusion(entry, index, size, path, head) == []
    digit = data.draw(st.integers(0, 63))
    assert check_inclusion(altered(entry, digit), index, size, path, head)
    assert check_inclusion(entry, index, size, path, altered(head, digit))
    changed = variants(path, data)
    if changed != path:
        assert check_inclusion(entry, index, size, changed, head)
    other = data.draw(st.integers(0, len(ENTRIES)).filter(lambda number: number != index))
    assert check_inclusion(entry, other, size, path, head)


@given(st.data())
def test_an_altered_consistency_proof_is_refused(data: st.DataObject) -> None:
    """Whatever part of it is altered."""
    first, second = sorted(data.draw(st.lists(st.integers(1, len(ENTRIES)), min_size=2, max_size=2, unique=True)))
    path, roots = consistent(first, second), (root(first), root(second))
    assert check_consistency(first, roots[0], second, roots[1], path) == []
    digit = data.draw(st.integers(0, 63))
    assert check_consistency(first, altered(roots[0], digit), second, roots[1], path)
    assert check_consistency(first, roots[0], second, altered(roots[1], digit), path)
    changed = variants(path, data)
    if changed != path:
        assert check_consistency(first, roots[0], second, roots[1], changed)
    assert check_consistency(second, roots[1], first, roots[0], path)


HASHES = st.lists(st.binary(min_size=32, max_size=32).map(bytes.hex), max_size=MAX_HASHES)


@given(HASHES, st.integers(0, 2**53 - 1), st.integers(0, 2**53 - 1))
def test_made_up_proofs_are_refused(path: list[str], index: int, size: int) -> None:
    """Any hashes under any numbers get sentences, never an error."""
    assert check_inclusion(GOOD, index, size, path, GOOD)
    assert check_consistency(index, GOOD, size, "11" * 32, path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3)
)


@given(JSON, JSON, JSON, JSON, JSON)
def test_any_json_gets_an_answer(first: object, second: object, third: object, fourth: object, fifth: object) -> None:
    """What is no hash, number or list is named, and nothing raises."""
    assert check_inclusion(first, second, third, fourth, fifth)
    assert check_consistency(first, second, third, fourth, fifth)


@pytest.mark.parametrize("bad", [None, "", "0" * 63, "0" * 65, "G" * 64, "A" * 64, f"{GOOD}\n", 7, GOOD.encode()])
def test_what_is_no_hash_is_named(bad: object) -> None:
    """In each place where a hash belongs."""
    assert check_inclusion(bad, 0, 1, [], GOOD) == [
        "the entry's hash is not a hash of 64 lower-case hexadecimal digits"
    ]
    assert check_inclusion(GOOD, 0, 1, [], bad) == ["the root is not a hash of 64 lower-case hexadecimal digits"]
    assert check_inclusion(GOOD, 0, 2, [bad], GOOD) == [
        "hash 0 of the proof is not a hash of 64 lower-case hexadecimal digits"
    ]
    assert check_consistency(1, bad, 2, GOOD, []) == [
        "the earlier root is not a hash of 64 lower-case hexadecimal digits"
    ]


@pytest.mark.parametrize("bad", [None, True, 1.0, "1", -1, 2**53, 2**9_000])
def test_what_is_no_count_is_named(bad: object) -> None:
    """A number that JSON readers disagree on counts as none."""
    assert check_inclusion(GOOD, bad, 1, [], GOOD) == ["the position is not a whole number from 0 to 2^53 - 1"]
    assert check_consistency(1, GOOD, bad, GOOD, []) == ["the later size is not a whole number from 0 to 2^53 - 1"]


def test_a_proof_longer_than_any_tree_is_high_is_refused_unread() -> None:
    """So a document cannot make the checker hash for long; and 54 hashes are enough for the largest size."""
    assert check_inclusion(GOOD, 0, 2**53 - 1, [None] * (MAX_HASHES + 1), GOOD) == [
        "the proof has more than 54 hashes, which no tree needs"
    ]
    longest = max(len(consistency_spans(first, 2**53 - 1)) for first in (1, 2**52 - 1, 2**52 + 1, 2**53 - 2))
    assert max(longest, len(inclusion_spans(0, 2**53 - 1))) <= MAX_HASHES


@pytest.mark.parametrize(
    ("first", "first_root", "second", "second_root", "path", "sentence"),
    [
        (3, GOOD, 2, GOOD, [], "a log of 3 entries cannot grow to 2"),
        (0, GOOD, 2, GOOD, [], "the root of an empty log is not that of no entries"),
        (2, GOOD, 2, "11" * 32, [], "two roots of one size differ"),
        (2, GOOD, 2, GOOD, [GOOD], "the proof has hashes where none is needed"),
        (3, GOOD, 4, GOOD, [], "the proof has fewer hashes than the tree is high"),
        (1, GOOD, 2, GOOD, [GOOD, GOOD], "the proof has more hashes than the tree is high"),
        (1, root(1), 2, GOOD, [GOOD], "the proof does not lead to the root at 2 entries"),
    ],
)
def test_a_consistency_proof_that_does_not_fit_says_why(
    first: int, first_root: str, second: int, second_root: str, path: list[str], sentence: str
) -> None:
    """Each way in its own sentence."""
    assert check_consistency(first, first_root, second, second_root, path) == [sentence]


@pytest.mark.parametrize(
    ("index", "size", "path", "sentence"),
    [
        (2, 2, [], "a log of 2 entries has none at position 2"),
        (0, 2, [], "the proof has fewer hashes than the tree is high"),
        (0, 2, [GOOD, GOOD], "the proof has more hashes than the tree is high"),
        (0, 2, [GOOD], "the entry is not at position 0 of the log with that root"),
    ],
)
def test_an_inclusion_proof_that_does_not_fit_says_why(index: int, size: int, path: list[str], sentence: str) -> None:
    """Each way in its own sentence."""
    assert check_inclusion(GOOD, index, size, path, GOOD) == [sentence]
