"""A batch in columns says the same as its rows one by one, is decided alike, and is refused where its columns do not fit."""

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from directory.aliases.core import first_twins
from directory.bulk.answers import BulkRow
from directory.bulk.core import Ruling, decide
from directory.bulk.kept import Kept, Members, members_of
from directory.bulk.packed import ID_BYTES, KeyName, Packed, pack, rows_of, texts_of, wrong
from directory.bulk.plan import Plan, decide_free, of_decided, parts_of, twins_of
from directory.placement.answers import ClaimedKey
from directory.registry.core import EMPTY
from foundation.copying import HEADER, ROWS_A_PIECE, TRAILER, Stream
from foundation.words import SubjectId
from routing_rules.choose import Candidates
from tests.stands.bulk import row
from tests.stands.directory import lookup_key
from tests.stands.rules import TODAY, rules


def mixed(count: int, seed: int = 1) -> tuple[BulkRow, ...]:
    """Rows of several countries, services and kinds of keys, some of which no rules allow."""
    chance = random.Random(seed)
    made = []
    for number in range(count):
        names = [("login", "k1"), ("login", "k2"), ("email", "k1"), ("email", "k2")][: chance.choice((1, 2, 4))]
        keys = [{"kind": kind, "key": lookup_key(f"{number} {kind} {kid}"), "kid": kid} for kind, kid in names]
        more: dict[str, Any] = {"verified_residence": "FR"} if chance.random() < 0.2 else {}
        country = chance.choice(("DE", "US", "FR", "BR", "GB"))
        made.append(msgspec.convert(row(3 * number, residence=country, keys=keys, **more), BulkRow))
    return tuple(made)


def drawing(seed: int) -> Callable[[int], bytes]:
    return random.Random(seed).randbytes


def minting(seed: int) -> Callable[[], SubjectId]:
    draw = drawing(seed)
    return lambda: texts_of(draw(ID_BYTES))[0]


def test_columns_hold_the_rows_and_have_one_form() -> None:
    rows = mixed(200)
    packed = pack(rows)
    assert wrong(packed) is None
    assert rows_of(packed) == rows
    assert pack(rows_of(packed)) == packed
    sent = msgspec.msgpack.encode(packed)
    assert msgspec.msgpack.decode(sent, type=Packed) == packed
    assert len(sent) < len(msgspec.json.encode(rows)) / 2


BROKEN: dict[str, Callable[[Packed], dict[str, Any]]] = {
    "no rows": lambda _: {"of_rows": b"", "rows": b"", "keys": b""},
    "half a number": lambda good: {"rows": good.rows[:-1]},
    "half a place": lambda good: {"of_rows": good.of_rows[:-1]},
    "a place that nothing has": lambda good: {"of_rows": good.of_rows[:-2] + b"\xff\xff"},
    "a key too few": lambda good: {"keys": good.keys[:-32]},
    "half a key": lambda good: {"keys": good.keys[:-1]},
    "no key": lambda good: {"keys": good.keys[:-1] + b"\0"},
    "a line end": lambda good: {"keys": good.keys[:-1] + b"\n"},
    "in common twice": lambda good: {"commons": (*good.commons, good.commons[0])},
    "another order": lambda good: {"commons": good.commons[::-1]},
    "too many": lambda good: {
        "commons": good.commons[:1], "of_rows": bytes(2 * 10_001), "rows": bytes(8 * 10_001),
        "keys": good.keys[:32] * 10_001,
    },
}  # fmt: skip


@pytest.mark.parametrize("how", BROKEN)
def test_columns_that_do_not_fit_are_refused(how: str) -> None:
    good = pack(mixed(20))
    assert wrong(msgspec.structs.replace(good, **BROKEN[how](good)))


def standing(plan: Plan) -> list[tuple[Any, ...]]:
    """What would be stored, by lookup key, but for the ids."""
    found = [
        (key, name, group.home, group.ruled.facts, group.ruled.provenance, group.ruled.asked.services)
        for group in plan.groups
        for name, column in zip(group.names, group.keys, strict=True)
        for key, _ in zip(column, group.ids, strict=True)
    ]
    return sorted(found, key=lambda one: one[0])


def both_ways(rows: tuple[BulkRow, ...]) -> tuple[Plan, Plan]:
    plan = decide_free(pack(rows), Ruling(rules(), EMPTY, TODAY), draw=drawing(7))
    assert plan is not None
    return plan, of_decided(decide(rows, {}, rules(), EMPTY, TODAY, mint=minting(7)))


def test_both_ways_decide_alike() -> None:
    plan, by_rows = both_ways(mixed(300))
    assert (plan.placed, plan.refused, plan.known) == (by_rows.placed, by_rows.refused, by_rows.known)
    assert (plan.under, plan.registry) == (by_rows.under, by_rows.registry)
    assert plan.refused
    # ids are drawn in another order, so homes are others
    assert [one[:2] + one[3:] for one in standing(plan)] == [one[:2] + one[3:] for one in standing(by_rows)]


def test_what_is_stored_stands_in_the_order_of_ids_and_each_member_has_its_reason() -> None:
    plan = decide_free(pack(mixed(300)), Ruling(rules(), EMPTY, TODAY), draw=drawing(7))
    assert plan is not None
    assert all(group.ids == sorted(group.ids) for group in plan.groups)
    places = {id(kind): place for place, kind in enumerate(plan.kinds)}
    reasons = {subject: places[id(group.ruled)] for group in plan.groups for subject in group.ids}
    parts = parts_of(plan)
    assert all(part.ids == sorted(part.ids) for part in parts)
    assert {subject: kind for part in parts for subject, kind in zip(part.ids, part.kinds, strict=True)} == reasons
    assert any(len(set(part.kinds)) > 1 for part in parts)
    assert any(len(set(part.kinds)) == 1 for part in parts_of(msgspec.structs.replace(plan, groups=plan.groups[:1])))


@pytest.mark.anyio
@pytest.mark.parametrize("count", [0, 1, ROWS_A_PIECE, ROWS_A_PIECE + 1, 2 * ROWS_A_PIECE])
async def test_rows_go_out_in_pieces_that_are_one_stream(count: int) -> None:
    rows = [b"row %d" % number for number in range(count)]
    pieces = [piece async for piece in Stream(rows)]
    assert b"".join(pieces) == b"".join((HEADER, *rows, TRAILER))
    assert len(pieces) == max(1, -(-count // ROWS_A_PIECE))


def test_of_rows_that_say_the_same_both_ways_put_each_in_the_same_place() -> None:
    alike = [one for one in mixed(300) if (one.residence, one.verified_residence, len(one.keys)) == ("DE", None, 2)]
    plan, by_rows = both_ways(tuple(alike))
    assert standing(plan) == standing(by_rows)
    assert parts_of(plan) == parts_of(by_rows)
    assert plan.cells == by_rows.cells


def test_a_key_that_stands_twice_is_left_to_whoever_decides_row_by_row() -> None:
    rows = mixed(20)
    assert decide_free(pack((*rows, rows[3])), Ruling(rules(), EMPTY, TODAY), draw=drawing(1)) is None


@pytest.mark.parametrize("shards", [{"s1": 1.0}, {"s1": 1.0, "s2": 1.0}, {"s1": 3.0, "s2": 1.0, "s3": 0.5}])
@pytest.mark.parametrize("cells", [("eu-de",), ("eu-de", "eu-fr", "us-va")])
def test_many_go_where_each_would_go_alone(cells: tuple[str, ...], shards: dict[str, float]) -> None:
    weights = dict(zip(cells, (1.0, 2.5, 0.5), strict=False))
    among = Candidates(weights, dict.fromkeys(cells, shards))  # type: ignore[arg-type]
    subjects = texts_of(drawing(3)(ID_BYTES * 500))
    homes = among.choose_all(subjects)
    assert sorted(place for places in homes.values() for place in places) == list(range(500))
    assert all(among.choose(subjects[place]) == home for home, places in homes.items() for place in places)


def test_twins_are_told_by_place() -> None:
    names = [
        KeyName("login", "k2"),
        KeyName("login", "k1"),
        KeyName("email", "k2"),
        KeyName("email", None),
        KeyName("email", "k1"),
    ]
    keys = [ClaimedKey(kind=one.kind, key=lookup_key(str(at)), kid=one.kid) for at, one in enumerate(names)]
    by_place = [None if at is None else keys[at].key for at in twins_of(names)]
    assert by_place == list(first_twins(keys))
    assert by_place.count(None) == 3


def test_of_parts_the_newest_are_kept_until_they_are_settled() -> None:
    kept = Kept(parts_max=2)
    for part in range(4):
        kept.put(part, [b"%016d" % part], [b"%08d" % part])
    assert [kept.get(part) for part in range(4)] == [
        None,
        None,
        Members(b"%016d" % 2, b"%08d" % 2),
        Members(b"%016d" % 3, b"%08d" % 3),
    ]
    kept.drop(3)
    kept.drop(3)
    assert kept.get(3) is None


def test_members_without_some_are_the_others_in_their_order() -> None:
    ids, epochs = [b"%016d" % at for at in range(4)], [b"%08d" % at for at in range(4)]
    left = members_of(ids, epochs).without({ids[0], ids[2], b"?" * 16})
    assert left == members_of([ids[1], ids[3]], [epochs[1], epochs[3]])
