"""`[access.door]` of a cell service's settings."""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from foundation.settings import SettingsError
from foundation.tls import Tls

RECORDED_BYTES_MAX = 268_435_456


class DoorTls(msgspec.Struct, frozen=True, kw_only=True):
    """PEM files, read again when they change; `key`: mode 0600. Whom clients prove themselves under is the cell's own authority."""

    certificate: Path
    key: Path


class DoorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the SQL door listens, and its bounds. `rows_max`, `bytes_max`: what one grant may show, over all its sessions;
    `recorded_bytes_max`: what the door may write of it into the ledger; `sessions_max`: of this process, `grant_sessions_max`: of one
    grant; `message_bytes_max`: of a client's message, its statement and parameters included; `startup_s`: from the connection to the first
    prompt."""

    host: str
    port: Annotated[int, Meta(ge=0, le=65_535)]
    tls: DoorTls
    rows_max: Annotated[int, Meta(ge=1)] = 100_000
    bytes_max: Annotated[int, Meta(ge=1)] = 268_435_456
    recorded_bytes_max: Annotated[int, Meta(ge=65_536)] = RECORDED_BYTES_MAX
    sessions_max: Annotated[int, Meta(ge=1, le=1_024)] = 64
    grant_sessions_max: Annotated[int, Meta(ge=1, le=64)] = 8
    message_bytes_max: Annotated[int, Meta(ge=1_024, le=16_777_216)] = 1_048_576
    startup_s: Annotated[float, Meta(ge=1, le=60)] = 10.0

    def files(self, authority: Path) -> Tls:
        return Tls(certificate=self.tls.certificate, key=self.tls.key, authorities=authority)

    def checked(self) -> "DoorSettings":
        """Itself. Raises SettingsError for what shapes alone do not tell."""
        if self.grant_sessions_max > self.sessions_max:
            raise SettingsError("access.door.grant_sessions_max is at most sessions_max")
        return self
