"""One whole run of the embedded stack: lock, leftovers, ports, secrets, files, then the supervisor until it is told to end.

`python -m deploy.local.up --state DIR` is what `domicile up --detach` leaves running.
"""

import argparse
import asyncio
import signal
import sys
from pathlib import Path

import msgspec

from deploy.local import files, keys, leftovers, lock, parts, ports, render
from deploy.local.account import unprivileged
from deploy.local.layout import Layout, Paths
from deploy.local.supervisor import Observer, OnReady, Supervisor
from foundation.clock import Clock, SystemClock
from foundation.settings import SettingsError

_MOVED = (
    "note: the token issuers have other ports than last time; a login names its issuer's address, so people who signed up "
    "before are strangers now (--port-base with the old base brings them back)"
)


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """`port_base`: see `ports.choose`. `only`: patterns of the processes to start, all where empty."""

    state: Path
    port_base: int | None = None
    only: tuple[str, ...] = ()


def make_state(state: Path) -> Paths:
    """The state folder and those in it. As root others may pass through it, since an account of lesser rights runs Postgres."""
    paths = Paths(state.absolute())
    paths.state.mkdir(parents=True, exist_ok=True)
    paths.state.chmod(0o711 if unprivileged() else 0o700)
    rooms = ("settings", "valkey", "witness")
    for folder in (paths.secrets, paths.logs, paths.ledgers, *(paths.state / room for room in rooms)):
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
    return paths


def write_files(layout: Layout, held: keys.Secrets, clock: Clock) -> None:
    """Settings, policy, DSNs, tokens: everything that children read, new at each start. Raises SettingsError, OSError."""
    paths = layout.paths
    files.sweep_partials(paths.state)
    try:
        template = parts.TEMPLATE.read_text(encoding="utf-8")
    except OSError as exc:
        raise SettingsError(f"{parts.TEMPLATE}: cannot be read ({exc.strerror})") from exc
    files.write(paths.policy, render.policy(template, layout), mode=files.OPEN)
    for name, text in render.settings(layout, contracts=str(parts.CONTRACTS)).items():
        files.write(paths.settings(name), text)
    dsns = {name: dsn.reveal() for name, dsn in render.dsns(layout, held.databases).items()}
    files.write(paths.dsns, msgspec.json.format(msgspec.json.encode(dsns), indent=1))
    files.write(paths.ports, msgspec.json.encode(layout.ports), mode=files.OPEN)
    keys.write_tokens(paths, held.issuer, clock.unix_s())


async def supervise(options: Options, observe: Observer, on_ready: OnReady) -> int:
    """Runs the stack until it is told to end (SIGINT, SIGTERM, SIGHUP, `down`, or `on_ready`'s status). Raises SettingsError."""
    clock = SystemClock()
    try:
        paths = make_state(options.state)
        with lock.held(paths.lock):
            await asyncio.to_thread(leftovers.end, parts.roots(paths))
            layout = Layout(paths, ports.choose(paths.ports, options.port_base))
            if ports.issuers_moved(paths.ports, layout.ports):
                sys.stderr.write(f"{_MOVED}\n")
            held = keys.ensure(paths)
            write_files(layout, held, clock)
            supervisor = Supervisor(layout, held, clock, only=options.only, observe=observe, on_ready=on_ready)
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, supervisor.stop)
            return await supervisor.run()
    except OSError as exc:
        raise SettingsError(f"{options.state}: {exc.strerror or exc}") from exc


async def keep_running(_: Layout) -> None:
    """The `on_ready` of a stack that just serves."""


def _command() -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.local.up")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--port-base", type=int, default=None)
    parser.add_argument("--only", action="append", default=[])
    given = parser.parse_args()
    options = Options(state=given.state, port_base=given.port_base, only=tuple(given.only))
    try:
        return asyncio.run(supervise(options, lambda _: None, keep_running))
    except SettingsError as exc:
        sys.stderr.write(f"domicile: {exc}\n")
        return 1


if __name__ == "__main__":
    raise SystemExit(_command())
