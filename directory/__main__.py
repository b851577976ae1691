"""`python -m directory --settings FILE`: the directory service as a process."""

import argparse
import gc
import sys
from pathlib import Path

from directory.app import opened
from directory.feed.pruning import Keep
from directory.settings import Settings
from foundation.clock import SystemClock
from foundation.server import Drain, run, serve
from foundation.settings import load, secret_from_env
from foundation.tls import Credentials


async def main(path: Path) -> None:
    """Serves until told to stop. Raises SettingsError."""
    settings = load(path, Settings)
    tls = None if settings.tls is None else Credentials(settings.tls, SystemClock())
    drain = Drain()
    async with opened(
        secret_from_env(settings.dsn_env),
        settings.service_issuers,
        drain=drain,
        pool_size_max=settings.pool_size_max,
        start_s_max=settings.start_s_max,
        feed_keep=Keep(feed_s=settings.feed_keep_s, feed_max=settings.feed_keep_max, rules_max=settings.rules_keep_max),
        ledger=settings.ledger,
    ) as directory:
        gc.freeze()  # what it begins with (code, the law) stays, and need not be walked for each thousand objects of an import
        await serve(
            directory.app,
            host=settings.host,
            port=settings.port,
            workers=directory.workers,
            drain=drain,
            drain_s=settings.drain_s,
            tls=tls,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m directory", description="The directory service.")
    parser.add_argument("--settings", type=Path, required=True, help="TOML file, see docs/architecture.md")
    sys.exit(run("directory", main(parser.parse_args().settings)))
