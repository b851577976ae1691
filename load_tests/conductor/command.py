"""The command: options in, a run, its page and its document, exit status out (`ending` says which)."""

import asyncio
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from foundation.settings import SettingsError
from load_tests import plan
from load_tests.conductor import conducted
from load_tests.conductor.elsewhere import PATH, judge, work
from load_tests.conductor.ending import ended, told
from load_tests.conductor.run import Options, opened_run
from load_tests.conductor.swarm import address
from load_tests.openloop import arrivals
from load_tests.oracle import ledger
from load_tests.report.findings import Findings
from load_tests.scenarios import shape
from load_tests.scenarios.actions import ACTIONS

STACK_S_MAX = 240.0
STOPS = (signal.SIGINT, signal.SIGTERM)


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--scenario", default="short", show_default=True, help="A scenario by name, or its file.")
@click.option("--list", "listed", is_flag=True, help="List the scenarios and end.")
@click.option("--stack", type=PATH, help="A deployment's stack.json. Default: starts a stack of its own.")
@click.option("--dsns", type=PATH, help="JSON of the shards' DSNs, for the sweep of another deployment.")
@click.option("--directory-token", type=PATH, help="The operator's service token of another deployment.")
@click.option("--seconds", type=click.IntRange(5), help="Instead of the scenario's.")
@click.option("--users", type=click.IntRange(1), help="Instead of the scenario's.")
@click.option(
    "--rate",
    type=click.FloatRange(0, 10_000),
    default=0.0,
    help="Open loop: arrivals a second, not locust; one process, shape constant.",
)
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Locust processes here.")
@click.option("--listen", metavar="HOST:PORT", help="Take `domicile load work` of other machines there.")
@click.option(
    "--web", "web_port", type=click.IntRange(1, 65535), help="Show locust's own pages on this port meanwhile."
)
@click.option("--out", type=PATH, default=Path("load"), show_default=True, help="Folder for the findings.")
@click.pass_context
def run(
    context: click.Context,
    *,
    scenario: str,
    listed: bool,
    stack: Path | None,
    dsns: Path | None,
    directory_token: Path | None,
    seconds: int | None,
    users: int | None,
    rate: float,
    workers: int,
    listen: str | None,
    web_port: int | None,
    out: Path,
) -> None:
    """Put load on a deployment, break things meanwhile, and prove that no promise was broken.

    Exit status: 0 every promise was kept, 1 one was broken, 2 it could not be run as asked, was broken off (Ctrl-C), or proved nothing:
    somebody's jurisdiction had not one read or write, or too many errors that no fault explains.
    """
    if context.invoked_subcommand is not None:
        return
    if listed:
        for name in shape.known():
            click.echo(f"{name:10} {shape.read(name, frozenset(ACTIONS)).about}")
        return
    with told():
        chosen = shape.resized(shape.read(scenario, frozenset(ACTIONS)), seconds=seconds, users=users)
        listens = None if listen is None else address(listen)
        if rate:
            _open_loop_takes(chosen, workers=workers, listens=listens, web_port=web_port)
        with _stack(stack) as file:
            options = Options(
                scenario=chosen,
                stack=file,
                out=_emptied(out),
                workers=workers,
                listen=listens,
                web_port=web_port,
                rate=rate,
                dsns=dsns,
                directory_token=directory_token,
            )
            findings = asyncio.run(_played(options))
    ended(findings, out)


run.add_command(judge)
run.add_command(work)


async def _played(options: Options) -> Findings:
    async with opened_run(options) as opened:
        with _breaking_off(opened.halt):
            return await opened.play(lambda line: click.echo(line, err=True))


def _open_loop_takes(
    scenario: shape.Scenario, *, workers: int, listens: tuple[str, int] | None, web_port: int | None
) -> None:
    """Whether nothing that only locust's users have is asked of the open loop. Raises SettingsError."""
    locusts = {"--workers": workers > 1, "--listen": listens is not None, "--web": web_port is not None}
    for option, asked in locusts.items():
        if asked:
            raise SettingsError(f"--rate is played by one process, without locust: leave out {option}")
    if not isinstance(scenario.shape, shape.Constant):
        raise SettingsError(
            f"--rate is constant, and scenario {scenario.name} has a shape; use one without, such as steady"
        )


@contextmanager
def _breaking_off(halt: asyncio.Event) -> Iterator[None]:
    """Within the block the first Ctrl-C, or SIGTERM, sets `halt`; the next one does what it does elsewhere."""
    loop = asyncio.get_running_loop()

    def first() -> None:
        click.echo("broken off: what was answered until now is judged (again: nothing is)", err=True)
        restore()
        halt.set()

    def restore() -> None:
        for number in STOPS:
            loop.remove_signal_handler(number)

    for number in STOPS:
        loop.add_signal_handler(number, first)
    try:
        yield
    finally:
        restore()


def _emptied(out: Path) -> Path:
    """The folder without the lines of an earlier run. Raises SettingsError."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        known = (conducted.FILE, plan.BEGUN, arrivals.FILE, "processes.ndjson")
        for path in (*out.glob(ledger.PATTERN), *(out / name for name in known)):
            path.unlink(missing_ok=True)
    except OSError as exc:
        raise SettingsError(f"{out}: {exc.strerror}") from exc
    return out.absolute()


@contextmanager
def _stack(given: Path | None) -> Iterator[Path]:
    """The stack file: the one given, or that of an embedded stack which is started now and thrown away afterwards."""
    if given is not None:
        yield given if given.suffix == ".json" else given / "stack.json"
        return
    folder = Path(tempfile.mkdtemp(prefix="domicile-load-"))
    state = folder / "stack"
    try:
        _domicile("up", "--detach", "--port-base", "0", state=state)
        yield state / "stack.json"
    finally:
        _domicile("reset", "--yes", state=state)
        shutil.rmtree(folder, ignore_errors=True)


def _domicile(*words: str, state: Path) -> None:
    command = [sys.executable, "-P", "-m", "gateway.cli.main", *words, "--state", str(state)]
    done = subprocess.run(  # noqa: S603 - our own module
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=STACK_S_MAX, check=False
    )
    if done.returncode != 0:
        raise SettingsError(f"domicile {words[0]}: {done.stderr.strip() or done.stdout.strip()}")
