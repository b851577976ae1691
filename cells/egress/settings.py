"""`[egress]` in a cell's settings: its key for tokens, joins that were granted, the key that signs releases, the folder of journals."""

from pathlib import Path

import msgspec

from foundation.ledger.notes import Signer
from foundation.ledger.settings import LedgerSettings
from foundation.mute import Secret
from foundation.settings import read_keyring


class EgressSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`folder`: journals of runs, in the cell. `origin` and `key_file`: who signs, as a log's. `keyring`: this cell's root of token keys.
    `join_keyrings`: name -> keyring, the same file wherever the join is granted."""

    folder: str
    origin: str
    key_file: str
    keyring: str
    join_keyrings: dict[str, str] = {}

    def signer(self) -> Signer:
        """Raises SettingsError."""
        return LedgerSettings(folder=self.folder, origin=self.origin, key_file=self.key_file).signer()

    def root(self) -> Secret[bytes]:
        """Raises SettingsError."""
        return _current(self.keyring)

    def joins(self) -> dict[str, Secret[bytes]]:
        """Raises SettingsError."""
        return {name: _current(file) for name, file in self.join_keyrings.items()}


def _current(file: str) -> Secret[bytes]:
    return read_keyring(Path(file))[0][1]
