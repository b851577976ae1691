"""A log read by whoever may: from its folder, or from anywhere that gives its files by name. Every answer is checked against what the log
has signed."""

import contextlib
from collections.abc import Callable, Collection, Iterator
from itertools import repeat
from pathlib import Path

import msgspec

from foundation.ledger import checkpoints, entries, payloads, sheaves
from foundation.ledger.checkpoints import Checkpoint
from foundation.ledger.entries import Entry, MalformedEntry
from foundation.ledger.files import LogDamaged
from foundation.ledger.merkle import (
    Frontier,
    ProofRefused,
    consistency,
    inclusion,
    leaf_hash,
    verify_consistency,
)
from foundation.ledger.notes import Verifier
from foundation.ledger.proofs import Proof
from foundation.ledger.tiles import (
    ENTRIES,
    HEIGHT,
    WIDTH,
    Tile,
    TiledHashes,
    entries_in,
    first_of,
    levels_of,
    tile_at,
    tiles_of,
)
from foundation.ledger.witness.quorum import Reach

CHECKPOINT = checkpoints.CHECKPOINT


class Absent(Exception):
    """There is no such file."""


Fetch = Callable[[str], bytes]
"""A file's bytes by its name below the log's prefix. Raises Absent, and what its way there raises."""


def of_folder(folder: Path) -> Fetch:
    """Raises OSError besides."""

    def fetch(name: str) -> bytes:
        try:
            return (folder / name).read_bytes()
        except FileNotFoundError as exc:
            raise Absent(name) from exc

    return fetch


class Found(msgspec.Struct, frozen=True):
    """An entry at its place, as it is hashed and as it reads."""

    index: int
    raw: bytes
    entry: Entry


class Verified(msgspec.Struct, frozen=True):
    """What a whole log was found to hold. `earlier`: the size of the checkpoint that it was held against."""

    origin: str
    size: int
    root: str
    earlier: int | None
    payloads: int
    """Payloads that lie beside it and are those that their entries commit to."""
    without: int
    """Entries whose payload does not lie beside the log: erased, or never copied."""


def published(fetch: Fetch) -> list[bytes]:
    """The notes that a log gives out: what the wide quorum has cosigned, what the near one has, and what was signed last; those there are.

    Raises Absent where the last one is not there, and what `fetch` raises.
    """
    found: list[bytes] = []
    for reach in (Reach.WIDE, Reach.NEAR):
        with contextlib.suppress(Absent):
            found.append(fetch(reach.file))
    return [*found, fetch(CHECKPOINT)]


class LogReader:
    """One log as of the checkpoint that it had at the first question, or as of an earlier one that is given."""

    def __init__(self, fetch: Fetch, verifier: Verifier, note: bytes | None = None) -> None:
        """Raises NoteRefused, Absent, LogDamaged, and what `fetch` raises; so does every other call, and besides MalformedTile."""
        self._fetch = fetch
        self._verifier = verifier
        newest = fetch(CHECKPOINT)
        self._there = checkpoints.opened(newest, verifier).size
        self.signed = newest if note is None else note
        self.checkpoint = checkpoints.opened(self.signed, verifier)
        if self.checkpoint.size > self._there:
            raise LogDamaged(
                f"{self.checkpoint.size} entries were signed for, and the log's newest checkpoint is of {self._there}"
            )
        self.hashes = TiledHashes(self.checkpoint.size, self.tile)

    def tile(self, tile: Tile) -> bytes:
        """Out of the tile as the newest checkpoint has it, which is there, or of the whole one, once a partial one is gone."""
        there = tile_at(tile.level, tile.number, self._there)
        try:
            raw = self._fetch(there.path)
        except Absent:
            if there.width == WIDTH:
                raise
            there = there._replace(width=WIDTH)
            raw = self._fetch(there.path)
        if there.width == tile.width:
            return raw
        return first_of(tile.level, raw, tile.width)

    def bundle(self, index: int) -> list[Found]:
        """The entries of a bundle, held against the tile of their hashes; the tile against what was signed: by `prove`, `verify`."""
        return [Found(index * WIDTH + at, one, entries.parse(one)) for at, one in enumerate(self._raw(index))]

    def newest(self) -> Iterator[Found]:
        """Every entry, the newest first."""
        for index in reversed(range(self.bundles)):
            yield from reversed(self.bundle(index))

    def of_kinds(self, kinds: Collection[str], since: int = 0, until: int | None = None) -> Iterator[Found]:
        """Entries of these kinds, the oldest first, from `since` to before `until`. Only those in which the kind's name stands are taken
        apart."""
        needles = [f'"kind":"{kind}"'.encode() for kind in kinds]
        size = self.checkpoint.size if until is None else min(until, self.checkpoint.size)
        for index in range(since // WIDTH, (size + WIDTH - 1) // WIDTH):
            for at, raw in enumerate(self._raw(index), index * WIDTH):
                if not since <= at < size or not any(needle in raw for needle in needles):
                    continue
                if (entry := entries.parse(raw)).kind in kinds:
                    yield Found(at, raw, entry)

    def find(self, event_id: str) -> Found | None:
        """The newest entry of an event. Reads the log from its end; only a bundle in which the event's digest stands is taken apart."""
        digest = entries.event_digest(event_id)
        needle = digest.encode()
        for index in reversed(range(self.bundles)):
            if any(needle in raw for raw in self._raw(index)):
                found = next((one for one in reversed(self.bundle(index)) if one.entry.event == digest), None)
                if found is not None:
                    return found
        return None

    def prove(self, found: Found) -> Proof:
        path = inclusion(found.index, self.checkpoint.size, self.hashes)
        return Proof(found.index, tuple(path), self.signed, found.raw)

    def proved(self, found: Found) -> Proof:
        """The same, held against what was signed. Raises ProofRefused."""
        proof = self.prove(found)
        proof.verify(self._verifier)
        return proof

    def verify(self, earlier: Checkpoint | None = None, folder: Path | None = None) -> Verified:
        """Reads every entry and tile, and beside a `folder`'s the payloads; `earlier` is a checkpoint that was believed before.

        Raises LogDamaged for the first thing that does not hold, ProofRefused where the log does not go on from `earlier`, MalformedEntry.
        """
        size = self.checkpoint.size
        if earlier is not None and (earlier.origin != self.checkpoint.origin or earlier.size > size):
            raise ProofRefused(f"the log has {size} entries, {earlier.size} of {earlier.origin} were signed for before")
        tree, rows, held = Frontier(), [list[bytes]() for _ in levels_of(size)], 0
        for index in range(self.bundles):
            bundle = self.bundle(index)
            openings = repeat(None) if folder is None else payloads.in_bundle(folder, index, len(bundle))
            for found, opening in zip(bundle, openings, strict=False):
                completed = tree.append(leaf_hash(found.raw))
                for level, height in enumerate(range(0, len(completed), HEIGHT)):
                    rows[level].append(completed[height])
                held += folder is not None and opening is not None and _fits(folder, found, opening)
            rows[0] = []
        if tree.root() != self.checkpoint.root:
            raise LogDamaged("the entries are not those that the checkpoint was signed over")
        for level in levels_of(size)[1:]:
            for tile in tiles_of(size, level):
                at = tile.number * WIDTH
                if self.tile(tile) != b"".join(rows[level][at : at + tile.width]):
                    raise LogDamaged(f"{tile.path} holds other hashes than the entries give")
        if earlier is not None:
            self.goes_on_from(earlier)
        root = self.checkpoint.root.hex()
        return Verified(self.checkpoint.origin, size, root, earlier.size if earlier else None, held, size - held)

    def goes_on_from(self, earlier: Checkpoint) -> None:
        """Raises ProofRefused where the tree of `earlier` is not the beginning of this one."""
        if earlier.size > self.checkpoint.size:
            raise ProofRefused(f"the log has {self.checkpoint.size} entries, and {earlier.size} were signed for before")
        verify_consistency(
            old=earlier.size,
            old_root=earlier.root,
            new=self.checkpoint.size,
            new_root=self.checkpoint.root,
            path=consistency(earlier.size, self.checkpoint.size, self.hashes),
        )

    @property
    def bundles(self) -> int:
        """How many it takes for what is signed for."""
        return (self.checkpoint.size + WIDTH - 1) // WIDTH

    def _raw(self, index: int) -> list[bytes]:
        """A bundle's entries, held against the tile of their hashes."""
        raw = entries_in(self.tile(tile_at(ENTRIES, index, self.checkpoint.size)), self.width(index))
        hashes = self.tile(tile_at(0, index, self.checkpoint.size))
        if hashes != b"".join(leaf_hash(one) for one in raw):
            raise LogDamaged(f"bundle {index} holds other entries than their hashes say")
        return raw

    def width(self, index: int) -> int:
        """Entries of a bundle that are signed for."""
        return tile_at(ENTRIES, index, self.checkpoint.size).width


def _fits(folder: Path, found: Found, opening: bytes) -> bool:
    """False where it was erased meanwhile. Raises MalformedEntry for another opening than the entry commits to."""

    def checked(held: bytes) -> bool:
        sheaves.fits(found.entry, held)
        return True

    try:
        return bool(payloads.read_as(checked, folder, found.index, opening))
    except MalformedEntry as exc:
        raise MalformedEntry(f"entry {found.index}: {exc}") from exc
