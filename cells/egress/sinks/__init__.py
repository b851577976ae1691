"""Where releases lie: a folder, a service that takes files by HTTP, any store that fsspec knows."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from cells.egress.sinks.folder import FolderSink
from cells.egress.sinks.port import Sink, is_remote
from foundation.settings import SettingsError
from foundation.tokens import TokenFile


def sink_of(out: str, token_files: Mapping[str, str]) -> Sink:
    """`token_files`: origin of an HTTP sink → the file with the token to show there. Raises SettingsError."""
    if not is_remote(out):
        return FolderSink(Path(out))
    parts = urlsplit(out)
    if parts.scheme in ("http", "https"):
        from cells.egress.sinks.web import HttpSink

        origin = f"{parts.scheme}://{parts.netloc}"
        file = token_files.get(origin)
        return HttpSink(out, None if file is None else TokenFile(Path(file)))
    try:
        from cells.egress.sinks.store import StoreSink
    except ModuleNotFoundError as exc:
        raise SettingsError(f"{parts.scheme}:// needs fsspec: install domicile[stores]") from exc
    return StoreSink(out)
