"""The scene of break-glass: an engineer in Virginia and a subject in Frankfurt, by the commands that they would type."""

import asyncio
import contextlib
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from deploy.local.access import DEMO_TICKET
from deploy.local.layout import Paths
from foundation.clock import SystemClock
from foundation.ledger.port import Kind
from gateway.cli.tour.scenes import Resident
from gateway.cli.tour.stage import Stage

ENGINEER = ("--as", "ada", "--home", "US")
COLLEAGUE = ("--as", "grace", "--home", "US")
INSIDE = ("--as", "konrad", "--home", "DE")
AUDITOR = ("--as", "auditor", "--home", "DE")
END_OF_ROWS = "-- that was all"
STATEMENT_S_MAX = 20.0
DRAINED_S_MAX = 10.0
DRAIN_PAUSE_S = 0.2


async def virginia_debugs_frankfurt(stage: Stage, residents: list[Resident]) -> None:
    """Request, approvals, certificate, masked rows in psql, revocation, proof, report."""
    subject = next(one for one in residents if one.person.country == "DE")
    desk = _Desk(stage, subject.cell)
    with tempfile.TemporaryDirectory(prefix="domicile-tour-") as folder:
        grant = await _granted(desk, subject)
        certificate = await _certified(desk, grant, Path(folder))
        async with _psql(desk, grant) as session:
            await _seen(session, desk, residents)
            await _revoked(desk, grant, certificate)
            await _ended(session, desk)
        await _proven(desk, grant, Path(folder))


class _Desk:
    """`domicile access …` about one cell."""

    def __init__(self, stage: Stage, cell: str) -> None:
        self.stage = stage
        self.cell = cell

    async def tell(self, *arguments: str) -> Any:
        """Raises SettingsError when it is refused."""
        return json.loads(await self.stage.command("access", *arguments, "--cell", self.cell, "--json", stateful=True))

    async def refused(self, *arguments: str) -> tuple[bool, str]:
        """Whether it is refused, and by which words."""
        status, output, errors = await self.stage.tried("access", *arguments, "--cell", self.cell, stateful=True)
        return status != 0, (errors or output).splitlines()[-1]


async def _granted(desk: _Desk, subject: Resident) -> str:
    report = desk.stage.report
    asked = await desk.tell(
        "request", *ENGINEER, "--subjects", subject.subject_id, "--purpose", "debugging", "--ticket", DEMO_TICKET,
        "--reason", "an order has the wrong total",
    )  # fmt: skip
    grant = str(asked["grant"]["id"])
    report.say(f"{grant}: an engineer in the United States asks for one subject of {desk.cell}, for 15 minutes")
    own, words = await desk.refused("approve", grant, "--version", "1", *ENGINEER, "--role", "approver")
    report.check("nobody approves their own request", own, words)
    outside = await desk.tell("approve", grant, "--version", "1", *COLLEAGUE)
    report.check(
        "an approval from outside the jurisdiction is not enough", outside["phase"] == "requested", outside["phase"]
    )
    inside = await desk.tell("approve", grant, "--version", "1", *INSIDE)
    report.check("with one from inside it is granted", inside["phase"] == "approved", inside["phase"])
    return grant


async def _certified(desk: _Desk, grant: str, folder: Path) -> Path:
    out = folder / "ada.pem"
    await desk.tell("certificate", grant, *ENGINEER, "--out", str(out), "--key-out", str(folder / "ada.key"))
    opens = await desk.tell("check", str(out), *ENGINEER)
    desk.stage.report.check(
        "the certificate opens one shard, for this engineer", bool(opens["shard"]), f"shard {opens['shard']}"
    )
    other, words = await desk.refused("check", str(out), *COLLEAGUE)
    desk.stage.report.check("and for nobody else", other, words)
    return out


class _Session:
    """psql under a grant, by the command that an engineer types; statements on its standard input."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self._child = child

    async def rows(self, statement: str) -> list[str] | None:
        """What it prints; None: the session has ended."""
        child = self._child
        if child.stdin is None or child.stdout is None:
            return None
        with contextlib.suppress(ConnectionError):
            child.stdin.write(f"{statement};\n\\echo {END_OF_ROWS}\n".encode())
            await child.stdin.drain()
        lines: list[str] = []
        async with asyncio.timeout(STATEMENT_S_MAX):
            while line := (await child.stdout.readline()).decode():
                if line.strip() == END_OF_ROWS:
                    return lines
                lines.append(line.strip())
        return None

    async def words(self) -> str:
        """What it said when it ended."""
        async with asyncio.timeout(STATEMENT_S_MAX):
            _, errors = await self._child.communicate()
        return next(iter(errors.decode().splitlines()), "")


@contextlib.asynccontextmanager
async def _psql(desk: _Desk, grant: str) -> AsyncIterator[_Session]:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway.cli.main", "access", "psql", grant, *ENGINEER, "--cell", desk.cell,
        "--state", desk.stage.stack.state, "--", "-X", "-A", "-t", "-F", " | ", "-v", "ON_ERROR_STOP=1",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield _Session(child)
    finally:
        if child.returncode is None:
            child.terminate()
        await child.wait()


async def _seen(session: _Session, desk: _Desk, residents: list[Resident]) -> None:
    report = desk.stage.report
    rows = await session.rows("SELECT display_name, email, locale FROM profiles") or []
    for row in rows:
        report.say(f"profiles, in psql: {row}")
    report.check("psql shows that one person's row and nobody else's", len(rows) == 1, f"{len(rows)} rows")
    raw = [one for one in residents if any(one.person.name in row or one.person.email in row for row in rows)]
    report.check("what names the person is masked", len(rows) == 1 and not raw, "; ".join(rows))
    grouped = await session.rows("SELECT count(*) FROM profiles WHERE email LIKE '%@%'") or []
    report.check("and cannot be asked for behind the mask", grouped == ["0"], f"{grouped} match")


async def _ended(session: _Session, desk: _Desk) -> None:
    again = await session.rows("SELECT count(*) FROM profiles")
    desk.stage.report.check("and the open psql runs nothing more", again is None, await session.words())


async def _revoked(desk: _Desk, grant: str, certificate: Path) -> None:
    await desk.tell("revoke", grant, *INSIDE, "--reason", "found it")
    shut, words = await desk.refused("check", str(certificate), *ENGINEER)
    desk.stage.report.check("revoked, it opens nothing", shut, words)


async def _proven(desk: _Desk, grant: str, folder: Path) -> None:
    """What happened, by the cell's ledger alone."""
    stage = desk.stage
    replayed = await _replayed(desk)
    stage.report.check(
        "the ledger alone tells the same story as the cell",
        replayed["same"],
        f"{replayed['steps']} steps, digest {replayed['digest'][:12]}",
    )
    shown = json.loads(await stage.command("ledger", "show", desk.cell, "--limit", "200", "--json", stateful=True))
    steps = [one for one in shown["entries"] if one["kind"] == Kind.GRANT and grant in json.dumps(one["details"])]
    proof = folder / "revocation.tlog-proof"
    await stage.command("ledger", "prove", desk.cell, steps[0]["id"], "--out", str(proof), stateful=True)
    key = Paths(Path(stage.stack.state)).ledger_key(f"cell-{desk.cell}")
    verified = await stage.command("ledger", "verify", str(proof), "--key", str(key))
    stage.report.check("the revocation's proof holds offline, by the log's public key", True, verified.splitlines()[0])
    report = await desk.tell("report", *AUDITOR)
    told = next(one["grant"] for one in report["grants"] if one["grant"]["id"] == grant)
    stage.report.check(
        "the report names who asked, why, on whose approval, and how it ended",
        (told["engineer"], told["end"]["phase"]) == ("engineer:ada", "revoked") and len(told["votes"]) == 2,
        f"{told['engineer']}, {told['terms']['purpose']} for {told['terms']['ticket']}, "
        f"approved by {', '.join(vote['by'] for vote in told['votes'])}, {told['end']['phase']}",
    )


async def _replayed(desk: _Desk) -> dict[str, Any]:
    """The replay, once the last step has reached the ledger from the outbox; at the latest what it says after some seconds."""
    clock = SystemClock()
    until = clock.monotonic_s() + DRAINED_S_MAX
    while True:
        _, output, _ = await desk.stage.tried(
            "access", "replay", *AUDITOR, "--cell", desk.cell, "--json", stateful=True
        )
        replayed: dict[str, Any] = json.loads(output)
        if replayed["same"] or clock.monotonic_s() > until:
            return replayed
        await asyncio.sleep(DRAIN_PAUSE_S)
