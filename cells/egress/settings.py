"""`[egress]` in a cell's settings: its key for tokens, joins that were granted, the key that signs releases, the folder of journals."""

import importlib
from pathlib import Path
from typing import Literal

import msgspec

from cells.egress.scan import Scan
from foundation.ledger.notes import Signer
from foundation.ledger.settings import LedgerSettings
from foundation.mute import Secret
from foundation.settings import SettingsError, read_keyring

SCANNER = "cells.egress.scanner.strings"
"""Imported where it is wanted: it needs packages of its own."""


class EgressSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`folder`: journals of runs, in the cell. `origin` and `key_file`: who signs, as a log's. `keyring`: this cell's root of token keys.
    `join_keyrings`: name -> keyring, the same file wherever the join is granted.
    `sink_token_files`: origin of an HTTP sink -> file with the bearer token to show there.
    `scan`: whether a second detector looks at every string that is kept; `none` releases without, and every manifest says so.
    """

    folder: str
    origin: str
    key_file: str
    keyring: str
    join_keyrings: dict[str, str] = {}
    sink_token_files: dict[str, str] = {}
    scan: Literal["always", "none"] = "always"

    def signer(self) -> Signer:
        """Raises SettingsError."""
        return LedgerSettings(folder=self.folder, origin=self.origin, key_file=self.key_file).signer()

    def scanner(self) -> Scan | None:
        """None only where settings say so. Raises SettingsError where the scanner is not installed."""
        if self.scan == "none":
            return None
        try:
            found: Scan = importlib.import_module(SCANNER).scan_each
        except ModuleNotFoundError as exc:
            what = 'the scanner is not installed; scan = "none" in [egress] releases without a second look'
            raise SettingsError(what) from exc
        return found

    def root(self) -> Secret[bytes]:
        """Raises SettingsError."""
        return _current(self.keyring)

    def joins(self) -> dict[str, Secret[bytes]]:
        """Raises SettingsError."""
        return {name: _current(file) for name, file in self.join_keyrings.items()}


def _current(file: str) -> Secret[bytes]:
    return read_keyring(Path(file))[0][1]
