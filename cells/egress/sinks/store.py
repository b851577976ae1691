"""Any store that fsspec knows, such as `s3://bucket/folder`, with the credentials and addresses of its own environment. Needs fsspec."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
from fsspec.asyn import AsyncFileSystem

from cells.egress.manifest import MANIFEST, SIGNATURE
from cells.egress.sinks.port import SinkFailed
from foundation.settings import SettingsError


class StoreSink:
    """Implements `Sink`. A file is there when the store says that it has its size."""

    puts = True

    def __init__(self, url: str) -> None:
        """Raises SettingsError."""
        self._url = url
        try:
            self._store, root = fsspec.url_to_fs(url, use_listings_cache=False, skip_instance_cache=True)
        except (ImportError, ValueError) as exc:
            raise SettingsError(f"{url}: {exc}") from exc
        self._root: str = root.rstrip("/")

    def put(self, release: str, file: Path, sha256: str) -> None:  # noqa: ARG002 - stores take no digest in common
        path = self._path(release, file.name)
        with self._told(f"write {file.name}"):
            if not isinstance(self._store, AsyncFileSystem):  # those have no folders, and would make a bucket
                self._store.makedirs(f"{self._root}/{release}", exist_ok=True)
            if isinstance(self._store, AsyncFileSystem) or file.name != MANIFEST:
                self._store.put_file(str(file), path)
            else:  # a file under way is seen there, and this one says that the release is whole
                self._store.put_file(str(file), f"{path}.partial")
                self._store.mv(f"{path}.partial", path)
            size = self._size(path)
        if size != file.stat().st_size:
            raise SinkFailed(f"{self._url} has {file.name} with {size} bytes after it was written with others")

    def remove(self, release: str, name: str) -> None:
        with self._told(f"remove {name}"):
            path = self._path(release, name)
            if self._store.exists(path):
                self._store.rm_file(path)

    def publish(self, release: str, staging: Path) -> None:
        for name in (SIGNATURE, MANIFEST):
            self.put(release, staging / name, "")

    def holds(self, release: str) -> bool:
        with self._told(f"look for {MANIFEST}"):
            return bool(self._store.exists(self._path(release, MANIFEST)))

    def _size(self, path: str) -> int:
        self._store.invalidate_cache()
        return int(self._store.size(path))

    def _path(self, release: str, name: str) -> str:
        return f"{self._root}/{release}/{name}"

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """What a store raises, in one line. Its text may have credentials in it, its kind has not."""
        try:
            yield
        except Exception as exc:  # stores raise whatever their libraries do
            raise SinkFailed(f"{self._url} did not let {what} ({_kind(exc)})") from exc


def _kind(exc: Any) -> str:
    reason = getattr(exc, "strerror", None)
    return f"{type(exc).__name__}: {reason}" if isinstance(reason, str) else type(exc).__name__
