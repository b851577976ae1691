"""Whatever is done to a log is found by whoever holds one earlier cosigned checkpoint of it: by the product's verification and the
stand-alone one.

Who tampers may write every file and holds the log's own key. LEDGER_TRIALS=10000 for the deep form, LEDGER_SEED for other trials. What is
not tampering: a payload that is gone or zeros, since that is how one is erased; it is counted.
"""

import os
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from foundation.ledger import checkpoints, payloads, sheaves
from foundation.ledger.checkpoints import Checkpoint
from foundation.ledger.entries import Recorded, sealed
from foundation.ledger.files import Files
from foundation.ledger.growing import Growing, write
from foundation.ledger.log import Log
from foundation.ledger.merkle import leaf_hash
from foundation.ledger.tiles import bundle_of, entries_in, levels_of, tiles_of
from foundation.ledger.witness import cosignatures
from tests.stands.ledger import SIGNER, copied, rows
from tests.stands.ledger_judges import Judge, alone, product
from tests.stands.witnesses import cosigner, with_cosignatures

TRIALS = int(os.environ.get("LEDGER_TRIALS", "210"))
SEED = int(os.environ.get("LEDGER_SEED", "7"))
HELD = 300
"""Entries under the checkpoint that the verifier holds."""
SIZE = 560
"""Entries now: two bundles and a part of one, so two levels of tiles."""
UNDER = 20
"""Records under an entry that has some."""
WITNESSES = ("eu", "us")
"""Who has cosigned the checkpoint that the verifier holds."""
JUDGES = (alone, product)


class Held:
    """A log, what was true of it, and what the verifier holds: the key, an earlier checkpoint."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "log"
        self.key, self.earlier = folder / "key", folder / "earlier"
        self.key.write_text(SIGNER.verifier.text)
        given = happenings()
        with Log(self.folder, SIGNER) as log:
            for count in (HELD, SIZE):
                log.append({"s1": [row for some in given[log.size : count] for row in some]})
                assert log.publish().size == count
                if count == HELD:
                    self.earlier.write_bytes(with_cosignatures((self.folder / "checkpoint").read_bytes(), *WITNESSES))
        self.true = {path: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}
        self.entries = [one for path in sorted((self.folder / "tile/entries").glob("00?")) for one in bundle(path)]
        self.entries += bundle(next((self.folder / "tile/entries/002.p").glob("*")))
        self.openings = [
            opening or b"" for number in range(3) for opening in payloads.in_bundle(self.folder, number, 256)
        ][:SIZE]

    def put_back(self) -> None:
        for path in self.folder.rglob("*"):
            if path.is_file() and path not in self.true:
                path.unlink()
        for path, content in self.true.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists() or path.read_bytes() != content:
                path.write_bytes(content)

    def made_anew(self, entries: Sequence[bytes], openings: Sequence[bytes]) -> None:
        """Another log in its place, whole and signed by its key."""
        for name in ("tile", "payload"):
            shutil.rmtree(self.folder / name)
        growing = Growing(self.folder, Files(self.folder), 0, 0)
        growing.take(entries, openings)
        write(growing.writes())
        checkpoint = Checkpoint(SIGNER.verifier.name, growing.size, growing.root())
        (self.folder / "checkpoint").write_bytes(checkpoints.signed(checkpoint, SIGNER))

    def files(self) -> list[Path]:
        """Those that a verification of the log reads: no partial tile of an earlier size."""
        names = [tile.path for level in (-1, *levels_of(SIZE)) for tile in tiles_of(SIZE, level)]
        return [self.folder / "checkpoint", *(self.folder / name for name in names)]


def happenings() -> list[list[Recorded]]:
    """What becomes an entry each: at every eighth place many refusals, else a row by itself."""
    given, position = list[list[Recorded]](), 1
    for number in range(SIZE):
        some = rows(position, UNDER if number % 8 == 0 else 1)
        position += len(some)
        given.append([msgspec.structs.replace(row, kind="refusal") for row in some] if len(some) > 1 else some)
    return given


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Held:
    return Held(tmp_path_factory.mktemp("held"))


def bundle(path: Path) -> list[bytes]:
    return entries_in(path.read_bytes(), 256 if ".p" not in str(path) else int(path.name))


def fresh(chance: random.Random, position: int) -> tuple[bytes, bytes]:
    """An entry that never was, and its opening."""
    (row,) = rows(position, 1, tag=f"forged-{chance.random()}")
    return sealed(row, "s1", chance.randbytes(32))


# --- files spoiled -----------------------------------------------------------------------------------------------------------------


def flip(held: Held, chance: random.Random) -> None:
    path = chance.choice([*held.files(), *sorted(held.folder.glob("payload/*"))])
    raw = bytearray(path.read_bytes())
    raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
    path.write_bytes(raw)


def drop(held: Held, chance: random.Random) -> None:
    path = chance.choice(held.files())
    if "entries" in path.parts and chance.random() < 0.5:
        entries = bundle(path)
        del entries[chance.randrange(len(entries))]
        path.write_bytes(bundle_of(entries))
    else:
        path.unlink()


def swap(held: Held, chance: random.Random) -> None:
    one, other = chance.sample(sorted((held.folder / "tile/entries").glob("00?")), 2)
    match chance.randrange(4):
        case 0:
            entries = bundle(one)
            first, second = chance.sample(range(len(entries)), 2)
            entries[first], entries[second] = entries[second], entries[first]
            one.write_bytes(bundle_of(entries))
        case 1:
            ours, theirs = one.read_bytes(), other.read_bytes()
            one.write_bytes(theirs)
            other.write_bytes(ours)
        case 2:
            copy, place = chance.sample(sorted(held.folder.glob("payload/*")), 2)
            place.write_bytes(copy.read_bytes())
        case _:
            tile = held.folder / "tile/0/000"
            raw, at = tile.read_bytes(), 32 * chance.randrange(255)
            tile.write_bytes(raw[:at] + raw[at + 32 : at + 64] + raw[at : at + 32] + raw[at + 64 :])


def falsify(held: Held, chance: random.Random) -> None:
    """A record under an entry says something else, and its hash beside it is made to fit."""
    path = chance.choice(sorted(held.folder.glob("payload/*")))
    openings = payloads.in_bundle(held.folder, int(path.name), 256)
    records = [one for opening in openings if opening is not None for one in sheaves.records_in(opening)]
    record = chance.choice(records)
    assert record.opening is not None
    said = bytearray(record.opening)
    said[chance.randrange(len(said))] ^= 1 << chance.randrange(8)
    path.write_bytes(path.read_bytes().replace(record.leaf + record.opening, leaf_hash(bytes(said)) + bytes(said)))


def truncate(held: Held, chance: random.Random) -> None:
    path = chance.choice(held.files())
    raw = path.read_bytes()
    path.write_bytes(raw[: chance.randrange(len(raw))])


# --- another log, whole, under the log's own signature -----------------------------------------------------------------------------


def roll_back(held: Held, chance: random.Random) -> None:
    size = chance.randrange(HELD)
    held.made_anew(held.entries[:size], held.openings[:size])


def sign_anew(held: Held, chance: random.Random) -> None:
    """Something of what the verifier has a checkpoint of is another, and everything above it is made to fit."""
    stand = list(zip(held.entries, held.openings, strict=True))
    at = chance.randrange(HELD)
    match chance.randrange(5):
        case 0:
            stand[at] = fresh(chance, at + 1)
        case 1:
            del stand[at]
        case 2:
            stand.insert(at, fresh(chance, at + 1))
        case 3:
            other = chance.choice([index for index in range(SIZE) if index != at])
            stand[at], stand[other] = stand[other], stand[at]
        case _:
            stand = [fresh(chance, index + 1) for index in range(SIZE)]
    held.made_anew([entry for entry, _ in stand], [opening for _, opening in stand])


def split_view(held: Held, chance: random.Random) -> None:
    """Another continuation from a place before the checkpoint, shown to this verifier alone: shorter, as long, longer."""
    fork = chance.randrange(HELD)
    other = [
        fresh(chance, index + 1) for index in range(fork, HELD + chance.choice((0, SIZE - HELD, chance.randrange(400))))
    ]
    held.made_anew(
        [*held.entries[:fork], *(entry for entry, _ in other)],
        [*held.openings[:fork], *(opening for _, opening in other)],
    )


SPOILED = (flip, drop, swap, falsify, truncate)
WHOLE = (roll_back, sign_anew, split_view)


def missed(held: Held, tamperings: Sequence[Callable[[Held, random.Random], None]], trials: int) -> list[str]:
    """The trials that a verifier did not find."""
    chance, found = random.Random(SEED), list[str]()
    for number in range(trials):
        tampering = tamperings[number % len(tamperings)]
        tampering(held, chance)
        for judge in JUDGES:
            if judge(held.folder, held.key, held.earlier) != 1:
                found.append(f"{judge.__name__}: {tampering.__name__} {number}")
        held.put_back()
    return found


@pytest.mark.timeout(7_200 if TRIALS > 210 else 120)
def test_everything_that_is_done_to_a_log_is_found(held: Held) -> None:
    by = cosignatures.verified(held.earlier.read_bytes(), [cosigner(name).verifier for name in WITNESSES])
    assert len(by) == len(WITNESSES)
    assert [judge(held.folder, held.key, held.earlier) for judge in JUDGES] == [0, 0]
    assert missed(held, (*SPOILED, *WHOLE), TRIALS) == []
    assert [judge(held.folder, held.key, held.earlier) for judge in JUDGES] == [0, 0]


@pytest.mark.parametrize("tampering", WHOLE)
@pytest.mark.parametrize("judge", JUDGES)
def test_another_log_under_the_own_key_is_whole_to_whoever_holds_no_earlier_checkpoint(
    held: Held, tampering: Callable[[Held, random.Random], None], judge: Judge
) -> None:
    """So it is the checkpoint that finds them, and a verification without one would be found wanting by the test above."""
    chance = random.Random(SEED)
    for _ in range(5):
        tampering(held, chance)
        assert judge(held.folder, held.key, None) == 0
        held.put_back()


@pytest.mark.parametrize("judge", JUDGES)
def test_a_split_after_the_checkpoint_is_found_by_who_holds_one_of_the_other_side(
    held: Held, tmp_path: Path, judge: Judge
) -> None:
    """What lies beyond the checkpoint that is held is not known; whoever holds a later one finds it."""
    later = tmp_path / "later"
    later.write_bytes((held.folder / "checkpoint").read_bytes())
    chance = random.Random(SEED)
    other = [fresh(chance, index + 1) for index in range(HELD, SIZE + 10)]
    held.made_anew(
        [*held.entries[:HELD], *(entry for entry, _ in other)],
        [*held.openings[:HELD], *(opening for _, opening in other)],
    )
    assert judge(held.folder, held.key, held.earlier) == 0
    assert judge(held.folder, held.key, later) == 1
    held.put_back()


def test_what_is_put_in_place_is_what_was_there(held: Held, tmp_path: Path) -> None:
    """The trials begin from the true log each time."""
    before = copied(held.folder, tmp_path / "before")
    for tampering in (*SPOILED, *WHOLE):
        tampering(held, random.Random(SEED))
        held.put_back()
    for path in before.rglob("*"):
        if path.is_file():
            assert (held.folder / path.relative_to(before)).read_bytes() == path.read_bytes()
    assert [leaf_hash(entry) for entry in held.entries[:256]] == [
        (held.folder / "tile/0/000").read_bytes()[at : at + 32] for at in range(0, 8192, 32)
    ]
