"""`domicile up`, `down`, `status`, `reset`, `stack start|stop`: the embedded stack from the command line."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import msgspec

from deploy.local import control, leftovers, lock
from deploy.local.account import outside
from deploy.local.layout import Layout, Paths
from foundation.clock import Clock, SystemClock
from foundation.settings import SettingsError
from gateway.cli.options import json_option, print_json, print_table, state_option

DOWN_S_MAX = 60.0
DETACH_S_MAX = 200.0
_POLL_S = 0.05
INTERRUPTED = 130


@click.command()
@state_option
@click.option(
    "--port-base",
    type=int,
    default=None,
    help="First port of the stack; 0 chooses free ones. Default: those of last time, else 7400.",
)
@click.option("--detach", is_flag=True, help="Leave it running in the background; returns when it is ready.")
@click.option("--only", multiple=True, metavar="PATTERN", help="Start only these processes, such as 'postgres-*'.")
@click.option("--tour", is_flag=True, help="Play the tour once ready, then keep serving.")
@click.option("--tour-and-exit", is_flag=True, help="Play the tour once ready, end the stack, exit with its status.")
@json_option
def up(
    state: Path,
    port_base: int | None,
    detach: bool,
    only: tuple[str, ...],
    tour: bool,
    tour_and_exit: bool,
    as_json: bool,
) -> None:
    """Start the embedded stack: Postgres, Valkey, token issuers, witnesses, directory, cells, sample services, gateways.

    State lives in the folder that --state names and outlives the stack. Without --detach it serves until Ctrl-C.
    """
    if detach and (tour or tour_and_exit):
        raise click.UsageError("--detach returns when the stack is ready; play the tour with `domicile tour`")
    if as_json and not detach:
        raise click.UsageError("--json goes with --detach")
    if detach:
        document = _detach(state, port_base, only)
        print_json(document) if as_json else _print_status(document)
        return
    sys.exit(_foreground(state, port_base, only, tour=tour or tour_and_exit, and_exit=tour_and_exit))


def _foreground(state: Path, port_base: int | None, only: tuple[str, ...], *, tour: bool, and_exit: bool) -> int:
    from deploy.local.up import Options, supervise
    from gateway.cli.display import display

    played: list[int] = []
    with display(SystemClock()) as shown:

        async def on_ready(layout: Layout) -> int | None:
            if not tour:
                return None
            shown.pause()
            played.append(await _play_tour(layout.paths.state))
            if and_exit:
                return played[0]
            shown.resume()
            return None

        options = Options(state=state, port_base=port_base, only=only)
        status = asyncio.run(supervise(options, shown.show, on_ready))
    click.echo(f"the stack has ended; its state is in {state}")
    return INTERRUPTED if and_exit and not played else status


async def _play_tour(state: Path) -> int:
    """Runs `domicile tour` on this terminal and returns its exit status; ends it when we are told to end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "gateway.cli.main", "tour", "--state", str(state)), stdin=subprocess.DEVNULL
    )
    try:
        return await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await process.wait()
        if process.returncode is None:
            process.kill()


def _detach(state: Path, port_base: int | None, only: tuple[str, ...]) -> dict[str, Any]:
    """Starts a supervisor of its own session and waits until it says ready. Raises SettingsError with its last words."""
    from deploy.local.child import last_line
    from deploy.local.up import make_state

    paths = make_state(state)
    lock.refuse_if_held(paths.lock)
    command = [sys.executable, "-P", "-m", "deploy.local.up", "--state", str(paths.state)]
    command += ["--port-base", str(port_base)] if port_base is not None else []
    command += [word for pattern in only for word in ("--only", pattern)]
    log = paths.log("supervisor")
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        process = subprocess.Popen(  # noqa: S603 - our own module
            command, stdin=subprocess.DEVNULL, stdout=descriptor, stderr=descriptor, start_new_session=True, cwd="/"
        )
    finally:
        os.close(descriptor)
    try:
        return _until_ready(process, paths, SystemClock())
    except SettingsError as exc:
        raise SettingsError(last_line(log).removeprefix("domicile: ")) from exc
    except BaseException:
        process.terminate()
        process.wait(DOWN_S_MAX)
        raise


def _until_ready(process: subprocess.Popen[bytes], paths: Paths, clock: Clock) -> dict[str, Any]:
    deadline = clock.monotonic_s() + DETACH_S_MAX
    while clock.monotonic_s() < deadline:
        document = _stack_file(paths)
        if document is not None and document.get("pid") == process.pid and document.get("status") == "ready":
            return document
        if process.poll() is not None:
            raise SettingsError("the stack has ended")
        time.sleep(_POLL_S)
    process.terminate()
    raise SettingsError("the stack was not ready in time")


def _stack_file(paths: Paths) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(paths.stack.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError):
        return None


@click.command()
@state_option
@json_option
def down(state: Path, as_json: bool) -> None:
    """End the stack that runs on the state folder, and whatever a killed one left behind."""
    ended = end_stack(Paths(state.absolute()), SystemClock())
    if as_json:
        print_json({"ended": ended})
    else:
        click.echo("the stack has ended" if ended else f"no stack runs in {state}")


def end_stack(paths: Paths, clock: Clock) -> bool:
    """True when there was something to end. Raises SettingsError when it would not go."""
    if not lock.is_held(paths.lock):
        return paths.state.is_dir() and _end_leftovers(paths) > 0
    supervisor = leftovers.process(lock.holder(paths.lock))
    try:
        control.ask(paths, "down")
    except control.NoSupervisor:
        _signal_supervisor(paths)
    deadline = clock.monotonic_s() + DOWN_S_MAX
    while lock.is_held(paths.lock) or (supervisor is not None and leftovers.runs(supervisor)):
        if clock.monotonic_s() > deadline:
            raise SettingsError(f"the supervisor (pid {lock.holder(paths.lock)}) did not end in {DOWN_S_MAX:.0f} s")
        time.sleep(_POLL_S)
    return True


def _end_leftovers(paths: Paths) -> int:
    from deploy.local.parts import roots

    return leftovers.end(roots(paths))


def _signal_supervisor(paths: Paths) -> None:
    """The lock is held, so the process that its file names is alive and ours."""
    pid = lock.holder(paths.lock)
    if pid is not None and lock.is_held(paths.lock):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


@click.command()
@state_option
@json_option
def status(state: Path, as_json: bool) -> None:
    """Show processes, addresses, and how the logs stand with their witnesses.

    Exit status 0 when the stack is ready and every process runs, else 1; an overdue quorum is shown and changes nothing about that.
    """
    paths = Paths(state.absolute())
    document = _live_document(paths)
    if document is None:
        raise SettingsError(f"there is no stack in {state}; start one with `domicile up`")
    from gateway.cli.ledger import standing  # reads and verifies; `up` and `down` do not

    document = {**document, "ledgers": standing.of_stack(paths)}
    if as_json:
        print_json(document)
    else:
        _print_status(document)
        print_table(("log", "entries", *standing.QUORUMS, ""), standing.rows(document["ledgers"]))
    well = document["status"] == "ready" and all(each["state"] == "running" for each in document["processes"].values())
    sys.exit(0 if well else 1)


def _live_document(paths: Paths) -> dict[str, Any] | None:
    """The supervisor's own view; of a stack that does not run, the file with every process gone. None without either."""
    if lock.is_held(paths.lock):
        with contextlib.suppress(control.NoSupervisor):
            found: dict[str, Any] = control.ask(paths, "status")
            return found
        return _stack_file(paths)
    document = _stack_file(paths)
    if document is None:
        return None
    gone = {name: {**each, "pid": None, "state": "stopped"} for name, each in document.get("processes", {}).items()}
    return {**document, "status": "stopped", "pid": None, "processes": gone}


def _print_status(document: dict[str, Any]) -> None:
    rows = [
        (name, each["state"], each["pid"], each["port"], each.get("restarts") or "")
        for name, each in document["processes"].items()
    ]
    print_table(("process", "state", "pid", "port", "restarts"), rows, title=f"stack {document['status']}")
    regions = [
        (region, entry["city"], entry["gateway"], entry["issuer"]) for region, entry in document["regions"].items()
    ]
    print_table(("region", "", "gateway", "token issuer"), regions)


@click.command()
@state_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def reset(state: Path, yes: bool) -> None:
    """Throw the state folder away: every row, key and log in it. A running stack is ended first."""
    paths = Paths(state.absolute())
    if not paths.state.exists():
        click.echo(f"{state} is not there")
        return
    if not (paths.lock.exists() or paths.ports.exists()):
        raise SettingsError(f"{state} is no state folder of a stack; it is left alone")
    if not yes:
        click.confirm(f"Delete {paths.state} with every row, key and log in it?", abort=True)
    end_stack(paths, SystemClock())
    stand_in = outside(paths.state)
    shutil.rmtree(paths.state)
    if stand_in.is_dir() and not stand_in.is_symlink() and stand_in.stat().st_uid == os.geteuid():
        shutil.rmtree(stand_in)
    click.echo(f"{state} is gone")


@click.group()
def stack() -> None:
    """Start or stop single processes of the running stack; a stopped one stays stopped."""


@stack.command(short_help="Start process NAME, or several.")
@click.argument("name")
@state_option
@json_option
def start(name: str, state: Path, as_json: bool) -> None:
    """Start process NAME (or several: 'valkey-*') and wait until it is ready."""
    _order("start", name, state, as_json)


@stack.command(short_help="Stop process NAME, or several.")
@click.argument("name")
@state_option
@json_option
def stop(name: str, state: Path, as_json: bool) -> None:
    """Stop process NAME (or several: 'valkey-*') and wait until it is gone."""
    _order("stop", name, state, as_json)


def _order(op: Any, name: str, state: Path, as_json: bool) -> None:
    names: list[str] = control.ask(Paths(state.absolute()), op, name)
    if as_json:
        print_json(names)
    else:
        click.echo(f"{', '.join(names)}: {'running' if op == 'start' else 'stopped'}")
