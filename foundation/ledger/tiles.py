"""C2SP tlog-tiles (https://c2sp.org/tlog-tiles): how a tree and its entries are cut into files, and what they are called. Pure."""

import re
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from foundation.ledger.merkle import HASH_BYTES, complete

HEIGHT = 8
WIDTH = 1 << HEIGHT
LEVEL_MAX = 63
ENTRY_BYTES_MAX = 65_535
"""What the length of an entry in a bundle can say."""
ENTRIES = -1
"""The level of entry bundles, as a `Tile` has it."""

_PATH = re.compile(r"tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?\Z")
_INDEX_ELEMENTS_MAX = 7
_LENGTH = struct.Struct(">H")


class MalformedTile(Exception):
    """A path names no tile, or a file is not what its path says."""


class Tile(NamedTuple):
    """The `number`-th tile of a level, as wide as it has hashes; of level ENTRIES a bundle, as wide as it has entries."""

    level: int
    number: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """Below the log's prefix."""
        level = "entries" if self.level == ENTRIES else str(self.level)
        partial = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{level}/{index_path(self.number)}{partial}"


def index_path(index: int) -> str:
    """1234067 as x001/x234/067."""
    elements = [f"{index % 1000:03}"]
    while index >= 1000:
        index //= 1000
        elements.append(f"x{index % 1000:03}")
    return "/".join(reversed(elements))


def parse(path: str) -> Tile:
    """Raises MalformedTile: also for a spelling that `Tile.path` would not give."""
    match = _PATH.match(path)
    if match is None or path.count("/x") > _INDEX_ELEMENTS_MAX:
        raise MalformedTile("no tile has this path")
    level, index, width = match.groups()
    tile = Tile(
        ENTRIES if level == "entries" else int(level),
        int(index.replace("x", "").replace("/", "")),
        WIDTH if width is None else int(width),
    )
    if tile.level > LEVEL_MAX or tile.path != path:
        raise MalformedTile("no tile has this path")
    return tile


def tile_at(level: int, number: int, size: int) -> Tile:
    """That tile in a tree of `size` leaves: whole, or as wide as the tree goes. Raises MalformedTile where it goes not so far."""
    hashes = size >> (HEIGHT * max(level, 0))
    width = min(WIDTH, hashes - number * WIDTH)
    if width <= 0:
        raise MalformedTile(f"a tree of {size} leaves has no tile {number} of level {level}")
    return Tile(level, number, width)


def tiles_of(size: int, level: int) -> Iterator[Tile]:
    """Every tile of a level in a tree of `size` leaves, in order."""
    hashes = size >> (HEIGHT * max(level, 0))
    for number in range((hashes + WIDTH - 1) // WIDTH):
        yield tile_at(level, number, size)


def levels_of(size: int) -> range:
    """The levels that have tiles in a tree of `size` leaves."""
    return range((size.bit_length() + HEIGHT - 1) // HEIGHT)


# --- what is in them ---------------------------------------------------------------------------------------------------------


def hashes_in(raw: bytes, width: int) -> list[bytes]:
    """Raises MalformedTile unless there are `width`."""
    if len(raw) != width * HASH_BYTES:
        raise MalformedTile(f"a tile of {width} hashes has {width * HASH_BYTES} bytes, not {len(raw)}")
    return [raw[at : at + HASH_BYTES] for at in range(0, len(raw), HASH_BYTES)]


def framed(entry: bytes) -> bytes:
    """As it stands in a bundle. Raises ValueError where it is too long."""
    if len(entry) > ENTRY_BYTES_MAX:
        raise ValueError(f"an entry has at most {ENTRY_BYTES_MAX} bytes")
    return _LENGTH.pack(len(entry)) + entry


def entries_in(raw: bytes, width: int) -> list[bytes]:
    """Raises MalformedTile unless there are exactly `width`."""
    entries, at = list[bytes](), 0
    while at < len(raw):
        if at + 2 > len(raw):
            raise MalformedTile("a bundle breaks off inside a length")
        (length,) = _LENGTH.unpack_from(raw, at)
        at += 2
        if at + length > len(raw):
            raise MalformedTile("a bundle breaks off inside an entry")
        entries.append(raw[at : at + length])
        at += length
    if len(entries) != width:
        raise MalformedTile(f"a bundle of {width} entries has {len(entries)}")
    return entries


def first_of(level: int, raw: bytes, width: int) -> bytes:
    """The first `width` hashes or entries of a tile that may be wider. Raises MalformedTile where it has not as many."""
    at = 0 if level == ENTRIES else width * HASH_BYTES
    for _ in range(width if level == ENTRIES else 0):
        if at + 2 > len(raw):
            raise MalformedTile("a bundle breaks off inside a length")
        at += 2 + int.from_bytes(raw[at : at + 2], "big")
    if at > len(raw):
        raise MalformedTile(f"there are fewer than {width} hashes or entries")
    return raw[:at]


class TiledHashes:
    """`merkle.Subtrees` of a tree of `size` leaves out of its tiles. `read` gives a tile's bytes and may raise; each is asked for once."""

    def __init__(self, size: int, read: Callable[[Tile], bytes]) -> None:
        self._size = size
        self._read = read
        self._held: dict[Tile, Sequence[bytes]] = {}

    def __call__(self, height: int, index: int) -> bytes:
        """Raises MalformedTile, and what `read` raises."""
        level, within = divmod(height, HEIGHT)
        first = index << within
        tile = tile_at(level, first // WIDTH, self._size)
        hashes = self._held.get(tile)
        if hashes is None:
            hashes = self._held[tile] = hashes_in(self._read(tile), tile.width)
        at = first % WIDTH
        if at + (1 << within) > tile.width:
            raise MalformedTile(f"a tree of {self._size} leaves has no complete subtree {index} of height {height}")
        return complete(hashes[at : at + (1 << within)])
