"""Break-glass on a real cell whose log has witnesses on real servers: no certificate without the near ones, and their absence alarms."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from prometheus_client import REGISTRY

from deploy.local.postgres import PostgresServer
from deploy.verify import verify
from foundation.ledger import checkpoints
from foundation.ledger.settings import LedgerSettings
from foundation.ledger.witness import cosignatures, gathering
from foundation.ledger.witness.quorum import Quorum, Reach
from tests.integration.test_access_cell import REQUEST, Office, held_against_the_ledger, opened_office
from tests.integration.test_ledger_witness import command, named, witnesses
from tests.stands.ledger import SIGNER, kept_by, reader
from tests.stands.waiting import eventually
from tests.stands.witnesses import NAMES, Network, cosigned_by, cosigner

pytestmark = pytest.mark.anyio

ALARM = "domicile_ledger_quorum_overdue"


def impatient(kept: LedgerSettings) -> LedgerSettings:
    """The quorums of the stack, of which an absence is overdue at once."""
    near = Quorum(of=("eu",), needed=1, within_s=0.2)
    wide = Quorum(of=NAMES, needed=2, within_s=0.2)
    return msgspec.structs.replace(kept, near=near, wide=wide)


@pytest.fixture
async def witnessed(
    postgres_server: PostgresServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Office, Network]]:
    """`eu` is the cell's near witness; two of the three are the wide quorum."""
    monkeypatch.setattr(gathering, "LOOK_S", 0.05)
    monkeypatch.setattr(gathering, "RETRY_S_MAX", 0.2)
    async with witnesses(folder) as (net, urls):
        kept = impatient(cosigned_by(kept_by(folder), folder, urls))
        async with opened_office(postgres_server, folder, monkeypatch, kept) as office:
            yield office, net


def alarmed(reach: Reach) -> bool:
    return REGISTRY.get_sample_value(ALARM, {"quorum": reach.value}) == 1.0


async def approved(office: Office) -> str:
    subject, _ = await office.live.place()
    asked = await office.told("alice", "engineer", *REQUEST, "--subjects", subject)
    grant = str(asked["grant"]["id"])
    assert (await office.told("bob", "approver", "approve", grant, "--version", "1"))["phase"] == "approved"
    return grant


async def test_a_certificate_is_signed_once_its_intent_stands_under_the_near_quorum_and_the_wide_one_follows(
    witnessed: tuple[Office, Network], folder: Path
) -> None:
    office, _ = witnessed
    grant = await approved(office)
    files = ("--out", folder / "a.pem", "--key-out", folder / "a.key")
    told = await office.told("alice", "engineer", "certificate", grant, *files)
    assert told["told"]["grant"]["intents"]
    intent = reader(folder / "log").find(f"grant:{grant}:2")
    assert intent is not None
    near = (folder / "log" / Reach.NEAR.file).read_bytes()
    assert checkpoints.opened(near, SIGNER.verifier).size > intent.index
    assert "witness.test/eu" in cosignatures.verified(near, [cosigner("eu").verifier])

    def wide() -> bool:
        note = folder / "log" / Reach.WIDE.file
        return note.exists() and checkpoints.opened(note.read_bytes(), SIGNER.verifier).size > intent.index

    await eventually(wide)
    proof, key = folder / "p", ("--key", folder / "log.vkey")
    await command("prove", folder / "log", f"grant:{grant}:2", *key, "--out", proof, *named(folder, *NAMES))
    words = ("proof", proof, *key, *named(folder, *NAMES), "--cosigned", "2")
    assert verify.main([str(word) for word in words]) == 0
    await held_against_the_ledger(office)


async def test_an_emergency_takes_the_near_witness_alone(witnessed: tuple[Office, Network], folder: Path) -> None:
    office, net = witnessed
    subject, _ = await office.live.place()
    net.away |= {"us", "in"}
    words = (*REQUEST, "--subjects", subject, "--emergency", "--on-call", office.on_call("alice"), "--minutes", "5")
    asked = await office.told("alice", "engineer", *words, at="US")
    files = ("--out", folder / "c.pem", "--key-out", folder / "c.key")
    told = await office.told("alice", "engineer", "certificate", asked["grant"]["id"], *files, at="US")
    assert told["told"]["grant"]["intents"][0]["digest"]


async def test_without_the_near_witness_no_certificate_is_signed_and_its_absence_alarms_until_it_is_back(
    witnessed: tuple[Office, Network], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cells.breakglass import issuing

    office, net = witnessed
    grant = await approved(office)
    await eventually(lambda: not alarmed(Reach.NEAR) and not alarmed(Reach.WIDE))
    net.away |= {"eu"}
    files = ("--out", folder / "b.pem", "--key-out", folder / "b.key")
    with monkeypatch.context() as patch:
        patch.setattr(issuing, "STANDING_S_MAX", 0.5)
        refused = await office.command("alice", "engineer", "certificate", grant, *files)
    assert refused.exit_code == 1
    assert not (folder / "b.pem").exists()
    await eventually(lambda: alarmed(Reach.NEAR))
    found = reader(folder / "log").find(f"grant:{grant}:2")
    assert found is not None, "the intent is recorded, and no more"

    def covered() -> bool:
        return checkpoints.opened((folder / "log" / Reach.WIDE.file).read_bytes(), SIGNER.verifier).size > found.index

    await eventually(covered)
    await eventually(lambda: not alarmed(Reach.WIDE))  # two of three are there
    net.away |= {"us"}
    await office.live.place()
    await eventually(lambda: alarmed(Reach.WIDE))
    net.away.clear()
    told = await office.told("alice", "engineer", "certificate", grant, *files)
    assert told["told"]["grant"]["intents"]
    await eventually(lambda: not alarmed(Reach.NEAR) and not alarmed(Reach.WIDE))
