"""`python -m gateway --settings FILE [--workers N --admin HOST:PORT]`: the gateway of one region, as one process or as N on one port."""

import argparse
import gc
import signal
import sys
from pathlib import Path

from foundation import logs
from foundation.clock import SystemClock
from foundation.crew import seat
from foundation.crew.admin import lead
from foundation.crew.crew import WORKERS_MAX, Crew
from foundation.server import Drain, run, serve, signalled
from foundation.settings import SettingsError, load
from foundation.tls import Credentials
from gateway.app import opened
from gateway.edge.door import EdgeDoor
from gateway.settings import Settings

_ISOLATED = ("-I",) if sys.flags.isolated else ("-P",) if sys.flags.safe_path else ()
"""Workers import from where this process does."""


async def main(path: Path, place: str | None = None) -> None:
    """Serves until told to stop. `place`: its seat, for one of a crew. Raises SettingsError."""
    settings = load(path, Settings)
    name = f"gateway-{settings.region}"
    logs.configure(name if place is None else f"{name}/{place.partition(':')[0]}")
    tls = None if settings.tls is None else Credentials(settings.tls, SystemClock())
    drain, stop = Drain(), signalled(signal.SIGTERM, signal.SIGINT)
    async with opened(settings, drain=drain) as gateway:
        gc.freeze()  # as in the directory (`directory.__main__`)
        ours = None if place is None else await seat.taken(place, stop, gateway.ready)
        await serve(
            gateway.app,
            host=settings.host,
            port=settings.port,
            workers=gateway.workers if ours is None else {**gateway.workers, "crew": ours.heed},
            drain=drain,
            drain_s=settings.drain_s,
            http=EdgeDoor,
            tls=tls,
            stop=stop,
            shared=ours,
        )


async def led(path: Path, count: int, address: str) -> int:
    """Leads `count` processes until told to stop; the exit status. Raises SettingsError."""
    settings = load(path, Settings)
    logs.configure(f"gateway-{settings.region}")
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise SettingsError(f"--admin {address}: give it as HOST:PORT")
    limits = settings.limits
    if (limits.subject or limits.address or limits.actor) and limits.parts < count:
        raise SettingsError(
            f"{path}: limits.parts is {limits.parts}, and each of {count} workers grants one by itself; "
            "give as many as the region has workers"
        )
    crew = Crew(
        (sys.executable, *_ISOLATED, "-m", "gateway", "--settings", str(path)),
        host=settings.host,
        port=settings.port,
        count=count,
        drain_s=settings.drain_s,
    )
    return await lead(crew, host=host.strip("[]"), port=int(port))


def _workers(text: str) -> int:
    count = int(text)
    if not 1 <= count <= WORKERS_MAX:
        raise argparse.ArgumentTypeError(f"from 1 to {WORKERS_MAX}")
    return count


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m gateway",
        description="The gateway of one region. With --workers, N processes share its port: SIGTERM ends them as it ends one, "
        "SIGHUP renews them one by one without losing a request.",
    )
    parser.add_argument("--settings", type=Path, required=True, help="TOML file, see docs/architecture.md")
    parser.add_argument(
        "--workers", type=_workers, metavar="N", help="so many processes on one port, watched by this one"
    )
    parser.add_argument(
        "--admin", metavar="HOST:PORT", help="with --workers: where /readyz, /metrics and /workers of all of them are"
    )
    parser.add_argument("--seat", help="what a process of --workers is told of its place; for nobody else")
    asked = parser.parse_args()
    if (asked.workers is None) != (asked.admin is None):
        parser.error("--workers and --admin go together")
    if asked.workers is not None and asked.seat is not None:
        parser.error("--seat is for the processes that --workers starts")
    root = (
        main(asked.settings, asked.seat) if asked.workers is None else led(asked.settings, asked.workers, asked.admin)
    )
    sys.exit(run("gateway", root))
