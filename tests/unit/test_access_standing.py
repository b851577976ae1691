"""A proof that an entry stands in a signed checkpoint, or none."""

import asyncio
from pathlib import Path

import pytest

from cells.breakglass.standing import FolderLedger, NotStanding, proved
from foundation.ledger.notes import Signer
from foundation.ledger.proofs import Proof
from foundation.mute import Secret
from tests.stands.ledger import SIGNER, checkpoint_of, unsynced, written

pytestmark = pytest.mark.anyio
KEY = SIGNER.verifier


@pytest.fixture
def log(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    unsynced(monkeypatch)
    written(folder / "log", 3, 300)
    return folder / "log"


async def test_every_entry_that_was_signed_for_is_proved_at_its_place(log: Path) -> None:
    ledger, checkpoint = FolderLedger(log, KEY), checkpoint_of(log)
    assert await ledger.size() == 303
    for position in (1, 3, 256, 257, 303):
        found = await proved(ledger, f"event:{position}", KEY)
        assert found == (position - 1, 303, checkpoint.root.hex())


async def test_what_is_not_there_or_came_before_is_not_proved(log: Path) -> None:
    ledger = FolderLedger(log, KEY)
    assert (await proved(ledger, "event:200", KEY, after=199))[0] == 199
    for event, after in (("event:304", 0), ("event:200", 200), ("", 0)):
        with pytest.raises(NotStanding):
            await proved(ledger, event, KEY, after=after)
    for index in (-1, 303, 1 << 40):
        with pytest.raises(NotStanding):
            await ledger.standing(index)


async def test_a_log_that_is_absent_damaged_or_signed_by_another_proves_nothing(log: Path, folder: Path) -> None:
    other = Signer(KEY.name, Secret(b"x" * 32)).verifier
    for ledger in (FolderLedger(folder / "none", KEY), FolderLedger(log, other)):
        with pytest.raises(NotStanding):
            await ledger.size()
        with pytest.raises(NotStanding):
            await proved(ledger, "event:1", KEY)
    bundle = log / "tile" / "entries" / "000"
    raw = bytearray(await asyncio.to_thread(bundle.read_bytes))
    raw[20] ^= 1
    bundle.write_bytes(raw)
    with pytest.raises(NotStanding):
        await proved(FolderLedger(log, KEY), "event:1", KEY)


async def test_a_proof_of_another_entry_or_by_another_key_is_not_believed(log: Path) -> None:
    real = FolderLedger(log, KEY)

    class Liar(FolderLedger):
        async def standing(self, index: int) -> Proof:
            return await real.standing(5)

    class Forger(FolderLedger):
        async def standing(self, index: int) -> Proof:
            proof = await real.standing(index)
            return Proof(proof.index, proof.path[::-1], proof.checkpoint, proof.entry)

    for ledger in (Liar(log, KEY), Forger(log, KEY)):
        with pytest.raises(NotStanding):
            await proved(ledger, "event:1", KEY)
    with pytest.raises(NotStanding):
        await proved(real, "event:1", Signer(KEY.name, Secret(b"x" * 32)).verifier)
