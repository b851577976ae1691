"""Runs the sample product: `python -m deploy.local.orders --settings FILE`."""

import argparse
import sys
from pathlib import Path

from cells.guard.client import CellService
from cells.guard.worker import EpochKeeper
from deploy.local.orders.app import orders_app
from deploy.local.orders.settings import read
from foundation.clock import SystemClock
from foundation.decision_header import ServiceVerifier
from foundation.http import client
from foundation.problems import Problem
from foundation.server import Drain, run, serve
from foundation.settings import read_keyring
from foundation.tokens import TokenFile

CALL_S_MAX = 10.0
"""A sign-up waits for its placement, hence longer than control traffic usually may."""


async def orders(path: Path) -> None:
    """Serves until told to stop. Raises SettingsError."""
    settings = read(path)
    clock = SystemClock()
    verifier = ServiceVerifier(
        settings.cell_id, settings.service_id, dict(read_keyring(Path(settings.decision_keyring)))
    )
    async with client(settings.cell_service, token=TokenFile(Path(settings.token_file)), total_s=CALL_S_MAX) as http:
        cell = CellService(http, verifier, clock)
        keeper = EpochKeeper(cell, clock)
        drain = Drain()

        def ready() -> Problem | None:
            return drain.problem() or keeper.ready()

        app = orders_app(settings.service_id, cell=cell, verifier=verifier, keeper=keeper, clock=clock, ready=ready)
        try:
            await serve(app, host=settings.host, port=settings.port, workers={"epochs": keeper.follow}, drain=drain)
        finally:
            await keeper.aclose()


def main() -> int:
    parser = argparse.ArgumentParser(prog="orders", description="The sample product service behind a guard.")
    parser.add_argument("--settings", type=Path, required=True, metavar="FILE")
    return run("orders", orders(parser.parse_args().settings))


if __name__ == "__main__":
    sys.exit(main())
