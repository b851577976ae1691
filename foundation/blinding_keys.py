"""The live blinding keys of this process: read from their file, and read again when it changes, so that a rotation needs no restart."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from foundation import logs
from foundation.blinding import Blinder, BlindingKey
from foundation.settings import SettingsError, read_keyring, stamp

log = logs.get(__name__)

LOOK_S = 1.0


class Blinding:
    """`blinder` is of the keyring as it was last read without a fault. Those in `on_change` are called with each new one."""

    def __init__(self, path: Path) -> None:
        """Raises SettingsError."""
        self._path = path
        self._seen = stamp(path)
        self.blinder = _read(path)
        self.on_change: list[Callable[[Blinder], None]] = []

    async def watch(self) -> None:
        """For ever. A keyring that cannot be read is said once a change, and the keys that were read before stay."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.look()

    def look(self) -> None:
        found = stamp(self._path)
        if found == self._seen:
            return
        try:
            fresh = _read(self._path)
        except SettingsError as exc:
            log.fault("blinding_keyring_unreadable", exc, reason=str(exc))
        else:
            self.blinder = fresh
            for changed in self.on_change:
                changed(fresh)
            log.info("blinding_keys_read", count=len(fresh.kids), kid=fresh.kids[0])
        self._seen = found


def _read(path: Path) -> Blinder:
    try:
        return Blinder(tuple(BlindingKey(kid, key) for kid, key in read_keyring(path)))
    except ValueError as exc:
        raise SettingsError(f"blinding_keyring {path}: {exc}") from exc
