"""`domicile ledger witness`: a witness as a process, its key, and what it has cosigned."""

from pathlib import Path
from typing import Any

import click

from deploy.local.layout import REGIONS, Paths
from foundation.ledger.notes import Verifier
from foundation.ledger.witness.cosignatures import Cosigner, WitnessKey
from foundation.ledger.witness.held import OWNER, HeldDamaged, fork_in, last_in
from foundation.ledger.witness.settings import WitnessSettings, witness_key_in
from foundation.settings import SettingsError, load
from gateway.cli.ledger.key import make
from gateway.cli.options import json_option, print_json, print_table, state_option, utc


@click.group()
def witness() -> None:
    """Run a witness of logs, make its key, show what it has cosigned.

    A witness cosigns of each log one history that only grows (https://c2sp.org/tlog-witness). `domicile up` runs one a region.
    """


@witness.command()
@click.argument("name")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The new file, of mode 0600."
)
@json_option
def key(name: str, out: Path, as_json: bool) -> None:
    """Make the key of a witness that will be called NAME, such as witness.example.com/eu.

    The private key goes into a file for the `key_file` of its settings; the public one is printed, for logs and whoever verifies them.
    """
    make(Cosigner, name, "witness", out, as_json)


@witness.command()
@click.option(
    "--settings",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="TOML file, see docs/architecture.md.",
)
def serve(settings: Path) -> None:
    """Serve as a witness until told to end. What it cosigns lies in the folder of its settings, which one process has at a time.

    Exit status 2 where a setting does not hold, or another process has the folder.
    """
    from foundation.ledger.witness.__main__ import main
    from foundation.server import run

    raise SystemExit(run("witness", main(settings)))


@witness.command()
@click.argument("which")
@state_option
@json_option
def show(which: str, state: Path, as_json: bool) -> None:
    """Show what a witness has cosigned last of each log that it knows. WHICH is a region of the stack in --state, or a settings file.

    Exit status 1 where a log has signed two histories, or a file of the witness is damaged.
    """
    settings = load(_settings_of(which, state), WitnessSettings)
    folder = Path(settings.folder)
    held = [_described(folder, witness_key_in(folder / OWNER), log) for log in settings.known()]
    if as_json:
        print_json({"name": settings.name, "logs": held})
    else:
        rows = [(one["log"], one["size"], "" if one["at"] is None else utc(one["at"]), one["amiss"]) for one in held]
        print_table(("log", "entries cosigned", "at (UTC)", ""), rows, title=settings.name)
    if any(one["amiss"] for one in held):
        raise SystemExit(1)


def _settings_of(which: str, state: Path) -> Path:
    """Raises SettingsError."""
    if which in {region.id for region in REGIONS}:
        path = Paths(state.absolute()).settings(f"witness-{which}")
        if not path.exists():
            raise SettingsError(f"there is no witness of {which} in {state}; start a stack with `domicile up`")
        return path
    if not Path(which).is_file():
        regions = ", ".join(region.id for region in REGIONS)
        raise SettingsError(f"{which} is no settings file, and no region of the stack: those are {regions}")
    return Path(which)


def _described(folder: Path, key: WitnessKey, log: Verifier) -> dict[str, Any]:
    """As JSON has it. Raises SettingsError."""
    try:
        last, amiss = last_in(folder, key, log), "FORK: it has signed two histories" if fork_in(folder, log) else ""
    except HeldDamaged as exc:
        last, amiss = None, f"damaged: {exc}"
    except OSError as exc:
        raise SettingsError(f"{folder} cannot be read ({exc.strerror})") from exc
    return {
        "log": log.name,
        "size": last.checkpoint.size if last else 0,
        "at": last.at_s if last else None,
        "amiss": amiss,
    }
