"""The cell service when something is down, as a process and inside: what is known is served, the rest refused, and it comes back."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import httpx
import msgspec
import pytest

from cells.service.directory import CellDirectory
from cells.shards.core import Home
from deploy.local.postgres import PostgresServer
from directory.client.remote import DirectoryUnavailable
from directory.placement.core import Facts, Placement, PlacementEvent, State
from foundation.http import HttpClient, client
from foundation.mute import Secret
from foundation.words import CellId, Country, Epoch, FeedSeq, ShardId, mint_subject_id
from tests.stands.cell import CELL, stand
from tests.stands.edge import tcp
from tests.stands.servers import free_port
from tests.stands.shard import S1, rows
from tests.stands.waiting import eventually
from tests.stands.wire import Wire

pytestmark = pytest.mark.anyio


async def test_a_shard_that_is_down_refuses_its_own_subjects_and_recovers(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stand(postgres_server, tmp_path, monkeypatch) as built:
        wire = Wire("127.0.0.1", postgres_server.port)
        await wire.mend()
        for suffix, role in (("OWNER", "owner"), ("CELL", "cell"), ("RECORDS", "records")):
            direct: Secret[str] = getattr(built.dsns["s1"], role)
            relayed = direct.reveal().replace(f":{postgres_server.port}/", f":{wire.port}/")
            monkeypatch.setenv(f"EU_DE_S1_{suffix}", relayed)
        async with built.running():
            placed = [await built.place() for _ in range(12)]
            on = {
                name: [one for one in placed if built.cell.context.homes.get(one[0]).shard == name]
                for name in ("s1", "s2")
            }
            assert on["s1"]
            assert on["s2"]
            await wire.cut()
            refused = await built.call("GET", "/records/notes", built.decision(*on["s1"][0]))
            assert (refused.status_code, refused.headers["domicile-refusal"]) == (503, "not_ready")
            served = await built.call("GET", "/records/notes", built.decision(*on["s2"][0]))
            assert served.status_code == 200
            assert (await built.http.get("/readyz")).status_code == 200
            subject, epoch = on["s1"][0]
            await built.directory.operator.post(f"/v1/subjects/{subject}/epoch", {"epoch": epoch, "reason": "t"})
            await wire.mend()
            await eventually(lambda: not built.stands(subject, epoch, "active"))
            again = await built.call("GET", "/records/notes", built.decision(subject, epoch))
            assert again.status_code == 409
            current = int(again.headers["domicile-epoch"])
            assert (await built.call("GET", "/records/notes", built.decision(subject, current))).status_code == 200
        await wire.cut()


async def test_with_the_directory_down_known_fences_are_served(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stand(postgres_server, tmp_path, monkeypatch) as built:
        wire = Wire("127.0.0.1", int(built.directory_url.rsplit(":", 1)[1]))
        await wire.mend()
        built.directory_url = f"http://127.0.0.1:{wire.port}"
        async with built.running():
            subject, epoch = await built.place()
            await wire.cut()
            header = built.decision(subject, epoch)
            assert (await built.call("POST", "/records/notes", header, json={"body": "x"})).status_code == 201
            refused = await built.call("POST", "/cell/signup", built.signing_up("late"), json={})
            assert (refused.status_code, refused.json()["code"]) == (503, "home_unknown")
            raised = await built.directory.operator.post(
                f"/v1/subjects/{subject}/epoch", {"epoch": epoch, "reason": "t"}
            )
            await wire.mend()
            await eventually(lambda: built.stands(subject, raised.json()["placement"]["epoch"], "active"))
            assert (await built.call("POST", "/cell/signup", built.signing_up("late"), json={})).status_code == 201
        await wire.cut()


async def test_a_directory_that_dribbles_its_answer_holds_an_acknowledgement_no_longer_than_its_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.05)

    monkeypatch.setattr("cells.service.directory.ACK_S_MAX", 0.3)
    async with tcp(dribble) as port, client(f"http://127.0.0.1:{port}") as http, asyncio.timeout(5):
        with pytest.raises(DirectoryUnavailable, match="timeout"):
            await CellDirectory(http).acknowledge(mint_subject_id(), Epoch(1))


async def test_the_process_starts_serves_and_leaves_on_sigterm(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stand(postgres_server, tmp_path, monkeypatch) as built:
        settings, port = built.settings(), free_port()
        issuer = settings.service_issuers[0]
        text = f"""
cell = "{CELL}"
host = "127.0.0.1"
port = {port}
directory = "{built.directory_url}"
token_file = "{settings.token_file}"
cell_root_keyring = "{settings.cell_root_keyring}"
contracts = "{settings.contracts}"
service_issuers = [{{ issuer = "{issuer.issuer}", audience = "{issuer.audience}", jwks = "{issuer.jwks}" }}]
shard_env_suffixes = {{ owner = "_OWNER", cell = "_CELL", records = "_RECORDS" }}
"""
        (tmp_path / "cell.toml").write_text(text)
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cells", "--settings", str(tmp_path / "cell.toml"),
            stderr=asyncio.subprocess.PIPE, env=dict(os.environ),
        )  # fmt: skip
        try:
            async with HttpClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
                await eventually(lambda: answers(http, "/readyz"), s_max=30)
                assert await answers(http, "/healthz")
                assert "domicile_ready 1.0" in (await http.get("/metrics")).text
            child.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(child.wait(), 15) == 0
        finally:
            if child.returncode is None:
                child.kill()
            _, errors = await child.communicate()
        log = errors.decode()
        assert '"event":"shard_open"' in log
        assert all('"process":"cell-eu-de"' in line for line in log.splitlines())
        assert all(dsns.cell.reveal() not in log for dsns in built.dsns.values())


async def answers(http: HttpClient, path: str) -> bool:
    try:
        return (await http.get(path)).status_code == 200
    except httpx.HTTPError:
        return False


async def test_a_wrong_setting_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "cell.toml").write_text('cel = "eu-de"\n')
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cells", "--settings", str(tmp_path / "cell.toml"), stderr=asyncio.subprocess.PIPE
    )
    _, errors = await child.communicate()
    assert child.returncode == 2
    assert "did you mean cell?" in errors.decode()


def event(cell: str, shard: str, epoch: int, state: State) -> PlacementEvent:
    facts = Facts(facts_id=1, regimes=(), residence=Country("DE"))
    placement = Placement(
        subject_id=mint_subject_id(), cell=CellId(cell), shard=ShardId(shard), epoch=Epoch(epoch), state=state,
        services=(), facts=facts,
    )  # fmt: skip
    return PlacementEvent(seq=FeedSeq(1), at=0.0, placement=placement)


S2 = ShardId("s2")


async def test_a_subject_that_moves_between_shards_is_fenced_off_on_the_old_one(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old shard must hear of it whichever of the two workers reads the event first."""
    async with stand(postgres_server, tmp_path, monkeypatch) as built, built.running() as cell:
        subject, epoch = await built.place()
        old = cell.context.homes.get(subject)
        assert old is not None
        new = S2 if old.shard == S1 else S1
        moved = event(CELL, new, epoch + 1000, State.ACTIVE)
        placement = msgspec.structs.replace(moved.placement, subject_id=subject)
        told = PlacementEvent(seq=FeedSeq(1), at=0.0, placement=placement)
        for shard in (new, old.shard):
            worker = cell.shards[shard]
            await worker._apply(worker.shard.require(), [told])
        state = "SELECT epoch, state FROM domicile.home"
        assert [tuple(row) for row in await rows(built.dsns[old.shard], state)] == [(epoch + 1000, "moved")]
        assert [tuple(row) for row in await rows(built.dsns[new], state)] == [(epoch + 1000, "active")]
        assert cell.context.homes.get(subject) == Home(new, Epoch(epoch + 1000), State.ACTIVE, ())
