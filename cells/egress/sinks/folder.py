"""A folder of this machine: parts are written beside the release's name, which one rename gives them."""

from pathlib import Path

from foundation.ledger.files import sync_path


class FolderSink:
    """Implements `Sink`. Raises OSError."""

    puts = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, release: str, file: Path, sha256: str) -> None:
        """Nothing to do: it was written here."""

    def remove(self, release: str, name: str) -> None:
        """Nothing to do: what has no name goes with the folder it was written in."""

    def publish(self, release: str, staging: Path) -> None:
        staging.rename(self._folder / release)
        sync_path(self._folder)

    def holds(self, release: str) -> bool:
        return (self._folder / release).exists()
