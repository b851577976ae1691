"""Which cell a command of egress works in: one of the stack, or this machine's by its settings. It runs where the rows lie."""

import functools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from cells.egress.ports import World
from cells.egress.settings import EgressSettings
from cells.egress.sinks.port import SinkFailed
from cells.records.contracts import Contract, read_folder
from cells.settings import CellSettings
from deploy.local.layout import Paths
from directory.client.remote import DirectoryUnavailable, HttpDirectory
from directory.rules.client import RulesRefused
from foundation.clock import Clock
from foundation.http import client
from foundation.mute import Secret
from foundation.settings import SettingsError, load, secret_from_env
from foundation.tokens import TokenFile
from foundation.words import ShardId
from gateway.cli.client import addresses, refuse_unless_running
from gateway.cli.options import state_option
from routing_rules.hints import nearest
from routing_rules.policy import Destination
from routing_rules.rules import Rules

F = TypeVar("F", bound=Callable[..., Any])
RESOLVE_S_MAX = 10.0


class Which(msgspec.Struct, frozen=True, kw_only=True):
    """A cell by its settings; `dsns` are the stack's, None: the environment has them."""

    settings: CellSettings
    dsns: dict[str, str] | None

    @property
    def egress(self) -> EgressSettings:
        """Raises SettingsError."""
        if self.settings.egress is None:
            raise SettingsError("the cell's settings have no [egress]: nothing is released from here")
        return self.settings.egress

    def contracts(self) -> dict[str, Contract]:
        """Raises SettingsError."""
        return read_folder(Path(self.settings.contracts))

    def contract(self, table: str) -> Contract:
        """Raises SettingsError naming the nearest."""
        found = self.contracts()
        if table not in found:
            raise SettingsError(f"no contract names a table {table}{nearest(table, found)}")
        return found[table]

    def records(self, rules: Rules) -> dict[ShardId, Secret[str]]:
        """DSNs of role domicile_records, by shard. Raises SettingsError."""
        return {name: self._dsn(env, self.settings.shard_env_suffixes.records) for name, env in self._shards(rules)}

    def outbox(self, rules: Rules) -> Secret[str]:
        """The DSN of role domicile_cell on the first shard, where events are kept that speak of no home. Raises SettingsError."""
        return self._dsn(self._shards(rules)[0][1], self.settings.shard_env_suffixes.cell)

    def _shards(self, rules: Rules) -> list[tuple[ShardId, str]]:
        declared = rules.policy.cells.get(self.settings.cell)
        if declared is None:
            raise SettingsError(f"policy declares no cell {self.settings.cell}")
        return sorted((name, shard.dsn_env) for name, shard in declared.shards.items())

    def _dsn(self, env: str, suffix: str) -> Secret[str]:
        if self.dsns is None:
            return secret_from_env(env + suffix)
        if env + suffix not in self.dsns:
            raise SettingsError(f"the stack has no shard {env}")
        return Secret(self.dsns[env + suffix])

    @asynccontextmanager
    async def directory(self) -> AsyncIterator[HttpDirectory]:
        token = TokenFile(Path(self.settings.token_file))
        async with client(self.settings.directory, token=token) as http:
            yield HttpDirectory(http, resolve_s_max=RESOLVE_S_MAX)

    @asynccontextmanager
    async def world(
        self, directory: HttpDirectory, rules: Rules, contract: Contract, purpose: str, clock: Clock
    ) -> AsyncIterator[World]:
        """What a release of this cell works with. Raises SettingsError, OSError, asyncpg errors."""
        from cells.egress.worlds import opened

        cell = self.settings.cell
        async with opened(
            cell=cell,
            contract=contract,
            contracts=self.contracts(),
            purpose=purpose,
            records=self.records(rules),
            first=self.outbox(rules),
            directory=directory,
            rules=rules,
            clock=clock,
            signer=self.egress.signer(),
            actor=f"cell:{cell}",
        ) as made:
            yield made


FILE = click.Path(path_type=Path, dir_okay=False)
OF_SETTINGS = "The cell service's settings, on its machine and with its environment, instead of the stack's"


def which_option(command: F) -> F:
    """`--cell` with `--state`, or `--settings`; the command gets `which`."""

    @click.option("--settings", "settings_file", type=FILE, help=f"{OF_SETTINGS}.")
    @click.option("--cell", help="A cell of the stack, such as eu-de.")
    @state_option
    @functools.wraps(command)
    def chosen(*args: Any, state: Path, cell: str | None, settings_file: Path | None, **given: Any) -> Any:
        (which,) = _cells(state, [cell] if cell else [], [settings_file] if settings_file else [])
        return command(*args, which=which, **given)

    return chosen  # type: ignore[return-value]  # the same command, with three options made one


def cells_option(command: F) -> F:
    """As `which_option`, for one cell or several; the command gets `cells`."""

    @click.option(
        "--settings",
        "settings_files",
        type=FILE,
        multiple=True,
        help=f"{OF_SETTINGS}; once for each cell that runs here.",
    )
    @click.option("--cell", "names", multiple=True, help="A cell of the stack, such as eu-de; once for each.")
    @state_option
    @functools.wraps(command)
    def chosen(*args: Any, state: Path, names: Sequence[str], settings_files: Sequence[Path], **given: Any) -> Any:
        return command(*args, cells=_cells(state, names, settings_files), **given)

    return chosen  # type: ignore[return-value]  # the same command, with three options made one


def _cells(state: Path, names: Sequence[str], settings_files: Sequence[Path]) -> list[Which]:
    """Each once. Raises SettingsError."""
    if bool(names) == bool(settings_files):
        raise click.UsageError("give either --cell, one of the stack's, or --settings FILE")
    found = [_of_settings(file) for file in settings_files] or [_of_stack(state, cell) for cell in names]
    return list({one.settings.cell: one for one in found}.values())


def _of_settings(file: Path) -> Which:
    return Which(settings=load(file, CellSettings).checked(), dsns=None)


def _of_stack(state: Path, cell: str) -> Which:
    known = addresses(state).cells
    if cell not in known:
        raise SettingsError(f"this stack has no cell {cell}; its cells are {', '.join(sorted(known))}")
    refuse_unless_running(state)
    paths = Paths(state.absolute())
    held = msgspec.json.decode(paths.dsns.read_bytes(), type=dict[str, str])
    return Which(settings=load(paths.settings(f"cell-{cell}"), CellSettings).checked(), dsns=held)


def aim_options(command: F) -> F:
    """`--to` and `--for`; the command gets `to` and `purpose`."""
    command = click.option("--for", "purpose", required=True, help="The purpose, such as analytics.")(command)
    return click.option("--to", required=True, help="An entry of policy's [destinations].")(command)


def checked(to: str, purpose: str, rules: Rules) -> Destination:
    """Raises SettingsError for a destination or purpose that policy does not declare."""
    destinations = rules.policy.destinations
    for name, one in destinations.items():
        if name == to:
            if purpose not in one.purposes:
                raise SettingsError(f"destinations.{to} is for {', '.join(one.purposes)}, not for {purpose}")
            return one
    raise SettingsError(f"policy declares no destination {to}{nearest(to, destinations)}")


@asynccontextmanager
async def told() -> AsyncIterator[None]:
    """What a directory or a database does not give, in one line. Raises SettingsError."""
    import asyncpg

    from cells.egress.reading import Unreadable
    from cells.egress.release import ReleaseRefused

    try:
        yield
    except (ReleaseRefused, Unreadable) as exc:
        raise SettingsError(f"nothing was released: {exc}") from exc
    except (DirectoryUnavailable, RulesRefused, SinkFailed) as exc:
        raise SettingsError(f"nothing was released: {exc}; the same command goes on from here") from exc
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as exc:
        # The text may quote rows; the kind of error does not.
        what = f"a shard does not answer ({type(exc).__name__})"
        raise SettingsError(f"nothing was released: {what}; the same command goes on from here") from exc
    except OSError as exc:
        what = exc.strerror or type(exc).__name__
        raise SettingsError(f"nothing was released: {what}; the same command goes on from here") from exc
