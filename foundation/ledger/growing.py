"""The right edge of a log: what it takes to grow the tree, and the files that grow with it (tiles, bundles, payloads)."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

from foundation.ledger import payloads
from foundation.ledger.files import Files, LogDamaged
from foundation.ledger.merkle import Frontier, leaf_hashes, peaks
from foundation.ledger.tiles import (
    ENTRIES,
    HEIGHT,
    WIDTH,
    MalformedTile,
    Tile,
    TiledHashes,
    entries_in,
    framed,
    hashes_in,
    levels_of,
)

Write: TypeAlias = Callable[[], None]
"""Of one file. Raises OSError."""


class Growing:
    """Takes entries in order, in memory. What has to be written for them is given by `writes`, to be done in that order, by whoever has the
    folder's `Files`: so nobody who gives entries waits for files."""

    def __init__(self, folder: Path, files: Files, size: int, payload_bytes: int) -> None:
        """As the folder's tiles have it at `size`, `payload_bytes` being the length of the last payload file then. What was written after
        that is written anew. Raises OSError, LogDamaged."""
        self._folder = folder
        self._files = files
        self._full: list[Tile] = []
        self._partials: list[Tile] = []
        self._frames: list[bytes] = []
        self._writes: list[Write] = []
        self.payload_bytes = payload_bytes
        try:
            self._frontier = Frontier(size, peaks(0, size, TiledHashes(size, self._read)))
            self._edge = [self._edge_of(level, size) for level in levels_of(size)]
            bundle = self._bundle_at(size)
            self._bundle = [framed(entry) for entry in bundle]
            self._partials = self._partials_now()
        except FileNotFoundError as exc:
            raise LogDamaged(f"{exc.filename} is missing") from exc
        except MalformedTile as exc:
            raise LogDamaged(str(exc)) from exc
        if bundle and leaf_hashes(bundle) != self._edge[0]:
            raise LogDamaged(
                f"{Tile(ENTRIES, size >> HEIGHT, len(bundle)).path} holds other entries than their hashes say"
            )
        if files.size(payloads.file_of(size)) < payload_bytes:
            raise LogDamaged(f"{payloads.file_of(size)} is missing, or shorter than it was")

    @property
    def size(self) -> int:
        return self._frontier.size

    def root(self) -> bytes:
        return self._frontier.root()

    def take(self, entries: Sequence[bytes], openings: Sequence[bytes]) -> None:
        if len(entries) != len(openings):
            raise ValueError("each entry has an opening")
        at = 0
        while at < len(entries):
            until = at + WIDTH - len(self._bundle)
            self._take(entries[at:until], openings[at:until])
            at = until

    def _take(self, entries: Sequence[bytes], openings: Sequence[bytes]) -> None:
        """No more than the bundle has room for."""
        leaves = leaf_hashes(entries)
        completed = self._frontier.extend(leaves)
        self._bundle += map(framed, entries)
        self._frames += map(payloads.framed, openings)
        if not self._edge:
            self._edge.append([])
        self._edge[0] += leaves[:-1]
        for level, over in enumerate(completed[::HEIGHT]):
            if level == len(self._edge):
                self._edge.append([])
            hashes = self._edge[level]
            hashes.append(over)
            if len(hashes) == WIDTH:
                self._write_full(Tile(level, (self.size >> (HEIGHT * (level + 1))) - 1), b"".join(hashes))
                hashes.clear()
        if len(self._bundle) == WIDTH:
            self._write_full(Tile(ENTRIES, (self.size >> HEIGHT) - 1), b"".join(self._bundle))
            self._bundle.clear()
            self._write_payloads(self.size - 1)
            self.payload_bytes = 0

    def writes(self) -> list[Write]:
        """Once all that was given is done, every tile that the tree of this size has is there, and every payload.

        A partial one that is there already is left alone: it may be durable, and a second writing of it is not.
        """
        now = self._partials_now()
        for tile in self._partials:
            if tile not in now:
                self._writes.append(partial(self._files.forget, tile.path))
        for tile in now:
            if tile not in self._partials:
                content = b"".join(self._bundle) if tile.level == ENTRIES else b"".join(self._edge[tile.level])
                self._writes.append(partial(self._files.write_unseen, tile.path, content))
        self._partials = now
        if self._frames:
            self._write_payloads(self.size - 1)
        writes, self._writes = self._writes, []
        return writes

    def cut(self) -> None:
        """Cuts off payloads of entries that are none: what a crash has left beyond the last record. Raises OSError."""
        self._files.cut(payloads.file_of(self.size), self.payload_bytes)
        following = (self.size // WIDTH + 1) * WIDTH
        while self._files.size(payloads.file_of(following)):
            self._files.cut(payloads.file_of(following), 0)
            following += WIDTH

    def _partials_now(self) -> list[Tile]:
        """The partial tiles of the tree as it is; equal ones hold the same."""
        tiles = [
            Tile(level, self.size >> (HEIGHT * (level + 1)), len(hashes))
            for level, hashes in enumerate(self._edge)
            if hashes
        ]
        return [*tiles, Tile(ENTRIES, self.size >> HEIGHT, len(self._bundle))] if self._bundle else tiles

    def outgrown(self) -> list[Path]:
        """The folders of partial tiles whose whole one was written since this was asked last: to be removed once that is durable."""
        folders = [self._folder / f"{tile.path}.p" for tile in self._full]
        self._full.clear()
        return folders

    def hashes(self) -> TiledHashes:
        """Those of the tree as its tiles have it."""
        return TiledHashes(self.size, self._read)

    def _read(self, tile: Tile) -> bytes:
        return (self._folder / tile.path).read_bytes()

    def _edge_of(self, level: int, size: int) -> list[bytes]:
        width = (size >> (HEIGHT * level)) % WIDTH
        if not width:
            return []
        return hashes_in(self._read(Tile(level, size >> (HEIGHT * (level + 1)), width)), width)

    def _bundle_at(self, size: int) -> list[bytes]:
        width = size % WIDTH
        return entries_in(self._read(Tile(ENTRIES, size >> HEIGHT, width)), width) if width else []

    def _write_full(self, tile: Tile, content: bytes) -> None:
        self._writes.append(partial(self._files.write, tile.path, content))
        self._full.append(tile)

    def _write_payloads(self, index: int) -> None:
        content = b"".join(self._frames)
        self._writes.append(partial(self._files.put, payloads.file_of(index), self.payload_bytes, content))
        self.payload_bytes += len(content)
        self._frames.clear()


def write(writes: Iterable[Write]) -> None:
    """Raises OSError."""
    for one in writes:
        one()
