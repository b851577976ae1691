"""`domicile directory keys`: rotating the blinding key. Gateways and cell services read the keyring file anew when it changes."""

import base64
import re
import secrets
import time
from pathlib import Path
from typing import Any

import click
import msgspec

from deploy.local import files
from deploy.local.layout import Paths
from foundation.blinding import KEY_BYTES
from foundation.blinding_keys import LOOK_S
from foundation.settings import KeyringFile, SettingsError, read_keyring
from gateway.cli.client import Directory
from gateway.cli.options import json_option, print_json, print_table
from gateway.cli.reach import Reach, Stack, reach_option

BUSY_TRIES_MAX = 20
"""Requests in a row that removed nothing, because somebody else holds what is left."""
BUSY_S = 0.5
REREAD_S = 1.5 * LOOK_S
"""How long processes may hold a key still that was taken out of their keyring: until then they tell what is known under it again."""
_KID = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")
_keyring_option = click.option(
    "--blinding-keyring",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The keyring that gateways blind by; needed with --directory.",
)


@click.group()
def keys() -> None:
    """Rotate the key that identifiers are blinded by."""


@keys.command()
@_keyring_option
@reach_option
@json_option
def status(blinding_keyring: Path | None, reach: Reach, as_json: bool) -> None:
    """Show what is known under each blinding key."""
    ring = _ring(_path(blinding_keyring, reach))
    told = Directory(reach).get("/aliases/generations")["generations"]
    by_kid = {one["kid"]: one for one in told}
    shown = [
        {"kid": kid, "keyring": _place(kid, ring), "keys": one["keys"], "alone": one["alone"]}
        for kid in (*ring.keys, *(kid for kid in by_kid if kid not in ring.keys))
        for one in (by_kid.get(kid, {"keys": {}, "alone": 0}),)
    ]
    if as_json:
        print_json({"generations": shown})
        return
    rows = [(one["kid"] or "(not said)", one["keyring"], _counts(one["keys"]), one["alone"]) for one in shown]
    print_table(("blinding key", "keyring", "lookup keys", "known under it alone"), rows)


@keys.command()
@_keyring_option
@click.option("--kid", help="How to name the new key.  [default: the next of k1, k2, …]")
@reach_option
def rotate(blinding_keyring: Path | None, kid: str | None, reach: Reach) -> None:
    """Put a new key first in the keyring; those that are there stay live until they are retired.

    People get lookup keys under the new key as they log in. Copy the keyring to every host before anything is retired.
    """
    path = _path(blinding_keyring, reach)
    ring = _ring(path)
    fresh = kid or _next(ring)
    if not _KID.match(fresh) or fresh in ring.keys:
        raise click.UsageError("--kid is a new name of letters, digits, dots, hyphens and underscores")
    key = base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).decode("ascii")
    _write(path, KeyringFile(current=fresh, keys={fresh: key, **ring.keys}))
    click.echo(f"{fresh} is the first of {len(ring.keys) + 1} live keys in {path}")


@keys.command()
@click.argument("kid")
@click.option("--lose", is_flag=True, help="Also what is known under it alone: those people are strangers then.")
@click.option("--reason", required=True, help="Why; one line.")
@_keyring_option
@reach_option
def retire(kid: str, lose: bool, reason: str, blinding_keyring: Path | None, reach: Reach) -> None:
    """Take KID out of the keyring, and its lookup keys out of the directory."""
    if not _KID.match(kid):
        raise click.UsageError("KID is the name of a blinding key, as `domicile directory keys status` shows it")
    path = _path(blinding_keyring, reach)
    ring = _ring(path)
    if kid == ring.current:
        raise click.UsageError(f"{kid} is the key that new lookup keys are made under; rotate first")
    directory = Directory(reach)
    alone = {one["kid"]: one["alone"] for one in directory.get("/aliases/generations")["generations"]}.get(kid, 0)
    if alone and not lose:
        raise SettingsError(
            f"{alone} identifiers are known under {kid} alone; wait for their logins, or give them up with --lose"
        )
    if kid in ring.keys:
        _write(
            path, KeyringFile(current=ring.current, keys={name: key for name, key in ring.keys.items() if name != kid})
        )
        time.sleep(REREAD_S)
    click.echo(f"{kid} is retired: {_removed(directory, kid, reason, lose=lose)} lookup keys removed")


def _removed(directory: Directory, kid: str, reason: str, *, lose: bool) -> int:
    """How many, once none is left. Raises SettingsError."""
    removed = idle = 0
    while idle < BUSY_TRIES_MAX:
        answer: dict[str, Any] = directory.post(f"/aliases/generations/{kid}/retire", {"reason": reason, "lose": lose})
        removed += int(answer["removed"])
        if not answer["left"]:
            return removed
        if answer["removed"]:
            idle = 0
        else:
            idle += 1
            time.sleep(BUSY_S)
    raise SettingsError(
        f"{kid} is not retired: {removed} lookup keys are removed, others are being changed just now; run the same command again"
    )


def _path(named: Path | None, reach: Reach) -> Path:
    if named is not None:
        return named
    if isinstance(reach, Stack):
        return Paths(reach.state.absolute()).keyring("blinding")
    raise click.UsageError("with --directory say which keyring: --blinding-keyring FILE")


def _ring(path: Path) -> KeyringFile:
    """Raises SettingsError."""
    held = read_keyring(path)
    encoded = {kid: base64.urlsafe_b64encode(key.reveal()).decode("ascii") for kid, key in held}
    return KeyringFile(current=held[0][0], keys=encoded)


def _write(path: Path, ring: KeyringFile) -> None:
    files.write(path, msgspec.json.encode(ring))


def _next(ring: KeyringFile) -> str:
    numbers = [int(kid[1:]) for kid in ring.keys if re.fullmatch(r"k[0-9]{1,9}", kid)]
    return f"k{max(numbers, default=0) + 1}"


def _place(kid: str | None, ring: KeyringFile) -> str:
    if kid == ring.current:
        return "first"
    return "live" if kid in ring.keys else "not there"


def _counts(by_kind: dict[str, int]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in sorted(by_kind.items()))
