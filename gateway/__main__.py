"""`python -m gateway --settings FILE`: the gateway of one region."""

import argparse
import sys
from pathlib import Path

from foundation import logs
from foundation.clock import SystemClock
from foundation.server import Drain, run, serve
from foundation.settings import load
from foundation.tls import Credentials
from gateway.app import opened
from gateway.edge.door import Door
from gateway.settings import Settings


async def main(path: Path) -> None:
    """Serves until told to stop. Raises SettingsError."""
    settings = load(path, Settings)
    logs.configure(f"gateway-{settings.region}")
    tls = None if settings.tls is None else Credentials(settings.tls, SystemClock())
    drain = Drain()
    async with opened(settings, drain=drain) as gateway:
        await serve(
            gateway.app,
            host=settings.host,
            port=settings.port,
            workers=gateway.workers,
            drain=drain,
            drain_s=settings.drain_s,
            http=Door,
            tls=tls,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m gateway", description="The gateway of one region.")
    parser.add_argument("--settings", type=Path, required=True, help="TOML file, see docs/architecture.md")
    sys.exit(run("gateway", main(parser.parse_args().settings)))
