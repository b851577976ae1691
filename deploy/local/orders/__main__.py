"""Runs the sample product: `python -m deploy.local.orders --settings FILE`."""

import argparse
import sys
from pathlib import Path

from cells.guard.mount import guarding
from deploy.local.orders.app import orders_app
from deploy.local.orders.settings import read
from foundation import logs
from foundation.problems import Problem
from foundation.server import Drain, run, serve


async def orders(path: Path) -> None:
    """Serves until told to stop. Raises SettingsError."""
    settings = read(path)
    logs.configure(f"{settings.service}-{settings.cell}")
    drain = Drain()
    async with guarding(
        cell=settings.cell_id,
        service=settings.service_id,
        cell_service=settings.cell_service,
        token_file=Path(settings.token_file),
        decision_keyring=Path(settings.decision_keyring),
    ) as guarded:

        def ready() -> Problem | None:
            return drain.problem() or guarded.keeper.ready()

        app = orders_app(settings.service_id, guarded, ready=ready)
        workers = {"epochs": guarded.keeper.follow}
        await serve(app, host=settings.host, port=settings.port, workers=workers, drain=drain)


def main() -> int:
    parser = argparse.ArgumentParser(prog="orders", description="The sample product service behind a guard.")
    parser.add_argument("--settings", type=Path, required=True, metavar="FILE")
    return run("orders", orders(parser.parse_args().settings))


if __name__ == "__main__":
    sys.exit(main())
