"""The deployment under load: addresses as `stack.json` names them, credentials of its operator, DSNs for the sweep."""

import os
from pathlib import Path
from typing import Any

import msgspec

from foundation.mute import Secret
from foundation.settings import SettingsError, read_secret


class Region(msgspec.Struct, frozen=True, kw_only=True):
    """`issuer`: where people's tokens are minted, as deploy.local.issuer does it (`POST /mint`)."""

    gateway: str
    issuer: str


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """`shards`: each shard's `dsn_env` of policy."""

    region: str
    shards: dict[str, str]


class Process(msgspec.Struct, frozen=True, kw_only=True):
    pid: int | None = None
    state: str = "running"


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What the harness reads of a `stack.json`; one written by hand for another deployment needs no `state` and no `processes`."""

    directory: dict[str, str]
    regions: dict[str, Region]
    cells: dict[str, Cell]
    state: str | None = None
    processes: dict[str, Process] = {}

    @property
    def directory_url(self) -> str:
        return self.directory["url"]


def read(path: Path) -> Target:
    """Raises SettingsError."""
    try:
        target = msgspec.json.decode(path.read_bytes(), type=Target)
    except OSError as exc:
        raise SettingsError(f"{path}: cannot be read ({exc.strerror}); a stack writes it to its folder") from exc
    except msgspec.MsgspecError as exc:
        raise SettingsError(f"{path} is not a stack file: {exc}") from exc
    if "url" not in target.directory:
        raise SettingsError(f"{path} names no directory: {{'directory': {{'url': …}}}}")
    return target


def token_file(target: Target, given: Path | None) -> Path | None:
    """The operator's service token: the file given, else the embedded stack's; None where there is neither."""
    if given is not None:
        return given
    return None if target.state is None else Path(target.state) / "secrets" / "operator.jwt"


def dsns(target: Target, given: Path | None) -> dict[str, Secret[str]] | None:
    """DSNs by environment variable: of the JSON file given, of the embedded stack, or of the environment; None without all of them.

    Each shard's owner is asked under `<dsn_env>_OWNER`. Raises SettingsError for a file that cannot be used.
    """
    wanted = [f"{env}_OWNER" for cell in target.cells.values() for env in cell.shards.values()]
    held: dict[str, Any] = dict(os.environ)
    path = given or (Path(target.state) / "secrets" / "dsns.json" if target.state else None)
    if path is not None:
        try:
            held |= msgspec.json.decode(read_secret(path).reveal(), type=dict[str, str])
        except msgspec.MsgspecError as exc:
            raise SettingsError(f"{path} is no JSON object of DSNs by environment variable") from exc
    missing = [name for name in wanted if name not in held]
    if missing and given is not None:
        raise SettingsError(f"{given} names no DSN {missing[0]}")
    return None if missing or not wanted else {name: Secret(held[name]) for name in wanted}
