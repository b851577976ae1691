"""The real process, `python -m directory`, over HTTP."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from foundation.http import HttpClient, client
from foundation.mute import Secret
from foundation.postgres import connect
from tests.stands.certificates import Authority
from tests.stands.directory import Callers
from tests.stands.servers import free_port
from tests.stands.service_tokens import ServiceIssuer
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio


def settings(folder: Path, tokens: ServiceIssuer, port: int, extra: str = "") -> Path:
    path = folder / f"directory-{port}.toml"
    issuer = tokens.issuer
    path.write_text(
        f'host = "127.0.0.1"\nport = {port}\ndsn_env = "TEST_DIRECTORY_DSN"\n{extra}'
        f'service_issuers = [{{ issuer = "{issuer.issuer}", audience = "{issuer.audience}", jwks = "{issuer.jwks}" }}]\n'
    )
    return path


def started(path: Path, dsn: Secret[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "directory", "--settings", str(path)],
            env=os.environ | {"TEST_DIRECTORY_DSN": dsn.reveal()},
            stdout=out,
            stderr=out,
        )


async def ready(http: HttpClient) -> bool:
    try:
        return (await http.get("/readyz")).status_code == 200
    except httpx.HTTPError:
        return False


async def polls(http: HttpClient, count: int) -> bool:
    """Whether so many long-polls wait in the process."""
    return f"domicile_directory_feed_waiters {count:.1f}" in (await http.get("/metrics")).text


async def ended(process: subprocess.Popen[bytes]) -> int:
    return await asyncio.wait_for(asyncio.to_thread(process.wait), 20)


@pytest.fixture
async def two(database: Secret[str], tmp_path: Path) -> AsyncIterator[list[tuple[subprocess.Popen[bytes], Callers]]]:
    """Two processes started at once on one empty database."""
    tokens = ServiceIssuer(tmp_path)
    ports = [free_port(), free_port()]
    processes = [started(settings(tmp_path, tokens, port), database, tmp_path / f"{port}.log") for port in ports]
    try:
        async with client(f"http://127.0.0.1:{ports[0]}") as first, client(f"http://127.0.0.1:{ports[1]}") as second:
            for http in (first, second):
                await eventually(lambda http=http: ready(http), s_max=30)
            yield [(one, Callers(http, tokens)) for one, http in zip(processes, (first, second), strict=True)]
    finally:
        for process in processes:
            process.kill()
            process.wait()


async def test_two_processes_serve_one_directory_and_drain_when_told(
    two: list[tuple[subprocess.Popen[bytes], Callers]], tmp_path: Path
) -> None:
    (leaving, first), (_, second) = two
    assert (await first.publisher.publish()).status_code == 201

    async with asyncio.TaskGroup() as group:
        poll = group.create_task(second.resolver.feed(1, wait_ms=4000))
        placed = await first.operator.place("ada", wait_ms=0)
    assert [event.placement.subject_id for event in poll.result().events] == [placed.json()["placement"]["subject_id"]]

    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(first.resolver.feed(2, wait_ms=4000))
        await eventually(lambda: polls(first.http, 1))
        leaving.send_signal(signal.SIGTERM)
        code = await ended(leaving)
    assert code == 0
    assert waiting.result().events == (), "a waiting poll is answered, not dropped"
    assert (await second.operator.get("/v1/subjects")).status_code == 200

    for log in tmp_path.glob("*.log"):
        for line in log.read_text().splitlines():
            assert json.loads(line)["event"], "every line of the log is an event"


async def test_settings_that_do_not_hold_end_the_process_with_one_clear_line(
    database: Secret[str], tmp_path: Path
) -> None:
    path = settings(tmp_path, ServiceIssuer(tmp_path), free_port(), extra="prot = 1\n")
    process = started(path, database, tmp_path / "log")
    assert await ended(process) == 2
    assert "did you mean port" in (tmp_path / "log").read_text()


async def test_a_database_that_is_not_there_ends_the_start_within_its_bound(tmp_path: Path) -> None:
    path = settings(tmp_path, ServiceIssuer(tmp_path), free_port(), extra="start_s_max = 0.3\n")
    process = started(path, Secret(f"postgresql://x:y@127.0.0.1:{free_port()}/x"), tmp_path / "log")
    assert await ended(process) == 2
    assert "did not answer within" in (tmp_path / "log").read_text()


async def test_a_worker_that_cannot_do_its_work_ends_the_process(database: Secret[str], tmp_path: Path) -> None:
    tokens, port = ServiceIssuer(tmp_path), free_port()
    process = started(settings(tmp_path, tokens, port), database, tmp_path / "log")
    try:
        async with client(f"http://127.0.0.1:{port}") as http:
            await eventually(lambda: ready(http), s_max=30)
        async with connect(database) as db:
            await db.execute("ALTER TABLE directory.feed_head RENAME TO gone")
        assert await ended(process) == 1
        assert "worker_died" in (tmp_path / "log").read_text()
    finally:
        process.kill()
        process.wait()


async def test_a_directory_behind_its_own_tls_is_reached_by_whoever_believes_the_machines_authorities(
    database: Secret[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens, port, ours = ServiceIssuer(tmp_path), free_port(), Authority(tmp_path, "ours")
    certificate, key = ours.sign("directory")
    path = settings(tmp_path, tokens, port, f'tls = {{ certificate = "{certificate}", key = "{key}" }}\n')
    process = started(path, database, tmp_path / "directory.log")
    try:
        monkeypatch.setenv("SSL_CERT_FILE", str(ours.file))
        async with client(f"https://127.0.0.1:{port}") as http:
            await eventually(lambda: ready(http), s_max=30)
            answer = await Callers(http, tokens).operator.get("/v1/rules/history")
            assert answer.status_code == 200
        monkeypatch.delenv("SSL_CERT_FILE")
        async with client(f"https://127.0.0.1:{port}") as http:
            with pytest.raises(httpx.ConnectError):
                await http.get("/readyz")
    finally:
        process.terminate()
        assert await ended(process) == 0
