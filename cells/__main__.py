"""`python -m cells --settings FILE`: a cell service as a process."""

import argparse
import gc
import sys
from pathlib import Path

from cells.app import opened
from cells.records.lane import Door
from cells.settings import CellSettings
from foundation import logs
from foundation.server import Drain, run, serve
from foundation.settings import load


async def main(path: Path) -> None:
    """Serves until told to stop. Raises SettingsError."""
    settings = load(path, CellSettings)
    logs.configure(f"cell-{settings.cell}")
    drain = Drain()
    async with opened(settings, drain=drain) as cell:
        gc.freeze()  # as in the directory (`directory.__main__`)
        await serve(cell.app, host=settings.host, port=settings.port, workers=cell.workers, drain=drain, http=Door)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m cells", description="The cell service.")
    parser.add_argument("--settings", type=Path, required=True, help="TOML file, see docs/architecture.md")
    sys.exit(run("cell", main(parser.parse_args().settings)))
