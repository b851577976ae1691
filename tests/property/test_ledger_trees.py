"""Trees and proofs of any size: every proof verifies, one bit of anything spoils it, growing gives what computing anew gives."""

import json
import random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.ledger import merkle, tiles
from foundation.ledger.canonical import canonical
from foundation.ledger.entries import SALT_BYTES, Entry, Recorded, sealed, sealed_each, spelled
from foundation.ledger.merkle import EMPTY_ROOT, Frontier, ProofRefused, leaf_hash
from foundation.ledger.tiles import ENTRIES, Tile, TiledHashes
from tests.stands.ledger import bundle_of, naive_root, subtrees_of

LEAVES = [b"leaf %d" % number for number in range(300)]
HASHES = [leaf_hash(leaf) for leaf in LEAVES]
ROOTS = [naive_root(LEAVES[:size]) for size in range(len(LEAVES) + 1)]
SIZES = st.integers(1, len(LEAVES))


def verifies(**given: object) -> bool:
    try:
        merkle.verify_inclusion(**given)  # type: ignore[arg-type]
    except ProofRefused:
        return False
    return True


def goes_on(**given: object) -> bool:
    try:
        merkle.verify_consistency(**given)  # type: ignore[arg-type]
    except ProofRefused:
        return False
    return True


def flipped(raw: bytes, bit: int) -> bytes:
    at = bit % (len(raw) * 8)
    return raw[: at // 8] + bytes([raw[at // 8] ^ (1 << at % 8)]) + raw[at // 8 + 1 :]


def test_a_tree_that_grows_has_the_root_of_one_computed_anew_at_every_size() -> None:
    frontier = Frontier()
    for size, leaf in enumerate(HASHES, start=1):
        completed = frontier.append(leaf)
        assert frontier.root() == ROOTS[size]
        for height, found in enumerate(completed):
            assert found == naive_root(LEAVES[size - (1 << height) : size])
    assert ROOTS[0] == EMPTY_ROOT == Frontier().root()


@given(first=SIZES, more=st.integers(1, len(LEAVES)))
def test_leaves_that_a_tree_takes_together_complete_what_the_last_does_by_itself(first: int, more: int) -> None:
    one_by_one, together = Frontier(), Frontier()
    completed = [one_by_one.append(leaf) for leaf in (*HASHES[:first], *HASHES[:more])]
    assert together.extend(HASHES[:first]) == completed[first - 1]
    assert together.extend(HASHES[:more]) == completed[-1]
    assert (together.size, together.root()) == (one_by_one.size, one_by_one.root())


@given(size=SIZES, data=st.data())
@settings(deadline=None)
def test_every_inclusion_proof_verifies_and_one_bit_of_it_the_leaf_or_the_root_spoils_it(
    size: int, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, size - 1))
    path = merkle.inclusion(index, size, subtrees_of(HASHES))
    leaf, root = HASHES[index], ROOTS[size]
    assert verifies(leaf=leaf, index=index, size=size, path=path, root=root)
    bit = data.draw(st.integers(0, 255))
    assert not verifies(leaf=flipped(leaf, bit), index=index, size=size, path=path, root=root)
    assert not verifies(leaf=leaf, index=index, size=size, path=path, root=flipped(root, bit))
    assert not verifies(leaf=leaf, index=index, size=size, path=[*path, root], root=root)
    for at in range(len(path)):
        spoilt = [*path[:at], flipped(path[at], bit), *path[at + 1 :]]
        assert not verifies(leaf=leaf, index=index, size=size, path=spoilt, root=root)
        assert not verifies(leaf=leaf, index=index, size=size, path=[*path[:at], *path[at + 1 :]], root=root)
    other = data.draw(st.integers(-1, size))
    assert other == index or not verifies(leaf=leaf, index=other, size=size, path=path, root=root)


@given(new=SIZES, data=st.data())
@settings(deadline=None)
def test_every_consistency_proof_verifies_and_one_bit_of_it_or_a_root_spoils_it(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(0, new))
    path = merkle.consistency(old, new, subtrees_of(HASHES))
    roots = {"old_root": ROOTS[old], "new_root": ROOTS[new]}
    assert goes_on(old=old, new=new, path=path, **roots)
    bit = data.draw(st.integers(0, 255))
    assert not goes_on(old=old, new=new, path=path, **(roots | {"old_root": flipped(ROOTS[old], bit)}))
    assert old == 0 or not goes_on(old=old, new=new, path=path, **(roots | {"new_root": flipped(ROOTS[new], bit)}))
    assert not goes_on(old=old, new=new, path=[*path, ROOTS[new]], **roots)
    assert not goes_on(old=new + 1, new=new, path=path, **roots)
    for at in range(len(path)):
        spoilt = [*path[:at], flipped(path[at], bit), *path[at + 1 :]]
        assert not goes_on(old=old, new=new, path=spoilt, **roots)
        assert not goes_on(old=old, new=new, path=[*path[:at], *path[at + 1 :]], **roots)


@given(size=st.integers(1, 70_000), data=st.data())
@settings(deadline=None, max_examples=30)
def test_proofs_out_of_tiles_are_those_of_the_tree(size: int, data: st.DataObject) -> None:
    frontier, rows = Frontier(), [list[bytes]() for _ in tiles.levels_of(size)]
    for number in range(size):
        completed = frontier.append(HASHES[number % len(HASHES)])
        for level, height in enumerate(range(0, len(completed), tiles.HEIGHT)):
            rows[level].append(completed[height])
    held = {
        tile: b"".join(rows[level][tile.number * 256 : tile.number * 256 + tile.width])
        for level in tiles.levels_of(size)
        for tile in tiles.tiles_of(size, level)
    }
    subtrees = TiledHashes(size, held.__getitem__)
    root = merkle.root_of(size, subtrees)
    assert root == frontier.root()
    index = data.draw(st.integers(0, size - 1))
    path = merkle.inclusion(index, size, subtrees)
    assert verifies(leaf=rows[0][index], index=index, size=size, path=path, root=root)
    old = data.draw(st.integers(1, size))
    earlier = merkle.root_of(old, subtrees)
    path = merkle.consistency(old, size, subtrees)
    assert goes_on(old=old, old_root=earlier, new=size, new_root=root, path=path)


@given(level=st.integers(ENTRIES, 63), number=st.integers(0, 1 << 55), width=st.integers(1, 256))
def test_a_tiles_path_names_it(level: int, number: int, width: int) -> None:
    tile = Tile(level, number, width)
    assert tiles.parse(tile.path) == tile


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_a_bundle_holds_what_was_put_in(entries: list[bytes]) -> None:
    assert tiles.entries_in(bundle_of(entries), len(entries)) == entries


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_canonical_json_reads_as_the_value_and_is_its_own_canonical_form(value: object) -> None:
    raw = canonical(value)
    assert json.loads(raw, parse_int=float) == value
    assert canonical(json.loads(raw, parse_int=float)) == raw


def members(entry: Entry) -> dict[str, object]:
    """Those that it has."""
    return {name: value for name, value in msgspec.structs.asdict(entry).items() if value is not msgspec.UNSET}


@given(
    kind=st.text(),
    source=st.text(),
    at_us=st.integers(-(1 << 53), 1 << 53),
    under=st.none() | st.tuples(st.integers(1, 1 << 53), st.binary(min_size=32, max_size=32)),
)
def test_an_entry_is_spelled_as_the_canonical_form_of_its_members(
    kind: str, source: str, at_us: int, under: tuple[int, bytes] | None
) -> None:
    entry = Entry(at_us=at_us, commitment="0" * 64, event="1" * 64, kind=kind, position=7, source=source)
    if under is not None:
        entry = msgspec.structs.replace(entry, count=under[0], root=under[1].hex())
    assert spelled(entry) == canonical(members(entry))


def test_every_character_is_spelled_as_in_the_canonical_form() -> None:
    kind = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)]))
    entry = Entry(at_us=0, commitment="0" * 64, event="1" * 64, kind=kind, position=7, source="s1")
    assert spelled(entry) == canonical(members(entry))


@given(
    source=st.text(),
    given_rows=st.lists(
        st.builds(
            Recorded,
            position=st.integers(0, 1 << 53),
            id=st.text(),
            at_us=st.integers(-(1 << 53), 1 << 53),
            kind=st.text(max_size=3),
            actor=st.text(),
            subject_id=st.none() | st.text(),
            details=JSON.map(lambda value: msgspec.Raw(canonical(value))),
        ),
        max_size=4,
    ),
    chance=st.randoms(use_true_random=False),
)
def test_rows_that_are_sealed_together_are_sealed_as_each_by_itself(
    source: str, given_rows: list[Recorded], chance: random.Random
) -> None:
    salts = chance.randbytes(SALT_BYTES * len(given_rows))
    each = [salts[at : at + SALT_BYTES] for at in range(0, len(salts), SALT_BYTES)]
    alone = [sealed(row, source, salt) for row, salt in zip(given_rows, each, strict=True)]
    assert sealed_each(given_rows, source, salts) == ([raw for raw, _ in alone], [opening for _, opening in alone])
