"""Which shards a command looks at: those of the stack in a state folder, or any by environment variables that hold their DSNs."""

import asyncio
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from cells.schema.core import Table
from cells.schema.files import Read, read
from deploy.local.layout import REGIONS, SHARDS, Paths, env_prefix
from deploy.local.render import SUFFIXES
from foundation.mute import Secret
from foundation.settings import SettingsError, secret_from_env
from gateway.cli.client import addresses, refuse_unless_running
from gateway.cli.options import state_option

F = TypeVar("F", bound=Callable[..., Any])


class Reached(msgspec.Struct, frozen=True):
    """A shard by the name that the command shows."""

    name: str
    dsn: Secret[str]


class Looked(msgspec.Struct, frozen=True):
    """What a shard's catalogue says of its tables, or why it could not be asked."""

    shard: str
    tables: dict[str, Table]
    unreachable: str | None = None


def shards_option(command: F) -> F:
    """`--state` or `--dsn-env`; the command gets `state` and `dsn_env`."""
    option = click.option(
        "--dsn-env",
        multiple=True,
        metavar="NAME",
        help="Environment variable with a shard's DSN (any role's), instead of the stack's shards; repeat it for several.",
    )
    return option(state_option(command))


def reached(state: Path, dsn_env: Sequence[str]) -> tuple[Reached, ...]:
    """Raises SettingsError where neither a stack runs nor a variable is named."""
    if dsn_env:
        return tuple(Reached(name, secret_from_env(name)) for name in dsn_env)
    addresses(state)
    refuse_unless_running(state)
    held = msgspec.json.decode(Paths(state.absolute()).dsns.read_bytes(), type=dict[str, str])
    return tuple(
        Reached(f"{region.cell}/{shard}", Secret(held[env_prefix(region.cell, shard) + SUFFIXES["cell"]]))
        for region in REGIONS
        for shard in SHARDS
    )


def looked(shards: Sequence[Reached], names: Sequence[str] | None) -> tuple[Looked, ...]:
    """The named tables (None: all) of every shard, side by side."""

    async def all_of_them() -> list[Looked]:
        return await asyncio.gather(*(_looked(shard, names) for shard in shards))

    return tuple(asyncio.run(all_of_them()))


async def _looked(shard: Reached, names: Sequence[str] | None) -> Looked:
    import asyncpg  # not every command of this group speaks to a database

    from cells.schema import catalogue
    from foundation.postgres import connect

    try:
        async with connect(shard.dsn, application_name="domicile-contracts") as connection:
            return Looked(shard.name, await catalogue.tables(connection, names))
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as exc:
        # The text may quote the DSN, password and all; the kind of error does not.
        return Looked(shard.name, {}, type(exc).__name__)


def folder_of(state: Path, folder: Path | None) -> Path:
    """The contracts that are meant: those named, or what the stack's cells have. Raises SettingsError."""
    if folder is not None:
        return folder
    settings = Paths(state.absolute()).settings(f"cell-{REGIONS[0].cell}")
    try:
        return Path(tomllib.loads(settings.read_text(encoding="utf-8"))["contracts"])
    except OSError as exc:
        raise SettingsError(f"there is no stack in {state}; name the folder of contracts") from exc


def faultless(place: Path) -> Read:
    """Contracts without a mistake. Raises SettingsError naming the first of them."""
    found = read(place)
    if found.mistakes:
        first = found.mistakes[0]
        more = f" ({len(found.mistakes) - 1} more)" if len(found.mistakes) > 1 else ""
        raise SettingsError(
            f"{first.file}:{first.line}: {first.what}{more}; `domicile records contracts check` lists all"
        )
    if not found.contracts:
        raise SettingsError(f"{place} holds no contracts (*.yaml)")
    return found
