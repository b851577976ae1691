"""Drivers of other languages at the SQL door, as they are: pgjdbc (Java) and pgx (Go). `make door-clients` has both."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from deploy.local.postgres import PostgresServer
from tests.stands.door import DoorStand, door_stand
from tests.stands.product_loop import anyio_backend

__all__ = ["anyio_backend"]
pytestmark = pytest.mark.anyio

CLIENTS = Path(__file__).parents[1] / "clients"
PGJDBC = Path(os.environ.get("DOOR_PGJDBC", "/usr/share/java/postgresql.jar"))
PGX = Path(os.environ.get("DOOR_PGX", "/nowhere"))
CLIENT_S_MAX = 120.0
GOES_ON = "goes on"
PEOPLE = 300
"""Those of the stand."""


@pytest.fixture
async def stand(
    postgres_server: PostgresServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[DoorStand]:
    async with door_stand(postgres_server, folder, monkeypatch) as built:
        yield built


async def told(*words: str | Path) -> dict[str, str]:
    """What a client tells, by what it tried."""
    child = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=os.environ | {"TZ": "UTC"}
    )
    try:
        out, err = await asyncio.wait_for(child.communicate(), CLIENT_S_MAX)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    assert child.returncode == 0, (out, err)
    return dict(line.split("\t", 1) for line in out.decode().splitlines())


def as_pk8(key: Path) -> Path:
    """As `domicile access certificate --key-out FILE.pk8` has it."""
    held = serialization.load_pem_private_key(key.read_bytes(), None)
    path = key.with_suffix(".pk8")
    path.touch(mode=0o600)
    path.write_bytes(
        held.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.mark.skipif(
    not (PGJDBC.exists() and shutil.which("java")),
    reason="no java, or no pgjdbc (Debian and Ubuntu: apt-get install default-jdk-headless libpostgresql-jdbc-java)",
)
async def test_pgjdbc_reads_in_pages_and_batches_and_hears_clearly_what_is_refused(stand: DoorStand) -> None:
    shown = f"sslrootcert={stand.authorities}&sslcert={stand.certificate}&sslkey={as_pk8(stand.key)}"
    url = f"jdbc:postgresql://127.0.0.1:{stand.door.port}/s1?user=alice&sslmode=verify-full&{shown}"
    came = await told("java", "-Xshare:auto", "-cp", PGJDBC, CLIENTS / "pgjdbc" / "Client.java", url)
    assert came["named"] == "".join(f"name {number}," for number in range(1, 9))
    assert (came["batch"], came["pages"], came["several"], came["simple"]) == ("20", str(PEOPLE), "1,2,", "1,2,")
    assert (came["savepoint"], came["setting"]) == (f"42P01 {GOES_ON}", "1")
    assert came["copy"].startswith("0A000 ERROR: COPY is refused here")
    assert came["large object"].startswith("0A000 ERROR: function calls and large objects by message are refused here")
    assert [came[f"after {what}"] for what in ("copy", "large object")] == [GOES_ON] * 2
    assert (came["cancel"][:5], came["error"][:5], came["at last"]) == ("57014", "22012", GOES_ON)
    by_id = [one for one in stand.record.statements if one.text == "SELECT name FROM people WHERE id = $1"]
    assert [one.kind for one in by_id].count("prepared") == 1
    assert len({one.parameters for one in by_id if one.kind == "extended"}) == 8
    # Each page is an Execute of its own, and each is recorded as the statement that it goes on with.
    pages = [one for one in stand.record.statements if one.text == "SELECT id FROM people ORDER BY id"]
    assert len(pages) == 4
    assert len(await stand.rows("SELECT id FROM notes WHERE body LIKE 'jdbc %'")) == 20


@pytest.mark.skipif(
    not PGX.exists(), reason="no client of pgx (`make door-clients` builds one where Go's modules can be had)"
)
async def test_pgx_prepares_and_pipelines_and_hears_clearly_what_is_refused(stand: DoorStand) -> None:
    came = await told(PGX, stand.conninfo())
    assert came["named"] == "name 1,name 2,name 3"
    assert (came["batch"], came["several"], came["savepoint"]) == (f"20 {PEOPLE}", "1,2", "42P01")
    assert came["copy"] == "0A000 COPY is refused here"
    assert (came["after copy"], came["cancel"][:5], came["error"][:5]) == (GOES_ON, "57014", "22012")
    assert came["at last"] == GOES_ON
    assert len(await stand.rows("SELECT id FROM notes WHERE body LIKE 'pgx %'")) == 20
