"""Faults on a real supervisor's real child, an issuer: stopped and started, killed and back, its keys rotated."""

from collections.abc import Iterator

import httpx
import pytest

from foundation.clock import SystemClock
from load_tests import target
from load_tests.faults.driver import FaultDriver
from load_tests.faults.processes import Processes
from load_tests.faults.window import Window
from load_tests.scenarios.shape import Fault
from tests.stands.stack import Run, stack

pytestmark = pytest.mark.anyio
NAME = "issuer-eu"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with stack(tmp_path_factory.mktemp("faults") / "state", NAME) as running:
        yield running


@pytest.fixture
def faults(run: Run) -> FaultDriver:
    known = target.read(run.paths.stack)
    return FaultDriver(known, clock=SystemClock(), directory=None, processes=Processes(run.paths.state), fence=None)


async def played(faults: FaultDriver, fault: Fault) -> Window:
    """The window of a fault that was played without a word."""
    await faults.play((fault,), SystemClock().unix_s())
    assert faults.failed == []
    assert faults.windows[-1].ended is not None
    return faults.windows[-1]


def kids(run: Run) -> list[str]:
    """Of the keys that the issuer names; the newest first."""
    url = run.document()["regions"]["eu"]["issuer"]
    return [str(key["kid"]) for key in httpx.get(f"{url}/jwks").json()["keys"]]


async def test_what_is_stopped_is_down_meanwhile_and_started_again(run: Run, faults: FaultDriver) -> None:
    before = run.child(NAME)
    async with Processes(run.paths.state).stopped(NAME):
        assert (run.child(NAME)["state"], run.child(NAME)["pid"]) == ("stopped", None)
    assert run.child(NAME)["state"] == "running"
    window = await played(faults, Fault(kind="stop", at_s=0, for_s=0, target=NAME))
    assert (window.kind, window.regions) == ("stop", ("eu",))
    assert run.child(NAME)["state"] == "running"
    assert run.child(NAME)["pid"] not in (None, before["pid"])


async def test_what_is_killed_is_back_before_the_fault_is_over(run: Run, faults: FaultDriver) -> None:
    before = run.child(NAME)
    window = await played(faults, Fault(kind="kill", at_s=0, for_s=0, target=NAME))
    assert (window.kind, window.regions) == ("kill", ("eu",))
    assert run.child(NAME)["state"] == "running"
    assert run.child(NAME)["pid"] != before["pid"]
    assert run.child(NAME)["restarts"] == before["restarts"] + 1


async def test_what_rotates_signs_with_another_key_and_names_the_old_one_too(run: Run, faults: FaultDriver) -> None:
    before = kids(run)
    window = await played(faults, Fault(kind="rotate", at_s=0, target="eu"))
    assert (window.kind, window.regions) == ("rotate", ("eu",))
    after = kids(run)
    assert after[0] not in before
    assert set(before) < set(after)


async def test_a_process_that_has_no_such_name_is_told_and_nothing_else_is_broken(
    run: Run, faults: FaultDriver
) -> None:
    before = run.child(NAME)
    for kind in ("stop", "kill", "freeze", "slow"):
        await faults.play((Fault(kind=kind, at_s=0, target="issuer-eux"),), SystemClock().unix_s())
    assert len(faults.failed) == 4
    assert all("did you mean issuer-eu" in words for words in faults.failed)
    assert run.child(NAME) == before
