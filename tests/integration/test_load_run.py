"""Runs against a deployment in memory, played by the real drivers in processes of their own: how each ends, and that its page is there."""

import asyncio
import contextlib
import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from load_tests.conductor import run as conducting
from load_tests.conductor import swarm
from load_tests.conductor.ending import ended
from load_tests.conductor.run import Options, opened_run
from load_tests.openloop import arrivals
from load_tests.oracle import ledger
from tests.stands.deployment import Deployed, deployed, scenario
from tests.stands.servers import free_port
from tests.stands.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]

ONE_AT_A_TIME = """
import asyncio, sys
from load_tests import plan
from load_tests.openloop import __main__ as driver

driver.UNDER_WAY_MAX = 1
sys.exit(asyncio.run(driver.main(plan.of_environment())))
"""


async def played(at: Deployed, out: Path, **options: Any) -> tuple[int, dict[str, Any]]:
    """Exit status and findings."""
    out.mkdir()
    async with opened_run(Options(scenario=scenario(), stack=at.stack, out=out, **options)) as run:
        findings = await run.play(lambda line: None)
    with pytest.raises(SystemExit) as how:
        ended(findings, out)
    assert (out / "load.html").stat().st_size > 0
    return int(str(how.value.code)), json.loads((out / "load.json").read_text())


@pytest.mark.parametrize(("mute", "status"), [(False, 2), (True, 1)])
async def test_arrivals_that_are_dropped_are_told_on_the_page_and_hide_no_violation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, mute: bool, status: int
) -> None:
    words = swarm.open_loop()
    monkeypatch.setattr(swarm, "open_loop", lambda: [*words[:2], "-c", ONE_AT_A_TIME])
    async with deployed(tmp_path, mute=mute) as at:
        how, findings = await played(at, tmp_path / "out", rate=1000.0)  # one at a time takes longer than a ms
    came = arrivals.read(tmp_path / "out")
    assert came is not None
    assert came.due == 5000
    assert 0 < came.dropped < came.due
    assert how == status
    assert findings["faults_failed"] == [came.missed]
    assert f"{came.dropped:,} of 5,000 arrivals" in (tmp_path / "out" / "load.html").read_text()
    assert findings["open_loop"]["count"] > 0
    assert {one["kind"] for one in findings["violations"]} == ({"verdict_misstated"} if mute else set())


async def test_what_plays_the_load_may_die_and_what_was_answered_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = swarm.open_loop()
    dies = ONE_AT_A_TIME.replace("driver.UNDER_WAY_MAX = 1", "del driver.due")
    monkeypatch.setattr(swarm, "open_loop", lambda: [*words[:2], "-c", dies])
    async with deployed(tmp_path) as at:
        how, findings = await played(at, tmp_path / "out", rate=20.0)
    assert how == 2
    assert findings["people"] == {"DE eu-de": 4}
    assert "what plays the load ended with 1" in findings["faults_failed"][0]


@pytest.mark.parametrize(("fails", "status"), [(False, 0), (True, 2)])
async def test_a_run_in_which_nobody_is_served_after_sign_up_is_not_green(
    tmp_path: Path, *, fails: bool, status: int
) -> None:
    async with deployed(tmp_path, fails=fails) as at:
        how, findings = await played(at, tmp_path / "out")
    assert (how, findings["people"], findings["violations"]) == (status, {"DE eu-de": 4}, [])
    assert ("nothing was proven of eu: not one read was served" in findings["unproven"]) is fails
    assert ("nothing was proven of eu: not one write was acknowledged" in findings["unproven"]) is fails


@pytest.mark.timeout(240)  # three locusts, each of which takes some seconds of a crowded machine to start
async def test_workers_of_another_machine_join_a_run_and_their_lines_are_judged_with_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conducting, "START_S_MAX", 15.0)  # it waits for homes that stand in the other machine's lines
    here, there, judged = tmp_path / "here", tmp_path / "there", tmp_path / "judged"
    here.mkdir()
    port = free_port()
    played = scenario(seconds=600, users=8)
    async with deployed(tmp_path) as at:
        options = Options(scenario=played, stack=at.stack, out=here, listen=("127.0.0.1", port))
        async with opened_run(options) as run:
            shown: list[str] = []
            playing = asyncio.get_running_loop().create_task(run.play(shown.append))
            await eventually((here / "plan.json").exists, s_max=20)
            joined = await command(
                "work", "--master", f"127.0.0.1:{port}", "--plan", str(here / "plan.json"), out=there
            )
            try:
                # Something is shown once the scenario has begun: a run that is broken off before proves nothing.
                await eventually(lambda: shown and homes(there) and homes(here), s_max=120)
            finally:
                run.halt.set()
                findings = await playing
                await gone(joined)
            both = homes(here) | homes(there)
        judging = await command("judge", str(here), str(there), out=judged)
        told = (await judging.communicate())[0].decode()
    assert findings.violations == []
    assert findings.people == {"DE eu-de": len(homes(here))}
    assert judging.returncode == 2, told  # it was broken off
    document = json.loads((judged / "load.json").read_text())
    assert (document["people"], document["violations"]) == ({"DE eu-de": len(both)}, [])
    assert len(both) == len(homes(here)) + len(homes(there))


async def command(*words: str, out: Path) -> asyncio.subprocess.Process:
    """`domicile load` with these words."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "load_tests", *words, "--out", str(out),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip


async def gone(process: asyncio.subprocess.Process) -> None:
    """Waits until it has ended. One whom its master's last word did not reach is interrupted, as whoever started it would do."""
    for ends in (lambda: None, lambda: process.send_signal(signal.SIGINT), process.kill):
        ends()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(15):
                await process.communicate()
                return


def homes(folder: Path) -> set[str]:
    """Whose sign-up the workers that write to `folder` have written down."""
    return {line.subject for line in ledger.lines(folder) if isinstance(line, ledger.SignedUp)}
