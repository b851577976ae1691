"""The SQL door before a real Postgres: who comes in."""

import asyncio
import ssl
import stat
import struct
from pathlib import Path

import asyncpg
import pytest

from cells.breakglass.door import frames
from cells.breakglass.door.runs import fields
from foundation.settings import SettingsError
from gateway.cli.access import inside
from tests.stands.door import GSS_REQUEST, SSL_REQUEST, DoorStand, Raw, raw, startup_packet
from tests.stands.door_sessions import fresh, none_left, stand
from tests.stands.product_loop import anyio_backend
from tests.stands.servers import free_port
from tests.stands.waiting import eventually

__all__ = ["anyio_backend", "fresh", "stand"]
pytestmark = pytest.mark.anyio


async def answer(stand: DoorStand, *sent: bytes) -> tuple[bytes, bytes]:
    """To bytes in the clear: the first message, or nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", stand.door.port)
    try:
        writer.write(b"".join(sent))
        return await Raw(reader, writer).message()
    finally:
        writer.close()


async def test_a_session_states_its_grant_and_leaves_nothing_behind(stand: DoorStand) -> None:
    async with stand.asyncpg() as connection:
        assert await connection.fetchval("SELECT name FROM people WHERE id = $1", 7) == "name 7"
        (session,) = (stand.record.sessions[one] for one in stand.record.ends)
        assert (session.grant, session.engineer, session.shard) == (stand.grant, "engineer:alice", "s1")
        assert (session.inside, session.purpose, session.ticket) == (True, "debugging", "OPS-7")
        assert len(await stand.rows("SELECT pid FROM admitted")) == 1
        shown = await stand.access.get(f"grants/{stand.grant}", stand.access.who("alice"))
        assert shown.json()["phase"] == "active"
        await connection.close()
    await eventually(lambda: stand.record.closings == {session.id: "left"})
    assert await stand.rows("SELECT pid FROM admitted") == []
    await eventually(lambda: none_left(stand))


async def test_nothing_but_a_request_for_tls_is_met_in_the_clear(stand: DoorStand) -> None:
    kind, body = await answer(stand, startup_packet(user="alice", database="s1"))
    assert (kind, fields(body)["C"]) == (b"E", "28000")
    kind, body = await answer(stand, b"GET / HTTP/1.1\r\n\r\n")
    assert (kind, fields(body)["C"]) == (b"E", "08P01")


async def test_gss_is_declined_and_what_follows_the_request_for_tls_is_never_taken_for_what_is_inside(
    stand: DoorStand,
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", stand.door.port)
    writer.write(GSS_REQUEST)
    assert await reader.readexactly(1) == b"N"
    writer.write(SSL_REQUEST + startup_packet(user="alice", database="s1"))
    assert await reader.readexactly(1) == b"S"
    # What it answers to a startup packet where a handshake belongs is TLS's own alert, or the end.
    assert not (await reader.read(100)).startswith((b"E", b"R"))
    writer.close()


async def test_without_a_certificate_or_under_another_authority_nobody_comes_in(stand: DoorStand) -> None:
    before = len(stand.record.sessions)
    async with raw(stand, shown=False) as client:
        client.send(startup_packet(user="alice", database="s1"))
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await client.reader.readexactly(1)
    assert len(stand.record.sessions) == before


async def test_tls_without_a_request_goes_with_alpn(stand: DoorStand) -> None:
    for protocols, welcome in ((["postgresql"], b"R"), ([], b"")):
        context = stand.context()
        context.set_alpn_protocols(protocols)
        opened = asyncio.open_connection("127.0.0.1", stand.door.port, ssl=context, server_hostname="127.0.0.1")
        reader, writer = await opened
        assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
        writer.write(startup_packet(user="alice", database="s1"))
        assert (await Raw(reader, writer).message())[0] == welcome
        writer.transport.abort()


async def test_a_later_protocol_is_negotiated_down(stand: DoorStand) -> None:
    async with raw(stand) as client:
        client.send(startup_packet(196_610, **{"user": "alice", "database": "s1", "_pq_.x": "1"}))
        assert await client.message() == (b"v", struct.pack("!ii", 196_608, 1) + b"_pq_.x\0")
        assert (await client.until(b"Z"))[-1] == (b"Z", b"I")


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"database": "s2"}, "3D000"),
        ({"database": "s1", "replication": "true"}, "0A000"),
        ({"database": "s1", "options": "-c jit=off"}, "0A000"),
        ({"database": "s1", "no_such_setting": "1"}, "42704"),
    ],
)
async def test_what_a_startup_must_not_ask_for_is_refused_with_why(
    stand: DoorStand, given: dict[str, str], code: str
) -> None:
    async with raw(stand) as client:
        client.send(startup_packet(user="alice", **given))
        kind, body = await client.message()
        assert (kind, fields(body)["C"], fields(body)["V"]) == (b"E", code, "FATAL")
        assert await client.message() == (b"", b"")


async def test_a_wall_that_does_not_stand_and_a_grant_that_ended_let_nobody_in(stand: DoorStand) -> None:
    stand.wall.refuses = True
    with pytest.raises(asyncpg.CannotConnectNowError):
        async with stand.asyncpg():
            pass
    stand.wall.refuses = False
    grant = stand.grant
    await stand.certified()
    stand.grant, kept = grant, stand.grant
    async with stand.asyncpg():
        pass
    await stand.access.post(f"grants/{kept}/revoke", stand.access.who("bob", "approver"), {"reason": "found it"})
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match="opens nothing: ended"):
        async with stand.asyncpg():
            pass
    await stand.certified()


async def test_a_client_without_tls_comes_in_by_a_socket_of_its_own(stand: DoorStand, folder: Path) -> None:
    address = inside.DoorAddress("127.0.0.1", stand.door.port, stand.authorities)
    shown = inside.context(address, stand.certificate, stand.key)
    async with inside.relayed(folder, address, shown):
        path = folder / inside.SOCKET
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        reader, writer = await asyncio.open_unix_connection(path)
        client = Raw(reader, writer)
        client.send(startup_packet(user="alice", database="s1"), frames.message(b"Q", b"SELECT 'through'\0"))
        await client.until(b"Z")
        assert (b"D", b"\0\1\0\0\0\7through") in await client.until(b"Z")
        writer.close()
    with pytest.raises(SettingsError, match="cannot be reached"):
        async with inside.relayed(folder, inside.DoorAddress("127.0.0.1", free_port(), stand.authorities), shown):
            pass
