"""Settings of a cell service (docs/architecture.md, "Settings")."""

from pathlib import Path

import msgspec

from cells.breakglass.settings import AccessSettings
from cells.egress.settings import EgressSettings
from cells.records.limits import Limits
from cells.shards.shard import Dsns
from foundation.decision import RootKey
from foundation.ledger.settings import LedgerSettings
from foundation.settings import SettingsError, read_keyring, secret_from_env
from foundation.tokens import Issuer
from foundation.words import CellId, MalformedWord, parse_slug

ROWS_MAX_MAX = 10_000_000
"""Rows that `rows_max` may let one answer have: beyond a thousand they are streamed."""


class Suffixes(msgspec.Struct, frozen=True, kw_only=True):
    """What is appended to policy's `dsn_env` for each database role."""

    owner: str = "_OWNER"
    cell: str = "_CELL"
    records: str = "_RECORDS"


class CellSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One cell service. Paths name secrets of mode 0600. `blinding_keyring`: that of the gateways; without it no alias is claimed here.
    `ledger`: without it the cell keeps no log. `access`: without it nobody gets any; it needs the log.
    `egress`: without it nothing is released."""

    cell: CellId
    host: str
    port: int
    directory: str
    token_file: str
    service_issuers: tuple[Issuer, ...]
    cell_root_keyring: str
    contracts: str
    shard_env_suffixes: Suffixes = Suffixes()
    rows_max: int = 1000
    blinding_keyring: str = ""
    limits: Limits = Limits()
    ledger: LedgerSettings | None = None
    access: AccessSettings | None = None
    egress: EgressSettings | None = None

    def checked(self) -> "CellSettings":
        """Itself. Raises SettingsError for what shapes alone do not tell."""
        try:
            parse_slug(self.cell, "cell")
        except MalformedWord as exc:
            raise SettingsError(f"cell: {exc}") from exc
        if not 0 < self.port < 65536:
            raise SettingsError("port is a number from 1 to 65535")
        if not 1 <= self.rows_max <= ROWS_MAX_MAX:
            raise SettingsError(f"rows_max is a number from 1 to {ROWS_MAX_MAX}")
        if self.access is not None and self.ledger is None:
            raise SettingsError("access needs ledger: what is not on the record is not granted")
        mistake = self.limits.mistake()
        if mistake is not None:
            raise SettingsError(mistake)
        return self

    def roots(self) -> tuple[RootKey, ...]:
        """Generations of the cell's root key, the signing one first. Raises SettingsError."""
        return tuple(RootKey(kid, key) for kid, key in read_keyring(Path(self.cell_root_keyring)))

    def dsns(self, dsn_env: str) -> Dsns:
        """A shard's DSNs by role, out of the environment. Raises SettingsError."""
        suffixes = self.shard_env_suffixes
        return Dsns(
            owner=secret_from_env(dsn_env + suffixes.owner),
            cell=secret_from_env(dsn_env + suffixes.cell),
            records=secret_from_env(dsn_env + suffixes.records),
        )
