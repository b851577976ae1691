"""Witnesses as processes: killed at random points, started twice, asked by the directory and by a cell; and what operators then read."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from deploy.local.postgres import PostgresServer
from foundation.ledger import checkpoints
from foundation.ledger.checkpoints import CHECKPOINT
from foundation.ledger.log import Log
from foundation.ledger.merkle import root_of
from foundation.ledger.notes import Signer
from foundation.ledger.settings import LedgerSettings
from foundation.ledger.witness import cosignatures, requests
from foundation.ledger.witness.held import last_in
from foundation.ledger.witness.quorum import Reach
from foundation.mute import Secret
from gateway.cli.main import cli
from tests.stands.cell import stand
from tests.stands.directory import running_directory
from tests.stands.ledger import SIGNER, kept_by, reader, rows, written
from tests.stands.servers import free_port, listens, serving
from tests.stands.service_tokens import ServiceIssuer
from tests.stands.waiting import eventually, wait_for
from tests.stands.witnesses import NAMES, Network, cosigned_by, cosigner, network, submission

pytestmark = pytest.mark.anyio
KILLS = int(os.environ.get("WITNESS_KILLS", "30"))
SEED = int(os.environ.get("WITNESS_SEED", "7"))
SIZE = 1_000
TWO = ("--cosigned", "2")
"""What the wide quorum takes; the third may have been slow."""


# --- kills -----------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def histories(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two logs under one key that are the same for no size, each with a signed checkpoint for every size beside it."""
    folder = tmp_path_factory.mktemp("histories")
    logs = [folder / "one", folder / "two"]
    for log in logs:
        notes = folder / f"{log.name}-notes"
        notes.mkdir()
        with Log(log, SIGNER) as opened:
            opened.append({"s1": rows(1, SIZE)})
            opened.publish()
        whole = reader(log)
        for size in range(SIZE + 1):
            checkpoint = checkpoints.Checkpoint(SIGNER.verifier.name, size, root_of(size, whole.hashes))
            (notes / str(size)).write_bytes(checkpoints.signed(checkpoint, SIGNER))
    return logs


@pytest.mark.timeout(3_600 if KILLS > 30 else 120)
def test_what_a_killed_witness_has_cosigned_it_knows_again_and_takes_nothing_back(
    histories: list[Path], tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "tests.stands.witness_writer", str(tmp_path), *map(str, histories)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2], text=True, bufsize=1,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    chance, said = random.Random(SEED), list[tuple[int, str]]()

    def hear(line: str) -> None:
        word, size, root = line.split()
        assert word == "cosigned", line
        said.append((int(size), root))

    try:
        for _ in range(KILLS):
            process.stdin.write(f"{chance.randrange(1 << 30)}\n")
            pid = int(process.stdout.readline().split()[1])
            for _ in range(chance.randrange(6)):
                hear(process.stdout.readline())
            time.sleep(chance.random() * 0.01)  # not to wait for anything: when the kill falls is a matter of chance
            os.kill(pid, signal.SIGKILL)
            while (line := process.stdout.readline()) != "gone\n":
                hear(line)
            held = last_in(tmp_path / "eu", cosigner("eu").verifier, SIGNER.verifier)
            if said:
                assert held is not None
                assert held.checkpoint.size >= said[-1][0]
                if held.checkpoint.size == said[-1][0]:
                    assert held.checkpoint.root.hex() == said[-1][1]
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(timeout=30)
    sizes = [size for size, _ in said]
    assert len(said) > KILLS, "the witness never came to cosign"
    assert sizes == sorted(sizes)
    # Whatever else was submitted: one of the two histories was cosigned, and nothing of the other.
    assert any(all(root == root_in(log, size) for size, root in said if size) for log in histories)


def root_in(log: Path, size: int) -> str:
    note = (log.parent / f"{log.name}-notes" / str(size)).read_bytes()
    return checkpoints.opened(note, SIGNER.verifier).root.hex()


# --- processes -------------------------------------------------------------------------------------------------------------------


class Process:
    """A witness as `domicile ledger witness serve` runs it."""

    def __init__(self, folder: Path, name: str, *logs: Path) -> None:
        self.port, self.folder = free_port(), folder / name
        self.settings = folder / f"{name}.toml"
        key = folder / f"{name}.key"
        key.touch(mode=0o600)
        key.write_text(cosigner(name).text.reveal())
        known = json.dumps([str(log) for log in logs])
        self.settings.write_text(
            f'host = "127.0.0.1"\nport = {self.port}\nname = "witness.test/{name}"\nkey_file = "{key}"\n'
            f'folder = "{self.folder}"\nlogs = {known}\n'
        )

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-P", "-m", "foundation.ledger.witness", "--settings", str(self.settings)]

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        child = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        try:
            wait_for(lambda: listens(self.port) or child.poll() is not None)
            yield child
        finally:
            child.kill()
            child.wait()
            if child.stderr is not None:
                child.stderr.close()

    def post(self, body: bytes) -> httpx.Response:
        return httpx.post(f"http://127.0.0.1:{self.port}{requests.PATH}", content=body, trust_env=False)


def test_a_witness_process_knows_over_kills_what_it_cosigned_and_no_second_one_runs_beside_it(tmp_path: Path) -> None:
    log, other = tmp_path / "log", tmp_path / "other"
    notes = written(log, 5, 300)
    written(other, 310)
    (tmp_path / "log.vkey").write_text(SIGNER.verifier.text)
    built = Process(tmp_path, "eu", tmp_path / "log.vkey")
    with built.running() as first:
        assert built.post(submission(log, 0, note=notes[1])).status_code == 200
        second = subprocess.run(built.command, capture_output=True, timeout=60, check=False)
        assert second.returncode == 2
        assert b"is written by another process" in second.stderr
        first.send_signal(signal.SIGKILL)
        first.wait()
    with built.running():
        conflict = built.post(submission(log, 0))
        assert (conflict.status_code, conflict.content) == (409, b"5\n")
        assert built.post(submission(other, 5)).status_code == 422
        done = built.post(submission(log, 5))
        assert done.status_code == 200
        assert list(cosignatures.verified(notes[2] + done.content, [cosigner("eu").verifier])) == ["witness.test/eu"]
        stranger = Signer("stranger.test/log", Secret(b"s" * 32))
        written(tmp_path / "stranger", 3, signer=stranger)
        assert built.post(submission(tmp_path / "stranger", 0, stranger)).status_code == 404


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('name = "witness.test/eu"', 'name = "witness.test/us"', "holds the key of witness.test/eu"),
        ("eu.key", "nowhere.key", "cannot be read"),
        ("log.vkey", "eu.toml", "no public key of a log"),
        ("folder =", "folders =", "did you mean folder"),
    ],
)
def test_a_setting_that_does_not_hold_is_one_line_and_exit_status_2(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    (tmp_path / "log.vkey").write_text(SIGNER.verifier.text)
    built = Process(tmp_path, "eu", tmp_path / "log.vkey")
    built.settings.write_text(built.settings.read_text().replace(old, new, 1))
    ran = subprocess.run(built.command, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, says in ran.stderr) == (2, True), ran.stderr
    assert len(ran.stderr.splitlines()) == 1


# --- beside the directory and a cell ---------------------------------------------------------------------------------------------


@asynccontextmanager
async def witnesses(folder: Path) -> AsyncIterator[tuple[Network, dict[str, str]]]:
    """All three on real servers, and their URLs."""
    with network(folder) as net:
        async with serving(net.app("eu")) as eu, serving(net.app("us")) as us, serving(net.app("in")) as india:
            yield net, {name: f"http://127.0.0.1:{port}" for name, port in zip(NAMES, (eu, us, india), strict=True)}


async def command(*words: str | Path) -> str:
    ran = await asyncio.to_thread(CliRunner().invoke, cli, ["ledger", *map(str, words)])
    assert ran.exit_code == 0, ran.output
    return ran.stdout


def named(folder: Path, *names: str) -> list[str | Path]:
    return [word for name in names for word in ("--witness", folder / f"{name}.vkey")]


async def test_the_directorys_log_is_cosigned_and_operators_read_by_whom(database: Secret[str], folder: Path) -> None:
    tokens = ServiceIssuer(folder)
    async with witnesses(folder) as (_, urls):
        settings = cosigned_by(kept_by(folder), folder, urls)
        async with running_directory(database, tokens, ledger=settings) as running:
            await running.callers.publisher.publish()
            await running.callers.active("ada")
            newest = await covered(folder, settings)
            for quorum in ("near", "wide"):
                answer = await running.callers.operator.get(f"/ledger/cosigned/{quorum}")
                assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")
                assert answer.content == (folder / "log/cosigned" / quorum).read_bytes()
                assert (await running.callers.resolver.get(f"/ledger/cosigned/{quorum}")).status_code == 403
                assert (await running.callers.http.get(f"/ledger/cosigned/{quorum}")).status_code == 401
            for other in ("far", "..%2flock", "NEAR"):
                assert (await running.callers.operator.get(f"/ledger/cosigned/{other}")).status_code == 404
    said = await command("verify", folder / "log", "--key", folder / "log.vkey", *named(folder, *NAMES), *TWO)
    assert f"{newest} entries cosigned by witness.test/eu" in said


async def covered(folder: Path, settings: LedgerSettings) -> int:
    """Waits until the wide quorum has what was signed last; its size."""

    def there() -> bool:
        wide = folder / "log" / Reach.WIDE.file
        if not wide.exists():
            return False
        note, newest = wide.read_bytes(), reader(folder / "log").checkpoint
        keys = [cosigner(name).verifier for name in settings.witnesses]
        return checkpoints.opened(note, SIGNER.verifier) == newest and len(cosignatures.verified(note, keys)) >= 2

    await eventually(there)
    return reader(folder / "log").checkpoint.size


async def test_a_cells_log_is_cosigned_and_its_process_can_wait_for_a_quorum(
    postgres_server: PostgresServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with witnesses(folder) as (_, urls), stand(postgres_server, folder, monkeypatch) as built:
        built.ledger = cosigned_by(kept_by(folder), folder, urls)
        async with built.running():
            await built.place("ada")
            gathered = built.cell.cosignatures
            assert gathered is not None
            near = await gathered.until(0, Reach.NEAR, within_s=10.0)
            assert near is not None
            assert near.size > 0
            size = await covered(folder, built.ledger)
            log = folder / "log"
            event = json.loads(await command("show", log, "--key", folder / "log.vkey", "--json"))["entries"][0]["id"]
            proof = folder / "p.tlog-proof"
            await command("prove", log, event, "--key", folder / "log.vkey", "--out", proof, *named(folder, *NAMES))
    said = await command("verify", proof, "--key", folder / "log.vkey", *named(folder, *NAMES), *TWO)
    assert f"of {size}" in said
    assert "cosigned by witness.test/eu" in said
    assert (folder / "log" / CHECKPOINT).read_bytes().count("— witness.test/".encode()) >= 2
