"""A decided batch in columns, as it is stored: groups of rows that differ in their ids and lookup keys alone. Pure."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

import msgspec

from directory.aliases.core import first_twins
from directory.bulk.answers import Refused
from directory.bulk.core import Decided, Ruled, Ruling, refusal
from directory.bulk.packed import ID_BYTES, KEY_BYTES, Common, KeyName, Packed, common_of, texts_of
from directory.placement.answers import ClaimedKey
from foundation.copying import cut
from foundation.problems import Problem
from foundation.words import CellId, FeedSeq, RulesDigest, ServiceId, ShardId

Home = tuple[CellId, ShardId]


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of the same facts on one shard. `ids`: 16 bytes each; `keys`: for each of `names` the rows' keys in the order of their ids."""

    ruled: Ruled
    home: Home
    names: tuple[KeyName, ...]
    ids: list[bytes]
    keys: list[list[bytes]]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """As `Decided`, by groups. Nothing is stored yet."""

    groups: list[Group]
    known: int
    refused: tuple[Refused, ...]
    under: RulesDigest
    registry: FeedSeq

    @property
    def placed(self) -> int:
        return sum(len(one.ids) for one in self.groups)

    @property
    def cells(self) -> dict[CellId, int]:
        counted: Counter[CellId] = Counter()
        for one in self.groups:
            counted[one.home[0]] += len(one.ids)
        return dict(sorted(counted.items()))

    @property
    def kinds(self) -> list[Ruled]:
        """The reasons that its rows have in common, each once."""
        return list({id(one.ruled): one.ruled for one in self.groups}.values())


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What of a batch is for the same services on the same shard. `ids` in their order; `kinds`: of each its place among the plan's."""

    home: Home
    services: tuple[ServiceId, ...]
    ids: list[bytes]
    kinds: list[int]


def parts_of(plan: Plan) -> list[Part]:
    places = {id(ruled): place for place, ruled in enumerate(plan.kinds)}
    found: dict[tuple[Home, tuple[ServiceId, ...]], list[tuple[list[bytes], int]]] = {}
    for one in plan.groups:
        of_part = found.setdefault((one.home, one.ruled.asked.services), [])
        of_part.append((one.ids, places[id(one.ruled)]))
    return [_part(home, services, of_part) for (home, services), of_part in found.items()]


def _part(home: Home, services: tuple[ServiceId, ...], of_part: Sequence[tuple[list[bytes], int]]) -> Part:
    """`of_part`: ids with the place of their kind."""
    if len(of_part) == 1:
        found, place = of_part[0]
        return Part(home=home, services=services, ids=sorted(found), kinds=[place] * len(found))
    members: dict[bytes, int] = {}
    for found, place in of_part:
        members.update(dict.fromkeys(found, place))
    ids = sorted(members)
    return Part(home=home, services=services, ids=ids, kinds=list(map(members.__getitem__, ids)))


def twins_of(names: Sequence[KeyName]) -> tuple[int | None, ...]:
    """For each key the place of the first one of the same identifier, None where it is that itself (`first_twins`)."""
    firsts = first_twins([ClaimedKey(kind=one.kind, key=str(place), kid=one.kid) for place, one in enumerate(names)])
    return tuple(None if first is None else int(first) for first in firsts)


def of_decided(decided: Decided) -> Plan:
    """What was decided row by row."""
    groups: dict[tuple[int, Home, tuple[KeyName, ...]], Group] = {}
    for one in decided.new:
        names, home = common_of(one.row).keys, (one.cell, one.shard)
        of = (id(one.ruled), home, names)
        group = groups.get(of)
        if group is None:
            group = groups[of] = Group(ruled=one.ruled, home=home, names=names, ids=[], keys=[[] for _ in names])
        group.ids.append(bytes.fromhex(one.subject_id.replace("-", "")))
        for column, key in zip(group.keys, one.row.keys, strict=True):
            column.append(key.key.encode("ascii"))
    return Plan(
        groups=list(groups.values()),
        known=decided.known,
        refused=decided.refused,
        under=decided.under,
        registry=decided.registry,
    )


def keys_in(packed: Packed) -> list[bytes]:
    return cut(packed.keys, KEY_BYTES)


def decide_free(packed: Packed, ruling: Ruling, *, draw: Callable[[int], bytes]) -> Plan | None:
    """Every row new or refused by the rules, as `core.decide` says of rows whose keys nobody holds. None where a key stands twice: then
    rows hang together, and are decided one by one. `draw`: so many random bytes."""
    keys = keys_in(packed)
    if len(set(keys)) != len(keys):
        return None
    groups: list[Group] = []
    refused: list[tuple[int, Refused]] = []
    for common, rows, columns in _by_common(packed, keys):
        ruled = ruling.of(common)
        if isinstance(ruled, Problem):
            numbers = packed.numbers()
            refused += [(row, refusal(numbers[row], ruled)) for row in rows]
        else:
            groups += _groups(common, ruled, len(rows), columns, draw)
    return Plan(
        groups=groups,
        known=0,
        refused=tuple(one for _, one in sorted(refused, key=lambda pair: pair[0])),
        under=ruling.under,
        registry=ruling.registry,
    )


def _by_common(packed: Packed, keys: list[bytes]) -> Iterator[tuple[Common, Sequence[int], list[list[bytes]]]]:
    """The rows of each of its commons by their places, and their keys by name."""
    if len(packed.commons) == 1:
        common, size = packed.commons[0], len(packed.commons[0].keys)
        yield common, range(len(packed)), [keys[nth::size] for nth in range(size)]
        return
    places, sizes = packed.places(), [len(one.keys) for one in packed.commons]
    starts = list(accumulate(map(sizes.__getitem__, places), initial=0))
    rows_of: list[list[int]] = [[] for _ in packed.commons]
    for row, place in enumerate(places):
        rows_of[place].append(row)
    for common, rows in zip(packed.commons, rows_of, strict=True):
        firsts = list(map(starts.__getitem__, rows))
        yield common, rows, [[keys[first + nth] for first in firsts] for nth in range(len(common.keys))]


def _groups(
    common: Common, ruled: Ruled, count: int, columns: list[list[bytes]], draw: Callable[[int], bytes]
) -> list[Group]:
    """In the order of their ids, in which they are stored."""
    drawn = draw(ID_BYTES * count)
    ids, texts = cut(drawn, ID_BYTES), texts_of(drawn)
    return [
        Group(
            ruled=ruled,
            home=home,
            names=common.keys,
            ids=list(map(ids.__getitem__, places)),
            keys=[list(map(column.__getitem__, places)) for column in columns],
        )
        for home, chosen in ruled.candidates.choose_all(texts).items()
        for places in [sorted(chosen, key=texts.__getitem__)]
    ]
