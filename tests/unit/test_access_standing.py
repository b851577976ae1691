"""A proof that an entry stands in a signed checkpoint, or none."""

import asyncio
from pathlib import Path

import pytest

from cells.breakglass.standing import FolderLedger, NotStanding, proved
from foundation.ledger.log import Log
from foundation.ledger.notes import Signer
from foundation.ledger.proofs import Proof
from foundation.ledger.witness import gathering
from foundation.ledger.witness.gathering import Gathering
from foundation.ledger.witness.quorum import Reach
from foundation.mute import Secret
from tests.stands.ledger import SIGNER, checkpoint_of, rows, unsynced, written
from tests.stands.witnesses import NEAR, WIDE, network, plan

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


async def test_where_a_near_quorum_is_stated_only_what_it_has_cosigned_counts(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsynced(monkeypatch)
    monkeypatch.setattr(gathering, "RETRY_S_MAX", 0.05)
    with network(folder) as net, Log(folder / "log", SIGNER) as log:
        async with net.client() as http, asyncio.TaskGroup() as group:
            gathered = Gathering(plan(NEAR, WIDE), folder / "log", KEY, http, net.clock)
            ledger = FolderLedger(folder / "log", KEY, gathered)
            log.append({"s1": rows(1, 3)})
            log.publish()
            net.away.add("eu")
            work = group.create_task(gathered.run(log))
            assert await gathered.until(2, Reach.WIDE, within_s=10.0) is not None
            with pytest.raises(NotStanding):
                await ledger.size()
            with pytest.raises(NotStanding):
                await proved(ledger, "event:2", KEY)
            net.away.clear()
            near = await gathered.until(2, Reach.NEAR, within_s=10.0)
            assert near is not None
            assert await proved(ledger, "event:2", KEY) == (1, 3, checkpoint_of(folder / "log").root.hex())
            assert (await ledger.standing(1)).checkpoint == near.note
            net.away.add("eu")
            log.append({"s1": rows(4, 1)})
            gathered.signed(log.publish())
            assert await ledger.size() == 3
            with pytest.raises(NotStanding):
                await proved(ledger, "event:4", KEY)
            assert (await proved(FolderLedger(folder / "log", KEY), "event:4", KEY))[0] == 3
            work.cancel()


async def test_a_wide_quorum_alone_is_not_waited_for(log: Path, folder: Path) -> None:
    with network(folder) as net:
        async with net.client() as http:
            wide = Gathering(plan(None, WIDE), log, KEY, http, net.clock)
            assert await FolderLedger(log, KEY, wide).size() == 303
