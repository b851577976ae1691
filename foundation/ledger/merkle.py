"""RFC 6962 section 2.1: tree hashes, inclusion and consistency proofs, and their verification as RFC 9162 sections 2.1.3.2 and 2.1.4.2
write it down. Pure."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

Subtrees: TypeAlias = Callable[[int, int], bytes]
"""(height, index) → the hash of the complete subtree over the leaves from `index << height`, `1 << height` of them."""


class ProofRefused(Exception):
    """A proof does not prove what it is held against; the message says which part."""


def leaf_hash(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def leaf_hashes(entries: Iterable[bytes]) -> list[bytes]:
    sha256 = hashlib.sha256
    return [sha256(b"\x00" + entry).digest() for entry in entries]


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """A tree as far as it takes to grow it: the hashes of its complete subtrees, the largest first, one for each bit of its size."""

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        self.size = size
        self._peaks = list(peaks)
        if len(self._peaks) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} complete subtrees")

    def append(self, leaf: bytes) -> list[bytes]:
        """Takes one more leaf hash. The hashes of the complete subtrees that end with it, by height, from the leaf itself."""
        completed, index = [leaf], self.size
        while index & 1:
            completed.append(node_hash(self._peaks.pop(), completed[-1]))
            index >>= 1
        self._peaks.append(completed[-1])
        self.size += 1
        return completed

    def extend(self, leaves: Sequence[bytes]) -> list[bytes]:
        """Takes these leaf hashes, at least one; what `append` gives for the last."""
        peaks, size, sha256 = self._peaks, self.size, hashlib.sha256
        for leaf in leaves[:-1]:
            node, index = leaf, size
            while index & 1:
                node = sha256(b"\x01" + peaks.pop() + node).digest()
                index >>= 1
            peaks.append(node)
            size += 1
        self.size = size
        return self.append(leaves[-1])

    def root(self) -> bytes:
        return folded(self._peaks)


def folded(peaks: Sequence[bytes]) -> bytes:
    """The root over complete subtrees, the largest first."""
    if not peaks:
        return EMPTY_ROOT
    root = peaks[-1]
    for left in reversed(peaks[:-1]):
        root = node_hash(left, root)
    return root


def complete(hashes: Sequence[bytes]) -> bytes:
    """The root over a power of two of hashes."""
    row = list(hashes)
    while len(row) > 1:
        row = [node_hash(row[at], row[at + 1]) for at in range(0, len(row), 2)]
    return row[0]


def peaks(low: int, high: int, subtrees: Subtrees) -> list[bytes]:
    """The complete subtrees over the leaves from `low` to before `high`; `low` is a multiple of a power of two no less than these."""
    found: list[bytes] = []
    while low < high:
        height = (high - low).bit_length() - 1
        found.append(subtrees(height, low >> height))
        low += 1 << height
    return found


def root_of(size: int, subtrees: Subtrees) -> bytes:
    return folded(peaks(0, size, subtrees))


def subtrees_over(leaves: Sequence[bytes]) -> Subtrees:
    """Of a tree that is small enough to be at hand, by its leaf hashes."""
    return lambda height, index: complete(leaves[index << height : (index + 1) << height])


# --- proofs ------------------------------------------------------------------------------------------------------------------


def inclusion(index: int, size: int, subtrees: Subtrees) -> list[bytes]:
    """The proof that the leaf `index` is in the tree of `size` leaves (RFC 6962 section 2.1.1): from its sibling up to below the root."""
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    low, high, path = 0, size, list[bytes]()
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(folded(peaks(middle, high, subtrees)))
            high = middle
        else:
            path.append(folded(peaks(low, middle, subtrees)))
            low = middle
    return path[::-1]


def consistency(old: int, new: int, subtrees: Subtrees) -> list[bytes]:
    """The proof that the tree of `new` leaves begins with that of `old` (RFC 6962 section 2.1.2). Empty for no leaves and for as many."""
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {new} leaves does not begin with one of {old}")
    if old in (0, new):
        return []
    low, high, path = 0, new, list[bytes]()
    while old < high:
        middle = low + _split(high - low)
        if old <= middle:
            path.append(folded(peaks(middle, high, subtrees)))
            high = middle
        else:
            path.append(folded(peaks(low, middle, subtrees)))
            low = middle
    if low > 0:
        path.append(folded(peaks(low, high, subtrees)))
    return path[::-1]


def _split(leaves: int) -> int:
    """The largest power of two below `leaves`."""
    return 1 << ((leaves - 1).bit_length() - 1)


# --- verification ------------------------------------------------------------------------------------------------------------


def verify_inclusion(*, leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Raises ProofRefused unless the tree of `size` leaves under `root` has the leaf hash `leaf` at `index`."""
    if not 0 <= index < size:
        raise ProofRefused(f"the tree has {size} leaves and so no leaf {index}")
    node, last, reached = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise ProofRefused("the inclusion proof is longer than the tree is high")
        if node & 1 or node == last:
            reached = node_hash(sibling, reached)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            reached = node_hash(reached, sibling)
        node, last = node >> 1, last >> 1
    if last != 0:
        raise ProofRefused("the inclusion proof is shorter than the tree is high")
    if reached != root:
        raise ProofRefused("the inclusion proof leads to another root")


def verify_consistency(*, old: int, old_root: bytes, new: int, new_root: bytes, path: Sequence[bytes]) -> None:
    """Raises ProofRefused unless the tree of `new` leaves under `new_root` begins with that of `old` leaves under `old_root`."""
    if not 0 <= old <= new:
        raise ProofRefused(f"a tree of {new} leaves does not begin with one of {old}")
    if old in (0, new):
        if path:
            raise ProofRefused("the consistency proof should be empty")
        if old_root != (new_root if old else EMPTY_ROOT):
            raise ProofRefused("two trees of one size have different roots")
        return
    steps = list(path) if old & (old - 1) else [old_root, *path]
    if not steps:
        raise ProofRefused("the consistency proof is empty")
    older, newer = _both_roots(old - 1, new - 1, steps)
    if older != old_root:
        raise ProofRefused("the consistency proof leads to another earlier root")
    if newer != new_root:
        raise ProofRefused("the consistency proof leads to another root")


def _both_roots(node: int, last: int, steps: Sequence[bytes]) -> tuple[bytes, bytes]:
    """What a consistency proof leads to, from the earlier tree's last leaf. Raises ProofRefused."""
    while node & 1:
        node, last = node >> 1, last >> 1
    older = newer = steps[0]
    for sibling in steps[1:]:
        if last == 0:
            raise ProofRefused("the consistency proof is longer than the tree is high")
        if node & 1 or node == last:
            older, newer = node_hash(sibling, older), node_hash(sibling, newer)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            newer = node_hash(newer, sibling)
        node, last = node >> 1, last >> 1
    if last != 0:
        raise ProofRefused("the consistency proof is shorter than the tree is high")
    return older, newer
