"""A shard that speaks TLS: it proves itself as its DSN asks for, and the sign-in is bound to the certificate that it shows."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cells.breakglass.door import frames, scram, upstream
from cells.breakglass.door.scram import PLAIN, Binding
from cells.breakglass.door.upstream import Upstream, UpstreamRefused
from deploy.local.account import unprivileged
from deploy.local.postgres import PostgresServer
from foundation.mute import Secret
from tests.stands.certificates import Authority
from tests.stands.door import DoorStand, asking, door_stand
from tests.stands.product_loop import anyio_backend
from tests.stands.tls_postgres import in_between, needs_tls_postgres, tls_postgres, without_hash

__all__ = ["anyio_backend"]
pytestmark = [pytest.mark.anyio, needs_tls_postgres]


class Shard:
    """`ours`: the authority of its certificate; `other`: another one's file."""

    def __init__(self, server: PostgresServer, folder: Path, ours: Authority) -> None:
        self.server = server
        self.folder = folder
        self.ours = ours.file
        self.other = Authority(folder, "others").file

    def dsn(self, asked: str, *, host: str = "127.0.0.1", port: int = 0) -> Secret[str]:
        plain = self.server.dsn().reveal()
        placed = plain.replace(f"127.0.0.1:{self.server.port}", f"{host}:{port or self.server.port}")
        return asking(Secret(placed), asked.format(ours=self.ours, other=self.other))

    @asynccontextmanager
    async def opened(self, asked: str, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Upstream]:
        found = await upstream.opened(self.dsn(asked, host=host, port=port), (), "test")
        try:
            yield found
        finally:
            found.wire.transport.abort()


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shard]:
    folder = tmp_path_factory.mktemp("tls-shard")
    ours = Authority(folder, "ours")
    with tls_postgres(folder, unprivileged(), ours.sign("shard")) as server:
        yield Shard(server, folder, ours)


async def refused(shard: Shard, asked: str, **place: object) -> str:
    with pytest.raises(UpstreamRefused) as found:
        async with shard.opened(asked, **place):  # type: ignore[arg-type]
            pass
    return found.value.error.message


async def spoken(found: Upstream) -> str:
    """The version of TLS that the shard says it speaks with this session."""
    found.wire.send(frames.message(b"Q", b"SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()\0"))
    while True:
        kind, body = await upstream._message(found.wire)
        if kind == b"D":
            return body[6:].decode()


@pytest.mark.parametrize(
    ("asked", "host"),
    [
        ("sslmode=verify-full&sslrootcert={ours}", "127.0.0.1"),
        ("sslmode=verify-ca&sslrootcert={ours}", "localhost"),
        ("sslmode=require&sslrootcert={ours}", "localhost"),
        ("sslmode=require", "127.0.0.1"),
        ("sslmode=prefer", "127.0.0.1"),
    ],
)
async def test_a_shard_that_proves_itself_as_its_dsn_asks_is_spoken_to_inside_tls(
    shard: Shard, asked: str, host: str
) -> None:
    async with shard.opened(asked, host=host) as found:
        assert await spoken(found) == "TLSv1.3"


@pytest.mark.parametrize(
    ("asked", "host"),
    [
        ("sslmode=verify-full&sslrootcert={other}", "127.0.0.1"),
        ("sslmode=verify-full&sslrootcert={ours}", "localhost"),
        ("sslmode=verify-full", "127.0.0.1"),
        ("sslmode=verify-ca&sslrootcert={other}", "127.0.0.1"),
        ("sslmode=require&sslrootcert={other}", "127.0.0.1"),
    ],
)
async def test_one_that_does_not_is_not_spoken_to(shard: Shard, asked: str, host: str) -> None:
    assert "does not prove itself" in await refused(shard, asked, host=host)


async def test_one_that_wants_tls_lets_nobody_in_without(shard: Shard) -> None:
    assert "no encryption" in await refused(shard, "sslmode=disable")


async def test_who_is_in_between_is_not_let_in_though_nobody_looks_at_their_certificate(shard: Shard) -> None:
    """They have the password's proof for a channel of their own, and none for the shard's."""
    async with in_between(shard.server, Authority(shard.folder, "somebody").sign("between")) as port:
        assert "channel binding" in await refused(shard, "sslmode=require", port=port)


async def test_nor_with_a_certificate_that_nothing_can_be_bound_to(shard: Shard) -> None:
    async with in_between(shard.server, without_hash(shard.folder)) as port:
        assert await refused(shard, "sslmode=require", port=port) == "the shard did not let the door in"


def _unbound(offered: object, end_point: bytes | None, *, must: bool) -> Binding:
    return Binding(PLAIN)


def _taken_away(_offered: object, end_point: bytes | None, *, must: bool) -> Binding:
    return scram.bound([PLAIN], end_point)


@pytest.mark.parametrize(("bound", "lets_in"), [(_unbound, True), (_taken_away, False)])
async def test_a_server_is_told_that_the_offer_of_a_binding_did_not_come_through(
    shard: Shard, bound: Callable[..., Binding], lets_in: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a word of it, as other clients do, it would let somebody in between take its offer away."""
    monkeypatch.setattr(upstream, "bound", bound)
    if lets_in:
        async with shard.opened("sslmode=require"):
            return
    assert "channel binding" in await refused(shard, "sslmode=require")


async def test_an_engineers_session_goes_on_to_such_a_shard_and_cancels_there(
    shard: Shard, tmp_path_factory: pytest.TempPathFactory
) -> None:
    asked = f"sslmode=verify-full&sslrootcert={shard.ours}"
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("door-tls")
        async with door_stand(shard.server, folder, patch, asked=asked) as stand:
            await _used(stand)


async def _used(stand: DoorStand) -> None:
    async with stand.asyncpg() as connection:
        inside = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        assert await connection.fetchval(inside) is True
        with pytest.raises(TimeoutError):
            await connection.fetch("SELECT pg_sleep(60)", timeout=0.2)
        assert await connection.fetchval("SELECT 1") == 1
