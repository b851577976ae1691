"""What the rows of a batch have in common: few lots of equal rows, and the parts that they make up. Pure."""

from collections.abc import Sequence

import msgspec

from directory.bulk.core import NewRow, Ruled
from foundation.words import CellId, ServiceId, ShardId


class Lot(msgspec.Struct, frozen=True):
    """Rows that differ in their subject ids and lookup keys alone. `part`: which of the parts they lie in, from 0."""

    cell: CellId
    shard: ShardId
    ruled: Ruled
    part: int

    @property
    def services(self) -> tuple[ServiceId, ...]:
        return self.ruled.asked.services


class Lots(msgspec.Struct, frozen=True, kw_only=True):
    """`of_rows`: each row's lot, from 1, as SQL counts. A part is what of a batch is for the same services on the same shard;
    `kinds_of_parts`: of its members in the order of their ids, which of `kinds` each is, from 1."""

    lots: list[Lot]
    of_rows: list[int]
    kinds: list[Ruled]
    kinds_of_parts: list[list[int]]


def lots_of(new: Sequence[NewRow]) -> Lots:
    """Rows with the same facts share one `Ruled`, by which they are told apart."""
    lots: list[Lot] = []
    known: dict[tuple[CellId, ShardId, int], int] = {}
    kinds: dict[int, int] = {}
    parts: dict[tuple[CellId, ShardId, tuple[ServiceId, ...]], int] = {}
    of_rows: list[int] = []
    for one in new:
        ruled = one.ruled
        of = (one.cell, one.shard, id(ruled))
        number = known.get(of)
        if number is None:
            part = parts.setdefault((one.cell, one.shard, ruled.asked.services), len(parts))
            kinds.setdefault(id(ruled), len(kinds) + 1)
            lots.append(Lot(one.cell, one.shard, ruled, part))
            number = known[of] = len(lots)
        of_rows.append(number)
    of_parts: list[list[int]] = [[] for _ in parts]
    for _, number in sorted(zip((one.subject_id for one in new), of_rows, strict=True)):
        lot = lots[number - 1]
        of_parts[lot.part].append(kinds[id(lot.ruled)])
    ruled_by_kind = {kinds[id(lot.ruled)]: lot.ruled for lot in lots}
    return Lots(
        lots=lots,
        of_rows=of_rows,
        kinds=[ruled_by_kind[kind] for kind in sorted(ruled_by_kind)],
        kinds_of_parts=of_parts,
    )
