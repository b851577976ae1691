"""One run: people, faults, locust, sweep, judgement."""

import asyncio
import contextlib
import datetime
import itertools
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from foundation.clock import SystemClock
from foundation.mute import Secret
from foundation.settings import SettingsError
from load_tests import plan, target
from load_tests.conductor import conducted, swarm
from load_tests.conductor.conducted import Conducted
from load_tests.conductor.progress import Progress
from load_tests.conductor.resources import Resources
from load_tests.conductor.stated import Stated, stated
from load_tests.faults.directory import Directory, opened
from load_tests.faults.driver import FaultDriver
from load_tests.faults.processes import Processes
from load_tests.openloop import arrivals
from load_tests.oracle import ledger
from load_tests.oracle.ledger import SignedUp
from load_tests.report.findings import Findings
from load_tests.scenarios.shape import Scenario
from load_tests.sweep.reading import FenceReader, swept
from load_tests.target import Target

START_S_MAX = 30.0
POLL_S = 0.1
SETTLE_S_MAX = 30.0
TICK_S = 1.0
KEPT_TICKS = 10
SAMPLES = 240


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says. `stack`: the deployment's stack file; `out`: an empty folder."""

    scenario: Scenario
    stack: Path
    out: Path
    workers: int = 1
    listen: tuple[str, int] | None = None
    web_port: int | None = None
    rate: float = 0.0
    dsns: Path | None = None
    directory_token: Path | None = None


class Run:
    """The parts of one run, opened by `opened_run`."""

    def __init__(
        self, options: Options, stack: Target, directory: Directory | None, dsns: dict[str, Secret[str]] | None
    ) -> None:
        self.options = options
        self.stack = stack
        self.directory = directory
        self.dsns = dsns
        self.clock = SystemClock()
        self.processes = None if stack.state is None else Processes(Path(stack.state))
        reader = None if dsns is None else FenceReader(stack, dsns)

        async def look(person: SignedUp) -> tuple[int, frozenset[str]] | None:
            return None if reader is None else await reader.look(person.cell, person.subject)

        self.faults = FaultDriver(
            stack,
            clock=self.clock,
            directory=directory,
            processes=self.processes,
            fence=None if reader is None else look,
        )
        self.halt = asyncio.Event()
        """Set by whoever breaks the run off: it ends early, and what was answered until then is judged."""
        self._missed: list[str] = []
        """What did not come about as the options ask, beside faults that could not be played."""
        self.progress = Progress(options.out)
        self.resources = Resources(options.out / "processes.ndjson")

    async def play(self, show: Callable[[str], None]) -> Findings:
        """Raises SettingsError where nothing could be played."""
        options = self.options
        path = options.out / "plan.json"
        plan.write(
            plan.Plan(scenario=options.scenario, target=self.stack, out=str(options.out), rate=options.rate), path
        )
        rules = await self._stated()
        closed = swarm.command(workers=options.workers, web_port=options.web_port, listen=options.listen)
        words = swarm.open_loop() if options.rate else closed
        async with swarm.running(words, path, options.out / "locust.log") as locust:
            began = await self._settled(locust)
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(self._watch(rules, began, show))
                sampling = group.create_task(self._sample())
                halting = group.create_task(self._halting(locust))
                breaking = group.create_task(self.faults.play(options.scenario.faults, began))
                missed = await self._until_over(locust, began)
                if missed is not None:
                    self._missed.append(missed)
                    breaking.cancel()
                for task in (watching, sampling, halting):
                    task.cancel()
        ended = self.clock.unix_s()
        came = arrivals.read(options.out)
        if came is not None and came.missed is not None:
            self._missed.append(came.missed)
        if self.processes is not None:
            await self._whole(self.processes)
        return await self._judged(rules, began, ended)

    async def _whole(self, processes: Processes) -> None:
        """Until every process of the stack runs again, or had time enough."""
        try:
            await processes.ready(SETTLE_S_MAX)
        except TimeoutError:
            self._missed.append(f"the end: not every process of the stack came back within {SETTLE_S_MAX:.0f} s")
        except SettingsError as exc:
            self._missed.append(f"the end: {exc}")

    async def _settled(self, locust: asyncio.subprocess.Process) -> float:
        """When the scenario's clock started: the first people have homes, or they had time enough. Raises SettingsError where nothing
        is answered."""
        scenario = self.options.scenario
        first = scenario.users if self.options.rate else scenario.users_at(0) or 1
        for _ in range(int(START_S_MAX / POLL_S)):
            ended = locust.returncode is not None
            self.progress.read()
            if ended and not self.progress.answers:
                raise SettingsError(f"locust ended at once; see {self.options.out / 'locust.log'}")
            if ended:
                break
            if self.halt.is_set():
                raise SettingsError("broken off before people had homes")
            if len(self.progress.people) >= first:
                break
            await asyncio.sleep(POLL_S)
        if not self.progress.answers:
            raise SettingsError(f"nothing was answered in {START_S_MAX:.0f} s; see {self.options.out / 'locust.log'}")
        (self.options.out / plan.BEGUN).touch()
        return self.clock.unix_s()

    async def _until_over(self, locust: asyncio.subprocess.Process, began: float) -> str | None:
        """Waits for the end of what plays. None where it came by itself and at its time; else, in words, what did not come about."""
        options, log = self.options, self.options.out / "locust.log"
        try:
            async with asyncio.timeout(options.scenario.seconds + swarm.END_S_MAX):
                await locust.wait()
        except TimeoutError:
            return f"the end: what plays the load did not end in time; see {log}"
        if self.halt.is_set():
            return f"the rest: broken off after {self.clock.unix_s() - began:.0f} of {options.scenario.seconds} s"
        if locust.returncode != 0:
            return f"the rest: what plays the load ended with {locust.returncode}; see {log}"
        return None

    async def _halting(self, locust: asyncio.subprocess.Process) -> None:
        """Ends what plays once the run is broken off: as it likes to end, or at once.

        By SIGINT: before its users run locust has no handler for SIGTERM, and would leave its workers, wherever they are, to go on.
        """
        await self.halt.wait()
        with contextlib.suppress(ProcessLookupError):
            locust.send_signal(signal.SIGINT)
        await asyncio.sleep(swarm.END_S_MAX)
        with contextlib.suppress(ProcessLookupError):
            locust.kill()

    async def _watch(self, rules: Stated, began: float, show: Callable[[str], None]) -> None:
        """Shows how it goes; keeps what is known so far in its file, so that a run that is broken off can be judged."""
        for tick in itertools.count(1):
            await asyncio.sleep(TICK_S)
            self.progress.read()
            self.faults.people = self.progress.people
            holding = [f"{one.kind} {one.target}".strip() for one in self.faults.windows if one.ended is None]
            now = self.clock.unix_s()
            show(self.progress.line(now - began, holding))
            if tick % KEPT_TICKS == 0:
                conducted.write(self._known(rules, began, now), self.options.out)

    async def _sample(self) -> None:
        """Memory and descriptors of the stack's processes, where the scenario asks for it and they are on this machine."""
        if self.processes is None or not self.options.scenario.soak:
            return
        while True:
            processes = (await self.processes.document())["processes"]
            await asyncio.to_thread(self.resources.take, processes, self.clock.unix_s())
            await asyncio.sleep(self._sample_s)

    @property
    def _sample_s(self) -> float:
        return max(TICK_S, self.options.scenario.seconds / SAMPLES)

    async def _stated(self) -> Stated:
        """What the rules of today state; nothing where nobody may ask for them."""
        document = None if self.directory is None else await self.directory.rules()
        today = datetime.datetime.fromtimestamp(self.clock.unix_s(), datetime.UTC).date()
        return Stated() if document is None else stated(document, self.options.scenario.people, today)

    async def _judged(self, rules: Stated, began: float, ended: float) -> Findings:
        known = self._known(rules, began, ended)
        conducted.write(known, self.options.out)
        try:
            found, unswept = await swept(self.stack, self.dsns, self.directory), None
        except SettingsError as exc:
            found, unswept = None, str(exc)
        findings = conducted.judged(known, ledger.lines(self.options.out), found)
        if unswept is not None:
            findings.faults_failed.append(unswept)
        return findings

    def _known(self, rules: Stated, began: float, ended: float) -> Conducted:
        scenario = self.options.scenario
        return Conducted(
            scenario=scenario.name,
            about=scenario.about,
            began=began,
            ended=ended,
            rate=self.options.rate,
            stated=rules,
            mix=frozenset(name for name, weight in scenario.mix.items() if weight),
            unexplained_max=scenario.unexplained_max,
            windows=tuple(self.faults.windows),
            cuts=tuple(self.faults.cuts),
            faults_failed=(*self.faults.failed, *self._missed),
            processes=tuple(self.resources.judged()),
            memory=self.resources.memory(),
            memory_step_s=self._sample_s,
        )


@asynccontextmanager
async def opened_run(options: Options) -> AsyncIterator[Run]:
    """Raises SettingsError."""
    stack = target.read(options.stack)
    token = target.token_file(stack, options.directory_token)
    async with AsyncExitStack() as held:
        directory = None if token is None else await held.enter_async_context(opened(stack.directory_url, token))
        yield Run(options, stack, directory, target.dsns(stack, options.dsns))
