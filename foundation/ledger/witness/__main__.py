"""`python -m foundation.ledger.witness --settings FILE`: a witness as a process."""

import argparse
import sys
from contextlib import closing
from pathlib import Path

from foundation import logs
from foundation.clock import SystemClock
from foundation.ledger.files import LogBusy
from foundation.ledger.witness.api import witness_application
from foundation.ledger.witness.held import HeldDamaged
from foundation.ledger.witness.settings import WitnessSettings
from foundation.ledger.witness.witness import Witness
from foundation.server import Drain, run, serve
from foundation.settings import SettingsError, load
from foundation.tls import Credentials


async def main(path: Path) -> None:
    """Serves until told to stop. Raises SettingsError."""
    settings = load(path, WitnessSettings)
    clock = SystemClock()
    tls = None if settings.tls is None else Credentials(settings.tls, clock)
    drain = Drain()
    logs.configure(settings.name)
    with closing(opened(settings, clock)) as witness:
        await serve(
            witness_application(witness, drain.problem), host=settings.host, port=settings.port, drain=drain, tls=tls
        )


def opened(settings: WitnessSettings, clock: SystemClock) -> Witness:
    """Raises SettingsError."""
    try:
        return Witness(Path(settings.folder), settings.cosigner(), settings.known(), clock)
    except (LogBusy, HeldDamaged, ValueError) as exc:
        raise SettingsError(str(exc)) from exc
    except OSError as exc:
        raise SettingsError(f"folder {settings.folder} cannot be used ({exc.strerror})") from exc


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m foundation.ledger.witness", description="A witness of logs.")
    parser.add_argument("--settings", type=Path, required=True, help="TOML file, see docs/architecture.md")
    sys.exit(run("witness", main(parser.parse_args().settings)))
