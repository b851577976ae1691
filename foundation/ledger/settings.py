"""`[ledger]` in a process's settings: where its log lies, under which name and key."""

from pathlib import Path

import msgspec

from foundation.ledger.export.settings import ExportSettings, checked
from foundation.ledger.notes import MalformedKey, Signer
from foundation.mute import Secret
from foundation.settings import SettingsError, read_secret


class LedgerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`origin`: the log's name, a URL without scheme that is its own for ever. `key_file`: its private key (mode 0600), as
    `PRIVATE+KEY+<origin>+<key id>+<base64>`. `folder`: made when it is not there. `exports`: where its entries go besides."""

    folder: str
    origin: str
    key_file: str
    exports: tuple[ExportSettings, ...] = ()

    def signer(self) -> Signer:
        """Raises SettingsError, for what is wrong with `exports`, too."""
        checked(self.exports)
        path = Path(self.key_file)
        try:
            signer = Signer.parse(Secret(read_secret(path).reveal().decode("utf-8")))
        except (MalformedKey, UnicodeDecodeError) as exc:
            raise SettingsError(f"secret file {path} holds no key of a log: {exc}") from exc
        if signer.verifier.name != self.origin:
            raise SettingsError(
                f"secret file {path} holds the key of {signer.verifier.name}, and origin is {self.origin}"
            )
        return signer
