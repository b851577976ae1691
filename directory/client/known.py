"""A bounded store of placements by lookup key and by subject id, in flat arrays: about 220 bytes a subject with one key.

One row a subject in a bytearray (id, epoch, number of an interned shape: cell, shard, state, services and facts are few), an
open-addressed index over subject ids (linear probing, load at most 1/2, deletion by backward shift: Knuth, TAOCP vol. 3, 6.4
algorithm R) that has its final size from the start, and a dict from lookup keys to row numbers. Each row knows its keys, so a row
that is given up takes them along: no key ever leads to a row of somebody else. When full, the clock algorithm (second chance,
Corbató 1968) picks the row. Placements of those who are asked for again are given out as they were made, until their row changes. Pure;
docs/benchmarks/resolve.md has what was tried.
"""

import struct
from array import array
from typing import Final, TypeAlias

from directory.placement.core import Facts, Placement, State
from foundation.words import CellId, LookupKey, ServiceId, ShardId, SubjectId

_ROW: Final = struct.Struct("<36sQIB")
_WRITTEN: Final = struct.Struct("<36sQI")  # all but the last byte
_ROW_BYTES: Final = _ROW.size
_ID_BYTES: Final = 36
_SEEN: Final = 48  # the row's last byte: used since the clock's hand passed (beside the rest: one cache line)
SHAPES_MAX = 65_536
"""Distinct shapes held; they are low in cardinality, so more means that something is wrong: everything is dropped and learnt anew."""
KEYS_OF_ONE_MAX = 64
MADE_MAX = 8_192
"""Placements kept as they were given out, of some 300 bytes, of those who were asked for before; beyond that all are made anew."""

_Shape: TypeAlias = tuple[CellId, ShardId, State, tuple[ServiceId, ...], Facts]
_VOID: Final = 0
"""The shape of a row that says nothing any more: its subject and keys are as if they were not held, until it is written again."""


class KnownPlacements:
    """At most `entries_max` subjects and twice as many lookup keys; beyond that a further key is not kept."""

    def __init__(self, *, entries_max: int) -> None:
        if entries_max < 1:
            raise ValueError("a store holds at least one entry")
        self._entries_max = entries_max
        self._mask = (1 << (2 * entries_max - 1).bit_length()) - 1
        self.evictions = 0
        self.clear()

    def clear(self) -> None:
        self._row_by_key: dict[LookupKey, int] = {}
        self._keys_of: list[LookupKey | tuple[LookupKey, ...]] = []
        self._index = array("I", bytes(4 * (self._mask + 1)))  # 0 = free, else row number + 1
        self._rows = bytearray()
        self._made: dict[int, Placement] = {}  # by row; whoever is here was seen since the hand passed
        self._shapes: list[_Shape | None] = [None]
        self._shape_numbers: dict[_Shape, int] = {}
        self._hand = 0

    def __len__(self) -> int:
        return len(self._keys_of)

    # --- reading -------------------------------------------------------------------------------------------------------------

    def by_key(self, key: LookupKey) -> Placement | None:
        """The hot path."""
        row = self._row_by_key.get(key)
        if row is None:
            return None
        made = self._made.get(row)
        return self._placement(row) if made is None else made

    def by_subject(self, subject_id: SubjectId) -> Placement | None:
        row = self._index[self._find(subject_id.encode())] - 1
        return None if row < 0 else self._made.get(row) or self._placement(row)

    def _placement(self, row: int) -> Placement | None:
        start = row * _ROW_BYTES
        subject_id, epoch, number, seen = _ROW.unpack_from(self._rows, start)
        shape = self._shapes[number]
        if shape is None:
            return None
        cell, shard, state, services, facts = shape
        made = Placement(
            subject_id=subject_id.decode(),
            cell=cell,
            shard=shard,
            epoch=epoch,
            state=state,
            services=services,
            facts=facts,
        )
        if not seen:
            self._rows[start + _SEEN] = 1
            return made
        if len(self._made) >= MADE_MAX:
            self._made.clear()
        self._made[row] = made
        return made

    # --- writing -------------------------------------------------------------------------------------------------------------

    def put(self, placement: Placement, key: LookupKey | None = None) -> None:
        """Adds or replaces the subject's placement; with `key`, the key leads to this subject from now on."""
        subject_id = placement.subject_id.encode()
        if len(subject_id) != _ID_BYTES:
            raise ValueError("a subject id has 36 characters")
        number = self._shape_number(placement)
        row = self._index[self._find(subject_id)] - 1
        if row < 0:
            row = self._take_row()
            self._index[self._find(subject_id)] = row + 1
        _WRITTEN.pack_into(self._rows, row * _ROW_BYTES, subject_id, placement.epoch, number)
        self._made.pop(row, None)
        if key is not None and self._row_by_key.get(key) != row:
            self.forget_key(key)
            if len(self._row_by_key) < 2 * self._entries_max:
                self._link(key, row)

    def replace(self, placement: Placement) -> bool:
        """Replaces the placement of a subject that is held; False if it is not."""
        held = self._index[self._find(placement.subject_id.encode())] != 0
        if held:
            self.put(placement)
        return held

    def void(self, subject_id: SubjectId) -> None:
        """What is held of the subject is not known to be true any more; its row keeps its place."""
        row = self._index[self._find(subject_id.encode())] - 1
        if row >= 0:
            _WRITTEN.pack_into(self._rows, row * _ROW_BYTES, subject_id.encode(), 0, _VOID)
            self._made.pop(row, None)

    def forget_key(self, key: LookupKey) -> bool:
        """Whether the key was held. The subject stays."""
        row = self._row_by_key.pop(key, None)
        if row is None:
            return False
        keys = self._keys_of[row]
        self._keys_of[row] = tuple(other for other in keys if other != key) if isinstance(keys, tuple) else ()
        return True

    def _link(self, key: LookupKey, row: int) -> None:
        keys = self._keys_of[row]
        listed = keys if isinstance(keys, tuple) else (keys,)
        if len(listed) >= KEYS_OF_ONE_MAX:
            del self._row_by_key[listed[0]]
            listed = listed[1:]
        self._keys_of[row] = (*listed, key) if listed else key
        self._row_by_key[key] = row

    def _shape_number(self, placement: Placement) -> int:
        shape = (placement.cell, placement.shard, placement.state, placement.services, placement.facts)
        number = self._shape_numbers.get(shape)
        if number is not None:
            return number
        if len(self._shapes) >= SHAPES_MAX:
            self.clear()
        self._shapes.append(shape)
        self._shape_numbers[shape] = len(self._shapes) - 1
        return len(self._shapes) - 1

    # --- rows and their index ------------------------------------------------------------------------------------------------

    def _take_row(self) -> int:
        """A fresh row, or the one that the clock's hand gives up, with all its keys."""
        if len(self._keys_of) < self._entries_max:
            self._rows.extend(bytes(_ROW_BYTES))
            self._keys_of.append(())
            return len(self._keys_of) - 1
        while True:
            row = self._hand = (self._hand + 1) % len(self._keys_of)
            if not self._rows[row * _ROW_BYTES + _SEEN]:
                break
            self._rows[row * _ROW_BYTES + _SEEN] = 0
            self._made.pop(row, None)
        keys = self._keys_of[row]
        for key in keys if isinstance(keys, tuple) else (keys,):
            del self._row_by_key[key]
        self._keys_of[row] = ()
        self._unlink(self._find(self._id_of(row)))
        self.evictions += 1
        return row

    def _id_of(self, row: int) -> bytes:
        start = row * _ROW_BYTES
        return bytes(self._rows[start : start + _ID_BYTES])

    def _find(self, subject_id: bytes) -> int:
        """Where in the index the subject stands, or the free place where it would."""
        index, rows, mask = self._index, self._rows, self._mask
        at = hash(subject_id) & mask
        while (row := index[at]) and not rows.startswith(subject_id, (row - 1) * _ROW_BYTES):
            at = (at + 1) & mask
        return at

    def _unlink(self, hole: int) -> None:
        """Frees a place of the index and closes the gap in its probe sequence."""
        index, mask = self._index, self._mask
        at = hole
        while True:
            at = (at + 1) & mask
            row = index[at]
            if not row:
                break
            home = hash(self._id_of(row - 1)) & mask
            if (at - home) & mask >= (at - hole) & mask:
                index[hole] = row
                hole = at
        index[hole] = 0
